"""What a handler is given beside its payload: who asks, which attempt, and a sign of life."""

from __future__ import annotations

from typing import Protocol

from perdure.json_text import JsonObject, decode
from perdure.model import TraceContext
from perdure.v1 import worker_service_pb2 as pb
from perdure.values import EffectRisk


class Pulse(Protocol):
    """How a context reaches the worker that holds its task."""

    @property
    def is_cancelled(self) -> bool:
        """The task is lost, cancelled or out of time."""
        ...

    def progress(self) -> None:
        """Sends a sign of life; may be called from any thread."""
        ...

    async def begin(self) -> None:
        """Returns once the server has noted that an irreversible effect begins. Raises: BeginRefusedError."""
        ...


class TaskContext:
    """One attempt at one step.

    Attributes:
        namespace, run_id, root_run_id, parent_run_id, session_id, actor_id: the run ("" where it has none).
        workflow_id, workflow_version: what it runs.
        node_id, visit, step_id: where it is; `visit` counts the entries of the node from 1.
        attempt: from 1, grows with every hand-out; also the fencing token for outside systems.
        idempotency_key: the same for all attempts of an effect; give it to outside systems.
    """

    __slots__ = (
        "_pulse",
        "_task",
        "attempt",
        "idempotency_key",
        "node_id",
        "run_id",
        "step_id",
        "visit",
        "workflow_id",
    )

    def __init__(self, task: pb.Task, idempotency_key: str, pulse: Pulse) -> None:
        run = task.run
        self._task = task
        self._pulse = pulse
        self.run_id = run.run_id
        self.workflow_id = run.workflow_id
        self.node_id = task.node_id
        self.visit = task.visit
        self.step_id = task.step_id
        self.attempt = task.attempt
        self.idempotency_key = idempotency_key

    @property
    def namespace(self) -> str:
        """Namespace of the run."""
        return self._task.run.namespace

    @property
    def root_run_id(self) -> str:
        """Top of the run's tree."""
        return self._task.run.root_run_id

    @property
    def parent_run_id(self) -> str:
        """Parent run; "" for a root."""
        return self._task.run.parent_run_id

    @property
    def workflow_version(self) -> str:
        """The version the run is pinned to."""
        return self._task.run.workflow_version

    @property
    def session_id(self) -> str:
        """Session of the run."""
        return self._task.run.session_id

    @property
    def actor_id(self) -> str:
        """Who the run acts for."""
        return self._task.run.actor_id

    @property
    def trace_context(self) -> TraceContext:
        """Trace of the run."""
        return TraceContext.from_wire(self._task.trace_context)

    @property
    def is_cancelled(self) -> bool:
        """True once the task is lost, its run cancelled or its time over: stop.

        An async handler is cancelled as well; one that runs in a thread has to look.
        """
        return self._pulse.is_cancelled

    def heartbeat(self) -> None:
        """Says that the handler makes progress; resets the step's heartbeat timeout. Cheap: call it often.

        The lease is renewed without it.
        """
        self._pulse.progress()


class NodeContext(TaskContext):
    """The attempt of a node. What the handler does to `vars` is sent with its plan."""

    __slots__ = ("_vars",)

    def __init__(self, task: pb.Task, idempotency_key: str, pulse: Pulse) -> None:
        super().__init__(task, idempotency_key, pulse)
        self._vars: JsonObject | None = None

    @property
    def vars(self) -> JsonObject:
        """The run's vars, or the part that NodeSpec.inputs names. Change them in place, or assign."""
        if self._vars is None:
            found: JsonObject = decode(self._task.node.vars_json) or {}
            self._vars = found
            return found
        return self._vars

    @vars.setter
    def vars(self, value: JsonObject) -> None:
        self._vars = value

    @property
    def touched_vars(self) -> JsonObject | None:
        """The vars if the handler looked at them, else None."""
        return self._vars


class BeginRefusedError(Exception):
    """The effect must not be executed: its begin was refused, or the task is no longer this worker's.

    Attributes:
        reason: an error reason of the contract; "" where the task is lost.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EffectContext(TaskContext):
    """The attempt of an effect."""

    __slots__ = ("risk", "type")

    def __init__(self, task: pb.Task, idempotency_key: str, pulse: Pulse, type: str, risk: EffectRisk) -> None:
        super().__init__(task, idempotency_key, pulse)
        self.type = type
        self.risk = risk

    async def begin(self) -> None:
        """Asks the server to note that the irreversible effect begins; returns once it may be executed.

        For handlers declared with `begins_itself`. What fails before it is retried like any effect; after it, a
        failure is final and a worker that dies leaves the run parked for a decision. Asking again does nothing.

        Raises: BeginRefusedError if it must not be executed; let it pass.
        """
        await self._pulse.begin()
