"""The model: runs, steps, waits, workflows. Plain data; instants are Unix microseconds (`*_at`),
durations microseconds (`*_us`). Enum numbers equal those of the contract (`proto/perdure/v1`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, TypeAlias

from perdure_server.kernel.nodes import JOIN_ALL, BranchSpec, ChoiceRule, ForeachSpec, JoinSpec
from perdure_server.kernel.persistent import PersistentMap, empty_map
from perdure_server.kernel.values import Json, Leaf


class RunStatus(IntEnum):
    """What became of a run, as its users see it."""

    RUNNING = 1
    WAITING = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5


class Activity(IntEnum):
    """What a run is doing. NONE once it has ended (P7: exactly one of the others before)."""

    NONE = 0
    QUEUED = 1
    LEASED = 2
    BACKOFF = 3
    WAITING = 4
    PARKED = 5
    IDLE = 6


class Drive(IntEnum):
    """Who moves a run."""

    AUTO = 1
    MANUAL = 2


class Risk(IntEnum):
    """What a second execution of an effect would do to the world."""

    READ = 1
    IDEMPOTENT = 2
    IRREVERSIBLE = 3


class EventScope(IntEnum):
    """Who can hear an event."""

    SESSION = 1
    WORKFLOW = 2
    RUN = 3
    GLOBAL = 4


class WaitReason(IntEnum):
    """What a wait waits for."""

    EVENT = 1
    UNTIL = 2
    USER = 3
    JOB = 4
    SUBWORKFLOW = 5
    JOIN = 6


class ChildPolicy(IntEnum):
    """What a parent's cancel does to a child."""

    CANCEL = 1
    ABANDON = 2


class NodeKind(IntEnum):
    """Where a node's plan comes from."""

    WORKER = 1
    EFFECT = 2
    COMPLETE = 3
    FAIL = 4
    CHOICE = 5
    ASSIGN = 6
    PARALLEL = 7
    FOREACH = 8
    SUBWORKFLOW = 9


class OnLimit(IntEnum):
    """What becomes of a run for which there is no slot."""

    QUEUE = 1
    REJECT = 2
    CANCEL_OLDEST = 3


class SlotState(IntEnum):
    """Whether a run has the slot of its concurrency key."""

    NONE = 0
    IN_LINE = 1
    HELD = 2


class ParkReason(IntEnum):
    """Why a step cannot go on by itself."""

    POISON = 1
    IN_DOUBT = 2


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not succeed. `type` is what programs branch on."""

    type: str
    message: str = ""
    retryable: bool = False
    details: Leaf | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delay before attempt n+1 is min(initial * coefficient^(n-1), max), counted in failures."""

    max_attempts: int = 1
    initial_interval_us: int = 1_000_000
    backoff_coefficient: float = 2.0
    max_interval_us: int = 60_000_000
    non_retryable_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds on one step; 0 means none."""

    schedule_to_start_us: int = 0
    start_to_close_us: int = 0
    heartbeat_us: int = 0


NO_RETRY = RetryPolicy()
NO_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class TraceContext:
    """W3C trace context of the caller."""

    traceparent: str = ""
    tracestate: str = ""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` runs of a namespace with the same `key` move at a time."""

    key: str
    limit: int
    on_limit: OnLimit = OnLimit.QUEUE


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node of a workflow. Values of `assign`, and `subworkflow.vars`, are templates."""

    node_id: str
    kind: NodeKind = NodeKind.WORKER
    next: str = ""
    inputs: tuple[str, ...] = ()
    queue: str = "default"
    retry: RetryPolicy | None = None
    timeouts: Timeouts | None = None
    on_error_node: str = ""
    template: Leaf | None = None
    result_key: str = ""
    risk: Risk = Risk.IDEMPOTENT
    priority: int = 0
    choices: tuple[ChoiceRule, ...] = ()
    assign: tuple[VarsOp, ...] = ()
    branches: tuple[BranchSpec, ...] = ()
    foreach: ForeachSpec | None = None
    join: JoinSpec = JOIN_ALL
    subworkflow: StartSubworkflow | None = None


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A workflow version. `version` is the digest of its content."""

    workflow_id: str
    version: str
    entry_node: str
    nodes: Mapping[str, NodeSpec]
    on_cancel_node: str = ""


@dataclass(frozen=True, slots=True)
class VarsOp:
    """One change of vars: `op` at the RFC 6901 pointer `path`; `value` for set and append."""

    path: str
    op: Literal["set", "append", "remove"]
    value: Leaf | None = None


@dataclass(frozen=True, slots=True)
class WaitTerms:
    """The question of a wait, its allowed answers, its deadline (absolute or relative) and where it leads."""

    prompt: str = ""
    choices: tuple[str, ...] = ()
    allow_free_text: bool = True
    details: Leaf | None = None
    answer_schema: Leaf | None = None
    assignee: str = ""
    deadline_at: int = 0
    timeout_us: int = 0
    on_deadline_node: str = ""
    resume_to_node: str = ""


NO_TERMS = WaitTerms()


@dataclass(frozen=True, slots=True)
class WaitEvent:
    """Wait for an event `name` of a scope ("*": any), or with a free `wait_key` for a resume only."""

    name: str = ""
    scope: EventScope = EventScope.SESSION
    scope_id: str = ""
    wait_key: str = ""
    since_now: bool = False
    terms: WaitTerms = NO_TERMS


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Wait for the instant `until_at`, or for `delay_us` from the record that registers the wait."""

    until_at: int = 0
    delay_us: int | None = None


@dataclass(frozen=True, slots=True)
class AskUser:
    """Ask a person."""

    terms: WaitTerms
    wait_key: str = ""


@dataclass(frozen=True, slots=True)
class AnswerUser:
    """Tell a person something; level is message, warning or error."""

    message: str
    level: str = "message"


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Append an event to the event log."""

    name: str
    scope: EventScope = EventScope.SESSION
    scope_id: str = ""
    payload: Leaf | None = None
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class StartSubworkflow:
    """Start a child run; see the contract for the three modes."""

    workflow_id: str
    workflow_version: str = ""
    vars: Leaf | None = None
    async_: bool = False
    wait: bool = False
    on_parent_cancel: ChildPolicy = ChildPolicy.CANCEL
    drive: Drive = Drive.AUTO
    entry_node: str = ""
    session_id: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    timeout_us: int = 0
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class VarsQuery:
    """Read vars as data; the envelope is made outside the kernel (`programs.vars_query`)."""

    path: str = "scratchpad"
    keys_only: bool = False


@dataclass(frozen=True, slots=True)
class Fanout:
    """Run branches (`names`, each with its node) or items (an array, all at one node) as child runs of the same
    version, some at once, and wait until `needed` of them have completed."""

    total: int
    needed: int
    max_concurrency: int
    entry_nodes: tuple[str, ...]
    names: tuple[str, ...] = ()
    items: Leaf | None = None


@dataclass(slots=True, unsafe_hash=True)
class RemoteRequest:
    """An effect executed by a worker: its JSON payload."""

    payload: Leaf


ServerRequest: TypeAlias = (
    WaitEvent | WaitUntil | AskUser | AnswerUser | EmitEvent | StartSubworkflow | VarsQuery | Fanout
)
EffectRequest: TypeAlias = ServerRequest | RemoteRequest


@dataclass(slots=True, unsafe_hash=True)
class Effect:
    """A request for a side effect, as a plan states it. Empty and None take the node's defaults."""

    type: str
    request: EffectRequest
    result_key: str = ""
    retry: RetryPolicy | None = None
    timeouts: Timeouts | None = None
    queue: str = ""
    priority: int = 0
    on_error_node: str = ""
    risk: Risk = Risk.IDEMPOTENT
    idempotency_key: str = ""


@dataclass(slots=True, unsafe_hash=True)
class StepPlan:
    """What a node wants next: fail, else complete_output, else effect, else next_node."""

    vars_ops: tuple[VarsOp, ...] = ()
    fail: Failure | None = None
    complete_output: Leaf | None = None
    effect: Effect | None = None
    next_node: str = ""


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """A wait asked for by a worker's effect: EVENT, USER or JOB."""

    reason: WaitReason
    wait_key: str = ""
    terms: WaitTerms = NO_TERMS


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A failure as a worker reports it."""

    failure: Failure
    not_executed: bool = False
    retry_after_us: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class EffectResult:
    """A completed effect; None and JSON null store nothing."""

    result: Leaf | None


EffectOutcome: TypeAlias = EffectResult | WaitRequest | StepFailure


@dataclass(slots=True, unsafe_hash=True)
class OpenEffect:
    """An effect of a run, defaults resolved. `next_node` empty: the run ends with its result."""

    type: str
    request: EffectRequest
    server_side: bool
    result_key: str
    next_node: str
    idempotency_key: str
    retry: RetryPolicy
    timeouts: Timeouts
    queue: str
    priority: int
    on_error_node: str
    risk: Risk


@dataclass(slots=True, unsafe_hash=True)
class NodeEntry:
    """The entry of a node: from here a step of it is due."""

    node_id: str
    visit: int
    server_side: bool = False
    queue: str = "default"
    priority: int = 0
    timeouts: Timeouts = NO_TIMEOUTS


@dataclass(slots=True, unsafe_hash=True)
class Step:
    """The step a run is at: a node (effect None) or the effect that its plan opened."""

    step_id: int
    node_id: str
    visit: int
    queued_at: int
    server_side: bool = False
    effect: OpenEffect | None = None
    queue: str = "default"
    priority: int = 0
    timeouts: Timeouts = NO_TIMEOUTS
    attempt: int = 0
    failures: int = 0
    lapses: int = 0
    begun: bool = False
    started_at: int = 0
    retry_at: int = 0
    worker_id: str = ""
    park_reason: ParkReason | None = None
    last_failure: Failure | None = None
    effect_attempts: int = 0
    """A node that RetryRun went back to: the last attempt of the effect it had opened. Attempts go on from there."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A registered wait. `event_name` empty: no event ends it."""

    wait_id: int
    reason: WaitReason
    node_id: str
    since_at: int
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
    child_run_id: str = ""
    needed: int = 0
    joined: int = 0
    missed_events: int = 0


@dataclass(frozen=True, slots=True)
class Child:
    """A child run that has not ended, as its parent knows it. `place` of a branch or item, from 1; 0: neither."""

    run_id: str
    step_id: int
    awaited: bool
    on_parent_cancel: ChildPolicy
    place: int = 0


@dataclass(frozen=True, slots=True)
class Join:
    """How far the branches or items are that a run waits for; `results` by place, from 1."""

    wait_id: int
    started: int = 0
    open: int = 0
    failed: int = 0
    results: PersistentMap[int, Leaf] = field(default_factory=empty_map)
    size: int = 0


MarkKey: TypeAlias = tuple[int, str, str]
"""(scope, scope_id, event name or "*")"""


@dataclass
class RunState:
    """A run as it stands: the fold of its ledger (P3). Never changed in place: `evolve` copies.

    Structures inside are shared between states and are never changed either. `abandoned` is the
    (step_id, attempt) that was leased when a cancel or deadline came: its late report is kept once. `turns`
    counts the nodes that the server has run since the last effect, wait or worker.
    `failed_step` is the step at which the run failed, for RetryRun; also set between the record that settled a
    step without a next one and the end that follows. `reopened` counts how often RetryRun opened it.
    """

    namespace: str
    run_id: str
    root_run_id: str
    workflow_id: str
    workflow_version: str
    entry_node: str
    parent_run_id: str = ""
    parent_step_id: int = 0
    depth: int = 0
    branch: str = ""
    session_id: str = ""
    actor_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    drive: Drive = Drive.AUTO
    trace_context: TraceContext | None = None
    created_at: int = 0
    updated_at: int = 0
    ended_at: int = 0
    deadline_at: int = 0
    event_floor: int = 0
    status: RunStatus = RunStatus.RUNNING
    activity: Activity = Activity.QUEUED
    paused: bool = False
    cancelling: bool = False
    cancel_reason: str = ""
    current_node: str = ""
    vars: dict[str, Json] = field(default_factory=dict[str, Json])
    vars_bytes: int = 2
    step: Step | None = None
    waiting: Wait | None = None
    visits: Mapping[str, int] = field(default_factory=dict[str, int])
    consumed: Mapping[MarkKey, int] = field(default_factory=dict[MarkKey, int])
    children: PersistentMap[str, Child] = field(default_factory=empty_map)
    join: Join | None = None
    step_budget: int = 0
    turns: int = 0
    abandoned: tuple[int, int] | None = None
    concurrency: Concurrency | None = None
    slot: SlotState = SlotState.NONE
    output: Leaf | None = None
    error: Failure | None = None
    seq: int = 0
    failed_step: Step | None = None
    reopened: int = 0

    @property
    def ended(self) -> bool:
        """True once the run is completed, failed or cancelled."""
        return self.status in TERMINAL

    def copy(self) -> RunState:
        """A shallow copy, to be changed by its maker before anybody else sees it."""
        twin = object.__new__(RunState)
        twin.__dict__.update(self.__dict__)
        return twin
