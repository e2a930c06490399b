"""`perdure run retry | retry-failed | migrate`: runs after a failure, and after a new version."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from perdure_server.cli.arguments import instant, json_or_text, pairs
from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.refusals import FAILED
from perdure_server.cli.run_ids import RunId
from perdure_server.cli.run_moves import By, RequestId, moved
from perdure_server.cli.wording import now

if TYPE_CHECKING:
    from perdure.lifecycle_calls import RetryOptions
    from perdure.runs import MigrateReply, RetryOutcome, RunFilter


@dataclass(frozen=True, slots=True)
class Again:
    """How a failed run goes on."""

    from_node: Annotated[
        bool, typer.Option("--from-node", help="Run the node again for a new plan, not the effect that failed.")
    ] = False
    deadline: Annotated[str, typer.Option(help="The run's new deadline: an instant, or +2h.")] = ""
    pause: Annotated[bool, typer.Option("--pause", help="Open it paused, for example to migrate it first.")] = False
    by: By = ""

    def options(self) -> RetryOptions:
        """As the client wants them.

        Raises:
            Refusal: the deadline cannot be read.
        """
        options: RetryOptions = {"from_node": self.from_node, "pause": self.pause, "retried_by": self.by}
        if self.deadline:
            options["deadline"] = instant(self.deadline, "--deadline", now())
        return options


@connected
async def retry(
    session: Session,
    run_id: RunId,
    again: Again,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Repair its vars first: /POINTER=VALUE, JSON or text; repeatable.")
    ] = None,
    request_id: RequestId = "",
) -> None:
    """Open a failed run again at the step it failed at.

    The step keeps its visit and its effect's idempotency key. An irreversible effect that had begun is parked
    instead of being handed out: look outside, then use `perdure run resolve`.
    """
    repairs = {path: json_or_text(value, "--set") for path, value in pairs(set_ or (), "--set").items()}
    async with session.connect() as client:
        reply = await client.retry_run(run_id, set_vars=repairs, request_id=request_id or None, **again.options())
    moved(session, "retried", reply)


@dataclass(frozen=True, slots=True)
class FailedOnes:
    """The filter options of `run retry-failed`."""

    workflow: Annotated[str, typer.Option("--workflow", "-w", help="Of this workflow.")] = ""
    version: Annotated[str, typer.Option(help="Of this version.")] = ""
    session_id: Annotated[str, typer.Option("--session", help="Of this session.")] = ""
    root: Annotated[str, typer.Option(help="Of the tree under this run.")] = ""
    roots_only: Annotated[bool, typer.Option("--roots", help="Only runs without a parent.")] = False
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; all of these.")] = None
    since: Annotated[str, typer.Option(help="Failed from then on: an instant, or -2h.")] = ""
    until: Annotated[str, typer.Option(help="Failed before then: an instant, or -2h.")] = ""

    def filter(self) -> RunFilter:
        """As the client wants it.

        Raises:
            Refusal: a label or an instant cannot be read.
        """
        from perdure.runs import RunFilter

        return RunFilter(
            statuses=("failed",),
            workflow_id=self.workflow,
            workflow_version=self.version,
            session_id=self.session_id,
            root_run_id=self.root,
            roots_only=self.roots_only,
            labels=pairs(self.label or (), "--label"),
            ended_from=instant(self.since, "--since", now()) if self.since else None,
            ended_before=instant(self.until, "--until", now()) if self.until else None,
        )


@connected
async def retry_failed(
    session: Session,
    which: FailedOnes,
    again: Again,
    rate: Annotated[float, typer.Option(help="At most so many runs a second.", min=0.1)] = 50.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which runs would be opened again.")] = False,
) -> int:
    """Open all failed runs that match again, newest first, at a steady pace.

    Stopped half-way, call it again: runs that are open again are not failed any more. One line a run; exit code 1
    if a run was refused.
    """
    output, wanted, options = session.output, which.filter(), again.options()
    counts: Counter[bool] = Counter()
    async with session.connect() as client:
        async for outcome in client.retry_runs(wanted, rate=rate, dry_run=dry_run, **options):
            counts[outcome.retried] += 1
            output.done(outcome, _line(outcome, dry_run=dry_run))
    done = "would be opened again" if dry_run else "opened again"
    output.note(f"{counts[True]} runs {done}, {counts[False]} refused")
    return FAILED if counts[False] else 0


@connected
async def migrate(
    session: Session,
    run_id: RunId,
    version: Annotated[str, typer.Option(help="A registered version; default: the workflow's default one.")] = "",
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="OLD=NEW: a node that has another name there; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")] = False,
    by: By = "",
    request_id: RequestId = "",
) -> int:
    """Move a run to another version of its workflow.

    Everything that the run is bound for must be there: otherwise nothing changes, and --dry-run names all that is
    missing. To move a failed run: `perdure run retry RUN_ID --pause`, migrate, unpause.
    """
    async with session.connect() as client:
        reply = await client.migrate_run(
            run_id,
            version,
            node_map=pairs(map_ or (), "--map"),
            dry_run=dry_run,
            migrated_by=by,
            request_id=request_id or None,
        )
    session.output.done(reply, _told(reply, dry_run=dry_run))
    return FAILED if reply.faults else 0


def _line(outcome: RetryOutcome, *, dry_run: bool) -> str:
    """What became of one run of many."""
    if not outcome.retried:
        return f"refused {outcome.run_id}: {outcome.reason}: {outcome.message}"
    return f"{'would retry' if dry_run else 'retried'} {outcome.run_id}: {outcome.activity} at record {outcome.seq}"


def _told(reply: MigrateReply, *, dry_run: bool) -> str:
    """What a migration did, or would do."""
    if reply.faults:
        problems = "".join(f"\n  {fault.node_id}: {fault.problem}" for fault in reply.faults)
        return f"cannot move {reply.run_id} to {reply.to_version[:12]}:{problems}"
    verb = "would move" if dry_run else "moved"
    again = "; its worker's attempt no longer counts, it is handed out again" if reply.requeued else ""
    behind = f"\n  not in the target, and not needed: {', '.join(reply.left_behind)}" if reply.left_behind else ""
    return (
        f"{verb} {reply.run_id} from {reply.from_version[:12]} to {reply.to_version[:12]}, at {reply.current_node}"
        f"{again}{behind}"
    )
