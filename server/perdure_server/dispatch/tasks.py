"""Tasks as they are sent: the open step of a run, with the inputs that its node reads."""

from __future__ import annotations

from perdure_server.dispatch.messages import Task
from perdure_server.engine.core import Engine
from perdure_server.kernel.model import RunState


class Tasks:
    """Makes tasks of runs whose step has been leased.

    Args:
        engine: knows the workflows.
        epoch: tag of the data.
    """

    def __init__(self, engine: Engine, epoch: bytes) -> None:
        self._engine = engine
        self._epoch = epoch

    def known(self, run: RunState) -> Task | None:
        """The task, if its workflow is in memory, as it nearly always is."""
        lease_us, step = self._engine.limits.lease_us, run.step
        if step is None or step.effect is not None:
            return Task(run, (), lease_us, self._epoch)
        spec = self._engine.catalog.peek(run.namespace, run.workflow_id, run.workflow_version)
        return Task(run, spec.nodes[step.node_id].inputs, lease_us, self._epoch) if spec else None

    async def find(self, run: RunState) -> Task:
        """The task. Raises: EngineError."""
        await self._engine.catalog.get(run.namespace, run.workflow_id, run.workflow_version)
        task = self.known(run)
        if task is None:
            raise LookupError(f"workflow {run.workflow_id!r} is gone from memory at once")
        return task
