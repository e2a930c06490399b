"""The command line of `perdure serve` as it is, to compare files with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import click
from typer.main import get_command

from perdure_server.cli.program import program

GRPC_PORT = 7171
METRICS_PORT = 9464


@cache
def serve_command() -> click.Command:
    """The command."""
    root: Any = get_command(program)
    return root.commands["serve"]


def environment_names() -> set[str]:
    """The variables that it reads."""
    names: set[str] = set()
    for parameter in serve_command().params:
        found = parameter.envvar
        names.update([found] if isinstance(found, str) else found or ())
    return names


@dataclass(frozen=True)
class Settings:
    """What a command line with its environment comes to."""

    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def settings_of(command: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Parses `perdure serve ...` as the command itself does. Raises: ValueError for what it does not take."""
    program_name, subcommand, *arguments = command
    if program_name.rsplit("/", 1)[-1] != "perdure" or subcommand != "serve":
        raise ValueError(f"not `perdure serve`: {command}")
    unknown = {name for name in environment if name.startswith("PERDURE_")} - environment_names()
    if unknown:
        raise ValueError(f"the server reads no {sorted(unknown)}")
    for parameter in serve_command().params:
        name = parameter.envvar
        if isinstance(name, str) and name in environment:
            arguments = [max(parameter.opts, key=len), environment[name], *arguments]
    try:
        context = serve_command().make_context("serve", list(arguments))
    except click.ClickException as error:
        raise ValueError(error.format_message()) from error
    return Settings(context.params)


def asks_who_calls(settings: Settings) -> bool:
    """Whether a server with these settings lets nobody in unasked."""
    return bool(settings["token_file"] or settings["client_ca"]) and not settings["insecure"]
