"""The clients' exam: hosts in other languages against a real server."""
