"""Claims: waiting tasks are leased to workers that have credit for them, best first.

A task waits when no worker could take it at its birth, or when its lease lapsed. Each claim is an input of its
run like any other; claims made together share the group commit. What the registry remembers is a cache: at the
start, now and then, and when it was too much to remember, the store is read.
"""

from __future__ import annotations

import asyncio
import heapq
import zlib
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from perdure_server.dispatch.messages import Profile
from perdure_server.dispatch.registry import Registry, row_route, step_route
from perdure_server.dispatch.routes import ReadyTask, Route, RouteKey
from perdure_server.dispatch.workers import UNKNOWN, Held, Seat
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import ConflictError, DrainingError, StoreUnavailableError
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import StepLeased
from perdure_server.kernel.model import Activity, RunState
from perdure_server.loop import Loop
from perdure_server.storage.port import RunKey, RunQuery, RunSummary, TaskQuery, TaskRow

MAX_UNDER_WAY: Final = 512
"""Claims under way at a time."""

OWN_POLL_US: Final = 5_000_000
"""Pause between two looks at a store that only this process writes: a net below lost wake-ups."""

SHARED_POLL_US: Final = 250_000
"""The same for a store that others write too: here this is how their tasks become known."""

HINT_PAUSE_US: Final = 40_000
"""Shortest pause between two looks that others' commits ask for."""

SPREAD_US: Final = 100_000
"""On a shared store tasks that came to wait within this time of each other are claimed in an order of each process's
own: two that claim at the same moment mostly take others."""

SCAN_US: Final = 30_000_000
"""Shortest pause between two walks through all queued runs, which a full page of a poll asks for."""

RETRY_US: Final = 1_000_000
"""Pause after a claim that failed for a reason of the store's."""

SLICE: Final = 64
"""Claims decided in one go: more would keep workers and callers waiting."""

PAGE: Final = 500


class Claims:
    """The loop that claims waiting tasks.

    Args:
        engine: takes the claims.
        registry: knows tasks and workers.
    """

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self.loop = Loop("claims", engine.clock, self._step)
        self._engine = engine
        self._registry = registry
        self._under_way: set[asyncio.Future[Outcome]] = set()
        self._poll_us = SHARED_POLL_US if engine.info.shared else OWN_POLL_US
        self._poll_at = 0
        self._polled_at = 0
        self._leases_look: asyncio.Task[None] | None = None
        self._leases_lock = asyncio.Lock()
        self._leases_wanted: dict[str, set[str]] = {}
        self._scan_at = 0
        self._not_before = 0
        self._scanned = False

    def look_soon(self) -> None:
        """Another process may have left a task without lease: reads the store before the next poll is due."""
        self._poll_at = min(self._poll_at, max(self._polled_at + HINT_PAUSE_US, self._engine.clock.monotonic()))
        self.loop.wake()

    def wake(self) -> None:
        """A task may have come to wait, or a worker to have credit."""
        if len(self._under_way) < MAX_UNDER_WAY:
            self.loop.wake()

    async def settle(self) -> None:
        """For tests: returns when every claim that can be made has been made."""
        await self.loop.next_pass()
        while self._under_way:
            await asyncio.wait(self._under_way)
            await self.loop.next_pass()

    async def _step(self) -> int:
        now = self._engine.clock.monotonic()
        if not self._scanned:
            # Where others write too, a lease is looked up when its worker comes: most are not of this process.
            activities = (Activity.QUEUED,) if self._engine.shared else (Activity.QUEUED, Activity.LEASED)
            await self._scan(activities)
            self._scanned = True
            self._poll_at, self._scan_at = now + self._poll_us, now + SCAN_US
        elif now >= self._poll_at:
            self._poll_at, self._polled_at = now + self._poll_us, now
            full = await self._poll()
            if full and now >= self._scan_at:
                self._scan_at = now + SCAN_US
                await self._scan((Activity.QUEUED,))
        if now < self._not_before:
            return self._not_before - now
        await self._claim()
        if self._registry.drained_routes():
            await self._refill()
        return max(self._poll_at - self._engine.clock.monotonic(), 0)

    # --- claiming ------------------------------------------------------------------------------

    async def _claim(self) -> None:
        """Claims the best waiting tasks for which there is credit, over all routes in their order."""
        heads: list[tuple[ReadyTask, int, Route]] = []
        for number, route in enumerate(self._registry.waiting_routes()):
            head = route.head()
            if head is not None:
                heads.append((head, number, route))
        heapq.heapify(heads)
        claimed = 0
        while heads and len(self._under_way) < MAX_UNDER_WAY:
            _, number, route = heapq.heappop(heads)
            seat = self._registry.take(route)
            if seat is None:
                continue
            task = route.pop()
            if task is None:
                self._registry.give_back(seat)
                continue
            self._submit(route, seat, task)
            claimed += 1
            if claimed % SLICE == 0:
                await asyncio.sleep(0)
            following = route.head()
            if following is not None:
                heapq.heappush(heads, (following, number, route))

    def _submit(self, route: Route, seat: Seat, task: ReadyTask) -> None:
        key = RunKey(route.key[0], task.run_id)
        future = self._engine.submit_nowait(key, partial(_lease, route.key, task, seat.worker.profile.worker_id))
        self._under_way.add(future)
        future.add_done_callback(partial(self._answered, route, seat, task))

    def _answered(self, route: Route, seat: Seat, task: ReadyTask, future: asyncio.Future[Outcome]) -> None:
        """A claim that came to nothing gives its credit back; its task waits on if only the store was in the way.

        A task that its run does not give away is forgotten here; if it still is ready, a poll finds it again.
        """
        self._under_way.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is None:
            self._engine.counters["claims"] += 1
        else:
            self._registry.give_back(seat)
            self._engine.counters["claims_lost"] += 1
            if isinstance(error, StoreUnavailableError | DrainingError):
                self._not_before = self._engine.clock.monotonic() + RETRY_US
            if isinstance(error, StoreUnavailableError | DrainingError | ConflictError):
                self._registry.add_ready(route.key, task)
        if self._registry.waiting_routes():
            self.loop.wake()

    # --- finding tasks in the store ------------------------------------------------------------

    async def _poll(self) -> bool:
        """Reads the best tasks that connected workers with credit could take; True: there may be more."""
        engine, full = self._engine, False
        for namespace, profiles in _by_namespace(self._registry.profiles()).items():
            query = TaskQuery(
                namespace=namespace,
                queues=tuple({queue for profile in profiles for queue in profile.queues}),
                effect_types=tuple({kind for profile in profiles for kind in profile.effect_types}),
                workflow_ids=tuple({served.workflow_id for p in profiles for served in p.workflows}),
                limit=PAGE,
            )
            page = await engine.read(engine.store.ready_tasks, query)
            full = full or len(page) >= PAGE
            for ready in page:
                self._add(namespace, ready.key.run_id, ready.task)
        return full

    async def _refill(self) -> None:
        """Finds the tasks of routes that were too full to be remembered whole."""
        routes = self._registry.drained_routes()
        for route in routes:
            route.overflowed = False
        await self._poll()
        if any(not route.waiting for route in routes):
            await self._scan((Activity.QUEUED,))

    async def find_leases(self, namespace: str, worker_id: str) -> None:
        """Learns which leases the store holds for a worker that another process may have served.

        Workers that come at the same time, as they do when a replica goes away, share a walk.
        """
        self._leases_wanted.setdefault(namespace, set()).add(worker_id)
        if self._leases_look is None:
            self._leases_look = asyncio.get_running_loop().create_task(self._look_for_leases())
            self._leases_look.add_done_callback(_mark_seen)
        await asyncio.shield(self._leases_look)

    async def _look_for_leases(self) -> None:
        async with self._leases_lock:  # a walk that is under way began too early for whoever comes now
            self._leases_look = None
            wanted, self._leases_wanted = self._leases_wanted, {}
            for namespace, worker_ids in wanted.items():
                async for summary in self._runs(namespace, (Activity.LEASED,)):
                    if summary.task is not None and summary.task.worker_id in worker_ids:
                        self._note(namespace, summary)

    async def _scan(self, activities: tuple[Activity, ...]) -> None:
        """Walks through all runs with a task; nothing in front can hide what comes after."""
        for namespace in await self._engine.read(self._engine.store.list_namespaces):
            async for summary in self._runs(namespace, activities):
                self._note(namespace, summary)

    async def _runs(self, namespace: str, activities: tuple[Activity, ...]) -> AsyncGenerator[RunSummary]:
        engine = self._engine
        query = RunQuery(namespace, activities=tuple(int(activity) for activity in activities))
        after: tuple[int, str] | None = None
        while True:
            page = await engine.read(engine.store.list_runs, query, after, PAGE)
            for summary in page:
                yield summary
            if len(page) < PAGE:
                return
            after = page[-1].identity.created_at, page[-1].identity.run_id

    def _note(self, namespace: str, summary: RunSummary) -> None:
        task = summary.task
        if task is None:
            return
        run_id = summary.identity.run_id
        if task.leased:
            worker = self._registry.know(Profile(namespace, task.worker_id))
            worker.held.setdefault(run_id, Held(task.step_id, task.attempt, UNKNOWN))
        else:
            self._add(namespace, run_id, task)

    def _add(self, namespace: str, run_id: str, task: TaskRow) -> None:
        if not task.held and not task.leased:
            ready = ReadyTask(-task.priority, task.queued_at, run_id, task.step_id)
            if self._engine.shared and not self._engine.knows(RunKey(namespace, run_id)):
                ready = self._spread(ready)
            self._registry.add_ready(row_route(namespace, task), ready)

    def _spread(self, ready: ReadyTask) -> ReadyTask:
        own = zlib.crc32(f"{ready.run_id}/{self._engine.replica_id}".encode()) % SPREAD_US
        return ready._replace(queued_at=ready.queued_at // SPREAD_US * SPREAD_US + own)


def _lease(route: RouteKey, task: ReadyTask, worker_id: str, run: RunState) -> StepLeased:
    """The claim, if the run as it stands is still for workers of the route: it may have moved to another version.

    Raises: Rejection.
    """
    if run.step is None or step_route(run) != route:
        raise Rejection(Reason.NOT_DUE, "the task is for other workers now")
    return StepLeased(task.step_id, worker_id)


def _mark_seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits gets it; perhaps nobody does any more


def _by_namespace(profiles: list[Profile]) -> dict[str, list[Profile]]:
    spaces: dict[str, list[Profile]] = {}
    for profile in profiles:
        spaces.setdefault(profile.namespace, []).append(profile)
    return spaces
