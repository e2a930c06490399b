"""The transition table: (activity, paused, input) -> handler. A pair that is absent is a typed rejection.

Rows are the activities, and two more: NONE (no run yet) and ENDED. docs/state-machine.md is generated
from here (`python -m tools.state_machine`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

from perdure_server.kernel import branches, lifecycle, migration, reopening, steps, waits
from perdure_server.kernel import inputs as i
from perdure_server.kernel.decision import Decision, Reason, Rejection
from perdure_server.kernel.draft import Draft, not_due, stale
from perdure_server.kernel.model import Activity, RunState

Handler: TypeAlias = Callable[[Draft, Any], Decision | None]
Cell: TypeAlias = tuple["Row", bool, type[i.Input]]


class Row(Enum):
    """Where a run can be when an input meets it."""

    __hash__ = object.__hash__  # Enum's own hashes the name each time, in Python

    NONE = "none"
    QUEUED = "queued"
    LEASED = "leased"
    BACKOFF = "backoff"
    WAITING = "waiting"
    PARKED = "parked"
    IDLE = "idle"
    ENDED = "ended"


LIVE = (Row.QUEUED, Row.LEASED, Row.BACKOFF, Row.WAITING, Row.PARKED, Row.IDLE)
BOTH = (False, True)
UNPAUSED = (False,)


_ROWS: Mapping[Activity, Row] = {
    activity: Row.ENDED if activity is Activity.NONE else Row[activity.name] for activity in Activity
}


_NEED_A_LIVE_RUN = (
    i.Pause,
    i.Unpause,
    i.TickBudget,
    i.Resume,
    i.ResolveStep,
    i.StepReleased,
    i.EffectBegun,
    i.EventOffered,
    i.Migrate,
)


def row_of(run: RunState) -> Row:
    """The row of a run."""
    return _ROWS[run.activity]


def _cells() -> dict[Cell, Handler]:
    table: dict[Cell, Handler] = {}

    def put(event: type[i.Input], rows: tuple[Row, ...], handler: Handler, paused: tuple[bool, ...] = BOTH) -> None:
        for row in rows:
            for flag in paused:
                table[row, flag, event] = handler

    put(i.TurnTaken, (Row.QUEUED,), steps.turn_taken, UNPAUSED)
    put(i.BranchesDue, (Row.WAITING,), branches.start_branches, UNPAUSED)
    put(i.StepLeased, (Row.QUEUED,), steps.lease, UNPAUSED)
    put(i.NodePlanned, (Row.QUEUED,), steps.node_planned, UNPAUSED)
    put(i.NodePlanned, (Row.LEASED,), steps.node_planned)
    put(i.EffectSettled, (Row.LEASED,), steps.effect_settled)
    put(i.EffectBegun, (Row.LEASED,), steps.begin)
    put(i.StepReleased, (Row.LEASED,), steps.release)
    put(i.LeaseLapsed, (Row.LEASED,), steps.lapse)
    put(i.Resume, (Row.WAITING,), waits.resume)
    put(i.EventMatched, (Row.WAITING,), waits.event_matched)
    put(i.TimerFired, LIVE, waits.timer_fired)
    put(i.ChildEndSeen, LIVE, waits.child_ended)
    put(i.ResolveStep, (Row.PARKED,), steps.resolve)
    put(i.Pause, LIVE, lifecycle.pause)
    put(i.Unpause, LIVE, lifecycle.unpause)
    put(i.TickBudget, LIVE, lifecycle.tick_budget)
    put(i.SlotGranted, (Row.BACKOFF,), lifecycle.slot_granted, UNPAUSED)
    put(i.EventOffered, LIVE, lifecycle.take_event)
    put(i.Cancel, LIVE, lifecycle.cancel)
    put(i.Cancel, (Row.ENDED,), lifecycle.nothing, UNPAUSED)
    put(i.Migrate, LIVE, migration.migrate)
    put(i.Retry, LIVE, reopening.retry)
    put(i.Retry, (Row.ENDED,), reopening.retry, UNPAUSED)
    for event in _NEED_A_LIVE_RUN:
        put(event, (Row.ENDED,), lifecycle.ended, UNPAUSED)
    return table


TABLE: Mapping[Cell, Handler] = _cells()


def _stale(event: Any) -> Rejection:
    return stale(event.step_id, event.attempt)


_ABSENT: Mapping[type[i.Input], Callable[[Any], Rejection]] = {
    i.StartRun: lambda event: Rejection(
        Reason.RUN_EXISTS, f"run id {event.run_id!r} is taken; a run id names one ledger for ever", field="run_id"
    ),
    i.NodePlanned: lambda event: _stale(event) if event.attempt else not_due("the turn"),
    i.EffectSettled: _stale,
    i.EffectBegun: _stale,
    i.StepReleased: _stale,
    i.Resume: lambda event: Rejection(Reason.RUN_NOT_WAITING, "the run does not wait for an answer"),
    i.ResolveStep: lambda event: Rejection(
        Reason.STEP_NOT_PARKED, "no step of the run is parked; only a parked step is resolved"
    ),
}


def absent(event: i.Input) -> Rejection:
    """The rejection of an input that its row does not have."""
    make = _ABSENT.get(type(event))
    return make(event) if make else not_due(type(event).__name__)
