"""One store through many server processes: when one is killed, the next one opens the store."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from itertools import chain
from types import TracebackType
from typing import Any, Self

import grpc.aio

from tests.robustness.server_process import ServerError, ServerProcess, Servers

KILLED = -signal.SIGKILL
DYING_S = 10.0
"""How long the end of a process may take to be known after a call over it has failed."""


def _tells_of_death(failure: grpc.aio.AioRpcError) -> bool:
    """Whether a call fails so when its server dies. A write that meets the end of its stream fails as INTERNAL, by
    gRPC's own doing (github.com/grpc/grpc/issues/36066)."""
    return failure.code() is grpc.StatusCode.UNAVAILABLE or (failure.code(), failure.details()) == (
        grpc.StatusCode.INTERNAL,
        "Internal error from Core",
    )


class Life:
    """One process of the store, and the one connection that all clients of the test share."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.channel = server.channel()

    async def has_ended(self, failure: grpc.aio.AioRpcError) -> None:
        """Returns once the process is dead.

        Raises: the failure, if it was not the process's death.
        """
        if not _tells_of_death(failure) or not await self.is_over():
            raise failure

    async def is_over(self) -> bool:
        """Whether the process is dead, or dies within a moment."""
        await asyncio.wait({self.server.exited}, timeout=DYING_S)
        return not self.server.is_alive


class Lives:
    """Keeps a server running on one store, or several replicas.

    Args:
        servers: starts them.
        store: URL of the store.
        config: of each process.
        environment_of: environment of the n-th process (from 1).
        defect: planted in each process.
        after_death: called when a process has been killed.
        replicas: how many there are at a time; clients come to each of them in turn.

    Attributes:
        count: servers so far.
        replicas: how many there are at a time.
        slowest_start_s: how long the store was without a server while one started, at the longest.
        place_of: by process, which of the servers at a time it is or was, from 0.
    """

    def __init__(
        self,
        servers: Servers,
        store: str,
        config: dict[str, Any],
        environment_of: Callable[[int], dict[str, str]],
        defect: str = "",
        after_death: Callable[[], None] | None = None,
        replicas: int = 1,
    ) -> None:
        self.count = 0
        self.replicas = replicas
        self.slowest_start_s = 0.0
        self.place_of: dict[int, int] = {}
        self._servers = servers
        self._store = store
        self._config = config
        self._environment_of = environment_of
        self._defect = defect
        self._after_death = after_death
        self._places: list[list[Life]] = [[] for _ in range(replicas)]
        self._turn = 0
        self._changed = asyncio.Condition()
        self._keepers: list[asyncio.Task[None]] = []
        self._is_leaving = False

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep(place)) for place in range(self.replicas)]
        async with self._changed:
            await self._changed.wait_for(lambda: all(self._places) or self._ended_keeper() is not None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_leaving = True
        for life in chain.from_iterable(self._places):
            await life.channel.close()
            await life.server.stop(signal.SIGKILL)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def current(self) -> Life:
        """A life that goes on: of each place in turn; waits for the next one if there is none.

        Raises: ServerError if a process ended by itself.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._living() or self._ended_keeper() is not None)
        keeper = self._ended_keeper()
        if keeper is not None:
            keeper.result()
        living = self._living()
        life = living[self._turn % len(living)]
        self._turn += 1
        return life

    def _living(self) -> list[Life]:
        return [lives[-1] for lives in self._places if lives and lives[-1].server.is_alive]

    def _ended_keeper(self) -> asyncio.Task[None] | None:
        return next((keeper for keeper in self._keepers if keeper.done()), None)

    async def _keep(self, place: int) -> None:
        try:
            while not self._is_leaving:
                await self._live_once(place)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _live_once(self, place: int) -> None:
        self.count += 1
        number = self.count
        now = asyncio.get_running_loop().time
        began = now()
        server = await self._servers.start(
            {**self._config, "store": self._store},
            environment=self._environment_of(number),
            defect=self._defect,
        )
        self.place_of[server.pid] = place
        if self.replicas == 1:
            self.slowest_start_s = max(self.slowest_start_s, now() - began)
        if server.is_alive:
            async with self._changed:
                self._places[place].append(Life(server))
                self._changed.notify_all()
        code = await asyncio.shield(server.exited)
        if self._after_death is not None and not self._is_leaving:
            self._after_death()
        if code != KILLED:
            raise ServerError(f"server {number} of {self._store} ended with {code}:\n{server.tail()}")
