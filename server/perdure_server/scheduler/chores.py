"""Chores: what the loops have started and not finished, and what must wait before it is tried again.

The store shows due work again until it is done, so a loop asks here before it starts something. One that
fails, or that its run does not take although the store still shows it, waits longer each time: it is tried
again, and never in the way of others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from perdure_server.clock import Clock
from perdure_server.kernel.decision import Rejection
from perdure_server.storage.port import RunKey

log = logging.getLogger(__name__)

FIRST_WAIT_US: Final = 500_000
LAST_WAIT_US: Final = 60_000_000
MAX_UNDER_WAY: Final = 4_096
MAX_WAITING: Final = 20_000
"""Chores remembered as waiting; over that the longest remembered are forgotten, and tried early."""


@dataclass(slots=True)
class _Waiting:
    tries: int
    until: int


class Chores:
    """Starts chores and keeps track of them.

    Args:
        clock: measures waits (monotonic).
        on_done: called when a chore has ended.
    """

    def __init__(self, clock: Clock, on_done: Callable[[], None]) -> None:
        self.failures = 0
        self._clock = clock
        self._on_done = on_done
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}
        self._waiting: dict[Hashable, _Waiting] = {}

    @property
    def open(self) -> int:
        """Chores that a read of the store may show although there is nothing to start."""
        return len(self._under_way) + len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._under_way)

    @property
    def full(self) -> bool:
        """Whether nothing more is started until something has ended."""
        return len(self._under_way) >= MAX_UNDER_WAY

    @property
    def has_room(self) -> bool:
        """Whether so little is under way that looking for more is worth a read: not one read for each that ends."""
        return len(self._under_way) <= MAX_UNDER_WAY // 2

    @property
    def next_try_at(self) -> int:
        """When the next waiting chore may be tried, from now on (monotonic microseconds); 0: none waits."""
        now = self._clock.monotonic()
        return min((entry.until for entry in self._waiting.values() if entry.until > now), default=0)

    def start(self, key: Hashable, run: RunKey, work: Callable[[], Awaitable[Any]]) -> bool:
        """Starts a chore unless it is under way, waits, or there are too many; returns whether it did.

        Args:
            key: names the chore; the same work has the same key.
            run: for logs.
            work: begins it; a coroutine or a future.
        """
        if key in self._under_way or self.full:
            return False
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.until > self._clock.monotonic():
            return False
        future = asyncio.ensure_future(work())
        self._under_way[key] = future
        future.add_done_callback(partial(self._ended, key, run))
        return True

    async def idle(self) -> None:
        """Returns when nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    async def stop(self) -> None:
        """Gives up what is under way; commits that have begun go on. Idempotent."""
        futures = list(self._under_way.values())
        for future in futures:
            future.cancel()
        if futures:
            await asyncio.wait(futures)

    def _ended(self, key: Hashable, run: RunKey, future: asyncio.Future[Any]) -> None:
        del self._under_way[key]
        error = None if future.cancelled() else future.exception()
        if error is None:
            self._waiting.pop(key, None)
        else:
            self._wait(key, run, error)
        self._on_done()

    def _wait(self, key: Hashable, run: RunKey, error: BaseException) -> None:
        entry = self._waiting.pop(key, None)
        tries = entry.tries + 1 if entry else 0
        delay = min(FIRST_WAIT_US << min(tries, 16), LAST_WAIT_US)
        self._waiting[key] = _Waiting(tries, self._clock.monotonic() + delay)
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        if not isinstance(error, Rejection):
            self.failures += 1
            log.warning(
                "%s failed; it is tried again",
                key,
                exc_info=error,
                extra={"run_id": run.run_id, "namespace": run.namespace, "count": self.failures},
            )

    def forget_old(self) -> None:
        """Forgets waits that ended a while ago: nobody has asked for these chores again."""
        before = self._clock.monotonic() - 2 * LAST_WAIT_US
        for key in [key for key, entry in self._waiting.items() if entry.until < before]:
            del self._waiting[key]
