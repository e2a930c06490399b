"""WorkerService over a real connection: what a worker's stub sees."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from perdure.v1 import ledger_service_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure_server.api.auth import Authenticator
from perdure_server.api.guard import Guard, GuardedServer, current_caller
from perdure_server.api.worker_service import WorkerService, add_worker_service
from perdure_server.ids import new_epoch
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import RunStatus
from tests.dispatch.rig import Rig, chain, open_rig

HELLO = pb.Hello(worker_id="w1", stream_epoch=1, effect_types=["echo"])


@dataclass
class Edge:
    """A rig behind a server, and a channel to it."""

    rig: Rig
    stub: Any
    channel: grpc.aio.Channel


@asynccontextmanager
async def open_edge(limits: Limits = DEFAULT_LIMITS) -> AsyncGenerator[Edge]:
    """A server on a free loopback port, and a channel."""
    async with open_rig(limits) as rig:
        server = grpc.aio.server()
        guarded = GuardedServer(server, Guard(Authenticator(), limits, new_epoch))
        service = WorkerService(rig.dispatcher, limits, current_caller, "0.0.0")
        add_worker_service(service, guarded.as_server())
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Edge(rig, WorkerServiceStub(channel), channel)
        await server.stop(None)


class Stream:
    """A worker's stream as a stub has it."""

    def __init__(self, edge: Edge) -> None:
        self.call = edge.stub.Work()
        self.parts: list[pb.WorkResponse] = []

    async def say(self, **parts: Any) -> None:
        """Sends a message."""
        await self.call.write(pb.WorkRequest(**parts))

    async def hear(self) -> pb.WorkResponse:
        """Receives a message."""
        message = await self.call.read()
        assert isinstance(message, pb.WorkResponse), await self.call.code()
        return message

    async def tasks(self) -> list[pb.Task]:
        """The tasks of the next message that has some."""
        while not (message := await self.hear()).tasks:
            pass
        return list(message.tasks)

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """Status and reason with which the stream ends."""
        while await self.call.read() is not grpc.aio.EOF:
            pass
        details = dict(await self.call.trailing_metadata()).get("grpc-status-details-bin", b"")
        return await self.call.code(), str(details)


async def test_a_worker_executes_a_run() -> None:
    async with open_edge() as edge:
        await edge.rig.register(chain(steps=2))
        stream = Stream(edge)
        await stream.say(hello=HELLO, credit=pb.Credit(limit=2))
        welcome = (await stream.hear()).welcome
        assert (welcome.lease.seconds, welcome.server_version) == (30, "0.0.0")
        assert welcome.store_epoch == edge.rig.engine.info.epoch
        await edge.rig.start("chain", "r1")
        for number in range(2):
            (task,) = await stream.tasks()
            assert task.effect.type == "echo"
            assert task.effect.payload_json == f'{{"step":{number}}}'
            report = pb.TaskReport(task_token=task.task_token)
            report.effect.result_json = f'"done {number}"'
            await stream.say(reports=[report])
        message = await stream.hear()
        assert [ack.status for ack in message.acks] == [pb.ACK_STATUS_ACCEPTED]
        run = await edge.rig.run("r1")
        assert run.status is RunStatus.COMPLETED
        assert run.vars == {"results": {"s0": "done 0", "s1": "done 1"}}
        await stream.say(goodbye=ledger_service_pb2.Goodbye())
        await stream.call.done_writing()
        last = await stream.hear()
        assert last.goodbye.reason == ledger_service_pb2.Goodbye.REASON_CLIENT_DONE
        assert await stream.call.read() is grpc.aio.EOF
        assert await stream.call.code() is grpc.StatusCode.OK
