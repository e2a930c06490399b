"""The inputs of the expected table: for a run, every kind of input in the variants worth telling apart.

A plain variant fits the run as well as its state allows: it names the present step, attempt and wait, or the
attempt that a cancel abandoned. The others are named after what is wrong or special about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from perdure_server.kernel.inputs import (
    BranchesDue,
    Cancel,
    ChildEndSeen,
    EffectBegun,
    EffectSettled,
    EventMatched,
    EventOffered,
    Input,
    LeaseLapsed,
    Migrate,
    NodePlanned,
    Pause,
    ResolveStep,
    Resume,
    Retry,
    SlotGranted,
    StartRun,
    StepLeased,
    StepReleased,
    TickBudget,
    TimerFired,
    TimerKind,
    TurnTaken,
    Unpause,
)
from perdure_server.kernel.model import (
    EffectResult,
    EventScope,
    Failure,
    RunState,
    RunStatus,
    StepFailure,
    StepPlan,
)
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import Resolution
from perdure_server.kernel.values import Leaf
from tests.kernel.ledgers import AT, DAY_US, FLOOR, SPEC, TARGET

PLAN: Final = StepPlan(next_node="after")
RESULT: Final = EffectResult(Leaf(b'"done"'))
FAILURE: Final = Failure("BUSY", "try again", retryable=True)
REPORT: Final = b"the report as it was sent"


def _step_of(run: RunState | None) -> tuple[int, int]:
    """The step and attempt that a worker would report: of the abandoned attempt, or else the present ones."""
    if run is None or run.step is None:
        return run.abandoned if run and run.abandoned else (1, 1)
    if run.abandoned is not None:
        return run.abandoned
    node_turn = run.step.server_side and run.step.effect is None
    return run.step.step_id, 0 if node_turn else max(run.step.attempt, 1)


def _present_step(run: RunState | None) -> int:
    return run.step.step_id if run is not None and run.step is not None else 1


def _wait_of(run: RunState | None) -> int:
    return run.waiting.wait_id if run is not None and run.waiting is not None else 1


def _next_place(run: RunState | None) -> int:
    return run.join.started + 1 if run is not None and run.join is not None else 1


def _timer(kind: TimerKind) -> Callable[[RunState | None], Input]:
    def fired(run: RunState | None) -> Input:
        due_at = obligations(run).timers.get(kind, run.updated_at) if run is not None else AT
        return TimerFired(kind, due_at, *_step_of(run))

    return fired


def _child(child_run_id: str, status: RunStatus) -> Callable[[RunState | None], Input]:
    failed = status is RunStatus.FAILED
    output, failure = (None, Failure("BROKEN", "no")) if failed else (Leaf(b'{"n":1}'), None)
    return lambda _run: ChildEndSeen(child_run_id, status, output, failure)


def _completed(run: RunState | None) -> Input:
    """Completes a step as its kind asks: a node by a plan, an effect by a result."""
    step_id = _present_step(run)
    if run is not None and run.step is not None and run.step.effect is not None:
        return ResolveStep(step_id, Resolution.COMPLETED, result=RESULT.result)
    return ResolveStep(step_id, Resolution.COMPLETED, plan=PLAN)


def _event(run: RunState | None) -> Input:
    wait_id = _wait_of(run)
    return EventMatched(wait_id, FLOOR + 1, "event-1", EventScope.SESSION, "session-1", "go", Leaf(b'{"event_id":"e"}'))


INPUTS: Final[Mapping[str, Callable[[RunState | None], Input]]] = {
    "StartRun": lambda _run: StartRun("default", "run-1", Leaf(b"{}")),
    "TurnTaken": lambda run: TurnTaken(_present_step(run)),
    "TurnTaken/other": lambda run: TurnTaken(_present_step(run) + 1),
    "BranchesDue": lambda run: BranchesDue(_present_step(run), _next_place(run), (Leaf(b"{}"),)),
    "BranchesDue/failed": lambda run: BranchesDue(_present_step(run), _next_place(run), failure=FAILURE),
    "BranchesDue/other": lambda run: BranchesDue(_present_step(run), _next_place(run) + 1, (Leaf(b"{}"),)),
    "StepLeased": lambda run: StepLeased(_present_step(run), "worker-2"),
    "StepLeased/other": lambda run: StepLeased(_present_step(run) + 1, "worker-2"),
    "StepReleased": lambda run: StepReleased(*_step_of(run)),
    "StepReleased/stale": lambda run: StepReleased(_step_of(run)[0], _step_of(run)[1] + 1),
    "NodePlanned": lambda run: NodePlanned(*_step_of(run), PLAN, report=REPORT),
    "NodePlanned/failed": lambda run: NodePlanned(*_step_of(run), StepFailure(FAILURE), report=REPORT),
    "NodePlanned/stale": lambda run: NodePlanned(_step_of(run)[0], _step_of(run)[1] + 1, PLAN, report=REPORT),
    "EffectBegun": lambda run: EffectBegun(*_step_of(run)),
    "EffectBegun/stale": lambda run: EffectBegun(_step_of(run)[0], _step_of(run)[1] + 1),
    "EffectSettled": lambda run: EffectSettled(*_step_of(run), RESULT, report=REPORT),
    "EffectSettled/failed": lambda run: EffectSettled(*_step_of(run), StepFailure(FAILURE), report=REPORT),
    "EffectSettled/stale": lambda run: EffectSettled(_step_of(run)[0], _step_of(run)[1] + 1, RESULT, report=REPORT),
    "Resume": lambda run: Resume(_wait_of(run), False, Leaf(b'"yes"')),
    "Resume/any": lambda _run: Resume(0, True, Leaf(b'"yes"')),
    "Resume/other": lambda run: Resume(_wait_of(run) + 1, False, Leaf(b'"yes"')),
    "EventMatched": _event,
    **{f"TimerFired/{kind.name.lower()}": _timer(kind) for kind in TimerKind},
    "ChildEndSeen/awaited": _child("awaited", RunStatus.COMPLETED),
    "ChildEndSeen/awaited_failed": _child("awaited", RunStatus.FAILED),
    "ChildEndSeen/beside": _child("beside", RunStatus.COMPLETED),
    "ChildEndSeen/branch": _child("branch-1", RunStatus.COMPLETED),
    "ChildEndSeen/branch_failed": _child("branch-1", RunStatus.FAILED),
    "ChildEndSeen/unknown": _child("unknown", RunStatus.COMPLETED),
    "Cancel": lambda _run: Cancel("enough", "somebody"),
    "Pause": lambda _run: Pause("a while", "somebody"),
    "Unpause": lambda _run: Unpause("somebody"),
    "LeaseLapsed": lambda run: LeaseLapsed(_present_step(run), _step_of(run)[1]),
    "LeaseLapsed/stale": lambda run: LeaseLapsed(_present_step(run), _step_of(run)[1] + 1),
    "ResolveStep/rerun": lambda run: ResolveStep(_present_step(run), Resolution.RERUN),
    "ResolveStep/completed": _completed,
    "ResolveStep/failed": lambda run: ResolveStep(_present_step(run), Resolution.FAILED, failure=FAILURE),
    "ResolveStep/other": lambda run: ResolveStep(_present_step(run) + 1, Resolution.RERUN),
    "TickBudget": lambda _run: TickBudget(1),
    "TickBudget/0": lambda _run: TickBudget(0),
    "SlotGranted": lambda _run: SlotGranted(),
    "EventOffered": lambda _run: EventOffered("go", Leaf(b"1"), "event-1", "somebody"),
    "Retry": lambda _run: Retry(retried_by="somebody"),
    "Retry/deadline": lambda _run: Retry(deadline_at=AT + 4 * DAY_US),
    "Retry/from_node": lambda _run: Retry(deadline_at=AT + 4 * DAY_US, from_node=True),
    "Migrate": lambda _run: Migrate(TARGET, {"work": "labour"}, "somebody"),
    "Migrate/unmapped": lambda _run: Migrate(TARGET),
    "Migrate/same": lambda _run: Migrate(SPEC),
}
