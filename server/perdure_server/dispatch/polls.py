"""The unary way to tasks: a pending poll is a seat with as much credit as tasks it asks for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from perdure_server.dispatch.leases import Leases
from perdure_server.dispatch.messages import LeaseUpdate, Profile, Task
from perdure_server.dispatch.registry import Registry
from perdure_server.dispatch.tasks import Tasks
from perdure_server.dispatch.workers import Held, Seat
from perdure_server.engine.core import Engine
from perdure_server.kernel.model import RunState

MAX_ANSWERS: Final = 10_000
"""Answers remembered for repeats; the oldest go first."""

PollId: TypeAlias = tuple[str, str, str]
"""(namespace, worker_id, request_id)"""


class Poll:
    """One poll, perhaps asked for by several calls with the same request id.

    Args:
        wanted: most tasks.
    """

    def __init__(self, registry: Registry, profile: Profile, wanted: int) -> None:
        self.runs: list[RunState] = []
        self.callers = 0
        self.over = False
        self.answered = False
        self.changed = asyncio.Event()
        self._registry = registry
        self.seat: Seat = registry.join(profile, self, is_stream=False)
        registry.grant(self.seat, wanted)

    def send_task(self, run: RunState) -> None:
        """See `Sink`."""
        self.runs.append(run)
        self.changed.set()

    def send_update(self, update: LeaseUpdate) -> None:
        """A poller hears of its leases when it renews them."""

    async def first(self) -> None:
        """Returns when there is a task, or the poll is over."""
        while not self.runs and not self.over:
            self.changed.clear()
            await self.changed.wait()

    def unreserved(self) -> None:
        """See `Sink`."""
        self.changed.set()

    async def settle(self) -> None:
        """Takes no more tasks, and returns when those under way have come or gone."""
        self._registry.drain(self.seat)
        while self.seat.reserved > 0 and not self.over:
            self.changed.clear()
            await self.changed.wait()

    def leave(self) -> None:
        """Gives the seat up. Idempotent."""
        self.over = True
        self._registry.leave(self.seat)
        self.changed.set()


@dataclass(frozen=True, slots=True)
class _Answer:
    runs: tuple[RunState, ...]
    until: int


class Polls:
    """All pending polls, and the answers that a repeat gets again.

    Args:
        engine: lease clock and workflows.
        registry: seats.
        leases: takes back what a cancelled call never got.
        tasks: makes tasks of leased runs.
    """

    def __init__(self, engine: Engine, registry: Registry, leases: Leases, tasks: Tasks) -> None:
        self._engine = engine
        self._registry = registry
        self._leases = leases
        self._tasks = tasks
        self._pending: dict[PollId, Poll] = {}
        self._answers: OrderedDict[PollId, _Answer] = OrderedDict()

    async def poll(self, profile: Profile, request_id: str, wanted: int, wait_us: int) -> list[Task]:
        """Tasks for a worker, at most `wanted`, or none within `wait_us`.

        A repeat with the same request id within the lease gets the same leases, as far as they still stand;
        one that comes while the first call waits shares its poll. The tasks of a poll whose calls have all
        been cancelled are given back at once. Raises: EngineError.
        """
        poll_id = profile.namespace, profile.worker_id, request_id
        kept = self._kept(poll_id)
        if kept is not None:
            return [await self._task(run) for run in kept]
        poll = self._pending.get(poll_id)
        if poll is None:
            poll = self._pending[poll_id] = Poll(self._registry, profile, wanted)
        poll.callers += 1
        try:
            await self._first(poll, wait_us)
            await asyncio.sleep(0)  # what the same group commit brings goes with it
            await poll.settle()
            answer = [await self._task(run) for run in poll.runs]
            self._keep(poll_id, poll)
        finally:
            poll.callers -= 1
            if poll.callers == 0:
                self._finish(poll_id, poll)
        self._engine.counters["tasks_sent"] += len(answer)
        return answer

    def end(self) -> None:
        """Answers all pending polls with what they have."""
        for poll in list(self._pending.values()):
            poll.leave()

    async def _first(self, poll: Poll, wait_us: int) -> None:
        first = asyncio.ensure_future(poll.first())
        timer = asyncio.ensure_future(self._engine.clock.sleep(wait_us))
        try:
            await asyncio.wait((first, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            first.cancel()
            timer.cancel()

    def _finish(self, poll_id: PollId, poll: Poll) -> None:
        """The last call of a poll has ended; if none got an answer, its tasks go back."""
        poll.leave()
        self._pending.pop(poll_id, None)
        if not poll.answered:
            for run in poll.runs:
                self._leases.release(run)

    def _keep(self, poll_id: PollId, poll: Poll) -> None:
        poll.answered = True
        if poll.runs:
            until = self._engine.clock.monotonic() + self._engine.limits.lease_us
            self._answers[poll_id] = _Answer(tuple(poll.runs), until)
            if len(self._answers) > MAX_ANSWERS:
                self._answers.popitem(last=False)

    def _kept(self, poll_id: PollId) -> list[RunState] | None:
        """The runs of the kept answer whose leases still stand; None if there is no answer."""
        answer = self._answers.get(poll_id)
        if answer is None:
            return None
        if answer.until <= self._engine.clock.monotonic():
            del self._answers[poll_id]
            return None
        worker = self._registry.worker(poll_id[0], poll_id[1])
        held = worker.held if worker else {}
        return [run for run in answer.runs if _stands(run, held.get(run.run_id))]

    async def _task(self, run: RunState) -> Task:
        return self._tasks.known(run) or await self._tasks.find(run)


def _stands(run: RunState, held: Held | None) -> bool:
    step = run.step
    return step is not None and held is not None and (held.step_id, held.attempt) == (step.step_id, step.attempt)
