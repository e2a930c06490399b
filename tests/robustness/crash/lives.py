"""One store through many server processes: when one is killed, the next one opens the file."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
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
    """Keeps a server running on one store.

    Args:
        servers: starts them.
        store: URL of the store.
        config: of each process.
        environment_of: environment of the n-th process (from 1).
        defect: planted in each process.
        after_death: called when a process has been killed.

    Attributes:
        count: servers so far.
        slowest_start_s: how long it took until one listened, at the longest.
    """

    def __init__(
        self,
        servers: Servers,
        store: str,
        config: dict[str, Any],
        environment_of: Callable[[int], dict[str, str]],
        defect: str = "",
        after_death: Callable[[], None] | None = None,
    ) -> None:
        self.count = 0
        self.slowest_start_s = 0.0
        self._servers = servers
        self._store = store
        self._config = config
        self._environment_of = environment_of
        self._defect = defect
        self._after_death = after_death
        self._lives: list[Life] = []
        self._changed = asyncio.Condition()
        self._keeper: asyncio.Task[None] | None = None
        self._is_leaving = False

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_leaving = True
        for life in self._lives:
            await life.channel.close()
            await life.server.stop(signal.SIGKILL)
        keeper = self._keeper
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def current(self) -> Life:
        """The life that goes on; waits for the next one if there is none.

        Raises: ServerError if a process ended by itself.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_up() or (self._keeper is not None and self._keeper.done()))
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()
        return self._lives[-1]

    def _is_up(self) -> bool:
        return bool(self._lives) and self._lives[-1].server.is_alive

    async def _keep(self) -> None:
        try:
            while not self._is_leaving:
                await self._live_once()
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _live_once(self) -> None:
        self.count += 1
        now = asyncio.get_running_loop().time
        began = now()
        server = await self._servers.start(
            {**self._config, "store": self._store},
            environment=self._environment_of(self.count),
            defect=self._defect,
        )
        self.slowest_start_s = max(self.slowest_start_s, now() - began)
        if server.is_alive:
            async with self._changed:
                self._lives.append(Life(server))
                self._changed.notify_all()
        code = await asyncio.shield(server.exited)
        if self._after_death is not None and not self._is_leaving:
            self._after_death()
        if code != KILLED:
            raise ServerError(f"server {self.count} of {self._store} ended with {code}:\n{server.tail()}")
