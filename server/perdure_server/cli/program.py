"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure_server.cli import (
    admin_commands,
    backup_commands,
    dev_command,
    doctor,
    ledger_commands,
    run_lifecycle,
    run_moves,
    run_reads,
    run_tree,
    schedule_commands,
    serve_command,
    workflow_commands,
)

program = typer.Typer(
    name="perdure",
    help="Perdure: durable workflows. Interrupt, checkpoint, resume.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached.",
    no_args_is_help=True,
    # Help is plain text: drawing it with rich alone would take longer than `perdure --help` may.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as installed_version

        typer.echo(f"perdure {installed_version('perdure')}")
        raise typer.Exit


@program.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command are given after it: `perdure run list --json`."""


def _group(name: str, text: str) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=text, rich_markup_mode=None)
    program.add_typer(group, name=name)
    return group


program.command("serve")(serve_command.serve)
program.command("dev")(dev_command.dev)
program.command("doctor")(doctor.doctor)
program.command("backup")(backup_commands.backup)
program.command("restore")(backup_commands.restore)
program.command("inbox")(run_reads.inbox)

_run = _group("run", "Start, read and move runs.")
for _name, _handler in (
    ("start", run_moves.start),
    ("get", run_reads.get),
    ("list", run_reads.list_runs),
    ("tree", run_tree.tree),
    ("wait", run_reads.wait),
    ("resume", run_moves.resume),
    ("cancel", run_moves.cancel),
    ("pause", run_moves.pause),
    ("unpause", run_moves.unpause),
    ("resolve", run_moves.resolve),
    ("retry", run_lifecycle.retry),
    ("retry-failed", run_lifecycle.retry_failed),
    ("migrate", run_lifecycle.migrate),
    ("tick", run_moves.tick),
):
    _run.command(_name)(_handler)

_ledger = _group("ledger", "Read what happened, follow what happens.")
for _name, _handler in (
    ("show", ledger_commands.show),
    ("tail", ledger_commands.tail),
    ("verify", ledger_commands.verify),
):
    _ledger.command(_name)(_handler)

_workflow = _group("workflow", "Register and read workflows.")
for _name, _handler in (
    ("register", workflow_commands.register),
    ("validate", workflow_commands.validate),
    ("graph", workflow_commands.graph),
    ("list", workflow_commands.list_workflows),
    ("show", workflow_commands.show),
    ("set-default", workflow_commands.set_default),
):
    _workflow.command(_name)(_handler)

_schedule = _group("schedule", "Start runs at instants.")
for _name, _handler in (
    ("create", schedule_commands.create),
    ("get", schedule_commands.get),
    ("list", schedule_commands.list_schedules),
    ("update", schedule_commands.update),
    ("pause", schedule_commands.pause),
    ("unpause", schedule_commands.unpause),
    ("trigger", schedule_commands.trigger),
    ("backfill", schedule_commands.backfill),
    ("delete", schedule_commands.delete),
    ("next", schedule_commands.following),
):
    _schedule.command(_name)(_handler)

_event = _group("event", "Emit and read events.")
_event.command("emit")(admin_commands.emit)
_event.command("list")(admin_commands.list_events)

_group("worker", "See who executes the work.").command("list")(admin_commands.list_workers)
_group("namespace", "Keep things apart.").command("create")(admin_commands.create_namespace)
