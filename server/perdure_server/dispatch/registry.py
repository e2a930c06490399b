"""The registry: connected workers, and which of them takes a task. Lives on the event loop, never waits.

`Registry` is the engine's `Placement`: a commit that makes a task due asks for a worker before it is built, so
that the task is born leased (DESIGN 6). Everything `place` does is a look-up.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final, Protocol

from perdure_server.clock import Clock
from perdure_server.dispatch.messages import LeaseState, LeaseUpdate, Profile, TaskToken, WorkerView
from perdure_server.dispatch.routes import ReadyTask, Route, RouteKey, effect_route, node_route, serves
from perdure_server.dispatch.workers import Held, Seat, Sink, Worker
from perdure_server.kernel.bounds import MAX_HELD
from perdure_server.kernel.decision import TaskDue
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import Activity, RunState, RunStatus
from perdure_server.storage.port import TaskRow

MAX_OVERTAKING: Final = 3
"""Newborn tasks that may in a row be placed before a waiting one of the same priority."""

MAX_ROUTES: Final = 20_000
"""Kinds of tasks remembered; those that nobody serves and nobody waits in go first."""

KEEP_US: Final = 60_000_000
"""How long a worker without seat and lease is still listed."""


class Listener(Protocol):
    """Told on the event loop what the registry cannot do by itself."""

    def credit_for_waiting(self) -> None:
        """A seat may have credit for a task that waits."""
        ...

    def undelivered(self, run: RunState) -> None:
        """`run.step` was leased to a seat that is gone: nobody has seen it."""
        ...


class _Nobody:
    def credit_for_waiting(self) -> None:
        """Nobody listens yet."""

    def undelivered(self, run: RunState) -> None:
        """Nobody listens yet; the lease lapses."""


class Registry:
    """Workers, seats and routes of this process.

    Args:
        clock: for `seen_at` and NO_WORKER.
        epoch: tag of the data, for tokens.
        limits: `no_worker_us`.
    """

    def __init__(self, clock: Clock, epoch: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self.listener: Listener = _Nobody()
        self._clock = clock
        self._epoch = epoch
        self._limits = limits
        self._started_at = clock.now()
        self._workers: dict[tuple[str, str], Worker] = {}
        self._routes: dict[RouteKey, Route] = {}
        self._by_queue: dict[tuple[str, str], dict[Route, None]] = {}
        self._seats_by_queue: dict[tuple[str, str], list[Seat]] = {}
        self._backlogged: dict[Route, None] = {}

    # --- placement (engine.ports.Placement) --------------------------------------------------

    def place(self, run: RunState, task: TaskDue) -> str | None:
        """A worker for a task about to be born; takes one of its credits."""
        seat = self._route(task_route(run, task)).pick()
        if seat is None or (self._backlogged and self._must_queue(seat, task.priority)):
            return None
        seat.reserved += 1
        return seat.worker.profile.worker_id

    def unplace(self, namespace: str, worker_id: str) -> None:
        """The task was not born: gives the credit back."""
        seat = self._reserving_seat(namespace, worker_id)
        if seat is not None:
            self.give_back(seat)

    def deliver(self, run: RunState) -> None:
        """The task is committed: sends it. If its seat has gone meanwhile, the listener hears of it."""
        step = run.step
        if step is None:
            raise ValueError(f"run {run.run_id} has no step to deliver")
        seat = self._reserving_seat(run.namespace, step.worker_id)
        if seat is None:
            self.listener.undelivered(run)
            return
        seat.reserved -= 1
        seat.sent += 1
        seat.worker.held[run.run_id] = Held(step.step_id, step.attempt, step.timeouts.heartbeat_us)
        seat.sink.send_task(run)

    def take(self, route: Route) -> Seat | None:
        """A seat for a waiting task of the route; takes one credit, for `deliver` or `give_back`."""
        seat = route.pick()
        if seat is not None:
            seat.reserved += 1
        return seat

    def give_back(self, seat: Seat) -> None:
        """A reservation came to nothing."""
        if seat.reserved > 0:
            seat.reserved -= 1
            seat.sink.unreserved()
            self._announce(seat)

    # --- workers -------------------------------------------------------------------------------

    def worker(self, namespace: str, worker_id: str) -> Worker | None:
        """A known worker."""
        return self._workers.get((namespace, worker_id))

    def join(self, profile: Profile, sink: Sink, *, is_stream: bool) -> Seat:
        """A stream or poll begins; it has no credit yet."""
        now = self._clock.now()
        worker = self.know(profile)
        if not worker.seats:
            worker.connected_at = now
        worker.profile, worker.seen_at = profile, now
        seat = Seat(worker, profile, sink, is_stream=is_stream)
        worker.seats.append(seat)
        for queue in dict.fromkeys(profile.queues):
            place = profile.namespace, queue
            self._seats_by_queue.setdefault(place, []).append(seat)
            for route in self._by_queue.get(place, ()):
                if serves(profile, route.key):
                    route.add_seat(seat)
                    self._note_backlog(route)
        return seat

    def know(self, profile: Profile) -> Worker:
        """The worker of a profile, which may be without seats."""
        key = profile.namespace, profile.worker_id
        worker = self._workers.get(key)
        if worker is None:
            worker = self._workers[key] = Worker(profile, self._clock.now())
        return worker

    def grant(self, seat: Seat, limit: int) -> None:
        """Credit: the most tasks that may be sent to this seat in all. A lower one than before is ignored."""
        if limit > seat.limit and not seat.draining:
            seat.limit = limit
            self._announce(seat)

    def drain(self, seat: Seat) -> None:
        """The seat gets no new task."""
        if not seat.draining:
            seat.draining = True
            seat.limit = 0
            self._unroute(seat)

    def hold(self, seat: Seat, *, silent: bool) -> None:
        """Sends nothing new to a seat of which nothing is heard, until something is."""
        if seat.silent != silent:
            seat.silent = silent
            self._announce(seat)

    def leave(self, seat: Seat) -> None:
        """A stream or poll ends; its worker keeps its leases. Idempotent."""
        if seat in seat.worker.seats:
            seat.worker.seats.remove(seat)
            seat.worker.seen_at = self._clock.now()
            self.drain(seat)

    def forget_idle(self) -> None:
        """Forgets workers that have left, and routes that nobody uses if there are too many."""
        before = self._clock.now() - KEEP_US
        for key, worker in list(self._workers.items()):
            if not worker.seats and not worker.held and worker.seen_at <= before:
                del self._workers[key]
        if len(self._routes) > MAX_ROUTES:
            for route in [route for route in self._routes.values() if not route.seats and not route.waiting]:
                del self._routes[route.key]
                self._by_queue[route.key[0], route.key[1]].pop(route, None)

    def views(self, namespace: str) -> list[WorkerView]:
        """The workers of a namespace, by id: connected, or seen within the last minute."""
        self.forget_idle()
        chosen = [worker for (space, _), worker in sorted(self._workers.items()) if space == namespace]
        since = self._clock.now() - KEEP_US
        return [_view(worker) for worker in chosen if worker.seats or worker.seen_at > since]

    def known_workers(self) -> Collection[Worker]:
        """All workers of the process, those without a seat too."""
        return self._workers.values()

    def known_routes(self) -> Collection[Route]:
        """All kinds of tasks that are remembered."""
        return self._routes.values()

    def profiles(self) -> list[Profile]:
        """What is served now, by seats that can still take a task."""
        return [seat.profile for worker in self._workers.values() for seat in worker.seats if seat.free > 0]

    # --- waiting tasks -------------------------------------------------------------------------

    def add_ready(self, key: RouteKey, task: ReadyTask) -> None:
        """A task waits for a worker."""
        route = self._route(key)
        route.add(task)
        self._note_backlog(route)

    def forget_ready(self, run: RunState) -> None:
        """The run's task waits no longer (`run`: the state in which it did)."""
        route = self._routes.get(step_route(run))
        if route is not None:
            route.forget(run.run_id)

    def forget_taken(self, namespace: str, run_ids: Collection[str]) -> None:
        """These runs' tasks wait no longer, whoever took them; only what could be claimed is looked through."""
        for route in self._backlogged:
            if route.key[0] == namespace:
                for run_id in run_ids:
                    route.forget(run_id)

    def waiting_routes(self) -> list[Route]:
        """Routes that somebody serves and in which tasks wait."""
        for route in [route for route in self._backlogged if not route.waiting or not route.seats]:
            del self._backlogged[route]
        return list(self._backlogged)

    def drained_routes(self) -> list[Route]:
        """Served routes of which some waiting tasks are in the store only, and none here."""
        return [route for route in self._routes.values() if route.overflowed and route.seats and not route.waiting]

    # --- leases --------------------------------------------------------------------------------

    def lease_ended(self, before: RunState, run: RunState) -> None:
        """The attempt that `before` had leased is over; its worker hears of it unless it reported itself."""
        step = before.step
        worker = self._workers.get((before.namespace, step.worker_id)) if step else None
        held = worker.held.get(before.run_id) if worker else None
        if step is None or worker is None or held is None:
            return
        if (held.step_id, held.attempt) == (step.step_id, step.attempt):
            self._end_lease(worker, held, run)

    def _end_lease(self, worker: Worker, held: Held, run: RunState) -> None:
        full = len(worker.held) >= MAX_HELD
        del worker.held[run.run_id]
        if full:
            for seat in worker.seats:
                self._announce(seat)
        if not held.reporting:
            token = TaskToken(run.namespace, run.run_id, held.step_id, held.attempt, self._epoch)
            for seat in worker.seats:
                seat.sink.send_update(LeaseUpdate(token, lost_state(run, token)))

    def held_among(self, namespace: str, run_ids: Set[str]) -> list[tuple[Worker, str]]:
        """Which of these runs a worker of this process holds a task of."""
        workers = [worker for (space, _), worker in self._workers.items() if space == namespace and worker.held]
        return [(worker, run_id) for worker in workers for run_id in worker.held.keys() & run_ids]

    def held_anywhere(self) -> list[tuple[str, Worker, str]]:
        """All that workers of this process hold: (namespace, worker, run id)."""
        return [(space, worker, run_id) for (space, _), worker in self._workers.items() for run_id in worker.held]

    def compare_lease(self, worker: Worker, run: RunState) -> None:
        """Ends what the worker holds of the run, if its attempt is over; `run` as it stands now."""
        held, step = worker.held.get(run.run_id), run.step
        if held is None:
            return
        leased = run.activity is Activity.LEASED and step is not None
        if leased and step is not None and (step.step_id, step.attempt) == (held.step_id, held.attempt):
            return
        self._end_lease(worker, held, run)

    def held(self, token: TaskToken, worker_id: str) -> Held | None:
        """What is known of a lease, if this worker holds it."""
        worker = self._workers.get((token.namespace, worker_id))
        held = worker.held.get(token.run_id) if worker else None
        if held is not None and (held.step_id, held.attempt) == (token.step_id, token.attempt):
            return held
        return None

    # --- who serves what -------------------------------------------------------------------------

    def blocked_run(self, run: RunState, now: int) -> bool:
        """Whether the run's task has been due for `no_worker_us` without anybody connected to take it."""
        step = run.step
        return step is not None and self._blocked(step_route(run), step.queued_at, now)

    def blocked_task(self, namespace: str, task: TaskRow, now: int) -> bool:
        """The same for a task in a list."""
        if task.leased or task.held:
            return False
        return self._blocked(row_route(namespace, task), task.queued_at, now)

    def _blocked(self, key: RouteKey, queued_at: int, now: int) -> bool:
        route = self._routes.get(key)
        if route is None:
            seats = self._seats_by_queue.get((key[0], key[1]), ())
            unserved_since = self._started_at
            served = any(serves(seat.profile, key) for seat in seats)
        else:
            unserved_since = route.unserved_since
            served = bool(route.seats)
        return not served and max(queued_at, unserved_since) + self._limits.no_worker_us <= now

    def _must_queue(self, seat: Seat, priority: int) -> bool:
        """Whether a newborn task leaves the seat's credit to the tasks that wait for it.

        Waiting tasks of a higher priority go first; of the others, one after every MAX_OVERTAKING newborn.
        """
        heads = [route.head() for route in self.waiting_routes() if seat in route.seats]
        ranks = [head.rank for head in heads if head is not None]
        if not ranks:
            return False
        seat.overtaken += 1
        if min(ranks) < -priority or seat.overtaken > MAX_OVERTAKING:
            seat.overtaken = 0
            return True
        return False

    def _route(self, key: RouteKey) -> Route:
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = Route(key, self._started_at)
            place = key[0], key[1]
            self._by_queue.setdefault(place, {})[route] = None
            for seat in self._seats_by_queue.get(place, ()):
                if serves(seat.profile, key):
                    route.add_seat(seat)
        return route

    def _unroute(self, seat: Seat) -> None:
        now = self._clock.now()
        for route in seat.routes:
            route.remove_seat(seat, now)
        seat.routes.clear()
        seat.absent.clear()
        for queue in dict.fromkeys(seat.profile.queues):
            seats = self._seats_by_queue[seat.profile.namespace, queue]
            seats.remove(seat)
            if not seats:
                del self._seats_by_queue[seat.profile.namespace, queue]

    def _note_backlog(self, route: Route) -> None:
        if route.waiting and route.seats:
            self._backlogged[route] = None
            self.listener.credit_for_waiting()

    def _announce(self, seat: Seat) -> None:
        seat.announce()
        if self._backlogged and seat.free > 0:
            self.listener.credit_for_waiting()

    def _reserving_seat(self, namespace: str, worker_id: str) -> Seat | None:
        worker = self._workers.get((namespace, worker_id))
        if worker is not None:
            for seat in worker.seats:
                if seat.reserved > 0:
                    return seat
        return None


def task_route(run: RunState, task: TaskDue) -> RouteKey:
    """The route of a task of a run."""
    if task.effect_type:
        return effect_route(run.namespace, task.queue, task.effect_type)
    return node_route(run.namespace, task.queue, run.workflow_id, run.workflow_version, task.node_id)


def step_route(run: RunState) -> RouteKey:
    """The route of the run's open step."""
    step = run.step
    if step is None:
        raise ValueError(f"run {run.run_id} has no open step")
    if step.effect is not None:
        return effect_route(run.namespace, step.queue, step.effect.type)
    return node_route(run.namespace, step.queue, run.workflow_id, run.workflow_version, step.node_id)


def row_route(namespace: str, task: TaskRow) -> RouteKey:
    """The route of a stored task."""
    if task.effect_type:
        return effect_route(namespace, task.queue, task.effect_type)
    return node_route(namespace, task.queue, task.workflow_id, task.workflow_version, task.node_id)


def lost_state(run: RunState, token: TaskToken) -> LeaseState:
    """What a worker hears of a lease that it no longer holds; `run` as it stands now."""
    by_cancel = run.cancelling or run.status is RunStatus.CANCELLED
    if by_cancel and run.abandoned == (token.step_id, token.attempt):
        return LeaseState.CANCELLED
    return LeaseState.LOST


def _view(worker: Worker) -> WorkerView:
    stream = worker.stream
    return WorkerView(
        profile=worker.profile,
        stream_epoch=worker.epoch if stream is not None else 0,
        credit=sum(max(seat.free, 0) for seat in worker.seats),
        held_tasks=len(worker.held),
        connected_at=worker.connected_at,
        draining=bool(worker.seats) and all(seat.draining for seat in worker.seats),
    )
