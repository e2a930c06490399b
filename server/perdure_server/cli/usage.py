"""Wrong usage under --json: an object on standard error, like every other error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from perdure_server.cli.output import Output
from perdure_server.cli.refusals import FAILED, Refusal

if TYPE_CHECKING:
    import typer

_NO: Final = frozenset({"", "0", "f", "false", "n", "no", "off"})


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON. It may be too wrong to be taken apart, so nothing else is asked of it."""
    return "--json" in arguments or os.environ.get("PERDURE_JSON", "").lower() not in _NO


def run_for_a_program(program: typer.Typer) -> int:
    """Runs the command line of the process; returns its exit code."""
    import typer
    from typer._click.exceptions import ClickException, UsageError

    try:
        return program(prog_name="perdure", standalone_mode=False) or 0
    except ClickException as error:
        context = error.ctx if isinstance(error, UsageError) else None
        command = context.command_path if context is not None else "perdure"
        advice = f"`{command} --help` tells what it takes"
        why = Refusal(error.format_message(), advice, exit_code=error.exit_code)
        Output(as_json=True).refuse(why)
        return why.exit_code
    except typer.Abort:
        return FAILED
