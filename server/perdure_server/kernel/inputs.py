"""What can happen to a run. Every input is one of these, whoever sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from perdure_server.kernel.model import (
    Concurrency,
    Drive,
    EffectOutcome,
    EventScope,
    Failure,
    RunStatus,
    StepFailure,
    StepPlan,
    TraceContext,
    VarsOp,
    WorkflowSpec,
)
from perdure_server.kernel.records import Resolution
from perdure_server.kernel.values import Leaf


class TimerKind(IntEnum):
    """The timers a run can have, at most one of each."""

    START = 1
    RETRY = 2
    UNTIL = 3
    WAIT_DEADLINE = 4
    RUN_DEADLINE = 5
    SCHEDULE_TO_START = 6
    START_TO_CLOSE = 7
    HEARTBEAT = 8


@dataclass(frozen=True, slots=True)
class EventOffered:
    """An event for the run's own scope, from outside. A run that has ended does not take it."""

    name: str
    payload: Leaf
    event_id: str
    emitted_by: str = ""


@dataclass(frozen=True, slots=True)
class StartRun:
    """Creates a run. The workflow is the environment's; `root_run_id` empty: a root. `event` goes with it."""

    namespace: str
    run_id: str
    vars: Leaf
    actor_id: str = ""
    session_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    drive: Drive = Drive.AUTO
    start_at: int = 0
    deadline_at: int = 0
    entry_node: str = ""
    trace_context: TraceContext | None = None
    root_run_id: str = ""
    parent_run_id: str = ""
    parent_step_id: int = 0
    depth: int = 0
    branch: str = ""
    event: EventOffered | None = None
    concurrency: Concurrency | None = None


@dataclass(slots=True, unsafe_hash=True)
class TurnTaken:
    """The server takes its own next step: settles a kernel-owned effect. `answer` is the envelope of
    a vars_query, made by `programs`; unset for the others."""

    step_id: int
    answer: Leaf | None = None


@dataclass(frozen=True, slots=True)
class BranchesDue:
    """The server starts the next branches or items of a join, from the place `first` on: `vars` are theirs, made
    by `programs`. With `failure` they could not be made."""

    step_id: int
    first: int
    vars: tuple[Leaf, ...] = ()
    failure: Failure | None = None


@dataclass(slots=True, unsafe_hash=True)
class StepLeased:
    """A worker gets the step: attempt + 1."""

    step_id: int
    worker_id: str


@dataclass(frozen=True, slots=True)
class StepReleased:
    """A worker gives the step back unexecuted."""

    step_id: int
    attempt: int
    delay_us: int = 0


@dataclass(slots=True, unsafe_hash=True)
class NodePlanned:
    """A node's plan, from a worker (attempt >= 1) or the server (attempt 0); or its failure.

    `effect_outcome` settles the plan's effect at once. `report` is the report as sent, kept if late.
    """

    step_id: int
    attempt: int
    outcome: StepPlan | StepFailure
    effect_outcome: EffectOutcome | None = None
    report: bytes = b""


@dataclass(frozen=True, slots=True)
class EffectBegun:
    """A worker asks to execute its irreversible effect."""

    step_id: int
    attempt: int


@dataclass(slots=True, unsafe_hash=True)
class EffectSettled:
    """The outcome of an effect, from a worker."""

    step_id: int
    attempt: int
    outcome: EffectOutcome
    report: bytes = b""


@dataclass(frozen=True, slots=True)
class Resume:
    """An answer. `wait_id` 0 needs `any_wait`. Schemas are checked before, by the engine."""

    wait_id: int
    any_wait: bool
    payload: Leaf
    wait_key: str = ""
    resumed_by: str = ""


@dataclass(frozen=True, slots=True)
class EventMatched:
    """An event of the log that the run's wait asks for."""

    wait_id: int
    position: int
    event_id: str
    scope: EventScope
    scope_id: str
    name: str
    envelope: Leaf


@dataclass(frozen=True, slots=True)
class TimerFired:
    """An instant has come. The kernel checks that it is still meant. HEARTBEAT names its attempt."""

    timer: TimerKind
    due_at: int
    step_id: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class ChildEndSeen:
    """A child has ended."""

    child_run_id: str
    status: RunStatus
    output: Leaf | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody cancels the run."""

    reason: str = ""
    cancelled_by: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody pauses the run."""

    reason: str = ""
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Unpause:
    """Somebody unpauses the run."""

    unpaused_by: str = ""


@dataclass(frozen=True, slots=True)
class LeaseLapsed:
    """The lease of an attempt ran out."""

    step_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ResolveStep:
    """Somebody decides about a parked step: RERUN, COMPLETED with `result` or `plan`, FAILED."""

    step_id: int
    resolution: Resolution
    result: Leaf | None = None
    plan: StepPlan | None = None
    failure: Failure | None = None
    resolved_by: str = ""


@dataclass(frozen=True, slots=True)
class SlotGranted:
    """A slot of the run's concurrency key is free, and it is the run's turn. The store decides in the commit."""


@dataclass(frozen=True, slots=True)
class TickBudget:
    """Adds node entries to a manual run; 0 adds none."""

    steps: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Somebody opens a failed run again at its failed step.

    Args:
        vars_ops: repairs, applied before the step is due.
        from_node: the node plans anew, where an effect of its plan has failed.
        deadline_at: the run's new deadline; 0: the one it has.
        paused: the run is open again, and paused.
    """

    vars_ops: tuple[VarsOp, ...] = ()
    from_node: bool = False
    deadline_at: int = 0
    paused: bool = False
    retried_by: str = ""


@dataclass(frozen=True, slots=True)
class Migrate:
    """Somebody moves the run to another version of its workflow; `node_map` names nodes that are called
    differently there."""

    target: WorkflowSpec
    node_map: Mapping[str, str] = field(default_factory=dict[str, str])
    migrated_by: str = ""


Input: TypeAlias = (
    StartRun
    | TurnTaken
    | BranchesDue
    | StepLeased
    | StepReleased
    | NodePlanned
    | EffectBegun
    | EffectSettled
    | Resume
    | EventMatched
    | TimerFired
    | ChildEndSeen
    | Cancel
    | Pause
    | Unpause
    | LeaseLapsed
    | ResolveStep
    | TickBudget
    | EventOffered
    | SlotGranted
    | Retry
    | Migrate
)
