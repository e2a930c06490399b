"""`perdure schedule create | get | list | update | pause | unpause | trigger | backfill | delete | next`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perdure_server.cli.arguments import instant, json_object, pairs, span
from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.output import Column
from perdure_server.cli.run_reads import Limit, limited, page_size
from perdure_server.cli.wording import now, when

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.schedules import ScheduleSpec, ScheduleState

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID", show_default=False)]
Overlap = Literal["", "skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]
Note = Annotated[str, typer.Option(help="For people.")]
OverlapOption = Annotated[Overlap, typer.Option(help="While a run has not ended; default: the schedule's.")]


@dataclass(frozen=True, slots=True)
class Plan:
    """The options that make a spec."""

    cron: Annotated[list[str] | None, typer.Option(help='"30 6 * * MON-FRI"; may be given again.')] = None
    every: Annotated[list[str] | None, typer.Option(help="An interval such as 1h; may be given again.")] = None
    zone: Annotated[str, typer.Option(help="IANA time zone of the cron expressions; default: UTC.")] = ""
    start_at: Annotated[str, typer.Option(help="No instant before: an instant, or +2h.")] = ""
    end_at: Annotated[str, typer.Option(help="No instant after.")] = ""
    jitter: Annotated[str, typer.Option(help="Fire up to so much later, such as 30s.")] = ""
    overlap: Annotated[Overlap, typer.Option(help="While a run has not ended; default: skip.")] = ""
    catch_up: Annotated[str, typer.Option(help="Instants noticed later than this are missed; default: 60s.")] = ""
    max_starts: Annotated[int, typer.Option(help="So many starts, then no more; 0: any number.")] = 0
    version: Annotated[str, typer.Option(help="Default: the default version of that time.")] = ""
    vars_json: Annotated[str, typer.Option("--vars", help="JSON object, @FILE, or - for standard input.")] = ""
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE.")] = None
    actor: Annotated[str, typer.Option(help="Who the runs act for.")] = ""
    session_id: Annotated[str, typer.Option("--session", help="Default: a session of its own for each.")] = ""
    deadline: Annotated[str, typer.Option(help="Each run fails so long after its start, such as 2h.")] = ""

    def spec(self, workflow: str) -> ScheduleSpec:
        """The spec.

        Raises:
            Refusal: an option cannot be read.
        """
        from perdure.schedules import ScheduleSpec

        return ScheduleSpec(
            workflow_id=workflow,
            crons=self.cron or (),
            every=[span(each, "--every") for each in self.every or ()],
            time_zone=self.zone,
            start_at=instant(self.start_at, "--start-at", now()) if self.start_at else None,
            end_at=instant(self.end_at, "--end-at", now()) if self.end_at else None,
            jitter=span(self.jitter, "--jitter") if self.jitter else None,
            overlap=self.overlap or "skip",
            catch_up_window=span(self.catch_up, "--catch-up") if self.catch_up else None,
            max_starts=self.max_starts,
            workflow_version=self.version,
            vars=json_object(self.vars_json, "--vars") if self.vars_json else {},
            actor_id=self.actor,
            session_id=self.session_id,
            labels=pairs(self.label or (), "--label"),
            deadline=span(self.deadline, "--deadline") if self.deadline else None,
        )


Workflow = Annotated[str, typer.Argument(metavar="WORKFLOW_ID", show_default=False)]


@connected
async def create(
    session: Session,
    schedule_id: ScheduleId,
    workflow: Workflow,
    plan: Plan,
    paused: Annotated[bool, typer.Option("--paused", help="It begins paused.")] = False,
    note: Note = "",
) -> None:
    """Start runs of a workflow at the instants of cron expressions and intervals."""
    spec = plan.spec(workflow)
    async with session.connect() as client:
        done = await client.create_schedule(schedule_id, spec, paused=paused, note=note)
    _told(session, "created", done)


@connected
async def get(session: Session, schedule_id: ScheduleId) -> None:
    """Show a schedule, its next instants, and what became of the last ones."""
    async with session.connect() as client:
        found = await client.get_schedule(schedule_id)
    relative = session.output.is_terminal
    timing = found.spec
    facts = [
        ("schedule", found.schedule_id),
        ("workflow", timing.start.workflow_id),
        ("crons", ", ".join(timing.crons)),
        ("intervals", ", ".join(f"{each.every.seconds}s" for each in timing.intervals)),
        ("zone", timing.time_zone),
        ("paused", ("yes: " + found.note if found.note else "yes") if found.paused else ""),
        ("note", "" if found.paused else found.note),
        ("next", ", ".join(each.isoformat() for each in found.next_times[:3])),
        ("started", str(found.started)),
        ("skipped", str(found.skipped or "")),
        ("missed", str(found.missed or "")),
        ("refused", f"{found.refused}: {found.refusal}" if found.refused else ""),
        ("waiting", str(found.waiting or "")),
        ("last", when(found.recent[-1].scheduled_at, relative=relative) if found.recent else ""),
        ("last run", found.recent[-1].run_id if found.recent else ""),
        ("revision", str(found.revision)),
    ]
    session.output.facts(facts, _form(found))


@connected
async def list_schedules(session: Session, limit: Limit = 100) -> None:
    """List schedules by id."""
    output = session.output
    columns: list[Column[ScheduleState]] = [
        Column("SCHEDULE", lambda each: each.schedule_id),
        Column("WORKFLOW", lambda each: each.spec.start.workflow_id),
        Column("NEXT", lambda each: when(each.next_times[0], relative=output.is_terminal) if each.next_times else ""),
        Column("PAUSED", lambda each: "paused" if each.paused else ""),
        Column("STARTED", lambda each: str(each.started)),
        Column("SKIPPED", lambda each: str(each.skipped or "")),
        Column("MISSED", lambda each: str(each.missed or "")),
    ]
    async with session.connect() as client:
        pages = client.list_schedules(page_size=page_size(limit))
        if output.as_json:
            await output.rows((_form(each) async for each in limited(pages, limit)), [], none="")
            return
        await output.rows(limited(pages, limit), columns, none="no schedules: `perdure schedule create`")


@connected
async def update(
    session: Session,
    schedule_id: ScheduleId,
    workflow: Workflow,
    plan: Plan,
    revision: Annotated[int, typer.Option(help="Only if this is its revision.")] = 0,
) -> None:
    """Replace all that a schedule does. Options that are left out take their defaults."""
    spec = plan.spec(workflow)
    async with session.connect() as client:
        done = await client.update_schedule(schedule_id, spec, revision=revision)
    _told(session, "updated", done)


@connected
async def pause(session: Session, schedule_id: ScheduleId, note: Note = "") -> None:
    """Start nothing by its timing until it is unpaused."""
    async with session.connect() as client:
        done = await client.pause_schedule(schedule_id, note)
    _told(session, "paused", done)


@connected
async def unpause(session: Session, schedule_id: ScheduleId, note: Note = "") -> None:
    """Go on. Instants that passed meanwhile are not made good."""
    async with session.connect() as client:
        done = await client.unpause_schedule(schedule_id, note)
    _told(session, "unpaused", done)


@connected
async def trigger(session: Session, schedule_id: ScheduleId, overlap: OverlapOption = "") -> None:
    """Start its run now. Prints the run's id."""
    from perdure.values import ScheduleOverlap

    async with session.connect() as client:
        done = await client.trigger_schedule(schedule_id, overlap=ScheduleOverlap(overlap or "unspecified"))
    output = session.output
    sentence = f"{schedule_id}: {done.outcome} {done.run_id}".rstrip()
    output.done(done, sentence if output.is_terminal or not done.run_id else done.run_id)


@connected
async def backfill(
    session: Session,
    schedule_id: ScheduleId,
    start: Annotated[str, typer.Option("--from", help="First instant that is meant: an instant, or -3h.")],
    end: Annotated[str, typer.Option("--to", help="Last instant that is meant: an instant, or -0s.")],
    overlap: OverlapOption = "",
) -> None:
    """Start the runs of a past span. An instant that has had its run gets no second one."""
    from perdure.values import ScheduleOverlap

    first, last = instant(start, "--from", now()), instant(end, "--to", now())
    async with session.connect() as client:
        count = await client.backfill_schedule(
            schedule_id, first, last, overlap=ScheduleOverlap(overlap or "unspecified")
        )
    session.output.done({"schedule_id": schedule_id, "instants": count}, f"{schedule_id}: {count} instants to come")


@connected
async def delete(session: Session, schedule_id: ScheduleId) -> None:
    """Delete a schedule. Runs that it started go on."""
    async with session.connect() as client:
        await client.delete_schedule(schedule_id)
    session.output.done({"schedule_id": schedule_id}, f"deleted {schedule_id}")


@connected
async def following(
    session: Session,
    plan: Plan,
    count: Annotated[int, typer.Option(help="How many.")] = 10,
) -> None:
    """Show the instants of cron expressions and intervals, without a schedule."""
    async with session.connect() as client:
        times = await client.preview_schedule(plan.spec(""), count=count)
    columns: list[Column[datetime]] = [Column("TIME", lambda each: each.isoformat())]
    await session.output.rows(times, columns, none="none")


def _told(session: Session, verb: str, done: ScheduleState) -> None:
    coming = f", next {done.next_times[0].isoformat()}" if done.next_times else ""
    session.output.done(_form(done), f"{verb} {done.schedule_id}{coming}")


def _form(found: ScheduleState) -> dict[str, object]:
    """For --json: the spec in the contract's own JSON form."""
    from dataclasses import fields

    from google.protobuf.json_format import MessageToDict

    form: dict[str, object] = {each.name: getattr(found, each.name) for each in fields(found)}
    form["spec"] = MessageToDict(found.spec, preserving_proto_field_name=True)
    return form
