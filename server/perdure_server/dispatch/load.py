"""How much waits for workers and how much they hold, for operators. Read on the event loop, so its cost is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from perdure_server.dispatch.registry import Registry
from perdure_server.dispatch.routes import Route

MOST_TASKS: Final = 20_000
"""Waiting tasks that are looked at one by one, about a millisecond; of further routes only the first in line is."""


@dataclass(slots=True)
class QueueLoad:
    """Tasks of one queue that wait for a worker. `oldest_at`: Unix microseconds."""

    tasks: int = 0
    oldest_at: int = 0

    def add(self, tasks: int, oldest_at: int) -> None:
        """Tasks of another route of the queue."""
        self.oldest_at = min(self.oldest_at, oldest_at) if self.tasks else oldest_at
        self.tasks += tasks


@dataclass(slots=True)
class Load:
    """The load of one process."""

    streams: int = 0
    polls: int = 0
    credit: int = 0
    leases: int = 0
    blocked: int = 0
    """Waiting tasks that are due for `no_worker_us` and that nobody connected can take."""
    queues: dict[tuple[str, str], QueueLoad] = field(default_factory=dict[tuple[str, str], QueueLoad])
    """By (namespace, queue); only those with waiting tasks."""


def read_load(registry: Registry, now: int, no_worker_us: int) -> Load:
    """The load at an instant.

    Args:
        now: Unix microseconds.
        no_worker_us: limit after which a task that nobody can take counts as blocked.
    """
    load = Load()
    for worker in registry.known_workers():
        load.leases += len(worker.held)
        for seat in worker.seats:
            load.streams += seat.is_stream
            load.polls += not seat.is_stream
            load.credit += max(seat.free, 0)
    left = MOST_TASKS
    for route in registry.known_routes():
        if route.waiting:
            left -= _add(load, route, now - no_worker_us, look=left >= route.waiting)
    return load


def _add(load: Load, route: Route, blocked_since: int, *, look: bool) -> int:
    """Adds a route; returns how many tasks were looked at."""
    head = route.head()
    times = route.queued_at() if look or head is None else [head.queued_at]
    load.queues.setdefault((route.key[0], route.key[1]), QueueLoad()).add(route.waiting, min(times))
    if not route.seats and route.unserved_since <= blocked_since:
        due = sum(at <= blocked_since for at in times)
        load.blocked += due if look else route.waiting * due
    return len(times)
