"""Dispatch as a whole: workers come and go, tasks find them, reports find their runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from perdure_server.dispatch.claims import Claims
from perdure_server.dispatch.errors import WorkerSupersededError
from perdure_server.dispatch.leases import Leases
from perdure_server.dispatch.load import Load, read_load
from perdure_server.dispatch.messages import (
    Acked,
    Begin,
    GoodbyeReason,
    Heartbeat,
    Hello,
    LeaseUpdate,
    Profile,
    Report,
    Task,
    WorkerView,
)
from perdure_server.dispatch.polls import Polls
from perdure_server.dispatch.registry import Registry, step_route, task_route
from perdure_server.dispatch.reports import Reports
from perdure_server.dispatch.routes import ReadyTask
from perdure_server.dispatch.session import Session
from perdure_server.dispatch.tasks import Tasks
from perdure_server.dispatch.timeline import Timeline
from perdure_server.dispatch.workers import Worker
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import DrainingError, EngineError, RunNotFoundError, TooManyStreamsError
from perdure_server.kernel.decision import TaskDue
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import Activity, RunState
from perdure_server.kernel.records import RecordKind
from perdure_server.loop import Loop
from perdure_server.storage.port import RunChange, RunKey, TaskRow

_WITHOUT_TASK: Final = frozenset(
    (
        RecordKind.STEP_STARTED,
        RecordKind.STEP_BEGUN,
        RecordKind.WAITING,
        RecordKind.PARKED,
        RecordKind.PAUSED,
        RecordKind.COMPLETED,
        RecordKind.FAILED,
        RecordKind.CANCELLED,
        RecordKind.LATE_RESULT,
    )
)
"""Kinds of records after which, if it is the last one, a run has no task that could be claimed."""

RECONNECT_US: Final = SECOND_US
"""When a worker that meets a draining server is told to try again."""


class Dispatcher:
    """Serves workers. Its registry is the engine's `Placement`; it hears of commits as part of `Wakeups`.

    Args:
        engine: the engine, made with `registry` as its placement.
        registry: workers and routes.
    """

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry
        timeline = Timeline(engine.info)
        self._leases = Leases(engine, registry, timeline)
        self._reports = Reports(engine, registry, timeline)
        self._tasks = Tasks(engine, timeline.tag)
        self._polls = Polls(engine, registry, self._leases, self._tasks)
        self._claims = Claims(engine, registry)
        self._pulse = Loop("worker-pulse", engine.clock, self._pulse_all)
        self._sessions: dict[tuple[str, str], Session] = {}
        self._open: set[Session] = set()
        self._streams: Counter[str] = Counter()
        self._draining = False
        self._pulsed_at = engine.clock.monotonic()
        registry.listener = self

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Finds the tasks and leases that the store holds; then workers may come. Idempotent."""
        self._claims.loop.start()
        self._pulse.start()
        await self._claims.loop.ready()

    def drain(self, timeout_us: int) -> None:
        """Sends no new task, asks workers to look for another server, and lets them report. Idempotent."""
        if not self._draining:
            self._draining = True
            self._polls.end()
            for session in list(self._open):
                session.drain(timeout_us)

    def say_goodbye(self) -> None:
        """Ends every stream; what workers hold stays leased. Idempotent."""
        for session in list(self._open):
            session.end(GoodbyeReason.DRAINING)

    async def stop(self) -> None:
        """Says goodbye to all workers and ends the loops. Idempotent."""
        self._draining = True
        self._polls.end()
        self.say_goodbye()
        await self._claims.loop.stop()
        await self._pulse.stop()
        await self._reports.stop()

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All loops."""
        return self._claims.loop, self._pulse

    async def settle(self) -> None:
        """For tests: returns when there is nothing to claim and nothing to look up."""
        await self._claims.settle()
        await self._reports.settle()

    # --- streams -----------------------------------------------------------------------------

    @contextmanager
    def stream_of(self, caller: str) -> Generator[None]:
        """Counts a stream of a caller as long as the context lasts. Raises: TooManyStreamsError."""
        limit = self._engine.limits.streams_per_caller
        if self._streams[caller] >= limit:
            message = f"{limit} worker streams are open already; end one first"
            raise TooManyStreamsError(message, retry_after_us=RECONNECT_US, limit=str(limit))
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

    async def connect(self, hello: Hello) -> Session:
        """Opens a worker's stream; its first message out is the welcome.

        An older stream of the same worker is ended. The caller closes the session with `disconnect`.

        Raises: WorkerSupersededError if a stream with this or a higher epoch is open; DrainingError,
        NamespaceNotFoundError, StoreUnavailableError.
        """
        self._check_open()
        profile = hello.profile
        await self._engine.catalog.require_namespace(profile.namespace, "hello.namespace")
        key = profile.namespace, profile.worker_id
        older = self._sessions.get(key)
        if older is not None:
            if hello.stream_epoch <= older.epoch:
                raise WorkerSupersededError(
                    f"worker {profile.worker_id!r} has a stream of epoch {older.epoch}; use a higher stream_epoch",
                    field="hello.stream_epoch",
                    stream_epoch=str(older.epoch),
                )
            older.end(GoodbyeReason.SUPERSEDED)
        session = Session(self._engine, self._registry, self._reports, self._leases, self._tasks, hello)
        self._sessions[key] = session
        self._open.add(session)
        try:
            if self._engine.shared:
                await self._claims.find_leases(profile.namespace, profile.worker_id)
            await session.greet(hello)
        except BaseException:
            await self.disconnect(session)
            raise
        return session

    async def disconnect(self, session: Session) -> None:
        """A stream has ended; its worker's leases stay. Idempotent."""
        self._open.discard(session)
        key = session.profile.namespace, session.profile.worker_id
        if self._sessions.get(key) is session:
            del self._sessions[key]
        await session.close()

    # --- the unary way -----------------------------------------------------------------------

    async def poll(self, profile: Profile, request_id: str, wanted: int, wait_us: int) -> list[Task]:
        """Waits for tasks; see `Polls.poll`. Raises: EngineError."""
        self._check_open()
        await self._engine.catalog.require_namespace(profile.namespace, "worker.namespace")
        return await self._polls.poll(profile, request_id, wanted, wait_us)

    async def report(
        self, namespace: str, worker_id: str, begins: Sequence[Begin], reports: Sequence[Report]
    ) -> tuple[list[Acked], list[Acked]]:
        """Settles tasks; acks of the begins and of the reports, in order.

        Raises: EngineError if one of them could not be decided; a repeat is then answered for all.
        """
        await self._engine.catalog.require_namespace(namespace)
        waiting: list[asyncio.Future[Acked]] = []
        for begin in begins:
            waiting.append(_expect())
            self._reports.begin(namespace, begin, partial(_settle, waiting[-1]))
        for report in reports:
            waiting.append(_expect())
            self._reports.report(namespace, worker_id, report, partial(_settle, waiting[-1]))
        acks: list[Acked] = []
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            acks.append(result)
        return acks[: len(begins)], acks[len(begins) :]

    async def heartbeat(self, namespace: str, worker_id: str, heartbeats: Sequence[Heartbeat]) -> list[LeaseUpdate]:
        """Renews leases, one update for each in order. Raises: EngineError."""
        await self._engine.catalog.require_namespace(namespace)
        return await self._leases.renew(namespace, worker_id, heartbeats)

    # --- what others ask -----------------------------------------------------------------------

    def workers(self, namespace: str) -> list[WorkerView]:
        """Workers connected to this process, and those seen within the last minute."""
        return self._registry.views(namespace)

    def load(self) -> Load:
        """What waits and what is held, for operators."""
        return read_load(self._registry, self._engine.clock.now(), self._engine.limits.no_worker_us)

    def blocked_run(self, run: RunState) -> bool:
        """NO_WORKER: the run's task has been due for a minute and nobody connected can take it."""
        if run.activity is not Activity.QUEUED or run.paused or run.step is None or run.step.server_side:
            return False
        return self._registry.blocked_run(run, self._engine.clock.now())

    def blocked_task(self, namespace: str, task: TaskRow) -> bool:
        """The same for a task in a list."""
        return self._registry.blocked_task(namespace, task, self._engine.clock.now())

    # --- wake-ups (part of engine.ports.Wakeups) -------------------------------------------------

    def task_ready(self, run: RunState, task: TaskDue) -> None:
        """A task waits for a worker."""
        ready = ReadyTask(-task.priority, task.queued_at, run.run_id, task.step_id)
        self._registry.add_ready(task_route(run, task), ready)

    def run_changed(self, before: RunState | None, run: RunState) -> None:
        """A run has a new state: a lease may be over, a waiting task may wait no longer."""
        step = before.step if before else None
        if before is None or step is None:
            return
        if before.activity is Activity.LEASED:
            after = run.step
            goes_on = run.activity is Activity.LEASED and after is not None
            if after is not None and after.step_id == step.step_id and after.lapses > step.lapses:
                self._engine.counters["lapses"] += 1
            if not goes_on or after is None or (after.step_id, after.attempt) != (step.step_id, step.attempt):
                self._registry.lease_ended(before, run)
        elif before.activity is Activity.QUEUED and not step.server_side and not _ready_as(before, run):
            self._registry.forget_ready(before)

    # --- what other processes do (part of engine.follower.FollowListener) --------------------------

    async def runs_changed(self, changes: Sequence[RunChange]) -> None:
        """Records of any process: workers here hear of leases that are over, and tasks left there are looked for.

        Raises: EngineError.
        """
        runs: dict[str, dict[str, int]] = {}
        for change in changes:
            runs.setdefault(change.namespace, {})[change.run_id] = change.kind
        for namespace, kinds in runs.items():
            for worker, run_id in self._registry.held_among(namespace, kinds.keys()):
                await self._compare(worker, RunKey(namespace, run_id))
            taken = [run_id for run_id, kind in kinds.items() if kind in _WITHOUT_TASK]
            self._registry.forget_taken(namespace, taken)
            if len(taken) < len(kinds):
                self._claims.look_soon()

    async def fell_behind(self) -> None:
        """Anything may have changed. Raises: EngineError."""
        for namespace, worker, run_id in self._registry.held_anywhere():
            await self._compare(worker, RunKey(namespace, run_id))
        self._claims.look_soon()

    async def _compare(self, worker: Worker, key: RunKey) -> None:
        try:
            self._registry.compare_lease(worker, await self._engine.load(key))
        except RunNotFoundError:
            worker.held.pop(key.run_id, None)

    # --- the registry's listener -----------------------------------------------------------------

    def credit_for_waiting(self) -> None:
        """See `Listener`."""
        self._claims.wake()

    def undelivered(self, run: RunState) -> None:
        """See `Listener`."""
        self._leases.release(run)

    def _check_open(self) -> None:
        if self._draining:
            raise DrainingError("the server is draining; use another one", retry_after_us=RECONNECT_US)

    async def _pulse_all(self) -> int:
        now, ping_us = self._engine.clock.monotonic(), self._engine.limits.ping_us
        stood_still, self._pulsed_at = now - self._pulsed_at > ping_us, now
        for session in list(self._open):
            if stood_still:
                session.excuse(now)
            session.pulse(now)
        self._registry.forget_idle()
        return max(ping_us // 4, 1)


def _expect() -> asyncio.Future[Acked]:
    return asyncio.get_running_loop().create_future()


def _settle(future: asyncio.Future[Acked], answer: Acked | EngineError) -> None:
    if future.done():
        return
    if isinstance(answer, Acked):
        future.set_result(answer)
    else:
        future.set_exception(answer)


def _ready_as(before: RunState, run: RunState) -> bool:
    """Whether the task that waited before still does, for the same workers."""
    ready = run.activity is Activity.QUEUED and not run.paused and run.step is not None
    return ready and step_route(run) == step_route(before)
