"""Perdure as a subject: `perdure serve` and a worker made with the Python SDK, as real processes."""

import asyncio
import socket
import sys
from pathlib import Path

import grpc.aio

from tests.bench.perdure_host import SERVER_CHAIN, WORKER_CHAIN, PerdureHost
from tests.bench.processes import Child
from tests.bench.subject import BenchError, Counters, Legs

SQLITE = "sqlite:///{directory}/perdure.db"
_START_TIMEOUT_S = 30.0
_WORKER_MODULE = "tests.bench.perdure_worker"


class PerdureSubject:
    """A server on a new store, one worker process.

    Args:
        store: URL; `{directory}` stands for the subject's own folder.
    """

    name = "perdure"

    def __init__(self, store: str = SQLITE) -> None:
        self._store = store
        self._server: Child | None = None
        self._worker: Child | None = None
        self._channel: grpc.aio.Channel | None = None
        self._host: PerdureHost | None = None
        self._server_pid = 0

    async def start(self, directory: Path) -> None:
        """See Subject."""
        address = f"127.0.0.1:{free_port()}"
        self._server = await Child.start(
            directory / "perdure-server.log",
            *serve_command(address, self._store.format(directory=directory)),
        )
        self._channel = grpc.aio.insecure_channel(address)
        await channel_ready(self._channel, self._server)
        self._host = PerdureHost(self._channel)
        await self._host.open()
        self._server_pid = await self._host.process_id()
        worker = await Child.start_module(directory / "perdure-worker.log", _WORKER_MODULE, address)
        self._worker = worker
        await worker.line_starting("ready", timeout_s=_START_TIMEOUT_S)

    async def stop(self) -> None:
        """See Subject."""
        if self._host is not None:
            await self._host.close()
        if self._channel is not None:
            await self._channel.close()
        for child in (self._worker, self._server):
            if child is not None:
                await child.stop()
        self._host = self._channel = self._worker = self._server = None

    def server_pid(self) -> int:
        """See Subject."""
        return self._server_pid

    def worker_pid(self) -> int:
        """See Subject."""
        if self._worker is None:
            raise BenchError("perdure is not started")
        return self._worker.pid

    async def counters(self) -> Counters:
        """See Subject."""
        return await self._started().counters()

    async def worker_run(self, run_id: str) -> None:
        """See Subject."""
        await self._started().run_to_end(WORKER_CHAIN, run_id)

    async def server_run(self, run_id: str) -> None:
        """See Subject. The server may put several of its own steps into one commit."""
        await self._started().run_to_end(SERVER_CHAIN, run_id)

    async def waiting_run(self, run_id: str) -> Legs:
        """See Subject."""
        return await self._started().waiting_run(run_id)

    def _started(self) -> PerdureHost:
        if self._host is None:
            raise BenchError("perdure is not started")
        return self._host


async def channel_ready(channel: grpc.aio.Channel, server: Child) -> None:
    """Wait until the server answers, or say why it does not."""
    ready = asyncio.create_task(channel.channel_ready())
    ended = asyncio.create_task(server.wait())
    await asyncio.wait({ready, ended}, timeout=_START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not ready.done():
        ready.cancel()
        raise BenchError(f"`perdure serve` does not answer; it said:\n{server.output()}")
    await ready


def serve_command(address: str, store: str) -> list[str]:
    """The command line of the server."""
    perdure = Path(sys.executable).with_name("perdure")
    return [str(perdure), "serve", "--listen", address, "--store", store]


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
