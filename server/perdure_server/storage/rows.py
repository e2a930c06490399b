"""Rows: what goes over the storage port, as plain data. Instants are Unix microseconds.

A store never decodes a record, a state or a payload. `port` gives these names on: import them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from perdure_server.storage.slot_rows import ScheduleWrite, SlotRow


class StoreError(Exception):
    """The store does not answer, or refuses to be used; nothing of the call was kept."""


class StoreDamagedError(StoreError):
    """What the store holds cannot be read as what it should be; it will not get better by itself."""


NO_LIMIT: Final = 2**63 - 1
"""A position that none is above: as `until_position`, reads what is above the horizon, too."""


class RunKey(NamedTuple):
    """Names one run. A tuple, because it is looked up several times a step and tuples hash and compare in C."""

    namespace: str
    run_id: str


@dataclass(slots=True, unsafe_hash=True)
class StoredPayload:
    """Bytes of one payload slot beside its record; `data` None: erased."""

    index: int
    salt: bytes
    data: bytes | None


@dataclass(slots=True, unsafe_hash=True)
class NewRecord:
    """A sealed record on its way in. `kind`, `status` and `node_id` repeat the header for filters."""

    seq: int
    kind: int
    status: int
    node_id: str
    at: int
    record: bytes
    record_hash: bytes
    payloads: tuple[StoredPayload, ...]


@dataclass(slots=True, unsafe_hash=True)
class StoredRecord:
    """A record as the ledger holds it."""

    namespace: str
    run_id: str
    seq: int
    position: int
    kind: int
    status: int
    node_id: str
    at: int
    workflow_id: str
    session_id: str
    root_run_id: str
    record: bytes
    prev_hash: bytes
    record_hash: bytes
    payloads: tuple[StoredPayload, ...]


class RunChange(NamedTuple):
    """A record of the ledger, as far as somebody needs it who only wants to know which runs have changed."""

    position: int
    namespace: str
    run_id: str
    seq: int
    kind: int


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What names and describes a run, for lists and filters. Only what `IdentityChange` holds ever changes."""

    namespace: str
    run_id: str
    root_run_id: str
    parent_run_id: str
    depth: int
    workflow_id: str
    workflow_version: str
    entry_node: str
    branch: str
    session_id: str
    actor_id: str
    labels: Mapping[str, str]
    drive: int
    created_at: int
    deadline_at: int


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """The parts of a run's identity that may change, as they are from a Commit on: MigrateRun gives the run
    another version of its workflow, RetryRun another deadline."""

    workflow_version: str
    deadline_at: int


@dataclass(frozen=True, slots=True)
class WaitRow:
    """The registered wait of a run. `detail` is the codec's encoding of the whole wait (<= 3 MiB)."""

    wait_id: int
    reason: int
    wait_key: str
    assignee: str
    event_name: str
    event_scope: int
    event_scope_id: str
    since_at: int
    detail: bytes


@dataclass(slots=True, unsafe_hash=True)
class RunHead:
    """The small head of a run, written by every commit. `error_type` empty: none."""

    status: int
    activity: int
    paused: bool
    current_node: str
    seq: int
    head_hash: bytes
    updated_at: int
    ended_at: int
    step_budget: int
    error_type: str
    wait: WaitRow | None


@dataclass(slots=True, unsafe_hash=True)
class TaskRow:
    """The task of a run; a run has at most one. Exactly one state: held, leased, or ready.

    `lease_expires_at` and `heartbeat_due_at` (0: none) are in the store's lease clock.
    `effect_type` empty: a node task of `node_id`.
    """

    step_id: int
    attempt: int
    node_id: str
    effect_type: str
    workflow_id: str
    workflow_version: str
    queue: str
    priority: int
    queued_at: int
    held: bool
    leased: bool
    worker_id: str
    lease_expires_at: int
    heartbeat_due_at: int


@dataclass(frozen=True, slots=True)
class TimerRow:
    """One timer; a run has at most one of each kind (kernel TimerKind)."""

    kind: int
    due_at: int


@dataclass(frozen=True, slots=True)
class ObligationRows:
    """What the store holds for a run besides state and ledger. `turn` None: none; True: held."""

    task: TaskRow | None
    turn: bool | None
    timers: tuple[TimerRow, ...]
    slot: SlotRow | None = None


@dataclass(slots=True, unsafe_hash=True)
class ObligationChange:
    """The difference a commit makes. Each `*_set` false: leave as it is."""

    task_set: bool = False
    task: TaskRow | None = None
    turn_set: bool = False
    turn: bool | None = None
    timers_put: tuple[TimerRow, ...] = ()
    timers_dropped: tuple[int, ...] = ()
    slot_set: bool = False
    slot: SlotRow | None = None
    slot_asked: SlotRow | None = None
    """A slot that the run comes to hold in this commit, perhaps to end in it: given, or NO_SLOT."""


NO_CHANGE = ObligationChange()


@dataclass(slots=True, unsafe_hash=True)
class RunCreate:
    """A run that a commit creates, with its first records."""

    identity: RunIdentity
    head: RunHead
    records: tuple[NewRecord, ...]
    change: ObligationChange


@dataclass(frozen=True, slots=True)
class MailRow:
    """A message to a run; unique per (namespace, to_run_id, kind, from_run_id), a repeat changes nothing."""

    to_run_id: str
    kind: str
    from_run_id: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event for the log; unique per (namespace, scope, scope_id, name, event_id)."""

    scope: int
    scope_id: str
    name: str
    event_id: str
    payload: bytes
    at: int
    run_id: str
    workflow_id: str
    node_id: str
    session_id: str
    emitted_by: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the log."""

    position: int
    event: EventRow


@dataclass(slots=True, unsafe_hash=True)
class RequestRow:
    """The reply to a request id; unique per (namespace, method, request_id)."""

    method: str
    request_id: str
    body_hash: bytes
    reply: bytes
    at: int


@dataclass(slots=True, unsafe_hash=True)
class Commit:
    """One transition (P1). Changes at most one existing run (`key`, guarded by `expected_seq`) and may
    create others. `key` None: only events, requests and new runs (a client's event, a first start).

    Args:
        expected_seq: the run's seq when it was read; the commit is a CONFLICT if it differs now.
        head: the run's new head; None with `key` None.
        identity: None: the run's identity stays as it is.
        keyframe: encoded full state as of head.seq, or None to write none.
        mail_consumed: (kind, from_run_id) rows of this run's mailbox that it deletes.
    """

    namespace: str
    key: RunKey | None = None
    expected_seq: int = 0
    head: RunHead | None = None
    identity: IdentityChange | None = None
    records: tuple[NewRecord, ...] = ()
    keyframe: bytes | None = None
    change: ObligationChange = NO_CHANGE
    new_runs: tuple[RunCreate, ...] = ()
    mail: tuple[MailRow, ...] = ()
    mail_consumed: tuple[tuple[str, str], ...] = ()
    events: tuple[EventRow, ...] = ()
    request: RequestRow | None = None
    schedule: ScheduleWrite | None = None


class VerdictKind(Enum):
    """What became of a Commit. All but COMMITTED: nothing of it was kept."""

    COMMITTED = "committed"
    CONFLICT = "conflict"
    """The run's seq is not the expected one (or the run does not exist)."""
    RUN_EXISTS = "run_exists"
    """A new run's id is taken; `taken_run_id` names it."""
    REQUEST_KNOWN = "request_known"
    """The request id was committed before; `request` is that row, whatever its hash."""
    SCHEDULE_CHANGED = "schedule_changed"
    """The schedule's version is not the expected one."""
    NO_SLOT = "no_slot"
    """A run would come to hold a slot, and as many hold one as its limit, or another is before it in line."""
    FAILED = "failed"
    """The Commit cannot be kept by any store, now or later: it contradicts itself, breaks a rule of the
    rows, or holds text or numbers that cannot be stored. `error` says what. A fault of the caller's code."""


@dataclass(slots=True, unsafe_hash=True)
class Verdict:
    """Answer to one Commit.

    Args:
        positions: of its records: the run's own first, then each new run's, in order.
        event_positions: one per event; of the existing event where it was known.
        events_known: parallel to event_positions: the event existed.

    When several kinds apply: REQUEST_KNOWN before CONFLICT before SCHEDULE_CHANGED before RUN_EXISTS before
    NO_SLOT before FAILED.
    """

    kind: VerdictKind
    positions: tuple[int, ...] = ()
    event_positions: tuple[int, ...] = ()
    events_known: tuple[bool, ...] = ()
    taken_run_id: str = ""
    request: RequestRow | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRenewal:
    """Renews one lease. heartbeat_due_at None: leave it."""

    key: RunKey
    step_id: int
    attempt: int
    lease_expires_at: int
    heartbeat_due_at: int | None = None


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """What loading a run needs: identity, head, newest keyframe and the records after it.

    `keyframe` None: `records` start with seq 1.
    """

    identity: RunIdentity
    head: RunHead
    keyframe_seq: int
    keyframe: bytes | None
    records: tuple[StoredRecord, ...]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list."""

    identity: RunIdentity
    head: RunHead
    task: TaskRow | None
    slot: SlotRow | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Typed filter of runs; conditions ANDed, values of one condition ORed; empty or 0: any."""

    namespace: str
    statuses: tuple[int, ...] = ()
    activities: tuple[int, ...] = ()
    workflow_id: str = ""
    workflow_version: str = ""
    session_id: str = ""
    root_run_id: str = ""
    parent_run_id: str = ""
    roots_only: bool = False
    paused_only: bool = False
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    wait_reason: int = 0
    wait_key: str = ""
    assignee: str = ""
    created_from: int = 0
    created_before: int = 0
    ended_from: int = 0
    ended_before: int = 0


@dataclass(frozen=True, slots=True)
class WaitQuery:
    """Typed filter of waits; empty: any."""

    namespace: str
    reasons: tuple[int, ...] = ()
    wait_key: str = ""
    assignee: str = ""
    workflow_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Records of one scope after a position, in position order, up to and including `until_position`.

    At most one of run_id, root_run_id, session_id, workflow_id; none: the whole namespace.
    `after_seq` (run scope only): also seq > after_seq.
    A page ends at `limit` records or once it holds `byte_limit` bytes of records and payloads (it
    always holds at least one if there is one).
    """

    namespace: str
    run_id: str = ""
    root_run_id: str = ""
    session_id: str = ""
    workflow_id: str = ""
    kinds: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()
    node_ids: tuple[str, ...] = ()
    after_position: int = 0
    until_position: int = 0
    after_seq: int = 0
    limit: int = 100
    byte_limit: int = 3 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DueTimer:
    """A timer whose instant has come."""

    key: RunKey
    kind: int
    due_at: int


@dataclass(frozen=True, slots=True)
class DueMail:
    """A message that waits for its receiver."""

    key: RunKey
    kind: str
    from_run_id: str


@dataclass(frozen=True, slots=True)
class DueLease:
    """A lease that ran out, or (`heartbeat`) a task whose handler was silent too long."""

    key: RunKey
    step_id: int
    attempt: int
    due_at: int
    heartbeat: bool


@dataclass(frozen=True, slots=True)
class DueWork:
    """Work that loops take up; each list holds at most the limit asked for."""

    timers: tuple[DueTimer, ...] = ()
    turns: tuple[RunKey, ...] = ()
    mail: tuple[DueMail, ...] = ()
    leases: tuple[DueLease, ...] = ()
    next_timer_at: int = 0
    """Earliest timer that is not in `timers`; 0: none."""
    next_lease_at: int = 0
    """Earliest lease end or heartbeat that is not in `leases`, in the lease clock; 0: none."""


@dataclass(frozen=True, slots=True)
class ReadyTask:
    """A task without lease, not held."""

    key: RunKey
    task: TaskRow


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which ready tasks a worker could take; a store may return more kinds, never fewer.

    Args:
        effect_types: types served; "*" any; empty: no effects.
        workflow_ids: workflows whose nodes are served; empty: no nodes.
        limit: at most this many, by (priority desc, queued_at, run_id).
    """

    namespace: str
    queues: tuple[str, ...]
    effect_types: tuple[str, ...]
    workflow_ids: tuple[str, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A registered version; `spec` is the codec's encoding."""

    workflow_id: str
    version: str
    spec: bytes
    entry_node: str
    node_count: int
    registered_at: int
    is_default: bool


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """A change of namespaces or workflows; exactly one of the three.

    Args:
        create_namespace: (name, description, at).
        put_workflow: the version; becomes the default if it is the first or `make_default`.
        set_default: (workflow_id, version).
        request: dedupe row, written with it.
    """

    namespace: str
    create_namespace: tuple[str, str, int] | None = None
    put_workflow: WorkflowRow | None = None
    make_default: bool = False
    set_default: tuple[str, str] | None = None
    request: RequestRow | None = None


@dataclass(frozen=True, slots=True)
class CatalogVerdict:
    """`changed` False: it was so before. `found` False: no such workflow version (set_default).
    `request`: the request id was known; nothing was changed."""

    changed: bool
    found: bool = True
    is_default: bool = False
    previous_version: str = ""
    request: RequestRow | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """What a store can or cannot do, with the reason."""

    available: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """A store's identity and abilities.

    Args:
        kind: "memory", "sqlite", ...
        epoch: identity of the data; changes after a restore.
        shared: several processes may write; then positions are read behind `horizon`, leases use the
            store's clock, and a process hears of other processes' commits by polling.
        takes_old_tokens: 0.1 made it, and its epoch is the one it had then: a task token of 0.1, which names no
            epoch, can only be of this data.
    """

    kind: str
    epoch: str
    shared: bool
    features: Mapping[str, Feature]
    takes_old_tokens: bool = False
