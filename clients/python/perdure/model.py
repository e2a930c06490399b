"""What calls return: frozen dataclasses of plain Python values, named as in the contract.

Nothing here refers to a wire message, so keeping one keeps nothing else alive; the exception is
`ledger.LedgerEntry`, whose record is evidence and stays as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.instants import from_timestamp
from perdure.json_text import Json, JsonObject, decode, encode
from perdure.v1 import common_pb2, model_pb2
from perdure.values import (
    ChildCancelPolicy,
    DriveMode,
    EventScope,
    OnLimit,
    RunActivity,
    RunStatus,
    SlotState,
    WaitReason,
)


def instant_or_none(message: Message, name: str) -> datetime | None:
    """A Timestamp field, or None when it is not set."""
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    return from_timestamp(stamp)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not succeed: a stable `type` to branch on, the rest for people and programs."""

    type: str
    message: str = ""
    retryable: bool = False
    details: Json = None

    @classmethod
    def from_wire(cls, message: common_pb2.Failure) -> Self:
        """From the contract's Failure."""
        return cls(message.type, message.message, message.retryable, decode(message.details_json))

    def to_wire(self) -> common_pb2.Failure:
        """As the contract's Failure.

        Raises:
            UnserialisableError: `details` is not a JSON value.
        """
        return common_pb2.Failure(
            type=self.type,
            message=self.message,
            retryable=self.retryable,
            details_json="" if self.details is None else encode(self.details),
        )


@dataclass(frozen=True, slots=True)
class TraceContext:
    """W3C trace context: the `traceparent` and `tracestate` header values."""

    traceparent: str = ""
    tracestate: str = ""

    @classmethod
    def from_wire(cls, message: common_pb2.TraceContext) -> Self:
        """From the contract's TraceContext."""
        return cls(message.traceparent, message.tracestate)

    def to_wire(self) -> common_pb2.TraceContext:
        """As the contract's TraceContext."""
        return common_pb2.TraceContext(traceparent=self.traceparent, tracestate=self.tracestate)


@dataclass(frozen=True, slots=True)
class WaitState:
    """A registered wait. `wait_id` names it in `resume_run`; `resume_to_node` "" ends the run with the answer."""

    wait_id: int
    reason: WaitReason
    wait_key: str
    until: datetime | None
    resume_to_node: str
    result_key: str
    prompt: str
    choices: tuple[str, ...]
    allow_free_text: bool
    details: Json
    answer_schema: Json
    assignee: str
    deadline: datetime | None
    on_deadline_node: str
    missed_events: int
    event_name: str
    event_scope: EventScope
    event_scope_id: str
    child_run_id: str
    needed: int
    joined: int
    node_id: str
    since: datetime | None

    @classmethod
    def from_wire(cls, message: model_pb2.WaitState) -> Self:
        """From the contract's WaitState."""
        return cls(
            wait_id=message.wait_id,
            reason=WaitReason.from_wire(message.reason),
            wait_key=message.wait_key,
            until=instant_or_none(message, "until"),
            resume_to_node=message.resume_to_node,
            result_key=message.result_key,
            prompt=message.prompt,
            choices=tuple(message.choices),
            allow_free_text=message.allow_free_text,
            details=decode(message.details_json),
            answer_schema=decode(message.answer_schema_json),
            assignee=message.assignee,
            deadline=instant_or_none(message, "deadline"),
            on_deadline_node=message.on_deadline_node,
            missed_events=message.missed_events,
            event_name=message.event_name,
            event_scope=EventScope.from_wire(message.event_scope),
            event_scope_id=message.event_scope_id,
            child_run_id=message.child_run_id,
            needed=message.needed,
            joined=message.joined,
            node_id=message.node_id,
            since=instant_or_none(message, "since"),
        )


@dataclass(frozen=True, slots=True)
class StepState:
    """The open step of a run. `park_reason` is POISON or IN_DOUBT while it is parked."""

    step_id: int
    node_id: str
    visit: int
    effect_type: str
    attempt: int
    failures: int
    lapses: int
    begun: bool
    retry_at: datetime | None
    idempotency_key: str
    park_reason: str
    blocked: str
    last_failure: Failure | None
    queue: str

    @classmethod
    def from_wire(cls, message: model_pb2.StepState) -> Self:
        """From the contract's StepState."""
        return cls(
            step_id=message.step_id,
            node_id=message.node_id,
            visit=message.visit,
            effect_type=message.effect_type,
            attempt=message.attempt,
            failures=message.failures,
            lapses=message.lapses,
            begun=message.begun,
            retry_at=instant_or_none(message, "retry_at"),
            idempotency_key=message.idempotency_key,
            park_reason=message.park_reason,
            blocked=message.blocked,
            last_failure=Failure.from_wire(message.last_failure) if message.HasField("last_failure") else None,
            queue=message.queue,
        )


@dataclass(frozen=True, slots=True)
class ChildState:
    """A child run that has not ended, as its parent knows it."""

    run_id: str
    step_id: int
    awaited: bool
    on_parent_cancel: ChildCancelPolicy


@dataclass(frozen=True, slots=True)
class ConsumedMark:
    """How far a run has consumed one event key."""

    scope: EventScope
    scope_id: str
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class RunConcurrency:
    """A run's concurrency key. `ahead` and `holder_run_id` are told of a run in line, not in lists."""

    key: str
    limit: int
    on_limit: OnLimit
    state: SlotState
    ahead: int
    holder_run_id: str

    @classmethod
    def from_wire(cls, message: model_pb2.RunConcurrency) -> Self:
        """From the contract's RunConcurrency."""
        wanted = message.concurrency
        return cls(
            wanted.key,
            wanted.limit,
            OnLimit.from_wire(wanted.on_limit),
            SlotState.from_wire(message.state),
            message.ahead,
            message.holder_run_id,
        )


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as of `seq`. `vars` and `output` are None where the call leaves them out (lists, view "basic")."""

    namespace: str
    run_id: str
    root_run_id: str
    parent_run_id: str
    depth: int
    workflow_id: str
    workflow_version: str
    status: RunStatus
    activity: RunActivity
    paused: bool
    cancelling: bool
    current_node: str
    entry_node: str
    branch: str
    vars: JsonObject | None
    waiting: WaitState | None
    output: JsonObject | None
    error: Failure | None
    actor_id: str
    session_id: str
    labels: Mapping[str, str]
    drive: DriveMode
    created_at: datetime | None
    updated_at: datetime | None
    ended_at: datetime | None
    deadline: datetime | None
    seq: int
    head_hash: bytes
    step: StepState | None
    step_budget: int
    visits: Mapping[str, int]
    consumed: tuple[ConsumedMark, ...]
    event_floor: int
    children: tuple[ChildState, ...]
    trace_context: TraceContext = field(default_factory=TraceContext)
    concurrency: RunConcurrency | None = None
    failed_step: StepState | None = None
    reopened: int = 0

    @property
    def is_ended(self) -> bool:
        """The run is completed, failed or cancelled."""
        return self.status.is_terminal

    @classmethod
    def from_wire(cls, message: model_pb2.RunState) -> Self:
        """From the contract's RunState."""
        return cls(
            namespace=message.namespace,
            run_id=message.run_id,
            root_run_id=message.root_run_id,
            parent_run_id=message.parent_run_id,
            depth=message.depth,
            workflow_id=message.workflow_id,
            workflow_version=message.workflow_version,
            status=RunStatus.from_wire(message.status),
            activity=RunActivity.from_wire(message.activity),
            paused=message.paused,
            cancelling=message.cancelling,
            current_node=message.current_node,
            entry_node=message.entry_node,
            branch=message.branch,
            vars=decode(message.vars_json),
            waiting=WaitState.from_wire(message.waiting) if message.HasField("waiting") else None,
            output=decode(message.output_json),
            error=Failure.from_wire(message.error) if message.HasField("error") else None,
            actor_id=message.actor_id,
            session_id=message.session_id,
            labels=dict(message.labels),
            drive=DriveMode.from_wire(message.drive),
            created_at=instant_or_none(message, "created_at"),
            updated_at=instant_or_none(message, "updated_at"),
            ended_at=instant_or_none(message, "ended_at"),
            deadline=instant_or_none(message, "deadline"),
            seq=message.seq,
            head_hash=message.head_hash,
            failed_step=StepState.from_wire(message.failed_step) if message.HasField("failed_step") else None,
            reopened=message.reopened,
            step=StepState.from_wire(message.step) if message.HasField("step") else None,
            step_budget=message.step_budget,
            visits=dict(message.visits),
            consumed=tuple(
                ConsumedMark(EventScope.from_wire(mark.scope), mark.scope_id, mark.name, mark.position)
                for mark in message.consumed
            ),
            event_floor=message.event_floor,
            children=tuple(
                ChildState(
                    child.run_id,
                    child.step_id,
                    child.awaited,
                    ChildCancelPolicy.from_wire(child.on_parent_cancel),
                )
                for child in message.children
            ),
            trace_context=TraceContext.from_wire(message.trace_context),
            concurrency=RunConcurrency.from_wire(message.concurrency) if message.HasField("concurrency") else None,
        )
