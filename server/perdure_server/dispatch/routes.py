"""Routes: one for each kind of task, with the seats that serve it and the tasks that wait for one."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final, NamedTuple, TypeAlias

from perdure_server.dispatch.messages import Profile
from perdure_server.dispatch.workers import Seat

RouteKey: TypeAlias = tuple[str, ...]
"""(namespace, queue, effect type) or (namespace, queue, workflow_id, version, node_id)."""

MAX_READY: Final = 10_000
"""Waiting tasks that a route remembers; the others are found in the store again."""


class ReadyTask(NamedTuple):
    """A task that waits for a worker, in the order in which tasks are handed out."""

    rank: int
    """Minus its priority."""
    queued_at: int
    run_id: str
    step_id: int


def effect_route(namespace: str, queue: str, effect_type: str) -> RouteKey:
    """The route of an effect."""
    return namespace, queue, effect_type


def node_route(namespace: str, queue: str, workflow_id: str, version: str, node_id: str) -> RouteKey:
    """The route of a node."""
    return namespace, queue, workflow_id, version, node_id


def serves(profile: Profile, key: RouteKey) -> bool:
    """Whether a worker serves the tasks of a route."""
    if key[0] != profile.namespace or key[1] not in profile.queues:
        return False
    if len(key) == 3:
        return key[2] in profile.effect_types or "*" in profile.effect_types
    _, _, workflow_id, version, node_id = key
    return any(
        served.workflow_id == workflow_id
        and (not served.versions or version in served.versions)
        and (not served.node_ids or node_id in served.node_ids)
        for served in profile.workflows
    )


class Route:
    """The seats that serve one kind of task, taken in turn, and its waiting tasks, best first.

    A seat found without credit leaves `idle` and comes back when it has some, so that `pick` costs no walk
    over seats that are busy. A task is named once; one that is forgotten stays in the heap without effect.

    Args:
        key: the kind of task.
        unserved_since: Unix microseconds; since when nobody serves it.
    """

    def __init__(self, key: RouteKey, unserved_since: int) -> None:
        self.key = key
        self.seats: list[Seat] = []
        self.idle: deque[Seat] = deque()
        self.unserved_since = unserved_since
        self.overflowed = False
        self._heap: list[ReadyTask] = []
        self._known: dict[str, ReadyTask] = {}

    def add_seat(self, seat: Seat) -> None:
        """A seat serves this kind of task."""
        self.seats.append(seat)
        seat.routes.append(self)
        self.idle.append(seat)

    def remove_seat(self, seat: Seat, now: int) -> None:
        """It no longer does."""
        self.seats.remove(seat)
        if seat in self.idle:
            self.idle.remove(seat)
        if not self.seats:
            self.unserved_since = now

    def pick(self) -> Seat | None:
        """The next seat that has credit, if there is one."""
        idle = self.idle
        while idle:
            seat = idle[0]
            if seat.free > 0:
                idle.rotate(-1)
                return seat
            idle.popleft()
            seat.absent.append(self)
        return None

    @property
    def waiting(self) -> int:
        """Tasks that are known to wait."""
        return len(self._known)

    def queued_at(self) -> list[int]:
        """Since when each of them waits, Unix microseconds."""
        return [task.queued_at for task in self._known.values()]

    def add(self, task: ReadyTask) -> None:
        """A task waits; the newest word about a run counts."""
        if self._known.get(task.run_id) == task:
            return
        self._known[task.run_id] = task
        heapq.heappush(self._heap, task)
        if len(self._heap) > 2 * MAX_READY:
            self._trim()

    def forget(self, run_id: str) -> None:
        """The run's task waits no longer."""
        self._known.pop(run_id, None)

    def head(self) -> ReadyTask | None:
        """The best waiting task."""
        heap, known = self._heap, self._known
        while heap and known.get(heap[0].run_id) != heap[0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def pop(self) -> ReadyTask | None:
        """Takes the best waiting task out."""
        task = self.head()
        if task is not None:
            heapq.heappop(self._heap)
            del self._known[task.run_id]
        return task

    def _trim(self) -> None:
        live = sorted(self._known.values())
        self.overflowed = self.overflowed or len(live) > MAX_READY
        self._heap = live[:MAX_READY]
        self._known = {task.run_id: task for task in self._heap}
