"""What workers and dispatch say to each other, as plain data. `api/codec/work.py` gives it its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from perdure_server.kernel.model import EffectOutcome, RunState, StepFailure, StepPlan
from perdure_server.storage.port import RunKey


@dataclass(slots=True, unsafe_hash=True)
class TaskToken:
    """One attempt at one step, as its worker names it.

    `epoch`: tag of the data that gave it out (`ids.epoch_tag`); empty: from 0.1, whose tokens had none.
    `raw`: the bytes that came from the worker, to be echoed; empty: to be made by the codec.
    """

    namespace: str
    run_id: str
    step_id: int
    attempt: int
    epoch: bytes = b""
    raw: bytes = field(default=b"", compare=False)

    @property
    def key(self) -> RunKey:
        """Its run."""
        return RunKey(self.namespace, self.run_id)


AnyToken: TypeAlias = TaskToken | bytes
"""Bytes: not a token of this server; echoed as they came."""


@dataclass(frozen=True, slots=True)
class ServedWorkflow:
    """Nodes of a workflow that a worker serves; empty versions or nodes: any."""

    workflow_id: str
    versions: tuple[str, ...] = ()
    node_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Who a worker is and what it serves. "*" among the effect types: every type."""

    namespace: str
    worker_id: str
    identity: str = ""
    sdk: str = ""
    queues: tuple[str, ...] = ("default",)
    workflows: tuple[ServedWorkflow, ...] = ()
    effect_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens a stream. `held` is complete: every attempt that this worker still works on."""

    profile: Profile
    stream_epoch: int
    held: tuple[AnyToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Begin:
    """Asks to be allowed to execute an irreversible effect."""

    token: AnyToken


@dataclass(slots=True, unsafe_hash=True)
class NodeReport:
    """A node's plan, and perhaps the outcome of the effect that it plans."""

    plan: StepPlan
    effect_outcome: EffectOutcome | None = None


@dataclass(slots=True, unsafe_hash=True)
class EffectReport:
    """An effect's outcome."""

    outcome: EffectOutcome


@dataclass(frozen=True, slots=True)
class Release:
    """The task was not executed; not to be handed out again before `delay_us` have passed."""

    delay_us: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A report that the edge could not read: `reason` is an ErrorReason without prefix."""

    reason: str
    message: str


@dataclass(slots=True, unsafe_hash=True)
class Report:
    """The result of a task. StepFailure: of a node or an effect, whichever the task is.

    `encode` gives the report as it was sent; only late ones are kept like that.
    """

    token: AnyToken
    outcome: NodeReport | EffectReport | StepFailure | Release | Refusal
    encode: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Renews a lease; `progress`: the handler itself is alive."""

    token: AnyToken
    progress: bool = False


@dataclass(slots=True)
class FromWorker:
    """One message of a stream after its hello. Without parts it is a ping."""

    begins: tuple[Begin, ...] = ()
    reports: tuple[Report, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()
    credit: int | None = None
    drain: bool = False
    goodbye: bool = False

    @property
    def is_ping(self) -> bool:
        """It has no parts."""
        parts = self.begins or self.reports or self.heartbeats or self.drain or self.goodbye
        return not parts and self.credit is None


class AckStatus(Enum):
    """What became of a begin or report."""

    ACCEPTED = 1
    DUPLICATE = 2
    STALE = 3
    REFUSED = 4


@dataclass(slots=True, unsafe_hash=True)
class Acked:
    """Answer to a begin or report. `reason` is an ErrorReason without prefix, for STALE and REFUSED."""

    token: AnyToken
    status: AckStatus
    reason: str = ""
    message: str = ""


class LeaseState(Enum):
    """State of a lease."""

    HELD = 1
    LOST = 2
    CANCELLED = 3


@dataclass(frozen=True, slots=True)
class LeaseUpdate:
    """News of one lease. `lease_us` when HELD."""

    token: AnyToken
    state: LeaseState
    lease_us: int = 0


@dataclass(slots=True, unsafe_hash=True)
class Task:
    """`run.step` as it was leased. `inputs`: the JSON Pointers that a node reads; empty: all vars.

    `epoch`: tag of the data.
    """

    run: RunState
    inputs: tuple[str, ...]
    lease_us: int
    epoch: bytes

    @property
    def token(self) -> TaskToken:
        """Names the attempt."""
        step = self.run.step
        if step is None:
            raise ValueError(f"run {self.run.run_id} has no open step")
        return TaskToken(self.run.namespace, self.run.run_id, step.step_id, step.attempt, self.epoch)


@dataclass(frozen=True, slots=True)
class Welcome:
    """The stream stands. Times in microseconds."""

    lease_us: int
    heartbeat_us: int
    ping_us: int
    held: tuple[LeaseUpdate, ...]
    store_epoch: str


class GoodbyeReason(Enum):
    """Why the server ends a stream."""

    DRAINING = 2
    CLIENT_DONE = 5
    SUPERSEDED = 6


@dataclass(slots=True)
class ToWorker:
    """One message of a stream to its worker. Without parts it answers a ping. `drain_us`: asked to leave."""

    welcome: Welcome | None = None
    begin_acks: list[Acked] = field(default_factory=list[Acked])
    acks: list[Acked] = field(default_factory=list[Acked])
    lease_updates: list[LeaseUpdate] = field(default_factory=list[LeaseUpdate])
    tasks: list[Task] = field(default_factory=list[Task])
    drain_us: int | None = None
    goodbye: GoodbyeReason | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as ListWorkers shows it. `stream_epoch` 0: it polls. `connected_at` in Unix microseconds."""

    profile: Profile
    stream_epoch: int
    credit: int
    held_tasks: int
    connected_at: int
    draining: bool
