"""Records as the kernel holds them: a header and one body a kind. The codec gives them their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from perdure_server.kernel.model import (
    ChildPolicy,
    Concurrency,
    Drive,
    EventScope,
    Failure,
    NodeEntry,
    OpenEffect,
    ParkReason,
    RunStatus,
    TraceContext,
    VarsOp,
    WaitReason,
)
from perdure_server.kernel.values import Leaf


class RecordKind(IntEnum):
    """What a record tells; numbers as in the contract."""

    RUN_STARTED = 1
    STEP_STARTED = 2
    STEP_BEGUN = 3
    STEP_COMPLETED = 4
    REQUEUED = 5
    WAITING = 6
    RESUMED = 7
    EVENT_CONSUMED = 8
    CHILD_ENDED = 9
    PARKED = 10
    UNPARKED = 11
    PAUSED = 12
    UNPAUSED = 13
    BUDGET_ADDED = 14
    CANCEL_REQUESTED = 15
    COMPLETED = 16
    FAILED = 17
    CANCELLED = 18
    LATE_RESULT = 19
    BRANCHES_STARTED = 22
    JOINED = 23
    REOPENED = 20
    MIGRATED = 21


class StepStatus(IntEnum):
    """Status of the step that a record speaks of."""

    NONE = 0
    STARTED = 1
    COMPLETED = 2
    WAITING = 3
    FAILED = 4


class RequeueCause(IntEnum):
    """Why a step is due again."""

    LAPSED = 1
    RELEASED = 2
    RETRY_DUE = 3
    START_DUE = 4
    SLOT_GRANTED = 5


class ResumeCause(IntEnum):
    """Why a wait ended."""

    ANSWER = 1
    TIMER = 2
    DEADLINE = 3


class Resolution(IntEnum):
    """What was decided about a parked step."""

    RERUN = 1
    COMPLETED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class ChildLink:
    """A child that a record adds to its parent."""

    run_id: str
    awaited: bool
    on_parent_cancel: ChildPolicy


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run exists. `entry` is its first node; `start_at` 0: due at once, or `in_line` for its slot."""

    namespace: str
    run_id: str
    root_run_id: str
    session_id: str
    actor_id: str
    workflow_id: str
    workflow_version: str
    entry: NodeEntry
    vars: Leaf
    parent_run_id: str = ""
    parent_step_id: int = 0
    depth: int = 0
    branch: str = ""
    drive: Drive = Drive.AUTO
    start_at: int = 0
    deadline_at: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    event_floor: int = 0
    trace_context: TraceContext | None = None
    concurrency: Concurrency | None = None
    in_line: bool = False


@dataclass(slots=True, unsafe_hash=True)
class StepStarted:
    """An attempt was handed out; attempt and worker stand in the header."""

    effect_type: str = ""


@dataclass(frozen=True, slots=True)
class StepBegun:
    """The worker may execute its irreversible effect now."""

    effect_type: str = ""


@dataclass(slots=True, unsafe_hash=True)
class StepCompleted:
    """A node's plan, an effect's result, or a failed attempt (`failure`; final unless `retry_at`).

    `next` and `effect` exclude each other; with neither, and no retry, the run's end follows.
    """

    effect_type: str = ""
    vars_ops: tuple[VarsOp, ...] = ()
    effect: OpenEffect | None = None
    next: NodeEntry | None = None
    result: Leaf | None = None
    result_key: str = ""
    failure: Failure | None = None
    retry_at: int = 0
    error_key: str = ""
    child: ChildLink | None = None


@dataclass(frozen=True, slots=True)
class Requeued:
    """The step is due again; `not_before` (RELEASED only) holds it back until then."""

    cause: RequeueCause
    not_before: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The run waits; the header's seq is the wait's id."""

    reason: WaitReason
    wait_key: str = ""
    event_name: str = ""
    event_scope: EventScope = EventScope.SESSION
    event_scope_id: str = ""
    event_floor: int = 0
    until_at: int = 0
    deadline_at: int = 0
    on_deadline_node: str = ""
    resume_to_node: str = ""
    result_key: str = ""
    prompt: str = ""
    choices: tuple[str, ...] = ()
    allow_free_text: bool = True
    details: Leaf | None = None
    answer_schema: Leaf | None = None
    assignee: str = ""
    child: ChildLink | None = None
    needed: int = 0
    missed_events: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """The wait ended by an answer, its instant or its deadline. No `next`: the run's end follows."""

    wait_id: int
    cause: ResumeCause
    payload: Leaf | None = None
    next: NodeEntry | None = None
    resumed_by: str = ""


@dataclass(frozen=True, slots=True)
class EventConsumed:
    """The wait ended by an event; `payload` is the envelope."""

    wait_id: int
    position: int
    event_id: str
    name: str
    payload: Leaf
    next: NodeEntry | None = None


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A child ended. `wait_id` 0: no wait ended with it; `place` set: a branch or item that is waited for."""

    child_run_id: str
    child_status: RunStatus
    wait_id: int = 0
    result: Leaf | None = None
    next: NodeEntry | None = None
    place: int = 0


@dataclass(frozen=True, slots=True)
class BranchesStarted:
    """Branches or items were started, from the place `first` on."""

    wait_id: int
    first: int
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Enough branches or items have completed. No `next`: the run's end follows."""

    wait_id: int
    next: NodeEntry | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """The step cannot go on by itself."""

    reason: ParkReason
    lapses: int = 0


@dataclass(frozen=True, slots=True)
class Unparked:
    """Somebody decided about a parked step."""

    resolution: Resolution
    resolved_by: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing new starts."""

    reason: str = ""
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Unpaused:
    """It may again."""

    unpaused_by: str = ""


@dataclass(frozen=True, slots=True)
class BudgetAdded:
    """Node entries added to a manual run."""

    steps: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A cancel was accepted and on_cancel_node entered."""

    reason: str
    next: NodeEntry
    cancelled_by: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """The run ended with an output."""

    output: Leaf


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended with an error."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run ended by a cancel; output or failure of its on_cancel_node path are kept."""

    reason: str
    output: Leaf | None = None
    failure: Failure | None = None
    cancelled_by: str = ""


@dataclass(frozen=True, slots=True)
class LateResult:
    """A report that came too late, kept as it was sent."""

    report: bytes


@dataclass(frozen=True, slots=True)
class Reopened:
    """A failed run goes on at the step it failed at.

    Args:
        entry: the node that is due; None: the effect that failed is due again, with its key.
        deadline_at: the run's deadline from here; 0: none.
        in_doubt: the effect may have been executed: the step is parked.
    """

    entry: NodeEntry | None = None
    vars_ops: tuple[VarsOp, ...] = ()
    deadline_at: int = 0
    paused: bool = False
    in_doubt: bool = False
    retried_by: str = ""


@dataclass(frozen=True, slots=True)
class Migrated:
    """The run goes on in another version of its workflow.

    Args:
        entry: where it stands there; for an open effect only node and visit count.
        node_map: (from, to) of the nodes that have another name there.
        requeued: a worker had the node: its attempt no longer counts, the node is due again.
    """

    from_version: str
    to_version: str
    entry: NodeEntry
    node_map: tuple[tuple[str, str], ...] = ()
    requeued: bool = False
    migrated_by: str = ""


Body: TypeAlias = (
    RunStarted
    | StepStarted
    | StepBegun
    | StepCompleted
    | Requeued
    | Waiting
    | Resumed
    | EventConsumed
    | ChildEnded
    | Parked
    | Unparked
    | Paused
    | Unpaused
    | BudgetAdded
    | CancelRequested
    | Completed
    | Failed
    | Cancelled
    | LateResult
    | BranchesStarted
    | Joined
    | Reopened
    | Migrated
)

KIND_OF: Mapping[type[Body], RecordKind] = {
    RunStarted: RecordKind.RUN_STARTED,
    StepStarted: RecordKind.STEP_STARTED,
    StepBegun: RecordKind.STEP_BEGUN,
    StepCompleted: RecordKind.STEP_COMPLETED,
    Requeued: RecordKind.REQUEUED,
    Waiting: RecordKind.WAITING,
    Resumed: RecordKind.RESUMED,
    EventConsumed: RecordKind.EVENT_CONSUMED,
    ChildEnded: RecordKind.CHILD_ENDED,
    Parked: RecordKind.PARKED,
    Unparked: RecordKind.UNPARKED,
    Paused: RecordKind.PAUSED,
    Unpaused: RecordKind.UNPAUSED,
    BudgetAdded: RecordKind.BUDGET_ADDED,
    CancelRequested: RecordKind.CANCEL_REQUESTED,
    Completed: RecordKind.COMPLETED,
    Failed: RecordKind.FAILED,
    Cancelled: RecordKind.CANCELLED,
    LateResult: RecordKind.LATE_RESULT,
    BranchesStarted: RecordKind.BRANCHES_STARTED,
    Joined: RecordKind.JOINED,
    Reopened: RecordKind.REOPENED,
    Migrated: RecordKind.MIGRATED,
}


@dataclass(slots=True, unsafe_hash=True)
class Record:
    """One line of a run's ledger. The run's own ids are added by the codec."""

    seq: int
    at: int
    body: Body
    node_id: str = ""
    visit: int = 0
    step_id: int = 0
    status: StepStatus = StepStatus.NONE
    attempt: int = 0
    idempotency_key: str = ""
    worker_id: str = ""

    @property
    def kind(self) -> RecordKind:
        """What it tells."""
        return KIND_OF[type(self.body)]
