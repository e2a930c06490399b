"""What a schedule does next. Each move is one commit: it starts a run and advances the schedule, or just the latter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from perdure_server.kernel.limits import Limits
from perdure_server.kernel.schedules import UNLIMITED, Counts, Overlap, Pending, Schedule, ScheduleSpec, Started
from perdure_server.timetable.instants import instants_after, next_firing

RECENT: Final = 10
RUNNING: Final = 100
"""Runs remembered as not ended. Only schedules that allow all to overlap can have more."""
MOST_COUNTED: Final = 10_000
"""Missed instants counted one by one; of more, the rest is passed over."""


@dataclass(frozen=True, slots=True)
class Move:
    """The schedule after the move.

    Args:
        at: the instant that starts a run; None: none does.
        cancels: runs that give way to it.
        asked: the instant was asked for by somebody: it does not count against `max_starts`.
    """

    schedule: Schedule
    at: int | None = None
    cancels: tuple[str, ...] = ()
    asked: bool = False


def created(namespace: str, schedule_id: str, spec: ScheduleSpec, now: int, *, paused: bool, note: str) -> Schedule:
    """A new schedule; instants up to now are none of its business."""
    left = spec.max_starts or UNLIMITED
    made = Schedule(namespace, schedule_id, spec, 0, 1, now, now, paused, note, starts_left=left, cursor_at=now)
    return _moved_on(made, now, now)


def changed(schedule: Schedule, spec: ScheduleSpec, now: int) -> Schedule:
    """With another spec: what comes is counted from now, what waits stays."""
    left = spec.max_starts or UNLIMITED
    made = replace(schedule, spec=spec, starts_left=left, revision=schedule.revision + 1)
    return _moved_on(made, max(schedule.cursor_at, now), now)


def with_pause(schedule: Schedule, paused: bool, note: str, now: int) -> Schedule:
    """Paused or not. Instants that pass during a pause are not made good afterwards."""
    made = replace(schedule, paused=paused, note=note, revision=schedule.revision + 1)
    cursor = schedule.cursor_at if paused else max(schedule.cursor_at, now)
    return _moved_on(made, cursor, now)


def backfilled(schedule: Schedule, start: int, end: int, overlap: Overlap, most: int, now: int) -> Schedule | None:
    """With the instants from `start` to `end`, both included, waiting; None if more than `most` would wait."""
    room = most - len(schedule.pending)
    found: list[Pending] = []
    timing = replace(schedule.spec.timing, end_at=min(end, schedule.spec.timing.end_at or end))
    for at in instants_after(timing, start - 1):
        if len(found) == room:
            return None
        found.append(Pending(at, overlap, asked=True))
    return _touched(replace(schedule, pending=(*schedule.pending, *found)), now)


def next_move(schedule: Schedule, now: int, limits: Limits) -> Move | None:
    """What to do now; None: nothing, until `wake_at`, or a run of the schedule has ended.

    `schedule.running` holds only runs that have not ended.
    """
    live = not schedule.paused and schedule.starts_left and schedule.next_at
    if live and schedule.due_at <= now:
        if schedule.due_at < now - schedule.spec.catch_up_us:
            return Move(_missed(schedule, now))
        advanced = _moved_on(schedule, schedule.next_at, now)
        return _come(advanced, Pending(schedule.next_at, schedule.spec.overlap), now, limits)
    if schedule.pending and (schedule.pending[0].asked or not schedule.paused):
        first, rest = schedule.pending[0], schedule.pending[1:]
        waits = first.overlap in (Overlap.BUFFER_ONE, Overlap.BUFFER_ALL)
        if waits and schedule.running:
            return None
        return _come(replace(schedule, pending=rest), first, now, limits)
    return None


def asked_now(schedule: Schedule, overlap: Overlap, now: int, limits: Limits) -> Move:
    """A start that somebody asks for now, whatever the timing says."""
    return _come(schedule, Pending(now, overlap, asked=True), now, limits)


def started(move: Move, run_id: str, now: int) -> Schedule:
    """The schedule after the run of the move was started."""
    schedule, at = move.schedule, move.at or 0
    left = schedule.starts_left if move.asked or schedule.starts_left == UNLIMITED else schedule.starts_left - 1
    made = replace(
        schedule,
        starts_left=left,
        running=(*schedule.running, run_id)[-RUNNING:],
        recent=(*schedule.recent, Started(at, now, run_id))[-RECENT:],
        counts=replace(schedule.counts, started=schedule.counts.started + 1),
    )
    return _touched(made, now)


def refused(move: Move, why: str, now: int) -> Schedule:
    """The schedule after the run of the move could not be started."""
    counts = replace(move.schedule.counts, refused=move.schedule.counts.refused + 1)
    return _touched(replace(move.schedule, counts=counts, refusal=why), now)


def passed(move: Move, now: int) -> Schedule:
    """The schedule after the instant of the move turned out to have its run already."""
    return _touched(move.schedule, now)


def with_running(schedule: Schedule, running: tuple[str, ...]) -> Schedule:
    """With those of its runs that have not ended."""
    return schedule if running == schedule.running else replace(schedule, running=running)


def _come(schedule: Schedule, entry: Pending, now: int, limits: Limits) -> Move:
    """An instant has come: it starts a run, waits, or is skipped."""
    overlap, busy = entry.overlap, bool(schedule.running)
    if not busy or overlap is Overlap.ALLOW_ALL:
        return Move(schedule, entry.at, asked=entry.asked)
    if overlap is Overlap.CANCEL_OTHER:
        return Move(schedule, entry.at, schedule.running, entry.asked)
    room = {Overlap.BUFFER_ONE: 1, Overlap.BUFFER_ALL: limits.schedule_buffer}.get(overlap, 0)
    if len(schedule.pending) < room:
        return Move(_touched(replace(schedule, pending=(*schedule.pending, entry)), now))
    return Move(_touched(replace(schedule, counts=_one_more_skipped(schedule)), now))


def _one_more_skipped(schedule: Schedule) -> Counts:
    return replace(schedule.counts, skipped=schedule.counts.skipped + 1)


def _missed(schedule: Schedule, now: int) -> Schedule:
    """Passes over the instants that are older than the catch-up window."""
    horizon = now - schedule.spec.catch_up_us
    count = 0
    for at in instants_after(schedule.spec.timing, schedule.cursor_at):
        if at >= horizon or count == MOST_COUNTED:
            break
        count += 1
    counts = replace(schedule.counts, missed=schedule.counts.missed + count)
    return _moved_on(replace(schedule, counts=counts), horizon - 1, now)


def _moved_on(schedule: Schedule, cursor: int, now: int) -> Schedule:
    seed = f"{schedule.namespace}\0{schedule.schedule_id}"
    following, due_at = next_firing(schedule.spec.timing, cursor, seed)
    return _touched(replace(schedule, cursor_at=cursor, next_at=following, due_at=due_at), now)


def _touched(schedule: Schedule, now: int) -> Schedule:
    return replace(schedule, version=schedule.version + 1, updated_at=now)
