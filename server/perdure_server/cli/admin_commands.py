"""`perdure worker list`, `perdure namespace create`, `perdure event emit | list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perdure_server.cli.arguments import json_or_text
from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.output import Column
from perdure_server.cli.run_reads import Limit, limited, page_size
from perdure_server.cli.wording import compact, when

if TYPE_CHECKING:
    from perdure.admin_calls import WorkerInfo
    from perdure.runs import Event

EventScope = Annotated[
    Literal["session", "workflow", "run", "global"], typer.Option("--scope", help="Who can hear it.")
]
ScopeId = Annotated[str, typer.Option(help="Session, workflow or run id; none for global.")]


@connected
async def list_workers(session: Session) -> None:
    """List the workers connected to the server's process."""
    output = session.output
    columns: list[Column[WorkerInfo]] = [
        Column("WORKER", lambda each: each.worker_id),
        Column("WHO", lambda each: each.identity),
        Column("SDK", lambda each: each.sdk),
        Column("QUEUES", lambda each: ", ".join(each.queues), may_fold=True),
        Column("WORKFLOWS", lambda each: ", ".join(served.workflow_id for served in each.workflows), may_fold=True),
        Column("EFFECTS", lambda each: ", ".join(each.effect_types), may_fold=True),
        Column("HOLDS", lambda each: str(each.held_tasks)),
        Column("CREDIT", lambda each: str(each.credit)),
        Column("SINCE", lambda each: when(each.connected_at, relative=output.is_terminal)),
        Column("STATE", lambda each: "draining" if each.draining else ""),
    ]
    async with session.connect() as client:
        await output.rows(await client.list_workers(), columns, none="no workers are connected")


@connected
async def create_namespace(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    description: Annotated[str, typer.Option(help="For people.")] = "",
    request_id: Annotated[str, typer.Option(help="Makes a repeat of this command safe.")] = "",
) -> None:
    """Create a namespace. Workflows, runs and events of one are not seen in another."""
    async with session.connect() as client:
        created = await client.create_namespace(name, description, request_id=request_id or None)
    session.output.done({"namespace": created}, f"created namespace {created}")


@connected
async def emit(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event.", show_default=False)],
    payload: Annotated[str | None, typer.Argument(help="JSON, or plain text; @FILE, - for standard input.")] = None,
    scope: EventScope = "session",
    scope_id: ScopeId = "",
    event_id: Annotated[str, typer.Option(help="The same id is accepted once; default: a new one.")] = "",
    by: Annotated[str, typer.Option("--by", envvar="PERDURE_BY", help="Who emits; kept in the event log.")] = "",
) -> None:
    """Emit an event: runs that wait for it, now or later, go on with it, each once."""
    value = None if payload is None else json_or_text(payload, "PAYLOAD")
    async with session.connect() as client:
        done = await client.emit_event(name, value, scope=scope, scope_id=scope_id, event_id=event_id, emitted_by=by)
    runs = ", ".join(done.delivered_run_ids) or "nobody yet"
    sentence = f"event {done.event_id} was there before" if done.duplicate else f"emitted {done.event_id}: {runs}"
    session.output.done(done, sentence)


@connected
async def list_events(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only these.")] = "",
    scope: EventScope = "session",
    scope_id: ScopeId = "",
    limit: Limit = 100,
) -> None:
    """List the events of one scope, oldest first."""
    output = session.output
    columns: list[Column[Event]] = [
        Column("POSITION", lambda each: str(each.position)),
        Column("EMITTED", lambda each: when(each.emitted_at, relative=output.is_terminal)),
        Column("NAME", lambda each: each.name),
        Column("ID", lambda each: each.event_id),
        Column("BY", lambda each: each.emitter_run_id or each.emitted_by),
        Column("PAYLOAD", lambda each: compact(each.payload, 200 if output.is_terminal else 0), may_fold=True),
    ]
    async with session.connect() as client:
        pages = client.list_events(scope=scope, scope_id=scope_id, name=name, page_size=page_size(limit))
        await output.rows(limited(pages, limit), columns, none="no events in this scope")
