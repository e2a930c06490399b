"""The kernel, tested from its specification: no test here reads the kernel's own tables."""
