"""The `perdure` command. What it prints and returns is described in docs/cli.md."""

from __future__ import annotations


def main() -> None:
    """Runs the command with the arguments of the process and exits with its code."""
    from perdure_server.cli.program import program

    program()
