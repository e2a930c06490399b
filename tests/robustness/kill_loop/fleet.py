"""The server processes of a campaign: each has its address for good, whoever lives there."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.postgres import Cluster, Stop
from tests.robustness.server_process import ServerError, ServerProcess, Servers


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Slot:
    """A place where a server lives."""

    port: int
    server: ServerProcess | None = None

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"


@dataclass
class Fleet:
    """One server, or several replicas on one store.

    Args:
        servers: starts them.
        config: of each; the address is filled in here.
        replicas: how many.
        defect: planted in each.
        database: the PostgreSQL that they share, if it may be stopped.
    """

    servers: Servers
    config: dict[str, Any]
    replicas: int = 1
    defect: str = ""
    database: Cluster | None = None
    slots: list[Slot] = field(default_factory=list[Slot])
    highest_mib: float = 0.0

    @property
    def target(self) -> str:
        """All addresses as one gRPC target; clients take the first that answers."""
        return f"ipv4:{','.join(slot.address for slot in self.slots)}"

    def target_from(self, first: int) -> str:
        """The same, with another address first: so clients are spread over the replicas."""
        turned = self.slots[first % self.replicas :] + self.slots[: first % self.replicas]
        return f"ipv4:{','.join(slot.address for slot in turned)}"

    async def start(self) -> None:
        """Starts all."""
        self.slots = [Slot(free_port()) for _ in range(self.replicas)]
        for slot in self.slots:
            await self.revive(slot)

    async def revive(self, slot: Slot) -> None:
        """Starts the server of a slot. Raises: ServerError if it does not serve."""
        config = {**self.config, "listen": slot.address}
        slot.server = await self.servers.start(config, defect=self.defect)
        if not slot.server.is_alive:
            raise ServerError(f"no server at {slot.address}:\n{slot.server.tail()}")

    async def end(self, slot: Slot, number: signal.Signals) -> None:
        """Ends the server of a slot with a signal, and starts the next one there."""
        if slot.server is not None:
            self.measure(slot.server)
            code = await slot.server.stop(number)
            expected = 0 if number is signal.SIGTERM else -number
            if code != expected:
                raise ServerError(f"the server at {slot.address} ended with {code}:\n{slot.server.tail()}")
        await self.revive(slot)

    async def restart_database(self, how: Stop, while_down: Callable[[], Awaitable[object]]) -> None:
        """Stops the database, awaits something, and starts it again."""
        if self.database is None:
            raise ServerError("there is no database that may be stopped")
        await asyncio.to_thread(self.database.stop, how)
        try:
            await while_down()
        finally:
            await asyncio.to_thread(self.database.start)

    def signal(self, slot: Slot, number: signal.Signals) -> None:
        """Sends a signal to the server of a slot."""
        if slot.server is not None:
            os.kill(slot.server.pid, number)

    def measure(self, server: ServerProcess) -> None:
        """Notes the memory of a server that lives."""
        self.highest_mib = max(self.highest_mib, server.memory_mib())

    async def stop(self) -> None:
        """Ends all."""
        living = [slot.server for slot in self.slots if slot.server is not None]
        for server in living:
            self.measure(server)
        await asyncio.gather(*(server.stop() for server in living))
