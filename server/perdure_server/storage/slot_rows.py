"""Rows of concurrency keys and of schedules: what goes over the storage port about when runs may start.

`port` gives these names on: import them from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class SlotKind(IntEnum):
    """Where a run stands with its concurrency key."""

    IN_LINE = 1
    ASIDE = 2
    """In line, and paused: others pass it."""
    HELD = 3


@dataclass(frozen=True, slots=True)
class SlotRow:
    """The place of a run with its concurrency key, at most one a run. `newest_wins`: the oldest give way to it."""

    key: str
    limit: int
    kind: SlotKind
    newest_wins: bool


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """A run's place, and its rank: lower ones came earlier."""

    run_id: str
    rank: int
    row: SlotRow


@dataclass(frozen=True, slots=True)
class SlotLine:
    """A concurrency key: how many hold a slot, how many are in line (those aside included), and the first of each
    by rank; of those in line without those aside."""

    holding: int = 0
    waiting: int = 0
    holders: tuple[SlotPlace, ...] = ()
    line: tuple[SlotPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule. `next_at` 0: nothing is to come; `detail` is the codec's encoding of all of it."""

    schedule_id: str
    version: int
    next_at: int
    created_at: int
    detail: bytes


@dataclass(frozen=True, slots=True)
class ScheduleWrite:
    """Puts a schedule, or deletes it (`row` None), if its version is the expected one; 0: there is none."""

    schedule_id: str
    expected_version: int
    row: ScheduleRow | None


@dataclass(frozen=True, slots=True)
class DueSchedules:
    """(namespace, row) of schedules whose instant has come, by it; and the next instant after those, 0: none."""

    rows: tuple[tuple[str, ScheduleRow], ...] = ()
    next_at: int = 0
