"""A store and the server processes that live on it one after the other, on one address; SIGKILL ends each."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perdure import Client
from perdure_server.storage.faults import COMMIT_LOG
from tests.acceptance.scene import Scene
from tests.robustness.server_process import ServerProcess, Servers


class Lives:
    """Starts, kills and starts again.

    Args:
        servers: starts the processes; all of them use the SQLite file `store` in its directory.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._stack = AsyncExitStack()
        self._listen = "127.0.0.1:0"
        self.server: ServerProcess | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self._servers.directory / "perdure.db"

    @property
    def commit_log(self) -> Path:
        """What the servers with a fault committed, and where they died."""
        return self._servers.directory / "commits"

    async def begin(self, environment: Mapping[str, str] | None = None, **config: Any) -> Scene:
        """Starts the first or the next server; returns a scene of its own, over the namespace "default".

        Args:
            environment: PERDURE_FAULT_... variables; see perdure_server.storage.faults.
            config: see perdure_server.config.Config.
        """
        variables = {**environment, COMMIT_LOG: str(self.commit_log)} if environment else None
        server = await self._servers.start({"listen": self._listen, **config}, environment=variables)
        assert server.is_alive, server.tail()
        self.server = server
        self._listen = server.address
        client = await self._stack.enter_async_context(Client.connect(server.address))
        return await self._stack.enter_async_context(Scene.of(client))

    async def kill(self) -> None:
        """SIGKILL."""
        assert self.server is not None
        assert await self.server.stop(signal.SIGKILL) == -signal.SIGKILL

    async def died(self) -> list[dict[str, Any]]:
        """Waits for a death at a fault point; returns the commits of the group at which it happened."""
        assert self.server is not None
        assert await self.server.wait() == -signal.SIGKILL, self.server.tail()
        last = json.loads(self.commit_log.read_text().splitlines()[-1])
        assert last["dies"], last
        return last["commits"]
