"""The `perdure` command. What it prints and returns is described in docs/cli.md."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command with the arguments of the process and exits with its code."""
    # gRPC's own lines have neither our form nor a reader; whoever wants them sets the variable.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    from perdure_server.cli.program import program
    from perdure_server.cli.usage import run_for_a_program, wants_json

    if wants_json(sys.argv[1:]):
        sys.exit(run_for_a_program(program))
    program()
