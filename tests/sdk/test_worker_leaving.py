"""How a worker leaves, and how it follows a server that leaves."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from perdure import Client, Unauthenticated, Worker, Workflow
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.ledger_service_pb2 import Goodbye
from tests.sdk.fake_server import WITHIN_S, End, FakeServer, Refusal, Running, connected, span
from tests.sdk.gate import Gate, soon
from tests.sdk.tasks import effect_task, handed

Run = Callable[[Worker], "asyncio.Task[None]"]


async def test_a_draining_server_gets_a_second_stream_before_the_first_ends(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    gate = Gate(worker)
    run(worker)
    first = await fake.worker()
    first.send(handed(effect_task("a")))
    await soon(gate.started)
    first.send(pb.WorkResponse(drain=pb.Drain(timeout=span(30))))
    second = await fake.unwelcomed()
    assert second.hello.stream_epoch == first.hello.stream_epoch + 1
    assert list(second.hello.held_task_tokens) == [b"a"]
    # Until the second stands, the first is still good for reports.
    gate.open.set()
    (report,) = await first.reports(1)
    second.welcome()
    (again,) = await second.reports(1)
    assert again == report
    second.ack(again)
    assert (await first.part("goodbye")).reason == Goodbye.REASON_CLIENT_DONE


async def test_a_worker_that_stops_finishes_what_it_holds(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    task = run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    await soon(gate.started)
    stopping = asyncio.create_task(worker.stop())
    assert (await stream.part("drain")).timeout.seconds == 30
    gate.open.set()
    (report,) = await stream.reports(1)
    assert report.effect.result_json == '"done"'
    stream.ack(report)
    assert (await stream.part("goodbye")).reason == Goodbye.REASON_CLIENT_DONE
    await asyncio.wait_for(task, WITHIN_S)
    await stopping


async def test_what_is_not_finished_in_time_is_given_back(fake: FakeServer, client: Client, run: Run) -> None:
    worker = Worker(client, drain_timeout=0.01)
    gate = Gate(worker)
    task = run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    await soon(gate.started)
    await worker.stop()
    (report,) = await stream.reports(1)
    assert report.WhichOneof("outcome") == "release"
    stream.ack(report)
    await stream.part("goodbye")
    await asyncio.wait_for(task, WITHIN_S)


async def test_a_cancelled_worker_gives_back_what_it_holds_and_says_goodbye(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    gate = Gate(worker)
    task = run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    await soon(gate.started)
    task.cancel()
    (report,) = await stream.reports(1)
    assert report.WhichOneof("outcome") == "release"
    stream.ack(report)
    await stream.part("goodbye")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_async_with_runs_and_stops(fake: FakeServer, worker: Worker) -> None:
    async def serve() -> Any:
        return await (await fake.worker()).part("goodbye")

    serving = asyncio.create_task(serve())
    async with worker:
        await worker.ready()
    assert (await serving).reason == Goodbye.REASON_CLIENT_DONE


async def test_async_with_raises_what_ends_the_worker(fake: FakeServer, worker: Worker) -> None:
    async def refuse() -> None:
        (await fake.unwelcomed()).send(Refusal(grpc.StatusCode.UNAUTHENTICATED))

    refusing = asyncio.create_task(refuse())
    with pytest.raises(Unauthenticated):
        async with worker:
            pytest.fail("it was never welcomed")
    await refusing


async def test_workflows_are_registered_again_with_another_store(fake: FakeServer, worker: Worker, run: Run) -> None:
    order = Workflow("order")
    order.complete_node("done")
    worker.serve(order)
    run(worker)
    first = await fake.worker(store_epoch="one")
    first.send(End())
    second = await fake.worker(store_epoch="one")
    await fake.registrations.get()
    second.send(End())
    await fake.worker(store_epoch="two")
    async with asyncio.timeout(WITHIN_S):
        await fake.registrations.get()
    assert len(fake.registered) == 2


async def test_a_worker_waits_for_a_server_that_is_not_there_yet(fake: FakeServer, server: Running, run: Run) -> None:
    await server.stop()
    async with connected(server, timeout=0.2) as client:
        worker = Worker(client)
        order = Workflow("order")
        order.complete_node("done")
        worker.serve(order)
        task = run(worker)
        await server.start()
        await fake.worker()
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_waiting_for_a_worker_that_ends_raises_what_ended_it(fake: FakeServer, worker: Worker, run: Run) -> None:
    task = run(worker)
    waiting = asyncio.create_task(worker.ready())
    (await fake.unwelcomed()).send(Refusal(grpc.StatusCode.UNAUTHENTICATED))
    with pytest.raises(Unauthenticated):
        await asyncio.wait_for(waiting, WITHIN_S)
    with pytest.raises(Unauthenticated):
        await task
