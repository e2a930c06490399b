"""Who kills, stops and restarts, as a seed says."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

from tests.e2e.processes import Program
from tests.postgres import Stop
from tests.robustness.kill_loop.fleet import Fleet

LEAST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 2.5
LONGEST_STOP_S = 6.0
"""Longer than a lease: who is stopped for so long has lost what it held."""
LONGEST_OUTAGE_S = 4.0
"""Of the database."""


class Nemesis:
    """Acts until it is told to stop; when it has stopped, everybody lives.

    Args:
        fleet: the servers.
        workers: the worker processes; a killed one is replaced in the list.
        replace: starts the worker process of an index.
        dice: what, whom, when.
        actions: names of the only actions it takes; all if there are none.

    Attributes:
        deeds: what it did, how often.
    """

    def __init__(
        self,
        fleet: Fleet,
        workers: list[Program],
        replace: Callable[[int], Awaitable[Program]],
        dice: Random,
        actions: Sequence[str] = (),
    ) -> None:
        self.deeds: Counter[str] = Counter()
        self._fleet = fleet
        self._workers = workers
        self._replace = replace
        self._dice = dice
        self._over = asyncio.Event()
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {
            "kill server": self._kill_server,
            "stop server": self._stop_server,
            "roll servers": self._roll_servers,
            "kill worker": self._kill_worker,
            "stop worker": self._stop_worker,
        }
        if fleet.database is not None:
            self._actions["restart database"] = partial(self._restart_database, "fast")
            self._actions["crash database"] = partial(self._restart_database, "immediate")
            self._actions["crash database during recovery"] = self._crash_database_during_recovery
        self._names = list(actions or self._actions)

    async def rage(self) -> None:
        """Returns once it has been told to stop, after the deed that is under way."""
        while not await self._is_over_within(self._dice.uniform(LEAST_PAUSE_S, LONGEST_PAUSE_S)):
            name = self._dice.choice(self._names)
            await self._actions[name]()
            self.deeds[name] += 1

    def stop(self) -> None:
        """No more deeds."""
        self._over.set()

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def _kill_server(self) -> None:
        await self._fleet.end(self._dice.choice(self._fleet.slots), signal.SIGKILL)

    async def _roll_servers(self) -> None:
        for slot in self._fleet.slots:
            await self._fleet.end(slot, signal.SIGTERM)

    async def _stop_server(self) -> None:
        slot = self._dice.choice(self._fleet.slots)
        self._fleet.signal(slot, signal.SIGSTOP)
        try:
            await self._is_over_within(self._dice.uniform(0.5, LONGEST_STOP_S))
        finally:
            self._fleet.signal(slot, signal.SIGCONT)

    async def _restart_database(self, how: Stop) -> None:
        seconds = self._dice.uniform(0.0, LONGEST_OUTAGE_S)
        await self._fleet.restart_database(how, partial(self._is_over_within, seconds))

    async def _crash_database_during_recovery(self) -> None:
        """A new server has just begun to take up what the killed one left."""
        await self._kill_server()
        await self._restart_database("immediate")

    async def _kill_worker(self) -> None:
        index = self._dice.randrange(len(self._workers))
        await self._workers[index].kill()
        self._workers[index] = await self._replace(index)

    async def _stop_worker(self) -> None:
        worker = self._dice.choice(self._workers)
        worker.send(signal.SIGSTOP)
        try:
            await self._is_over_within(self._dice.uniform(0.5, LONGEST_STOP_S))
        finally:
            worker.send(signal.SIGCONT)
