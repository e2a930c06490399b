"""What the calls about schedules take and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self

from perdure.instants import Span, from_timestamp, to_duration, to_timestamp
from perdure.json_text import JsonObject, encode
from perdure.runs import Concurrency
from perdure.v1 import schedule_service_pb2 as pb
from perdure.values import ScheduleOverlap, TriggerOutcome

Overlap = ScheduleOverlap | Literal["skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What a schedule does, and when; see the contract's ScheduleSpec.

    Attributes:
        workflow_id: the workflow that an instant starts.
        crons: cron expressions of five or six fields, in the local time of `time_zone`.
        every: intervals: a span, or a span and an offset, since 1970-01-01T00:00:00Z.
        deadline: the run fails this long after its start.
        catch_up_window: instants noticed later than this are missed; None: 60 s.
        max_starts: so many instants start runs; 0: any number.
    """

    workflow_id: str
    crons: Sequence[str] = ()
    every: Sequence[Span | tuple[Span, Span]] = ()
    time_zone: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None
    jitter: Span | None = None
    overlap: Overlap = ScheduleOverlap.UNSPECIFIED
    catch_up_window: Span | None = None
    max_starts: int = 0
    workflow_version: str = ""
    vars: JsonObject | None = None
    actor_id: str = ""
    session_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    deadline: Span | None = None
    concurrency: Concurrency | None = None

    def to_wire(self) -> pb.ScheduleSpec:
        """As a message."""
        start = pb.ScheduledStart(
            workflow_id=self.workflow_id,
            workflow_version=self.workflow_version,
            vars_json=encode(self.vars) if self.vars else "",
            actor_id=self.actor_id,
            session_id=self.session_id,
            labels=self.labels,
            deadline=None if self.deadline is None else to_duration(self.deadline),
            concurrency=self.concurrency.to_wire() if self.concurrency else None,
        )
        return pb.ScheduleSpec(
            crons=self.crons,
            intervals=[_interval(each) for each in self.every],
            time_zone=self.time_zone,
            start_at=None if self.start_at is None else to_timestamp(self.start_at),
            end_at=None if self.end_at is None else to_timestamp(self.end_at),
            jitter=None if self.jitter is None else to_duration(self.jitter),
            overlap=ScheduleOverlap(self.overlap).wire,
            catch_up_window=None if self.catch_up_window is None else to_duration(self.catch_up_window),
            max_starts=self.max_starts,
            start=start,
        )


def _interval(each: Span | tuple[Span, Span]) -> pb.ScheduleInterval:
    if isinstance(each, tuple):
        return pb.ScheduleInterval(every=to_duration(each[0]), offset=to_duration(each[1]))
    return pb.ScheduleInterval(every=to_duration(each))


@dataclass(frozen=True, slots=True)
class ScheduleStart:
    """A run that a schedule started, and the instant that it stands for."""

    scheduled_at: datetime
    started_at: datetime
    run_id: str


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """A schedule as it stands. `spec` is the contract's message; `starts_left` -1: any number."""

    schedule_id: str
    revision: int
    spec: pb.ScheduleSpec
    paused: bool
    note: str
    starts_left: int
    created_at: datetime
    updated_at: datetime
    next_times: tuple[datetime, ...]
    waiting: int
    running_run_ids: tuple[str, ...]
    started: int
    missed: int
    skipped: int
    refused: int
    recent: tuple[ScheduleStart, ...]
    refusal: str

    @classmethod
    def from_wire(cls, message: pb.Schedule) -> Self:
        """From the contract's Schedule."""
        return cls(
            schedule_id=message.schedule_id,
            revision=message.revision,
            spec=message.spec,
            paused=message.paused,
            note=message.note,
            starts_left=message.starts_left,
            created_at=from_timestamp(message.created_at),
            updated_at=from_timestamp(message.updated_at),
            next_times=tuple(map(from_timestamp, message.next_times)),
            waiting=message.waiting,
            running_run_ids=tuple(message.running_run_ids),
            started=message.counts.started,
            missed=message.counts.missed,
            skipped=message.counts.skipped,
            refused=message.counts.refused,
            recent=tuple(
                ScheduleStart(from_timestamp(each.scheduled_at), from_timestamp(each.started_at), each.run_id)
                for each in message.recent
            ),
            refusal=message.refusal,
        )


@dataclass(frozen=True, slots=True)
class Triggered:
    """What became of a triggered instant; `run_id` if it started a run."""

    outcome: TriggerOutcome
    run_id: str
