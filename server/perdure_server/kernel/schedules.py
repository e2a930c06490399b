"""Schedules as plain data: what is asked for, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from perdure_server.kernel.model import Concurrency
from perdure_server.kernel.values import Leaf

SCHEDULE_LABEL: Final = "perdure.schedule"
"""Label of a run that a schedule started: the schedule's id."""
INSTANT_LABEL: Final = "perdure.scheduled_at"
"""Likewise: the instant that it stands for, RFC 3339."""
OWN_LABELS: Final = 2

UNLIMITED: Final = -1


class Overlap(IntEnum):
    """What becomes of an instant while a run of the schedule has not ended."""

    SKIP = 1
    BUFFER_ONE = 2
    BUFFER_ALL = 3
    CANCEL_OTHER = 4
    ALLOW_ALL = 5


@dataclass(frozen=True, slots=True)
class Interval:
    """The instants k * every + offset since 1970-01-01T00:00:00Z, for whole k."""

    every_us: int
    offset_us: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """The union of cron expressions and intervals between two instants (0: open); crons in local time."""

    crons: tuple[str, ...] = ()
    intervals: tuple[Interval, ...] = ()
    time_zone: str = "UTC"
    start_at: int = 0
    end_at: int = 0
    jitter_us: int = 0


@dataclass(frozen=True, slots=True)
class ScheduledStart:
    """The run that an instant starts. `deadline_us` counts from its start; 0: none."""

    workflow_id: str
    vars: Leaf
    workflow_version: str = ""
    actor_id: str = ""
    session_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    deadline_us: int = 0
    concurrency: Concurrency | None = None


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What is asked for. `max_starts` 0: any number."""

    timing: Timing
    start: ScheduledStart
    overlap: Overlap
    catch_up_us: int
    max_starts: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Instants by what became of them. Missed: older than the catch-up window when they were looked at."""

    started: int = 0
    missed: int = 0
    skipped: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """An instant whose time has come and that waits; `asked`: by a backfill or a trigger."""

    at: int
    overlap: Overlap
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A run that an instant started."""

    at: int
    started_at: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands. Never changed in place.

    Args:
        version: grows with every change; guards the store's row.
        revision: grows with every change by people: what they see and guard by.
        starts_left: UNLIMITED, or how many starts are left of `max_starts`.
        cursor_at: instants at or below it are done with.
        next_at: the first instant above the cursor; 0: none will come.
        due_at: when that one fires, jitter added.
        pending: instants that wait, the next one first.
        running: runs that it started and that are not known to have ended, the newest last.
        recent: the newest starts, the newest last.
        refusal: why the last refused instant was refused.
    """

    namespace: str
    schedule_id: str
    spec: ScheduleSpec
    version: int
    revision: int
    created_at: int
    updated_at: int
    paused: bool = False
    note: str = ""
    starts_left: int = UNLIMITED
    cursor_at: int = 0
    next_at: int = 0
    due_at: int = 0
    pending: tuple[Pending, ...] = ()
    running: tuple[str, ...] = ()
    counts: Counts = Counts()
    recent: tuple[Started, ...] = ()
    refusal: str = ""

    @property
    def wake_at(self) -> int:
        """When somebody must look at it: now for what is pending; 0: never, as it stands."""
        if any(entry.asked or not self.paused for entry in self.pending[:1]):
            return self.updated_at
        return 0 if self.paused or not self.starts_left else self.due_at
