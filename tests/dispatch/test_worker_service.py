"""WorkerService over a real connection: what a worker's stub sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from perdure.v1 import ledger_service_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure_server.api.auth import Anybody
from perdure_server.api.guard import Guard, GuardedServer, current_caller
from perdure_server.api.worker_service import WorkerService, add_worker_service
from perdure_server.ids import new_epoch
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import Activity, RunStatus
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
        guarded = GuardedServer(server, Guard(Anybody(), limits, new_epoch))
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
        with pytest.raises(grpc.aio.AioRpcError):
            await self._to_end()
        return await self.call.code(), reason_of(await self.call.trailing_metadata())

    async def _to_end(self) -> None:
        while await self.call.read() is not grpc.aio.EOF:
            pass


def reason_of(trailers: Any) -> str:
    """The reason in the ErrorInfo of a refused call."""
    status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


async def until_seats(edge: Edge, count: int) -> None:
    """Waits until so many seats are taken in the default namespace."""

    def seats() -> int:
        known = [edge.rig.registry.worker("default", name) for name in ("w1", "w2", "p1")]
        return sum(len(worker.seats) for worker in known if worker)

    for _ in range(50_000):
        if seats() == count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{seats()} seats are taken")


async def leased(edge: Edge, stream: Stream) -> pb.Task:
    """The task of a new run, sent on this stream after its hello."""
    await edge.rig.register(chain(steps=2))
    await stream.say(hello=HELLO, credit=pb.Credit(limit=1))
    await stream.hear()
    await edge.rig.start("chain", "r1")
    return (await stream.tasks())[0]


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


@pytest.mark.parametrize(
    "first",
    [
        pb.WorkRequest(),
        pb.WorkRequest(hello=pb.Hello(stream_epoch=1)),
        pb.WorkRequest(hello=pb.Hello(worker_id="w" * 200)),
        pb.WorkRequest(hello=pb.Hello(worker_id="w1", stream_epoch=-1)),
        pb.WorkRequest(hello=pb.Hello(worker_id="w1", queues=["no spaces"])),
    ],
)
async def test_a_stream_begins_with_a_good_hello(first: pb.WorkRequest) -> None:
    async with open_edge() as edge:
        stream = Stream(edge)
        await stream.call.write(first)
        assert await stream.refusal() == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert edge.rig.dispatcher.workers("default") == []


async def test_a_stream_without_any_message_is_refused() -> None:
    async with open_edge() as edge:
        stream = Stream(edge)
        await stream.call.done_writing()
        assert await stream.refusal() == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize("wrong", [{"hello": HELLO}, {"credit": pb.Credit(limit=-1)}])
async def test_a_second_hello_and_a_negative_credit_end_the_stream(wrong: dict[str, Message]) -> None:
    async with open_edge() as edge:
        stream = Stream(edge)
        await stream.say(hello=HELLO)
        await stream.hear()
        await stream.say(**wrong)
        assert await stream.refusal() == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_the_errors_of_a_hello_have_their_reasons() -> None:
    async with open_edge(replace(DEFAULT_LIMITS, streams_per_caller=2)) as edge:
        nowhere = Stream(edge)
        await nowhere.say(hello=pb.Hello(namespace="nowhere", worker_id="w1", stream_epoch=1))
        assert await nowhere.refusal() == (grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND")
        first = Stream(edge)
        await first.say(hello=HELLO)
        await first.hear()
        again = Stream(edge)
        await again.say(hello=HELLO)
        assert await again.refusal() == (grpc.StatusCode.FAILED_PRECONDITION, "WORKER_SUPERSEDED")
        second = Stream(edge)
        await second.say(hello=pb.Hello(worker_id="w2"))
        await second.hear()
        third = Stream(edge)
        assert await third.refusal() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        second.call.cancel()
        await until_seats(edge, 1)
        edge.rig.dispatcher.drain(0)
        late = Stream(edge)
        await late.say(hello=pb.Hello(worker_id="w3"))
        assert await late.refusal() == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_nonsense_in_a_report_is_answered_and_the_stream_goes_on() -> None:
    async with open_edge() as edge:
        stream = Stream(edge)
        task = await leased(edge, stream)
        nothing = pb.TaskReport(task_token=task.task_token)
        bad_json = pb.TaskReport(task_token=task.task_token)
        bad_json.effect.result_json = '{"a":1,"a":2}'
        foreign = pb.TaskReport(task_token=b"nonsense", release=pb.Release())
        good = pb.TaskReport(task_token=task.task_token)
        good.effect.result_json = "1"
        await stream.say(reports=[nothing, bad_json, foreign, good])
        acks: list[pb.Ack] = []
        while len(acks) < 4:
            acks += (await stream.hear()).acks
        assert [(ack.status, ack.reason) for ack in acks] == [
            (pb.ACK_STATUS_REFUSED, "INVALID_FIELD"),
            (pb.ACK_STATUS_REFUSED, "INVALID_JSON"),
            (pb.ACK_STATUS_REFUSED, "INVALID_TASK_TOKEN"),
            (pb.ACK_STATUS_ACCEPTED, ""),
        ]


async def test_a_stream_that_ends_without_goodbye_leaves_its_lease() -> None:
    async with open_edge() as edge:
        stream = Stream(edge)
        task = await leased(edge, stream)
        await stream.call.done_writing()
        assert await stream.call.read() is grpc.aio.EOF
        await until_seats(edge, 0)
        assert (await edge.rig.run("r1")).activity is Activity.LEASED
        again = Stream(edge)
        held = pb.Hello(worker_id="w1", effect_types=["echo"], held_task_tokens=[task.task_token])
        await again.say(hello=held)
        (update,) = (await again.hear()).welcome.held
        assert (update.task_token, update.state, update.lease.seconds) == (
            task.task_token,
            pb.LEASE_STATE_HELD,
            30,
        )


@pytest.mark.parametrize("how", ["call", "channel"])
async def test_a_cancelled_stream_frees_its_seat(how: str) -> None:
    async with open_edge() as edge:
        stream = Stream(edge)
        await leased(edge, stream)
        if how == "call":
            stream.call.cancel()
        else:
            await edge.channel.close()
        await until_seats(edge, 0)
        assert (await edge.rig.run("r1")).activity is Activity.LEASED


async def test_the_unary_way() -> None:
    async with open_edge() as edge:
        await edge.rig.register(chain(steps=1))
        await edge.rig.start("chain", "r1")
        worker = pb.Hello(worker_id="p1", effect_types=["echo"])
        polled = await edge.stub.PollTasks(pb.PollTasksRequest(worker=worker, request_id="q1", max_tasks=5))
        (task,) = polled.tasks
        beats = [pb.Heartbeat(task_token=task.task_token), pb.Heartbeat(task_token=b"?")]
        renewed = await edge.stub.HeartbeatTasks(pb.HeartbeatTasksRequest(worker_id="p1", heartbeats=beats))
        assert [(update.task_token, update.state) for update in renewed.lease_updates] == [
            (task.task_token, pb.LEASE_STATE_HELD),
            (b"?", pb.LEASE_STATE_LOST),
        ]
        report = pb.TaskReport(task_token=task.task_token)
        report.effect.result_json = "null"
        settled = await edge.stub.ReportTasks(pb.ReportTasksRequest(worker_id="p1", reports=[report]))
        assert [ack.status for ack in settled.acks] == [pb.ACK_STATUS_ACCEPTED]
        assert (await edge.rig.run("r1")).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    "wrong",
    [
        pb.PollTasksRequest(worker=pb.Hello(worker_id="p1")),
        pb.PollTasksRequest(request_id="q1"),
        pb.PollTasksRequest(worker=pb.Hello(worker_id="p1"), request_id="q1", max_tasks=1_001),
        pb.PollTasksRequest(worker=pb.Hello(worker_id="p1"), request_id="q1", max_tasks=-1),
        pb.PollTasksRequest(worker=pb.Hello(worker_id="p1"), request_id="q1", wait=Duration(seconds=51)),
        pb.ReportTasksRequest(),
        pb.ReportTasksRequest(worker_id="p1", reports=[pb.TaskReport()] * 1_001),
        pb.HeartbeatTasksRequest(worker_id="p1", heartbeats=[pb.Heartbeat()] * 1_001),
    ],
)
async def test_bad_unary_requests_are_refused(wrong: Message) -> None:
    async with open_edge() as edge:
        method = type(wrong).__name__.removesuffix("Request")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await getattr(edge.stub, method)(wrong)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(refused.value.trailing_metadata()) == "INVALID_FIELD"


async def test_a_cancelled_poll_gives_up_its_seat() -> None:
    async with open_edge() as edge:
        await edge.rig.register(chain(steps=1))
        worker = pb.Hello(worker_id="p1", effect_types=["echo"])
        call = edge.stub.PollTasks(pb.PollTasksRequest(worker=worker, request_id="q1"))
        ended = asyncio.ensure_future(call.code())
        await until_seats(edge, 1)
        call.cancel()
        assert await ended is grpc.StatusCode.CANCELLED
        await until_seats(edge, 0)
        await edge.rig.start("chain", "r1")
        assert (await edge.rig.run("r1")).activity is Activity.QUEUED
