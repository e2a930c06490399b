"""The gRPC edge: codec, fields, errors, guards and services."""
