"""The parts of the `perdure` command that need no server."""
