"""The baseline as a subject."""

import time
from pathlib import Path
from typing import TypeVar

import grpc.aio

from tests.bench.processes import Child
from tests.bench.skeleton import skeleton_pb2 as pb
from tests.bench.skeleton.wire import Stub, run_payload
from tests.bench.subject import STEPS_PER_RUN, BenchError, Counters, Legs

_T = TypeVar("_T")


class SkeletonSubject:
    """`tests.bench.skeleton` in two processes."""

    name = "skeleton"

    def __init__(self) -> None:
        self._server: Child | None = None
        self._worker: Child | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: Stub | None = None

    async def start(self, directory: Path) -> None:
        """See Subject."""
        server = await Child.start_module(
            directory / "skeleton-server.log",
            "tests.bench.skeleton.server",
            str(directory / "skeleton.db"),
        )
        self._server = server
        port = (await server.line_starting("ready ", timeout_s=20)).split()[1]
        self._worker = await Child.start_module(directory / "skeleton-worker.log", "tests.bench.skeleton.worker", port)
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._stub = Stub(self._channel)

    async def stop(self) -> None:
        """See Subject."""
        if self._channel is not None:
            await self._channel.close()
        for child in (self._worker, self._server):
            if child is not None:
                await child.stop()
        self._channel = self._worker = self._server = self._stub = None

    def server_pid(self) -> int:
        """See Subject."""
        return _started(self._server).pid

    def worker_pid(self) -> int:
        """See Subject."""
        return _started(self._worker).pid

    async def counters(self) -> Counters:
        """See Subject."""
        reply = await _started(self._stub).counters(pb.CountersRequest())
        return Counters(commits=reply.commits, transactions=reply.transactions)

    async def worker_run(self, run_id: str) -> None:
        """See Subject."""
        await self._run(run_id, in_server=False)

    async def server_run(self, run_id: str) -> None:
        """See Subject."""
        await self._run(run_id, in_server=True)

    async def waiting_run(self, run_id: str) -> Legs:
        """Two unary calls with one commit each: the least that a start and a resume can be."""
        stub = _started(self._stub)
        request = pb.AppendRequest(run_id=run_id, payload_json=run_payload(run_id))
        begun = time.perf_counter()
        await stub.append(request)
        waiting = time.perf_counter()
        await stub.append(request)
        return Legs(start_s=waiting - begun, resume_s=time.perf_counter() - waiting)

    async def _run(self, run_id: str, *, in_server: bool) -> None:
        await _started(self._stub).run(
            pb.RunRequest(
                run_id=run_id,
                payload_json=run_payload(run_id),
                steps=STEPS_PER_RUN,
                in_server=in_server,
            )
        )


def _started(value: _T | None) -> _T:
    if value is None:
        raise BenchError("the skeleton is not started")
    return value
