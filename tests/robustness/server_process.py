"""Server processes of a test: started from the nursery, killed, stopped, and watched."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc.aio

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
)


class ServerError(Exception):
    """A server process did something else than it should; the text has the end of its log."""


class ServerProcess:
    """One server process.

    Attributes:
        pid: its process id.
        address: where it listens, once `listening` is set.
        exited: its exit code, or minus the signal that ended it.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pid = 0
        self.address = ""
        self.listening = asyncio.Event()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def is_alive(self) -> bool:
        """It has not ended."""
        return not self.exited.done()

    def channel(self) -> grpc.aio.Channel:
        """A new connection to it."""
        return grpc.aio.insecure_channel(self.address, options=list(CHANNEL_OPTIONS))

    async def ready(self) -> None:
        """Returns once it listens, or has ended before it could.

        Raises: ServerError if neither happens.
        """
        listening = asyncio.ensure_future(self.listening.wait())
        try:
            done, _ = await asyncio.wait(
                {listening, self.exited}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            listening.cancel()
        if not done:
            raise ServerError(f"the server does not listen:\n{self.tail()}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        if self.is_alive:
            os.kill(self.pid, number)
        return await self.wait()

    async def wait(self) -> int:
        """The exit code, once it has ended. Raises: ServerError if it goes on."""
        await asyncio.wait({self.exited}, timeout=STOP_TIMEOUT_S)
        if self.is_alive:
            raise ServerError(f"process {self.pid} does not end:\n{self.tail()}")
        return self.exited.result()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""

    def memory_mib(self) -> float:
        """Resident memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ServerError(f"process {self.pid} has no VmRSS")


class Nursery:
    """The process that servers are forked from; see tests.robustness.nursery.

    Args:
        directory: where its socket goes.
    """

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "nursery")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.nursery", self.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise ServerError("the nursery does not start")

    def close(self) -> None:
        """Ends it."""
        self._process.communicate(timeout=STOP_TIMEOUT_S)


class Servers:
    """Starts server processes; all of them end with it.

    Args:
        nursery: forks them.
        directory: where logs and stores go.
    """

    def __init__(self, nursery: Nursery, directory: Path) -> None:
        self.directory = directory
        self._nursery = nursery
        self._started: dict[int, ServerProcess] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_unix_connection(self._nursery.socket)
        self._listener = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is None or self._listener is None:
            return
        self._writer.write_eof()
        await self._listener
        self._writer.close()
        await self._writer.wait_closed()

    async def start(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        defect: str = "",
        store: str = "perdure.db",
    ) -> ServerProcess:
        """A server that listens, or has ended before it could (look at `is_alive`).

        Args:
            config: fields of perdure_server.config.Config; a free port of loopback and a SQLite file unless given.
                "limits": those that differ from the defaults, by name.
            environment: variables added to its environment.
            defect: one of tests.robustness.defects, planted in it.
            store: name of the SQLite file in the directory.
        """
        if self._writer is None:
            raise ServerError("servers are started inside of `async with`")
        number = len(self._started) + 1
        server = ServerProcess(self.directory / f"server-{number}.log")
        self._started[number] = server
        defaults = {"store": f"sqlite:///{self.directory / store}", "listen": "127.0.0.1:0", "log_format": "text"}
        order = {
            "id": number,
            "config": {**defaults, **(config or {})},
            "environment": dict(environment or {}),
            "log": str(server.log),
            "defect": defect,
        }
        self._writer.write(json.dumps(order).encode() + b"\n")
        await self._writer.drain()
        await server.ready()
        return server

    async def _read(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            facts: dict[str, Any] = json.loads(line)
            server = self._started[facts["id"]]
            server.pid = facts.get("pid", server.pid)
            if "listening" in facts:
                server.address = facts["listening"]
                server.listening.set()
            if "status" in facts:
                server.exited.set_result(facts["status"])
