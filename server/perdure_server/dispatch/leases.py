"""Leases: renewed in bulk by heartbeats, and reconciled when a worker opens a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from perdure_server.dispatch.messages import AnyToken, Heartbeat, LeaseState, LeaseUpdate, TaskToken
from perdure_server.dispatch.registry import Registry, lost_state
from perdure_server.dispatch.timeline import Timeline
from perdure_server.dispatch.workers import UNKNOWN, Held, Worker
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import RunNotFoundError
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.decision import Rejection
from perdure_server.kernel.inputs import LeaseLapsed, StepReleased
from perdure_server.kernel.model import RunState
from perdure_server.storage.port import LeaseRenewal, RunKey


class Leases:
    """What happens to leases between a task's start and its report.

    Args:
        engine: keeps them.
        registry: knows who holds what.
        timeline: tokens of another one hold nothing.
    """

    def __init__(self, engine: Engine, registry: Registry, timeline: Timeline) -> None:
        self._engine = engine
        self._registry = registry
        self._timeline = timeline

    async def renew(self, namespace: str, worker_id: str, heartbeats: Sequence[Heartbeat]) -> list[LeaseUpdate]:
        """Renews leases, all in one write; one update for each heartbeat, in order.

        A heartbeat with `progress` also starts the step's heartbeat timeout anew. Raises: EngineError.
        """
        renewals: list[LeaseRenewal] = []
        asked: list[TaskToken | None] = []
        for heartbeat in heartbeats:
            token = heartbeat.token
            if isinstance(token, bytes) or token.namespace != namespace or not self._timeline.owns(token):
                asked.append(None)
                continue
            asked.append(token)
            heartbeat_us = await self._heartbeat_us(token, worker_id) if heartbeat.progress else 0
            renewals.append(self._renewal(token, heartbeat_us))
        renewed = iter(await self._engine.renew_leases(renewals))
        updates: list[LeaseUpdate] = []
        for heartbeat, token in zip(heartbeats, asked, strict=True):
            if token is None:
                updates.append(LeaseUpdate(heartbeat.token, LeaseState.LOST))
            else:
                updates.append(await self._update(token, worker_id, held=next(renewed)))
        return updates

    async def reconcile(self, worker: Worker, named: Sequence[AnyToken]) -> list[LeaseUpdate]:
        """Compares the leases of a worker that says hello with what it says it holds (DESIGN 6).

        What it names and still holds is renewed. What it does not name is handed out again at once, as a
        lapse: a worker that has forgotten a task has most likely died with it, so this counts against
        `max_lapses`, and a begun irreversible effect parks IN_DOUBT. Raises: EngineError.

        Returns: one update for each token, in order.
        """
        namespace, worker_id = worker.profile.namespace, worker.profile.worker_id
        tokens = {
            (token.run_id, token.step_id, token.attempt)
            for token in named
            if isinstance(token, TaskToken) and self._timeline.owns(token)
        }
        lapses: list[asyncio.Future[Outcome]] = []
        for run_id, held in list(worker.held.items()):
            if (run_id, held.step_id, held.attempt) not in tokens:
                del worker.held[run_id]
                lapse = LeaseLapsed(held.step_id, held.attempt)
                lapses.append(self._engine.submit_nowait(RunKey(namespace, run_id), lapse))
        updates = await self.renew(namespace, worker_id, [Heartbeat(token) for token in named])
        for result in await asyncio.gather(*lapses, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, Rejection | RunNotFoundError):
                raise result
        return updates

    def release(self, run: RunState) -> None:
        """Gives back a task that its worker has never seen: it counts as no lapse."""
        step = run.step
        if step is not None:
            key = RunKey(run.namespace, run.run_id)
            self._engine.submit_nowait(key, StepReleased(step.step_id, step.attempt))

    def _renewal(self, token: TaskToken, heartbeat_us: int) -> LeaseRenewal:
        now = self._engine.lease_now()
        return LeaseRenewal(
            token.key,
            token.step_id,
            token.attempt,
            lease_expires_at=now + self._engine.limits.lease_us,
            heartbeat_due_at=now + heartbeat_us if heartbeat_us else None,
        )

    async def _heartbeat_us(self, token: TaskToken, worker_id: str) -> int:
        """The heartbeat timeout of the token's step; 0 if it has none, or no longer is the open attempt."""
        held = self._registry.held(token, worker_id)
        if held is not None and held.heartbeat_us != UNKNOWN:
            return held.heartbeat_us
        run = await self._find(token)
        step = run.step if run else None
        if step is None or (step.step_id, step.attempt) != (token.step_id, token.attempt):
            return 0
        if held is not None:
            held.heartbeat_us = step.timeouts.heartbeat_us
        return step.timeouts.heartbeat_us

    async def _update(self, token: TaskToken, worker_id: str, *, held: bool) -> LeaseUpdate:
        if held:
            self._note(token, worker_id)
            return LeaseUpdate(token, LeaseState.HELD, self._engine.limits.lease_us)
        run = await self._find(token)
        return LeaseUpdate(token, lost_state(run, token) if run else LeaseState.LOST)

    def _note(self, token: TaskToken, worker_id: str) -> None:
        """A lease that this process did not know of: its worker shall hear if it is lost."""
        worker = self._registry.worker(token.namespace, worker_id)
        if worker is not None:
            worker.held.setdefault(token.run_id, Held(token.step_id, token.attempt, UNKNOWN))

    async def _find(self, token: TaskToken) -> RunState | None:
        try:
            return await self._engine.load(token.key)
        except RunNotFoundError:
            return None
