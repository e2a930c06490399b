"""A server that is told to stop answers what is under way, says goodbye to streams, and keeps what it acknowledged."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import model_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.bad_input.answers import refusal
from tests.robustness.server_process import ServerProcess, Servers

pytestmark = [pytest.mark.promise("P2", "P8"), pytest.mark.timeout(120)]

DRAINING = ledger.Goodbye.REASON_DRAINING


@pytest.fixture
async def server(servers: Servers) -> ServerProcess:
    """A server that drains for five seconds at most."""
    return await servers.start({"drain_seconds": 5.0})


@pytest.fixture
async def channel(server: ServerProcess) -> AsyncGenerator[grpc.aio.Channel]:
    """A connection to it; a run waits for a person, another for a worker."""
    async with server.channel() as connected:
        await found(connected)
        yield connected


async def found(channel: grpc.aio.Channel) -> None:
    """Starts a run "asking" that waits for a person, and a run "acting" that waits for a worker."""
    ask = '{"type":"ask_user","payload":{"prompt":"?"}}'
    act = '{"type":"act","payload":{}}'
    for workflow_id, template in (("asking", ask), ("acting", act)):
        spec = model_pb2.WorkflowSpec(
            workflow_id=workflow_id,
            entry_node="only",
            nodes={"only": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_EFFECT, template_json=template)},
        )
        await WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec))
        await RunServiceStub(channel).StartRun(runs.StartRunRequest(workflow_id=workflow_id, run_id=workflow_id))


async def read_to_the_end(call: Any) -> list[Any]:
    """Everything a stream still says; it ends without an error."""
    said: list[Any] = []
    while (message := await call.read()) is not grpc.aio.EOF:
        said.append(message)
    return said


async def opened(channel: grpc.aio.Channel) -> list[Any]:
    """A subscription, and a watch of the run that waits for a person; both stand."""
    scope = ledger.LedgerScope(all=True)
    calls: list[Any] = [
        LedgerServiceStub(channel).SubscribeLedger(ledger.SubscribeLedgerRequest(scope=scope, now=True)),
        RunServiceStub(channel).WatchRun(runs.WatchRunRequest(run_id="asking")),
    ]
    for call in calls:
        await call.read()
    return calls


async def test_streams_are_told_and_the_server_ends_well(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    endings = [asyncio.create_task(read_to_the_end(call)) for call in await opened(channel)]
    assert await server.stop() == 0
    for ending in endings:
        last = (await ending)[-1]
        assert last.goodbye.reason == DRAINING, last


async def test_a_server_that_tells_nobody_is_found(servers: Servers) -> None:
    """Its subscription ends without a goodbye: with an error, when the time to drain is over."""
    server = await servers.start({"drain_seconds": 0.5}, defect="silent_drain")
    async with server.channel() as channel:
        await found(channel)
        subscription, _ = await opened(channel)
        ending = asyncio.create_task(read_to_the_end(subscription))
        await server.stop()
        with pytest.raises(grpc.aio.AioRpcError):
            await ending


async def test_a_worker_finishes_what_it_holds(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    """Its report is accepted after the drain has begun, and is there after the next start."""
    call: Any = WorkerServiceStub(channel).Work()
    hello = worker.Hello(worker_id="w", effect_types=["act"])
    await call.write(worker.WorkRequest(hello=hello, credit=worker.Credit(limit=1)))
    while not (response := await call.read()).tasks:
        pass
    task = response.tasks[0]
    stopping = asyncio.create_task(server.stop())
    while not (await call.read()).HasField("drain"):
        pass
    outcome = model_pb2.EffectOutcome(result_json='"done"')
    await call.write(worker.WorkRequest(reports=[worker.TaskReport(task_token=task.task_token, effect=outcome)]))
    while not (response := await call.read()).acks:
        pass
    assert response.acks[0].status == worker.ACK_STATUS_ACCEPTED
    await call.write(worker.WorkRequest(goodbye=ledger.Goodbye(reason=ledger.Goodbye.REASON_CLIENT_DONE)))
    await call.done_writing()
    assert any(message.HasField("goodbye") for message in await read_to_the_end(call))
    assert await stopping == 0


async def test_a_worker_that_does_not_leave_is_said_goodbye(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    call: Any = WorkerServiceStub(channel).Work()
    await call.write(worker.WorkRequest(hello=worker.Hello(worker_id="w", effect_types=["act"])))
    await call.read()
    ending = asyncio.create_task(read_to_the_end(call))
    assert await server.stop() == 0
    said = await ending
    assert any(message.HasField("drain") for message in said)
    assert said[-1].goodbye.reason == DRAINING


async def test_long_polls_are_answered(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    """Each with what it has to say by then."""
    wait = runs.WaitRunRequest(run_id="asking", until=runs.WAIT_RUN_UNTIL_ENDED)
    hello = worker.Hello(worker_id="w", queues=["empty"], effect_types=["act"])
    calls: list[Any] = [
        RunServiceStub(channel).WaitRun(wait),
        WorkerServiceStub(channel).PollTasks(worker.PollTasksRequest(worker=hello, request_id="p")),
    ]
    answers = asyncio.gather(*calls)
    # The calls before this one on the same connection have reached the server when it is answered.
    await RunServiceStub(channel).GetRun(runs.GetRunRequest(run_id="asking"))
    assert await server.stop() == 0
    waited, polled = await answers
    assert not waited.reached
    assert waited.run.run_id == "asking"
    assert list(polled.tasks) == []


async def test_what_was_acknowledged_while_it_stopped_is_there(
    servers: Servers, server: ServerProcess, channel: grpc.aio.Channel
) -> None:
    """Calls keep coming while the signal does: each is kept and answered, or refused and not there."""
    answered: set[str] = set()
    refused: set[str] = set()

    codes: set[grpc.StatusCode] = set()

    async def start(name: str) -> None:
        try:
            request = runs.StartRunRequest(workflow_id="asking", run_id=name)
            answered.add((await RunServiceStub(channel).StartRun(request, timeout=30)).run_id)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
            if refusal(error, runs.StartRunRequest.DESCRIPTOR).reason == "DRAINING":
                refused.add(name)

    first = [asyncio.create_task(start(f"early-{number}")) for number in range(200)]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    stopping = asyncio.create_task(server.stop())
    later = [asyncio.create_task(start(f"late-{number}")) for number in range(200)]
    await asyncio.gather(*first, *later)
    assert await stopping == 0
    assert answered
    assert codes <= {grpc.StatusCode.UNAVAILABLE}
    async with (await servers.start()).channel() as again:
        request = runs.ListRunsRequest(filter=runs.RunFilter(workflow_id="asking"), page_size=1_000)
        listed = {run.run_id for run in (await RunServiceStub(again).ListRuns(request)).runs}
    assert answered <= listed
    assert not listed & refused


async def test_the_command_ends_with_0(tmp_path: Path) -> None:
    """`perdure serve` itself, without the nursery: SIGTERM, and SIGINT."""
    perdure = Path(sys.executable).with_name("perdure")
    for number in (signal.SIGTERM, signal.SIGINT):
        store = f"sqlite:///{tmp_path / 'perdure.db'}"
        server = await asyncio.create_subprocess_exec(
            perdure, "serve", "--listen", "127.0.0.1:0", "--store", store, stderr=asyncio.subprocess.PIPE
        )
        assert server.stderr is not None
        line = await server.stderr.readline()
        address = line.decode().partition("listening on ")[2].partition(",")[0]
        async with grpc.aio.insecure_channel(address) as channel:
            page = await RunServiceStub(channel).ListRuns(runs.ListRunsRequest())
            assert list(page.runs) == []
        server.send_signal(number)
        assert await server.wait() == 0
        assert b"Traceback" not in await server.stderr.read()


async def test_a_second_server_on_the_same_store_is_refused(servers: Servers, server: ServerProcess) -> None:
    second = await servers.start()
    assert not second.is_alive
    assert await second.wait() != 0
    assert "in use by process" in second.tail()
    assert server.is_alive
    async with server.channel() as channel:
        assert (await RunServiceStub(channel).CountRuns(runs.CountRunsRequest())).count == 0
