"""The only place of the server that reads clocks and sleeps. Time is a parameter everywhere else."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the server sees it, in microseconds."""

    def now(self) -> int:
        """UTC, Unix microseconds."""
        ...

    def monotonic(self) -> int:
        """Microseconds that never jump; only differences mean anything."""
        ...

    async def sleep(self, delay_us: int) -> None:
        """Returns once this much time has passed on this clock."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """UTC, Unix microseconds."""
        return time.time_ns() // 1_000

    def monotonic(self) -> int:
        """Microseconds since some instant."""
        return time.monotonic_ns() // 1_000

    async def sleep(self, delay_us: int) -> None:
        """Sleeps on the event loop."""
        await asyncio.sleep(max(delay_us, 0) / 1_000_000)


class VirtualClock:
    """A clock that stands still until a test advances it; sleepers wake in order of their instants.

    Args:
        start: first value of `now`, Unix microseconds.
    """

    def __init__(self, start: int = 1_767_225_600_000_000) -> None:
        self._now = start
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> int:
        """The virtual instant."""
        return self._now

    def monotonic(self) -> int:
        """The same count."""
        return self._now

    async def sleep(self, delay_us: int) -> None:
        """Waits until `advance` has passed the instant."""
        if delay_us <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        entry = (self._now + delay_us, future)
        self._sleepers.append(entry)
        try:
            await future
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    def advance(self, delta_us: int) -> None:
        """Moves time on and wakes whoever is due."""
        self._now += delta_us
        due = [entry for entry in self._sleepers if entry[0] <= self._now]
        for entry in sorted(due, key=lambda item: item[0]):
            if not entry[1].done():
                entry[1].set_result(None)
