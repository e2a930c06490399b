"""What the calls about runs take and return, beside the run itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, Self, TypeAlias, TypedDict

from perdure.instants import from_timestamp, to_timestamp
from perdure.json_text import Json, decode, encode
from perdure.model import TraceContext, WaitState
from perdure.v1 import common_pb2, run_service_pb2
from perdure.values import DriveMode, EventScope, OnExisting, OnLimit, RunActivity, RunStatus, WaitReason

View: TypeAlias = Literal["full", "basic"]
"""How much of a run to return; "basic" leaves out vars and output."""

VIEWS: Mapping[View, run_service_pb2.RunView.ValueType] = {
    "full": run_service_pb2.RUN_VIEW_FULL,
    "basic": run_service_pb2.RUN_VIEW_BASIC,
}

Until: TypeAlias = Literal["settled", "ended"]
"""What to wait for. Settled: ended, waiting, parked, idle, or paused with no attempt leased."""

UNTIL: Mapping[Until, run_service_pb2.WaitRunUntil.ValueType] = {
    "settled": run_service_pb2.WAIT_RUN_UNTIL_SETTLED,
    "ended": run_service_pb2.WAIT_RUN_UNTIL_ENDED,
}


@dataclass(frozen=True, slots=True)
class StartEvent:
    """An event that goes with a start: for the run that is started, or for the live one that has the id.

    A payload that is not an object is delivered as {"value": payload}, None as {}.
    """

    name: str
    payload: Json = None
    event_id: str = ""
    emitted_by: str = ""

    def to_wire(self) -> run_service_pb2.StartEvent:
        """As a message."""
        return run_service_pb2.StartEvent(
            name=self.name,
            payload_json="" if self.payload is None else encode(self.payload),
            event_id=self.event_id,
            emitted_by=self.emitted_by,
        )


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` runs of the namespace with the same key move at a time; see the contract's Concurrency."""

    key: str
    limit: int = 1
    on_limit: OnLimit | Literal["queue", "reject", "cancel_oldest"] = OnLimit.QUEUE

    def to_wire(self) -> common_pb2.Concurrency:
        """As a message."""
        return common_pb2.Concurrency(key=self.key, limit=self.limit, on_limit=OnLimit(self.on_limit).wire)


class StartOptions(TypedDict, total=False):
    """Options of `start_run`; see the contract's StartRunRequest.

    run_id: 1 to 128 characters of [A-Za-z0-9._:-]; default: a new one.
    workflow_version: default: the workflow's default version.
    drive: "auto" or "manual".
    start_at: the first step is due then.
    deadline: the run fails with RUN_DEADLINE then.
    on_existing: "fail" or "return", when the run id is taken.
    event: appended to the run's own scope in the commit that starts it; a live run of that id gets it instead.
    concurrency: the key whose slots the run competes for.
    request_id: the id under which a repeat returns the first reply; default: a new one.
    """

    run_id: str
    workflow_version: str
    actor_id: str
    session_id: str
    labels: Mapping[str, str]
    drive: DriveMode | Literal["auto", "manual"]
    start_at: datetime
    deadline: datetime
    on_existing: OnExisting | Literal["fail", "return"]
    entry_node: str
    trace_context: TraceContext
    event: StartEvent
    concurrency: Concurrency
    request_id: str


class _Reply(Protocol):
    """The fields that replies to changing calls share."""

    @property
    def run_id(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def status(self) -> common_pb2.RunStatus.ValueType: ...
    @property
    def activity(self) -> common_pb2.RunActivity.ValueType: ...


@dataclass(frozen=True, slots=True)
class RunReply:
    """A run as of the commit of a call: after this, `seq` records are on disk."""

    run_id: str
    seq: int
    status: RunStatus
    activity: RunActivity

    @classmethod
    def from_wire(cls, message: _Reply) -> Self:
        """From any reply of a changing call."""
        return cls(
            message.run_id,
            message.seq,
            RunStatus.from_wire(message.status),
            RunActivity.from_wire(message.activity),
        )


@dataclass(frozen=True, slots=True)
class StartReply(RunReply):
    """The started run. `created` is False when the run id existed and `on_existing` was "return", or the run that
    has the id took the event. `event_id` is empty without an event, and where an ended run took none."""

    created: bool
    workflow_version: str
    event_id: str = ""
    event_position: int = 0
    event_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class TickReply(RunReply):
    """A manual run when the call's wait ended, with the node entries it has left."""

    step_budget: int


@dataclass(frozen=True, slots=True)
class RetryOutcome:
    """What became of one run of a RetryRuns. `reason` and `message` say why it was not `retried`."""

    run_id: str
    retried: bool
    seq: int
    status: RunStatus
    activity: RunActivity
    reason: str
    message: str

    @classmethod
    def from_wire(cls, message: run_service_pb2.RetryOutcome) -> Self:
        """From the contract's RetryOutcome."""
        return cls(
            message.run_id,
            message.retried,
            message.seq,
            RunStatus.from_wire(message.status),
            RunActivity.from_wire(message.activity),
            message.reason,
            message.message,
        )


@dataclass(frozen=True, slots=True)
class MigrationFault:
    """Why a run cannot move: `node_id`, which the run or the map names at `place`."""

    node_id: str
    place: str
    problem: str


@dataclass(frozen=True, slots=True)
class MigrateReply(RunReply):
    """A run that was moved, or what a dry run found; see the contract's MigrateRunResponse."""

    from_version: str
    to_version: str
    current_node: str
    requeued: bool
    faults: tuple[MigrationFault, ...]
    left_behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunCount:
    """How many runs match: exactly `count`, or at least that many."""

    count: int
    at_least: bool


@dataclass(frozen=True, slots=True)
class RunWait:
    """A line of the inbox: a wait and its run."""

    run_id: str
    workflow_id: str
    session_id: str
    actor_id: str
    wait: WaitState
    paused: bool

    @classmethod
    def from_wire(cls, message: run_service_pb2.RunWait) -> Self:
        """From the contract's RunWait."""
        return cls(
            run_id=message.run_id,
            workflow_id=message.workflow_id,
            session_id=message.session_id,
            actor_id=message.actor_id,
            wait=WaitState.from_wire(message.wait),
            paused=message.paused,
        )


@dataclass(frozen=True, slots=True)
class CompletedEffect:
    """A decision about a parked effect: it is done, with this result."""

    result: Json = None


@dataclass(frozen=True, slots=True)
class EmittedEvent:
    """Receipt of an event. `delivered_run_ids` are the runs seen to go on with it: an observation."""

    event_id: str
    position: int
    duplicate: bool
    delivered_run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the event log."""

    event_id: str
    name: str
    scope: EventScope
    scope_id: str
    position: int
    payload: Json
    emitted_at: datetime
    emitter_run_id: str
    emitter_workflow_id: str
    emitter_node_id: str
    emitted_by: str

    @classmethod
    def from_wire(cls, message: run_service_pb2.Event) -> Self:
        """From the contract's Event."""
        return cls(
            event_id=message.event_id,
            name=message.name,
            scope=EventScope.from_wire(message.scope),
            scope_id=message.scope_id,
            position=message.position,
            payload=decode(message.payload_json),
            emitted_at=from_timestamp(message.emitted_at),
            emitter_run_id=message.emitter_run_id,
            emitter_workflow_id=message.emitter_workflow_id,
            emitter_node_id=message.emitter_node_id,
            emitted_by=message.emitted_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs. Conditions are ANDed, values of one field ORed; unset keeps all."""

    statuses: Sequence[RunStatus | str] = ()
    activities: Sequence[RunActivity | str] = ()
    workflow_id: str = ""
    workflow_version: str = ""
    session_id: str = ""
    root_run_id: str = ""
    parent_run_id: str = ""
    roots_only: bool = False
    labels: Mapping[str, str] | None = None
    wait_reason: WaitReason | str = WaitReason.UNSPECIFIED
    wait_key: str = ""
    assignee: str = ""
    created_from: datetime | None = None
    created_before: datetime | None = None
    ended_from: datetime | None = None
    ended_before: datetime | None = None
    paused_only: bool = False

    def to_wire(self) -> run_service_pb2.RunFilter:
        """As the contract's RunFilter.

        Raises:
            ValueError: an unknown status, activity or wait reason.
        """
        message = run_service_pb2.RunFilter(
            statuses=[RunStatus(status).wire for status in self.statuses],
            activities=[RunActivity(activity).wire for activity in self.activities],
            workflow_id=self.workflow_id,
            workflow_version=self.workflow_version,
            session_id=self.session_id,
            root_run_id=self.root_run_id,
            parent_run_id=self.parent_run_id,
            roots_only=self.roots_only,
            labels=self.labels or {},
            wait_reason=WaitReason(self.wait_reason).wire,
            wait_key=self.wait_key,
            assignee=self.assignee,
            paused_only=self.paused_only,
        )
        for name in ("created_from", "created_before", "ended_from", "ended_before"):
            instant: datetime | None = getattr(self, name)
            if instant is not None:
                getattr(message, name).CopyFrom(to_timestamp(instant))
        return message
