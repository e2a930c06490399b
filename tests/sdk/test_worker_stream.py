"""How a worker behaves on its stream; each test is named after a sentence of the contract."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from perdure import (
    Client,
    EffectContext,
    FailedPrecondition,
    InvalidArgument,
    JsonObject,
    NodeContext,
    Unauthenticated,
    Worker,
    Workflow,
)
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.common_pb2 import EFFECT_RISK_IRREVERSIBLE
from perdure.v1.ledger_service_pb2 import Goodbye
from perdure.worker.desk import Desk, HeldTask
from tests.sdk.fake_server import WITHIN_S, End, FakeServer, Refusal, Running, refusal_with_retry
from tests.sdk.gate import Gate, soon
from tests.sdk.tasks import effect_task, handed, timeouts

Run = Callable[[Worker], "asyncio.Task[None]"]


# Hello and credit.


async def test_the_first_message_says_who_and_what(fake: FakeServer, worker: Worker, run: Run) -> None:
    order = Workflow("order")

    @order.node("reserve")
    async def reserve(ctx: NodeContext) -> None:
        """Nothing."""

    order.complete_node("done")
    worker.serve(order)
    Gate(worker)
    run(worker)
    stream = await fake.worker()
    hello = stream.hello
    assert (hello.namespace, hello.worker_id) == ("default", "worker-1")
    assert list(hello.queues) == ["fast", "default"]
    assert [(each.workflow_id, list(each.versions), list(each.node_ids)) for each in hello.workflows] == [
        ("order", [], ["reserve"])
    ]
    assert list(hello.effect_types) == ["echo"]
    assert hello.sdk.startswith("perdure-python/")
    assert hello.stream_epoch > 0
    assert stream.first.credit.limit == 4
    (registered,) = fake.registered
    assert (registered.spec.workflow_id, registered.set_default) == ("order", True)
    assert registered.request_id


async def test_credit_is_what_came_and_what_is_free(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)

    @worker.effect("quick")
    async def quick(ctx: EffectContext, payload: JsonObject) -> Any:
        return 1

    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a"), effect_task("b", type="quick"), effect_task("c", type="quick")))
    # a goes on; b and c end in one turn of the loop: one message has both reports and the credit they free.
    async with asyncio.timeout(WITHIN_S):
        while not (request := await stream.incoming.get()).reports:
            pass
    assert [report.task_token for report in request.reports] == [b"b", b"c"]
    assert request.credit.limit == 3 + 3
    gate.open.set()
    async with asyncio.timeout(WITHIN_S):
        while not (request := await stream.incoming.get()).reports:
            pass
    assert request.credit.limit == 3 + 4


async def test_tasks_of_one_message_run_side_by_side(fake: FakeServer, worker: Worker, run: Run) -> None:
    barrier = asyncio.Barrier(3)

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        async with asyncio.timeout(WITHIN_S):
            await barrier.wait()
        return 1

    run(worker)
    stream = await fake.worker()
    stream.send(handed(*(effect_task(name) for name in "abc")))
    assert {report.effect.result_json for report in await stream.reports(3)} == {"1"}


async def test_unacknowledged_reports_hold_back_credit(fake: FakeServer, client: Client, run: Run) -> None:
    worker = Worker(client, max_tasks=1)

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        return 1

    run(worker)
    stream = await fake.worker(heartbeat=60, ping=60)
    reports: list[pb.TaskReport] = []
    for number in range(4):
        stream.send(handed(effect_task(f"t{number}")))
        reports += await stream.reports(1)
    stream.ack(reports[0])
    # Four are unacknowledged, so credit stood at 4; the ack of one makes room for the fifth.
    assert (await stream.part("credit")).limit == 5


# Reports.


@pytest.mark.promise("P5")
async def test_reports_are_resent_until_acked(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    first = await fake.worker()
    first.send(handed(effect_task("a"), effect_task("b")))
    await soon(gate.started)
    gate.open.set()
    reports = await first.reports(2)
    first.ack(reports[0])
    first.send(End())
    second = await fake.worker()
    assert second.hello.stream_epoch > first.hello.stream_epoch
    assert list(second.hello.held_task_tokens) == [b"b"]
    (again,) = await second.reports(1)
    assert again == reports[1]
    second.ack(again, pb.ACK_STATUS_DUPLICATE)
    second.goodbye(Goodbye.REASON_MAX_AGE)
    third = await fake.worker()
    assert list(third.hello.held_task_tokens) == []


async def test_a_report_without_an_ack_is_resent_on_the_same_stream(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    gate.open.set()
    run(worker)
    stream = await fake.worker(heartbeat=0.04, ping=20)
    stream.send(handed(effect_task("a")))
    assert (await stream.reports(1)) == (await stream.reports(1))


async def test_a_handler_survives_a_broken_stream(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    first = await fake.worker()
    first.send(handed(effect_task("a")))
    await soon(gate.started)
    first.send(End())
    second = await fake.worker()
    assert list(second.hello.held_task_tokens) == [b"a"]
    # One slot is taken by what it holds.
    assert second.first.credit.limit == 3
    gate.open.set()
    assert [report.task_token for report in await second.reports(1)] == [b"a"]
    assert len(gate.contexts) == 1


async def test_a_task_that_comes_twice_is_executed_once(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    stream.send(handed(effect_task("a")))
    stream.send(handed(effect_task("b")))
    await soon(gate.started)
    gate.open.set()
    assert sorted(report.task_token for report in await stream.reports(2)) == [b"a", b"b"]
    assert len(gate.contexts) == 2


@pytest.mark.promise("P5")
async def test_a_stale_report_is_dropped(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    gate.open.set()
    run(worker)
    first = await fake.worker()
    first.send(handed(effect_task("a")))
    (report,) = await first.reports(1)
    first.ack(report, pb.ACK_STATUS_STALE, "STALE_ATTEMPT")
    first.send(End())
    assert list((await fake.worker()).hello.held_task_tokens) == []


async def test_a_refused_result_becomes_a_failure_and_a_refused_failure_is_dropped(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    gate = Gate(worker)
    gate.open.set()
    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    (report,) = await stream.reports(1)
    stream.ack(report, pb.ACK_STATUS_REFUSED, "PAYLOAD_TOO_LARGE")
    (second,) = await stream.reports(1)
    assert second.task_token == b"a"
    assert second.effect.failed.failure.type == "PAYLOAD_TOO_LARGE"
    assert second.effect.failed.failure.retryable is False
    stream.ack(second, pb.ACK_STATUS_REFUSED, "BAD_REPORT")
    stream.send(End())
    assert list((await fake.worker()).hello.held_task_tokens) == []


@pytest.mark.promise("P10")
async def test_a_report_that_no_message_can_carry_is_a_failure(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        return "x" * 3_670_016

    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    (report,) = await stream.reports(1)
    assert report.effect.failed.failure.type == "PAYLOAD_TOO_LARGE"


@pytest.mark.promise("P10")
async def test_large_reports_are_spread_over_messages(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        return "x" * 1_000_000

    run(worker)
    stream = await fake.worker()
    stream.send(handed(*(effect_task(name) for name in "abcd")))
    sizes: list[int] = []
    async with asyncio.timeout(WITHIN_S):
        while sum(sizes) < 4:
            sizes.append(len((await stream.incoming.get()).reports))
    assert max(sizes) == 2


# Leases.


@pytest.mark.promise("P5")
async def test_a_lost_lease_stops_the_handler_and_nothing_is_reported(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    gate = Gate(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    await soon(gate.started)
    stream.lease(b"a", pb.LEASE_STATE_LOST)
    await soon(gate.stopped)
    assert gate.contexts[0].is_cancelled
    assert (await stream.part("credit")).limit == 5
    stream.send(End())
    assert list((await fake.worker()).hello.held_task_tokens) == []


@pytest.mark.promise("P5")
async def test_what_a_lost_handler_still_says_is_not_reported(fake: FakeServer, worker: Worker, run: Run) -> None:
    started = asyncio.Event()

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "was half done"

    run(worker)
    stream = await fake.worker(heartbeat=60, ping=60)
    stream.send(handed(effect_task("a")))
    await soon(started)
    stream.lease(b"a", pb.LEASE_STATE_LOST)
    async with asyncio.timeout(WITHIN_S):
        request = await stream.incoming.get()
    # The next thing that is heard is the credit for its slot, and no report with it.
    assert request.credit.limit == 5
    assert not request.reports


async def test_a_task_that_is_stopped_before_it_starts_frees_its_slot() -> None:
    async def work(held: HeldTask) -> pb.TaskReport | None:
        await asyncio.Event().wait()

    desk = Desk(work, max_tasks=1)
    desk.accept([effect_task("a")])
    assert (desk.free, desk.tokens) == (0, [b"a"])
    desk.update([pb.LeaseUpdate(task_token=b"a", state=pb.LEASE_STATE_LOST)])
    async with asyncio.timeout(WITHIN_S):
        await desk.idle()
    assert (desk.free, desk.tokens) == (1, [])


async def test_a_cancelled_run_stops_the_handler_but_hears_what_it_still_says(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    started = asyncio.Event()

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "was half done"

    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a")))
    await soon(started)
    stream.lease(b"a", pb.LEASE_STATE_CANCELLED)
    (report,) = await stream.reports(1)
    assert report.effect.result_json == '"was half done"'


async def test_lost_in_the_message_that_brings_it_is_lost(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a"), effect_task("b")))
    stream.lease(b"b", pb.LEASE_STATE_LOST)
    assert (await stream.part("credit")).limit == 5
    gate.open.set()
    assert [report.task_token for report in await stream.reports(1)] == [b"a"]


@pytest.mark.promise("P5")
async def test_a_handler_is_stopped_when_most_of_its_lease_has_gone_unrenewed(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    gate = Gate(worker)
    run(worker)
    first = await fake.worker(heartbeat=0.1, ping=20)
    first.send(handed(effect_task("a", lease=0.5)))
    await soon(gate.started)
    await soon(gate.stopped)
    first.send(End())
    assert list((await fake.worker()).hello.held_task_tokens) == []


async def test_leases_are_renewed_in_bulk_and_only_when_an_interval_has_passed(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    Gate(worker)
    run(worker)
    stream = await fake.worker(heartbeat=0.2, ping=20)
    stream.send(handed(effect_task("a"), effect_task("b")))
    beats = await stream.part("heartbeats")
    assert [(beat.task_token, beat.progress) for beat in beats] == [(b"a", False), (b"b", False)]


async def test_progress_is_told_when_the_handler_says_so_from_any_thread(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    @worker.effect("echo")
    def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        for _ in range(100):
            ctx.heartbeat()
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        return 1

    run(worker)
    stream = await fake.worker(heartbeat=30, ping=60)
    stream.send(handed(effect_task("a", timeouts=timeouts(heartbeat=0.3))))
    beats = await stream.part("heartbeats")
    assert [(beat.task_token, beat.progress) for beat in beats] == [(b"a", True)]
    gate.set()
    await stream.reports(1)


async def test_a_timeout_is_reported_by_the_worker_too(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(effect_task("a", timeouts=timeouts(start_to_close=0.05))))
    (report,) = await stream.reports(1)
    assert report.effect.failed.failure.type == "TIMEOUT"
    assert report.effect.failed.failure.retryable is True
    assert gate.stopped.is_set()


@pytest.mark.promise("P5")
async def test_a_begun_effect_that_is_out_of_time_is_left_in_doubt(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker, "charge")
    run(worker)
    stream = await fake.worker()
    charge = effect_task("a", type="charge", risk=EFFECT_RISK_IRREVERSIBLE, timeouts=timeouts(start_to_close=0.5))
    stream.send(handed(charge))
    await stream.part("begins")
    stream.begin_ack(b"a", pb.ACK_STATUS_ACCEPTED)
    await soon(gate.stopped)
    assert (await stream.part("credit")).limit == 5
    stream.send(End())
    assert list((await fake.worker()).hello.held_task_tokens) == []


# Silence and other ends.


async def test_each_side_sends_something_every_interval(fake: FakeServer, worker: Worker, run: Run) -> None:
    run(worker)
    stream = await fake.worker(heartbeat=10, ping=0.5)
    await stream.ping()


async def test_three_silent_intervals_are_a_dead_stream(fake: FakeServer, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    first = await fake.worker(heartbeat=10, ping=0.1)
    first.send(handed(effect_task("a")))
    await soon(gate.started)
    second = await fake.worker()
    assert second.hello.stream_epoch > first.hello.stream_epoch
    assert list(second.hello.held_task_tokens) == [b"a"]
    await soon(first.closed)


@pytest.mark.parametrize(
    "ending",
    [
        End(),
        Refusal(grpc.StatusCode.CANCELLED),
        Refusal(grpc.StatusCode.UNAVAILABLE),
        Refusal(grpc.StatusCode.INTERNAL),
        Refusal(grpc.StatusCode.UNKNOWN),
        pb.WorkResponse(goodbye=Goodbye(reason=Goodbye.REASON_DRAINING, reconnect_delay=Duration(nanos=1_000))),
        pb.WorkResponse(goodbye=Goodbye(reason=Goodbye.REASON_MAX_AGE)),
    ],
    ids=["no-goodbye", "cancelled", "unavailable", "internal", "unknown", "draining", "max-age"],
)
async def test_after_any_of_these_ends_the_worker_comes_back(
    fake: FakeServer, worker: Worker, run: Run, ending: object
) -> None:
    task = run(worker)
    first = await fake.worker()
    first.send(ending)
    second = await fake.worker()
    assert second.hello.stream_epoch == first.hello.stream_epoch + 1
    assert not task.done()


async def test_the_server_goes_away_and_comes_back(fake: FakeServer, server: Running, worker: Worker, run: Run) -> None:
    gate = Gate(worker)
    run(worker)
    first = await fake.worker()
    first.send(handed(effect_task("a")))
    await soon(gate.started)
    await server.stop()
    gate.open.set()
    await server.start()
    second = await fake.worker()
    assert list(second.hello.held_task_tokens) == [b"a"]
    assert [report.task_token for report in await second.reports(1)] == [b"a"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.FAILED_PRECONDITION, FailedPrecondition),
    ],
)
async def test_these_ends_are_final(
    fake: FakeServer, worker: Worker, run: Run, code: grpc.StatusCode, error: type[Exception]
) -> None:
    task = run(worker)
    (await fake.unwelcomed()).send(Refusal(code))
    with pytest.raises(error):
        await asyncio.wait_for(task, WITHIN_S)


async def test_another_process_with_the_same_id_is_an_error(fake: FakeServer, worker: Worker, run: Run) -> None:
    task = run(worker)
    (await fake.worker()).goodbye(Goodbye.REASON_SUPERSEDED)
    with pytest.raises(FailedPrecondition) as caught:
        await asyncio.wait_for(task, WITHIN_S)
    assert caught.value.reason == "WORKER_SUPERSEDED"


async def test_a_server_that_keeps_failing_within_is_an_error(fake: FakeServer, worker: Worker, run: Run) -> None:
    task = run(worker)
    for _ in range(5):
        (await fake.unwelcomed()).send(Refusal(grpc.StatusCode.INTERNAL, "a defect"))
    with pytest.raises(Exception, match="a defect"):
        await asyncio.wait_for(task, WITHIN_S)


async def test_a_first_message_that_is_no_welcome_ends_the_stream(fake: FakeServer, worker: Worker, run: Run) -> None:
    run(worker)
    first = await fake.unwelcomed()
    first.send(handed(effect_task("a")))
    assert list((await fake.worker()).hello.held_task_tokens) == []


async def test_too_many_streams_is_tried_again_when_the_server_says(fake: FakeServer, worker: Worker, run: Run) -> None:
    run(worker)
    (await fake.unwelcomed()).send(refusal_with_retry(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS"))
    await fake.worker()
