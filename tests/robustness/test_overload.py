"""Clients that do not read, hold too many streams, or die in the middle of a call cost the server nothing lasting."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.bad_input.answers import refusal
from tests.robustness.dying_client import QUEUE
from tests.robustness.server_process import ServerProcess, Servers

pytestmark = [pytest.mark.promise("P10"), pytest.mark.timeout(300)]

STREAMS = 100
"""Streams of one kind that one caller may have."""

PAYLOAD = json.dumps({"blob": "x" * 100_000})
RUNS = 600
"""Times PAYLOAD: 60 MB of records."""

SILENT = 20
GROWTH_MIB = 4.0
"""What a subscriber that does not read may cost: a page of the store (1 MiB), as read and as sent, and the transport's
buffers; of the 60 MB that it has not read, next to nothing."""


@pytest.fixture
async def server(servers: Servers) -> ServerProcess:
    """A server."""
    return await servers.start()


@pytest.fixture
async def channel(server: ServerProcess) -> AsyncGenerator[grpc.aio.Channel]:
    """A connection to it, with the workflows."""
    async with server.channel() as connected:
        await register(connected)
        yield connected


async def register(channel: grpc.aio.Channel) -> None:
    """A workflow that waits, and one whose effect nobody serves."""
    ask = '{"type":"ask_user","payload":{"prompt":"?"}}'
    act = '{"type":"act","payload":{}}'
    for workflow_id, template, queue in (("asking", ask, ""), ("acting", act, QUEUE)):
        node = model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_EFFECT, template_json=template, queue=queue)
        spec = model_pb2.WorkflowSpec(workflow_id=workflow_id, entry_node="only", nodes={"only": node})
        await WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec))


async def fill(channel: grpc.aio.Channel, first: int, number: int) -> None:
    """Starts runs with large vars, some at a time."""
    stub = RunServiceStub(channel)
    for start in range(first, first + number, 20):
        calls = [
            stub.StartRun(runs.StartRunRequest(workflow_id="asking", run_id=f"run-{index}", vars_json=PAYLOAD))
            for index in range(start, start + 20)
        ]
        await asyncio.gather(*calls)


def everything() -> ledger.SubscribeLedgerRequest:
    """All records from the first."""
    return ledger.SubscribeLedgerRequest(scope=ledger.LedgerScope(all=True), beginning=True)


async def growth_mib(server: ServerProcess, channel: grpc.aio.Channel, silent: int) -> float:
    """What subscribers that do not read cost the server while another one reads everything."""
    await fill(channel, 0, RUNS)
    before = server.memory_mib()
    quiet = [server.channel() for _ in range(silent)]
    calls: list[Any] = [LedgerServiceStub(each).SubscribeLedger(everything()) for each in quiet]
    for call in calls:
        await call.read()
    reader = LedgerServiceStub(channel).SubscribeLedger(everything())
    started = 0
    async for message in reader:
        started += sum(entry.record.HasField("run_started") for entry in message.batch.entries)
        if started == RUNS:
            break
    reader.cancel()
    grown = server.memory_mib() - before
    for call, each in zip(calls, quiet, strict=True):
        call.cancel()
        await each.close()
    return grown


async def messages_of(call: Any) -> AsyncGenerator[Any]:
    """What is left of a stream that has been read from."""
    while (message := await call.read()) is not grpc.aio.EOF:
        yield message


async def test_subscribers_that_never_read_do_not_fill_the_server(
    server: ServerProcess, channel: grpc.aio.Channel
) -> None:
    """Memory stays where it was, and somebody who reads still gets every record."""
    grown = await growth_mib(server, channel, SILENT)
    assert grown <= GROWTH_MIB * SILENT, f"{grown:.0f} MiB for {SILENT} subscribers that do not read 60 MB each"


async def test_a_server_that_reads_ahead_of_its_clients_is_found(servers: Servers) -> None:
    server = await servers.start(defect="greedy_streams")
    async with server.channel() as channel:
        await register(channel)
        assert await growth_mib(server, channel, 3) > GROWTH_MIB * 3


async def test_a_subscriber_that_does_not_read_for_too_long_is_said_goodbye(servers: Servers) -> None:
    """And goes on from its cursor when it does."""
    server = await servers.start({"limits": {"slow_reader_us": 1_000_000}})
    async with server.channel() as channel, server.channel() as quiet:
        await register(channel)
        await fill(channel, 0, RUNS)
        silent: Any = LedgerServiceStub(quiet).SubscribeLedger(everything())
        await silent.read()
        clock: Any = LedgerServiceStub(channel).SubscribeLedger(
            ledger.SubscribeLedgerRequest(
                scope=ledger.LedgerScope(run_id="run-0"), now=True, checkpoint_interval=Duration(seconds=1)
            )
        )
        beats = 0
        while beats < 4:
            beats += (await clock.read()).HasField("checkpoint")
        clock.cancel()
        said = [message async for message in messages_of(silent)]
        assert said[-1].goodbye.reason == ledger.Goodbye.REASON_SLOW_CONSUMER
        again = everything()
        again.after_cursor = said[-1].cursor
        again.stop_when_caught_up = True
        said += [message async for message in LedgerServiceStub(channel).SubscribeLedger(again)]
    positions = [entry.position for message in said for entry in message.batch.entries]
    assert positions == sorted(set(positions))
    assert sum(entry.record.HasField("run_started") for message in said for entry in message.batch.entries) == RUNS


async def opened(channel: grpc.aio.Channel, kind: str, number: int) -> Any:
    """A stream of a kind, once it stands."""
    if kind == "SubscribeLedger":
        request = ledger.SubscribeLedgerRequest(scope=ledger.LedgerScope(all=True), now=True)
        call: Any = LedgerServiceStub(channel).SubscribeLedger(request)
    elif kind == "WatchRun":
        call = RunServiceStub(channel).WatchRun(runs.WatchRunRequest(run_id="watched"))
    else:
        call = WorkerServiceStub(channel).Work()
        hello = worker.Hello(worker_id=f"worker-{number}", effect_types=["none"])
        await call.write(worker.WorkRequest(hello=hello))
    await call.read()
    return call


@pytest.mark.parametrize("kind", ["SubscribeLedger", "WatchRun", "Work"])
async def test_one_caller_has_a_hundred_streams_and_not_one_more(channel: grpc.aio.Channel, kind: str) -> None:
    await RunServiceStub(channel).StartRun(runs.StartRunRequest(workflow_id="asking", run_id="watched"))
    calls = [await opened(channel, kind, number) for number in range(STREAMS)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await opened(channel, kind, STREAMS)
    found = refusal(caught.value, ledger.SubscribeLedgerRequest.DESCRIPTOR)
    assert (found.reason, found.problems) == ("TOO_MANY_STREAMS", ())
    calls.pop().cancel()
    calls.append(await opened_in_time(channel, kind))
    for call in calls:
        call.cancel()


async def opened_in_time(channel: grpc.aio.Channel, kind: str) -> Any:
    """A stream in place of one that has just been cancelled, which the server may learn a moment later."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                return await opened(channel, kind, STREAMS + 1)


async def die_in(server: ServerProcess, method: str) -> None:
    """A client that is killed while the server holds its call."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.robustness.dying_client", server.address, method, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdout is not None
    assert await client.stdout.readline() == b"calling\n"
    async with server.channel() as channel:
        await under_way(channel, 2)
        client.send_signal(signal.SIGKILL)
        await client.wait()
        await under_way(channel, 1)


async def under_way(channel: grpc.aio.Channel, number: int) -> None:
    """Returns once the server handles so many unary calls; the one that asks counts."""
    async with asyncio.timeout(60):
        while True:
            info = await AdminServiceStub(channel).GetServerInfo(admin.GetServerInfoRequest())
            if info.counters["calls_under_way"] == number:
                return


async def test_a_client_that_dies_in_a_long_poll_leaves_nothing(
    server: ServerProcess, channel: grpc.aio.Channel
) -> None:
    stub = RunServiceStub(channel)
    await stub.StartRun(runs.StartRunRequest(workflow_id="asking", run_id="waiting"))
    await die_in(server, "WaitRun")
    answer = runs.ResumeRunRequest(run_id="waiting", any_wait=True, payload_json='"yes"')
    assert (await stub.ResumeRun(answer)).status == common_pb2.RUN_STATUS_COMPLETED


async def test_a_worker_that_dies_in_a_poll_gets_no_task(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    """A task that comes due after its death goes to the next one that asks, at once and as the first attempt."""
    await die_in(server, "PollTasks")
    await RunServiceStub(channel).StartRun(runs.StartRunRequest(workflow_id="acting", run_id="acting"))
    hello = worker.Hello(worker_id="living", queues=[QUEUE], effect_types=["*"])
    reply = await WorkerServiceStub(channel).PollTasks(worker.PollTasksRequest(worker=hello, request_id="poll"))
    assert [(task.run.run_id, task.attempt) for task in reply.tasks] == [("acting", 1)]
