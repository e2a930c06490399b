"""What `decide` answers, what it may ask of its surroundings, and what a run obliges the store to hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import Concurrency, EventScope, RunState, Wait, WorkflowSpec
from perdure_server.kernel.records import Record
from perdure_server.kernel.values import Leaf


class Reason(Enum):
    """Why the kernel refuses an input; each is an ErrorReason of the contract."""

    INVALID_FIELD = "INVALID_FIELD"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    VARS_TOO_LARGE = "VARS_TOO_LARGE"
    WAIT_ID_REQUIRED = "WAIT_ID_REQUIRED"
    ANSWER_NOT_ALLOWED = "ANSWER_NOT_ALLOWED"
    RUN_NOT_FOUND = "RUN_NOT_FOUND"
    RUN_EXISTS = "RUN_EXISTS"
    CONCURRENCY_LIMIT = "CONCURRENCY_LIMIT"
    LIMIT_REACHED = "LIMIT_REACHED"
    NODE_NOT_FOUND = "NODE_NOT_FOUND"
    RUN_ENDED = "RUN_ENDED"
    RUN_NOT_WAITING = "RUN_NOT_WAITING"
    WAIT_ENDED = "WAIT_ENDED"
    WAIT_NOT_RESUMABLE = "WAIT_NOT_RESUMABLE"
    WAIT_KEY_MISMATCH = "WAIT_KEY_MISMATCH"
    RUN_NOT_MANUAL = "RUN_NOT_MANUAL"
    STEP_NOT_PARKED = "STEP_NOT_PARKED"
    STALE_ATTEMPT = "STALE_ATTEMPT"
    BAD_REPORT = "BAD_REPORT"
    RUN_NOT_FAILED = "RUN_NOT_FAILED"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    EFFECT_IN_DOUBT = "EFFECT_IN_DOUBT"
    MIGRATION_REFUSED = "MIGRATION_REFUSED"
    NOT_DUE = "NOT_DUE"
    """Internal: a timer, turn, lapse, match or child end that no longer applies. Never reaches a client."""


class Rejection(Exception):
    """An input that a run does not take in its present state. Nothing has changed.

    Args:
        reason: what programs branch on.
        message: for people; says what to do.
        field: the request field at fault, for INVALID_FIELD and its kin.
        metadata: small facts for ErrorInfo.metadata.
    """

    def __init__(self, reason: Reason, message: str, field: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = metadata


class Ack(Enum):
    """How an accepted report or begin is answered."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"


class MailKind(Enum):
    """Addressed traffic between runs. A mail names its sender only; the receiver reads the rest."""

    CHILD_ENDED = "child_ended"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    """A cancel that leaves a run alone which is on its way to its end."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to another run of the namespace; unique per (receiver, kind, sender)."""

    to_run_id: str
    kind: MailKind
    from_run_id: str


@dataclass(frozen=True, slots=True)
class EventAppend:
    """One event for the log; a known (scope, scope_id, name, event_id) changes nothing."""

    scope: EventScope
    scope_id: str
    name: str
    event_id: str
    payload: Leaf
    at: int
    run_id: str = ""
    workflow_id: str = ""
    node_id: str = ""
    session_id: str = ""
    emitted_by: str = ""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that a decision creates: its state after `records`, which start with run_started."""

    run: RunState
    records: tuple[Record, ...]


@dataclass(slots=True)
class Decision:
    """What an accepted input does: new records (possibly none) and what goes with them into the one commit."""

    run: RunState
    records: list[Record]
    new_runs: list[NewRun] = field(default_factory=list[NewRun])
    events: list[EventAppend] = field(default_factory=list[EventAppend])
    mail: list[Mail] = field(default_factory=list[Mail])
    ack: Ack = Ack.ACCEPTED


def _no_ids() -> str:
    raise LookupError("this environment has no ids")


def _no_workflows(_workflow_id: str, _version: str) -> WorkflowSpec | None:
    return None


@dataclass(frozen=True, slots=True)
class SlotsTaken:
    """All slots of a key are taken, or others are in line: by whom, and how many wait."""

    holder_run_id: str
    waiting: int


@dataclass(slots=True, unsafe_hash=True)
class Env:
    """All that `decide` may look at besides the run and the input; the same env gives the same answer.

    Args:
        now: Unix microseconds.
        spec: the run's pinned workflow.
        horizon: highest position below which no event or record can still appear.
        new_id: gives ids for child runs.
        workflows: (workflow_id, version or "" for the default) -> spec, or None.
        taken_run_ids: chosen child ids that turned out to exist.
        limits: limits in force.
        line: of the new run's concurrency key, when the store found no slot free; None: not known, or there is one.
    """

    now: int
    spec: WorkflowSpec
    horizon: int = 0
    new_id: Callable[[], str] = _no_ids
    workflows: Callable[[str, str], WorkflowSpec | None] = _no_workflows
    taken_run_ids: frozenset[str] = frozenset()
    limits: Limits = DEFAULT_LIMITS
    line: SlotsTaken | None = None


@dataclass(frozen=True, slots=True)
class SlotDue:
    """The place of a run in its key's line. `held`: it has a slot; `aside`: in line, and paused."""

    concurrency: Concurrency
    held: bool
    aside: bool


@dataclass(slots=True, unsafe_hash=True)
class TaskDue:
    """The task that a run obliges the store to hold. `effect_type` empty: a node."""

    step_id: int
    attempt: int
    node_id: str
    effect_type: str
    queue: str
    priority: int
    leased: bool
    held: bool
    worker_id: str
    queued_at: int


@dataclass(slots=True, unsafe_hash=True)
class Obligations:
    """What the store must hold for a run, besides its state. A pure function of the run.

    `turn` is None, or whether the turn is held (True while paused).
    """

    task: TaskDue | None = None
    turn: bool | None = None
    timers: Mapping[TimerKind, int] = field(default_factory=dict[TimerKind, int])
    wait: Wait | None = None
    children: Set[str] = frozenset()
    slot: SlotDue | None = None


NO_OBLIGATIONS = Obligations()
