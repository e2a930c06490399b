"""`perdure run get | list | wait | tree`, and `perdure inbox`: reading runs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from perdure_server.cli.arguments import instant, pairs, span
from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.output import Column
from perdure_server.cli.refusals import FAILED
from perdure_server.cli.run_facts import run_columns, show_run
from perdure_server.cli.run_ids import RunId
from perdure_server.cli.wording import now, waits_for, when

if TYPE_CHECKING:
    from perdure.runs import RunFilter, RunWait

T = TypeVar("T")

# The words of the contract's enumerations, written out: importing the SDK for --help would take too long.
Status = StrEnum("Status", "RUNNING WAITING COMPLETED FAILED CANCELLED")
Activity = StrEnum("Activity", "QUEUED LEASED BACKOFF WAITING PARKED IDLE")
Reason = StrEnum("Reason", "EVENT UNTIL USER JOB SUBWORKFLOW JOIN")
Until = Literal["settled", "ended"]

Limit = Annotated[int, typer.Option("--limit", "-l", min=0, help="At most so many; 0: all.")]


async def limited(items: AsyncIterable[T], limit: int) -> AsyncIterator[T]:
    """The first `limit` items of a list; 0: all."""
    count = 0
    async for item in items:
        yield item
        count += 1
        if count == limit:
            return


def page_size(limit: int) -> int:
    """How many to ask for at once."""
    return min(limit or 1_000, 1_000)


@connected
async def get(session: Session, run_id: RunId) -> None:
    """Show a run: what it does, what it waits for, its vars and its output."""
    async with session.connect() as client:
        show_run(session.output, await client.get_run(run_id))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filter options of `run list`."""

    status: Annotated[list[Status] | None, typer.Option("--status", "-s", help="One of these.")] = None
    activity: Annotated[list[Activity] | None, typer.Option("--activity", "-a", help="One of these.")] = None
    workflow: Annotated[str, typer.Option("--workflow", "-w", help="Of this workflow.")] = ""
    version: Annotated[str, typer.Option(help="Of this version.")] = ""
    session_id: Annotated[str, typer.Option("--session", help="Of this session.")] = ""
    root: Annotated[str, typer.Option(help="Of the tree under this run.")] = ""
    parent: Annotated[str, typer.Option(help="Children of this run.")] = ""
    roots_only: Annotated[bool, typer.Option("--roots", help="Only runs without a parent.")] = False
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; all of these.")] = None
    wait_reason: Annotated[Reason | None, typer.Option(help="Waiting for this.")] = None
    wait_key: Annotated[str, typer.Option(help="Waiting under this key.")] = ""
    assignee: Annotated[str, typer.Option(help="Waiting for this person.")] = ""
    since: Annotated[str, typer.Option(help="Created from then on: an instant, or -2h.")] = ""
    until: Annotated[str, typer.Option(help="Created before then: an instant, or -2h.")] = ""
    paused_only: Annotated[bool, typer.Option("--paused", help="Only paused runs.")] = False

    def filter(self) -> RunFilter:
        """As the client wants it.

        Raises:
            Refusal: a label or an instant cannot be read.
        """
        from perdure.runs import RunFilter

        return RunFilter(
            statuses=self.status or (),
            activities=self.activity or (),
            workflow_id=self.workflow,
            workflow_version=self.version,
            session_id=self.session_id,
            root_run_id=self.root,
            parent_run_id=self.parent,
            roots_only=self.roots_only,
            labels=pairs(self.label or (), "--label"),
            wait_reason=self.wait_reason or "unspecified",
            wait_key=self.wait_key,
            assignee=self.assignee,
            created_from=instant(self.since, "--since", now()) if self.since else None,
            created_before=instant(self.until, "--until", now()) if self.until else None,
            paused_only=self.paused_only,
        )


@connected
async def list_runs(session: Session, wanted: Wanted, limit: Limit = 100) -> None:
    """List runs, newest first."""
    chosen = wanted.filter()
    async with session.connect() as client:
        runs = limited(client.list_runs(chosen, page_size=page_size(limit)), limit)
        count = await session.output.rows(runs, run_columns(session.output), none="no runs match")
    if limit and count == limit:
        session.output.note(f"the first {limit}; --limit 0 lists all")


@connected
async def wait(
    session: Session,
    run_id: RunId,
    until: Annotated[Until, typer.Option(help="Settled: ended, waiting, parked, idle or paused.")] = "ended",
    min_seq: Annotated[int, typer.Option(help="Not before the run has so many records.", min=0)] = 0,
    at_most: Annotated[
        str,
        typer.Option("--for", help="Give up after 90s or 5m (--timeout is of one call)."),
    ] = "",
) -> int:
    """Wait for a run, then show it. Exit code 1 if it failed, was cancelled, or time was up."""
    timeout = span(at_most, "--for") if at_most else None
    async with session.connect() as client:
        run = await client.wait_run(run_id, until=until, min_seq=min_seq, timeout=timeout)
    show_run(session.output, run)
    return FAILED if run.status in {"failed", "cancelled"} else 0


@connected
async def inbox(
    session: Session,
    reason: Annotated[list[Reason] | None, typer.Option(help="Default: event, user and job.")] = None,
    assignee: Annotated[str, typer.Option("--assignee", "-a", help="For this person.")] = "",
    workflow: Annotated[str, typer.Option("--workflow", "-w", help="Of this workflow.")] = "",
    session_id: Annotated[str, typer.Option("--session", help="Of this session.")] = "",
    wait_key: Annotated[str, typer.Option(help="With this key.")] = "",
    limit: Limit = 100,
) -> None:
    """List what waits for an answer, oldest first. `perdure run resume` answers."""
    output = session.output
    columns: list[Column[RunWait]] = [
        Column("RUN", lambda each: each.run_id),
        Column("WAIT", lambda each: str(each.wait.wait_id)),
        Column("FOR", lambda each: str(each.wait.reason) + (", paused" if each.paused else ""), is_status=True),
        Column("WORKFLOW", lambda each: each.workflow_id),
        Column("ASSIGNEE", lambda each: each.wait.assignee),
        Column("QUESTION", lambda each: waits_for(each.wait), may_fold=True),
        Column("CHOICES", lambda each: ", ".join(each.wait.choices), may_fold=True),
        Column("SINCE", lambda each: when(each.wait.since, relative=output.is_terminal)),
        Column("ANSWER BY", lambda each: when(each.wait.deadline, relative=output.is_terminal)),
    ]
    async with session.connect() as client:
        waits = client.list_waits(
            reasons=reason or (),
            assignee=assignee,
            workflow_id=workflow,
            session_id=session_id,
            wait_key=wait_key,
            page_size=page_size(limit),
        )
        await output.rows(limited(waits, limit), columns, none="nothing waits for an answer")
