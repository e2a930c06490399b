"""Checks of the source tree itself: layers, sizes, names, suppressions and what may be in a tracked file."""
