"""Following the ledger: each sentence of the stream's contract, seen from the client."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from perdure import Client, DataLoss, LedgerEntry, LedgerFilter, LedgerScope, OutOfRange, Subscription, Unavailable
from perdure.subscription import subscribe_request
from perdure.v1 import common_pb2, model_pb2, records_pb2, run_service_pb2
from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1.ledger_service_pb2 import Goodbye
from tests.sdk.fake_server import (
    WITHIN_S,
    End,
    FakeServer,
    FakeStream,
    Refusal,
    Running,
    connected,
    refusal_with_retry,
    span,
)

STEP = records_pb2.RECORD_KIND_STEP_COMPLETED
COMPLETED = records_pb2.RECORD_KIND_COMPLETED
LATE = records_pb2.RECORD_KIND_LATE_RESULT

Kind = records_pb2.RecordKind.ValueType


def entry(run_id: str, seq: int, kind: Kind = STEP) -> records_pb2.LedgerEntry:
    """A record; its position is its seq."""
    record = records_pb2.StepRecord(run_id=run_id, seq=seq, kind=kind)
    return records_pb2.LedgerEntry(record=record, position=seq, prev_hash=b"p", record_hash=b"h")


def batch(cursor: str, *entries: records_pb2.LedgerEntry) -> pb.SubscribeLedgerResponse:
    """A batch."""
    return pb.SubscribeLedgerResponse(cursor=cursor, batch=pb.SubscribeLedgerResponse.RecordBatch(entries=entries))


def subscribed(cursor: str = "start", interval: float = 15.0) -> pb.SubscribeLedgerResponse:
    """The first message."""
    confirmation = pb.SubscribeLedgerResponse.Subscribed(store_epoch="one", checkpoint_interval=span(interval))
    return pb.SubscribeLedgerResponse(cursor=cursor, subscribed=confirmation)


def goodbye(reason: Goodbye.Reason.ValueType, cursor: str = "") -> pb.SubscribeLedgerResponse:
    """The last message."""
    return pb.SubscribeLedgerResponse(cursor=cursor, goodbye=Goodbye(reason=reason))


COMPLETE = goodbye(Goodbye.REASON_COMPLETE)


class Following:
    """A subscription that is being read in the background: what it has given, how it ended."""

    def __init__(self, subscription: Subscription) -> None:
        self.entries: asyncio.Queue[LedgerEntry] = asyncio.Queue()
        self.subscription = subscription
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with self.subscription:
            async for each in self.subscription:
                self.entries.put_nowait(each)

    async def take(self, count: int) -> list[int]:
        """The seqs of the next `count` entries."""
        async with asyncio.timeout(WITHIN_S):
            return [(await self.entries.get()).seq for _ in range(count)]

    async def end(self) -> list[int]:
        """Waits for the end, raises what ended it; the seqs that were not taken."""
        await asyncio.wait_for(self._task, WITHIN_S)
        return [self.entries.get_nowait().seq for _ in range(self.entries.qsize())]

    async def close(self) -> None:
        """Stops reading."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def following(client: Client) -> AsyncIterator[Following]:
    """Run r is followed from the beginning."""
    reading = Following(client.subscribe("r"))
    yield reading
    await reading.close()


async def opened(fake: FakeServer) -> tuple[FakeStream, pb.SubscribeLedgerRequest]:
    """The next call."""
    stream, request = await fake.opened(fake.subscriptions)
    return stream, request


@asynccontextmanager
async def confirmed(fake: FakeServer, client: Client) -> AsyncGenerator[tuple[Subscription, FakeStream]]:
    """A subscription to run r that stands, and the server's end of it."""
    subscription = client.subscribe("r")
    entering = asyncio.create_task(subscription.__aenter__())
    stream, _ = await opened(fake)
    stream.send(subscribed())
    await entering
    try:
        yield subscription, stream
    finally:
        await subscription.__aexit__(None, None, None)


async def test_records_come_in_order_until_goodbye(fake: FakeServer, following: Following) -> None:
    stream, request = await opened(fake)
    assert request.scope.run_id == "r"
    assert request.WhichOneof("start") == "beginning"
    assert (request.namespace, request.view) == ("default", pb.RECORD_VIEW_RECORD)
    for message in (subscribed(), batch("c2", entry("r", 1), entry("r", 2)), batch("c3", entry("r", 3)), COMPLETE):
        stream.send(message)
    assert await following.end() == [1, 2, 3]
    assert following.subscription.cursor == "c3"


async def test_entering_waits_for_the_confirmation(fake: FakeServer, client: Client) -> None:
    entering = asyncio.create_task(client.subscribe(LedgerScope.all(), start="now").__aenter__())
    stream, request = await opened(fake)
    assert request.now is True
    assert not entering.done()
    stream.send(subscribed())
    subscription = await asyncio.wait_for(entering, WITHIN_S)
    assert subscription.store_epoch == "one"
    await subscription.__aexit__(None, None, None)
    async with asyncio.timeout(WITHIN_S):
        await stream.closed.wait()


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    "ending",
    [
        End(),
        Refusal(grpc.StatusCode.CANCELLED),
        Refusal(grpc.StatusCode.UNAVAILABLE),
        Refusal(grpc.StatusCode.INTERNAL),
        Refusal(grpc.StatusCode.UNKNOWN),
        refusal_with_retry(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS"),
        goodbye(Goodbye.REASON_DRAINING),
        goodbye(Goodbye.REASON_SLOW_CONSUMER),
        goodbye(Goodbye.REASON_MAX_AGE),
        goodbye(Goodbye.REASON_UNSPECIFIED),
    ],
    ids=[
        "no-goodbye", "cancelled", "unavailable", "internal", "unknown", "too-many", "draining", "slow", "old", "unset",
    ],
)  # fmt: skip
async def test_any_end_but_complete_goes_on_after_the_last_cursor(
    fake: FakeServer, following: Following, ending: object
) -> None:
    first, _ = await opened(fake)
    for message in (subscribed(), batch("c2", entry("r", 1), entry("r", 2)), ending):
        first.send(message)
    second, request = await opened(fake)
    assert request.after_cursor == "c2"
    for message in (subscribed("c2"), batch("c3", entry("r", 3)), COMPLETE):
        second.send(message)
    assert await following.end() == [1, 2, 3]


@pytest.mark.promise("P8")
async def test_silence_of_three_intervals_is_a_broken_stream(fake: FakeServer, following: Following) -> None:
    first, _ = await opened(fake)
    first.send(subscribed("c0", interval=0.05))
    second, request = await opened(fake)
    assert request.after_cursor == "c0"
    for message in (subscribed("c0"), batch("c1", entry("r", 1)), COMPLETE):
        second.send(message)
    assert await following.end() == [1]
    async with asyncio.timeout(WITHIN_S):
        await first.closed.wait()


@pytest.mark.promise("P8")
async def test_checkpoints_move_the_cursor(fake: FakeServer, following: Following) -> None:
    first, _ = await opened(fake)
    first.send(subscribed())
    first.send(pb.SubscribeLedgerResponse(cursor="c9", checkpoint=pb.SubscribeLedgerResponse.Checkpoint()))
    first.send(End())
    _, request = await opened(fake)
    assert request.after_cursor == "c9"


async def test_the_server_goes_away_and_comes_back(fake: FakeServer, server: Running, following: Following) -> None:
    first, _ = await opened(fake)
    first.send(subscribed())
    first.send(batch("c1", entry("r", 1)))
    assert await following.take(1) == [1]
    await server.stop()
    await server.start()
    second, request = await opened(fake)
    assert request.after_cursor == "c1"
    second.send(subscribed())
    second.send(COMPLETE)
    assert await following.end() == []


async def test_a_cursor_that_is_refused_is_an_error(fake: FakeServer, following: Following) -> None:
    first, _ = await opened(fake)
    for message in (subscribed(), End()):
        first.send(message)
    second, _ = await opened(fake)
    second.send(Refusal(grpc.StatusCode.OUT_OF_RANGE))
    with pytest.raises(OutOfRange):
        await following.end()


async def test_a_server_that_keeps_failing_within_is_an_error(fake: FakeServer, following: Following) -> None:
    for _ in range(5):
        stream, _ = await opened(fake)
        stream.send(subscribed())
        stream.send(Refusal(grpc.StatusCode.INTERNAL, "a defect"))
    with pytest.raises(Exception, match="a defect"):
        await following.end()


async def test_nobody_there_at_first_is_an_error_in_time(server: Running) -> None:
    await server.stop()
    async with connected(server, timeout=0.2) as client:
        with pytest.raises(Unavailable):
            await client.subscribe("r").__aenter__()


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    "entries",
    [
        [entry("r", 2)],
        [entry("r", 1), entry("r", 3)],
        [entry("r", 1), entry("r", 1)],
        [entry("r", 1), entry("r", 2), entry("r", 1)],
        [entry("r", 1), entry("s", 1), entry("s", 3)],
    ],
    ids=["late-start", "gap", "repeat", "disorder", "gap-of-another"],
)
async def test_a_hole_in_a_run_is_data_loss(
    fake: FakeServer, following: Following, entries: list[records_pb2.LedgerEntry]
) -> None:
    stream, _ = await opened(fake)
    stream.send(subscribed())
    stream.send(batch("c", *entries))
    with pytest.raises(DataLoss) as caught:
        await following.end()
    assert caught.value.metadata["seq"] == str(entries[-1].record.seq)


@pytest.mark.promise("P8")
async def test_a_hole_across_a_reconnect_is_data_loss(fake: FakeServer, following: Following) -> None:
    first, _ = await opened(fake)
    for message in (subscribed(), batch("c1", entry("r", 1)), End()):
        first.send(message)
    second, _ = await opened(fake)
    for message in (subscribed(), batch("c3", entry("r", 3))):
        second.send(message)
    with pytest.raises(DataLoss, match="record 3 came after record 1"):
        await following.end()


async def test_late_results_follow_an_ended_run(fake: FakeServer, following: Following) -> None:
    stream, _ = await opened(fake)
    entries = [entry("r", 1), entry("r", 2, COMPLETED), entry("s", 1), entry("r", 3, LATE), entry("r", 4, LATE)]
    for message in (subscribed(), batch("c", *entries), COMPLETE):
        stream.send(message)
    assert await following.end() == [1, 2, 1, 3, 4]


async def test_a_filter_has_holes(fake: FakeServer, client: Client) -> None:
    reading = Following(client.subscribe("r", filter=LedgerFilter(kinds=["step_completed"], node_ids=["a"])))
    stream, request = await opened(fake)
    assert (list(request.filter.kinds), list(request.filter.node_ids)) == ([STEP], ["a"])
    for message in (subscribed(), batch("c", entry("r", 4), entry("r", 9)), COMPLETE):
        stream.send(message)
    assert await reading.end() == [4, 9]


async def test_starting_in_the_middle_takes_the_first_record_as_it_comes(fake: FakeServer, client: Client) -> None:
    reading = Following(client.subscribe(LedgerScope.session("s"), after_cursor="mine"))
    stream, request = await opened(fake)
    assert request.after_cursor == "mine"
    for message in (subscribed(), batch("c", entry("r", 4), entry("r", 5), entry("q", 8)), COMPLETE):
        stream.send(message)
    assert await reading.end() == [4, 5, 8]


async def test_starting_after_a_record_checks_the_next(fake: FakeServer, client: Client) -> None:
    reading = Following(client.subscribe("r", after_seq=4, stop_when_terminal=True, view="record_bytes"))
    stream, request = await opened(fake)
    assert (request.after_seq, request.stop_when_terminal, request.view) == (4, True, pb.RECORD_VIEW_RECORD_BYTES)
    for message in (subscribed(), batch("c", entry("r", 6))):
        stream.send(message)
    with pytest.raises(DataLoss, match="record 6 came after record 4"):
        await reading.end()


def test_one_place_to_start_at() -> None:
    with pytest.raises(ValueError, match="start and after_seq"):
        subscribe_request("default", "r", {"start": "now", "after_seq": 1})


@pytest.mark.promise("P8")
async def test_the_cursor_covers_only_what_was_taken(fake: FakeServer, client: Client) -> None:
    async with confirmed(fake, client) as (subscription, stream):
        stream.send(batch("c2", entry("r", 1), entry("r", 2)))
        stream.send(batch("c3", entry("r", 3)))
        assert (await anext(subscription)).seq == 1
        assert (await anext(subscription)).seq == 2
        # The consumer may not be done with the second yet.
        assert subscription.cursor == "start"
        assert (await anext(subscription)).seq == 3
        assert subscription.cursor == "c2"


async def test_batches_come_with_their_cursor_and_a_pause_loses_nothing(fake: FakeServer, client: Client) -> None:
    async with confirmed(fake, client) as (subscription, stream):
        stream.send(batch("c3", entry("r", 1), entry("r", 2), entry("r", 3)))
        stream.send(batch("c4", entry("r", 4)))
        async for each in subscription:
            assert each.seq == 1
            break
        batches = subscription.batches()
        rest = await anext(batches)
        assert ([each.seq for each in rest.entries], rest.cursor) == ([2, 3], "c3")
        last = await anext(batches)
        assert ([each.seq for each in last.entries], last.cursor) == ([4], "c4")
        assert subscription.cursor == "c3"
        stream.send(COMPLETE)
        assert [each async for each in batches] == []
        assert subscription.cursor == "c4"


@pytest.mark.promise("P8")
async def test_a_read_that_was_given_up_loses_nothing(fake: FakeServer, client: Client) -> None:
    async with confirmed(fake, client) as (subscription, first):
        first.send(batch("c1", entry("r", 1)))
        assert (await anext(subscription)).seq == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(subscription)
        reading = asyncio.ensure_future(anext(subscription))
        second, request = await opened(fake)
        assert request.after_cursor == "c1"
        for message in (subscribed(), batch("c2", entry("r", 2))):
            second.send(message)
        assert (await reading).seq == 2


async def test_it_tells_whether_it_is_caught_up(fake: FakeServer, client: Client) -> None:
    async with confirmed(fake, client) as (subscription, stream):
        assert not subscription.is_caught_up
        stream.send(pb.SubscribeLedgerResponse(caught_up=pb.SubscribeLedgerResponse.CaughtUp()))
        stream.send(batch("c1", entry("r", 1)))
        await anext(subscription)
        assert subscription.is_caught_up
        stream.send(pb.SubscribeLedgerResponse(fell_behind=pb.SubscribeLedgerResponse.FellBehind()))
        stream.send(batch("c2", entry("r", 2)))
        await anext(subscription)
        assert not subscription.is_caught_up


def test_an_entry_holds_the_record_and_its_payloads() -> None:
    record = records_pb2.StepRecord(run_id="r", seq=3, kind=COMPLETED, node_id="n", attempt=2)
    record.completed.output.CopyFrom(records_pb2.PayloadRef(index=1, size=7))
    wire = records_pb2.LedgerEntry(
        record_bytes=record.SerializeToString(),
        payloads=[
            records_pb2.Payload(index=0, erased=records_pb2.ErasedPayload()),
            records_pb2.Payload(index=1, inline=records_pb2.InlinePayload(salt=b"s" * 16, data=b'{"a":1}')),
        ],
        position=12,
        prev_hash=b"p",
        record_hash=b"h",
    )
    found = LedgerEntry.from_wire(wire)
    assert (found.run_id, found.seq, found.kind, found.node_id, found.attempt) == ("r", 3, "completed", "n", 2)
    assert (found.position, found.prev_hash, found.record_hash) == (12, b"p", b"h")
    assert found.record_bytes == record.SerializeToString()
    assert found.payload_json(found.record.completed.output) == {"a": 1}
    assert found.payload(records_pb2.PayloadRef(index=0)) is None
    assert found.payload_json(records_pb2.PayloadRef(index=5)) is None
    assert found.payloads[1] is not None
    assert found.payloads[1].salt == b"s" * 16


# Watching.


def running_at(seq: int) -> run_service_pb2.WatchRunResponse:
    """The run as of a record."""
    run = model_pb2.RunState(run_id="r", seq=seq, status=common_pb2.RUN_STATUS_RUNNING, vars_json="{}")
    return run_service_pb2.WatchRunResponse(run=run)


async def test_a_watch_gives_each_change_once_over_many_streams(fake: FakeServer, client: Client) -> None:
    seen: list[int] = []

    async def read() -> None:
        async with client.watch("r", view="basic") as watch:
            seen.extend([run.seq async for run in watch])

    reading = asyncio.create_task(read())
    first, request = await fake.opened(fake.watches)
    assert (request.run_id, request.view) == ("r", run_service_pb2.RUN_VIEW_BASIC)
    heartbeat = run_service_pb2.WatchRunResponse(heartbeat=run_service_pb2.WatchHeartbeat())
    draining = run_service_pb2.WatchRunResponse(goodbye=Goodbye(reason=Goodbye.REASON_DRAINING))
    for message in (running_at(1), heartbeat, running_at(2), Refusal(grpc.StatusCode.CANCELLED)):
        first.send(message)
    second, _ = await fake.opened(fake.watches)
    for message in (running_at(2), running_at(5), draining):
        second.send(message)
    third, _ = await fake.opened(fake.watches)
    for message in (running_at(7), run_service_pb2.WatchRunResponse(goodbye=Goodbye(reason=Goodbye.REASON_COMPLETE))):
        third.send(message)
    await asyncio.wait_for(reading, WITHIN_S)
    assert seen == [1, 2, 5, 7]


def calls_alive() -> int:
    """Streaming calls that are still in memory."""
    gc.collect()
    return sum(isinstance(each, grpc.aio.UnaryStreamCall) for each in gc.get_objects())


async def test_streams_that_were_left_are_collected(fake: FakeServer, client: Client) -> None:
    before = calls_alive()
    for _ in range(10):
        async with confirmed(fake, client) as (subscription, stream):
            stream.send(batch("c1", entry("r", 1)))
            assert (await anext(subscription)).seq == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), confirmed(fake, client) as (subscription, _):
                await anext(subscription)
        del subscription, stream
    # grpc ends a cancelled call in its own time.
    async with asyncio.timeout(WITHIN_S):
        while await asyncio.to_thread(calls_alive) > before:
            pass
