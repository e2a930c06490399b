"""The contract of a subscription: a test for each of its sentences (ledger_service.proto, `Subscription`)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.v1 import ledger_service_pb2 as pb
from perdure_server.engine.errors import CursorFromOtherStoreError, EngineError, InvalidCursorError
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.reads import AfterCursor, AfterSeq, Now
from perdure_server.ledger.selection import ScopeKind, View
from perdure_server.ledger.tailer import RingBounds
from tests.ledger.rig import ALL, HeldStore, Rig, Stream, give_turns, matching, running, select, subscribe_to
from tests.ledger.writer import COMPLETED, ENDS, STARTED, RunLedger, Step

pytestmark = pytest.mark.promise("P8")

GOODBYE = pb.Goodbye


# 1. The first message is `subscribed` (or the call fails). Only then is `now` fixed.


async def test_the_first_message_is_subscribed() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED)
        command = subscribe_to(max_batch_records=7, max_batch_bytes=900, checkpoint_interval_us=2 * SECOND_US)
        async with rig.subscription(command) as stream:
            first = await stream.read()
    assert first is not None
    assert first.subscribed.subscription_id == "subscription-1"
    assert first.subscribed.store_epoch == rig.store.info().epoch
    assert (first.subscribed.max_batch_records, first.subscribed.max_batch_bytes) == (7, 900)
    assert first.subscribed.checkpoint_interval.seconds == 2
    assert first.cursor


async def test_now_shows_what_is_committed_after_subscribed_and_nothing_before() -> None:
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED)
        async with rig.subscription(subscribe_to(start=Now())) as stream:
            await stream.read_until("subscribed")
            rig.commit(ledger, COMPLETED)
            assert await stream.read_positions(1) == [2]


async def test_what_is_committed_while_now_is_fixed_is_not_lost() -> None:
    async with running(Rig(turns=10)) as rig:
        opening = asyncio.create_task(rig.ledger.subscribe(subscribe_to(start=Now()), "me"))
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED)
        await give_turns(15)
        rig.commit(ledger, COMPLETED)
        async with await opening as subscription:
            stream = Stream(subscription)
            rig.commit(ledger, COMPLETED)
            await stream.read_until("caught_up")
            rig.commit(ledger, COMPLETED)
            assert await stream.read_positions(3) == [2, 3, 4]


# 2. Records come in position order, each exactly once per stream; in a run seq has no gap.


async def test_records_come_in_position_order_each_once() -> None:
    async with running(Rig()) as rig:
        ledgers = [RunLedger(f"r{number}") for number in range(4)]
        for ledger in ledgers:
            rig.commit(ledger, STARTED, COMPLETED)
        async with rig.subscription() as stream:
            for ledger in reversed(ledgers):
                rig.commit(ledger, COMPLETED)
                await stream.read()
            assert await stream.read_positions(12) == list(range(1, 13))


async def test_within_a_run_and_without_a_filter_seq_has_no_gap() -> None:
    async with running(Rig()) as rig:
        mine, other = RunLedger("a"), RunLedger("b")
        rig.commit(mine, STARTED)
        rig.commit(other, STARTED)
        async with rig.subscription(subscribe_to(select(ScopeKind.RUN, "a"))) as stream:
            for _ in range(5):
                rig.commit(other, COMPLETED)
                rig.store.emit()
                rig.commit(mine, COMPLETED, COMPLETED)
            await stream.read_positions(11)
            assert [entry.record.seq for entry in stream.entries] == list(range(1, 12))


@pytest.mark.parametrize("view", View)
async def test_an_entry_holds_the_stored_record_with_its_payloads(view: View) -> None:
    async with running(Rig()) as rig:
        (held,) = rig.commit(RunLedger("a"), STARTED)
        async with rig.subscription(subscribe_to(view=view)) as stream:
            await stream.read_positions(1)
        (entry,) = stream.entries
        sent = entry.record_bytes if view is View.RECORD_BYTES else entry.record.SerializeToString()
        assert sent == held.record
        assert (entry.prev_hash, entry.record_hash) == (held.prev_hash, held.record_hash)
        assert entry.payloads[0].inline.data == held.payloads[0].data
        assert entry.payloads[0].inline.salt == held.payloads[0].salt


# 3. The cursor of any message covers all matching records up to it.


async def test_a_new_stream_after_any_cursor_goes_on_without_gap_or_repeat() -> None:
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, *[COMPLETED] * 9)
        async with rig.subscription(subscribe_to(max_batch_records=3)) as stream:
            await stream.read_until("caught_up")
        delivered = 0
        for message in stream.messages:
            delivered += len(message.batch.entries)
            async with rig.subscription(subscribe_to(start=AfterCursor(message.cursor))) as again:
                await again.read_until("caught_up")
                assert again.positions == list(range(delivered + 1, 11))


async def test_a_checkpoints_cursor_covers_what_the_filter_left_out() -> None:
    failures = select(kinds=[RecordKind.FAILED])
    async with running(Rig()) as rig, rig.subscription(subscribe_to(failures)) as stream:
        await stream.read_until("caught_up")
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, COMPLETED)
        await rig.advance(15 * SECOND_US)
        await stream.read_until("checkpoint")
        rig.store.queries.clear()
        async with rig.subscription(subscribe_to(failures, AfterCursor(stream.cursor))) as again:
            await again.read_until("caught_up")
        # Its start needs no more than the record it leans on.
        assert [(query.after_position, query.until_position) for query in rig.store.queries] == [(1, 2)]


async def test_a_cursor_is_valid_after_a_restart() -> None:
    rig = Rig()
    ledger = RunLedger("a")
    async with running(rig):
        rig.commit(ledger, STARTED)
        async with rig.subscription() as stream:
            await stream.read_until("caught_up")
    restarted = Rig(rig.store)
    async with running(restarted):
        restarted.commit(ledger, COMPLETED)
        async with restarted.subscription(subscribe_to(start=AfterCursor(stream.cursor))) as again:
            assert await again.read_positions(1) == [2]


async def test_a_cursor_of_another_scope_is_refused() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED)
        async with rig.subscription() as stream:
            await stream.read()
        with pytest.raises(InvalidCursorError):
            await rig.ledger.subscribe(subscribe_to(select(ScopeKind.RUN, "a"), AfterCursor(stream.cursor)), "me")
        assert rig.ledger.open_streams == 0


async def test_a_cursor_from_before_a_rollback_is_refused_although_its_position_exists_again() -> None:
    rig, rolled_back = Rig(), Rig()
    async with running(rig), running(rolled_back):
        for name, one in (("a", rig), ("b", rolled_back)):
            ledger = RunLedger("r")
            one.commit(ledger, STARTED)
            one.commit(ledger, Step(RecordKind.STEP_COMPLETED, name), COMPLETED)
        async with rig.subscription(subscribe_to(max_batch_records=1)) as stream:
            await stream.read_until("caught_up")
        first, second = (message.cursor for message in stream.messages[1:3])
        async with rolled_back.subscription(subscribe_to(start=AfterCursor(first))) as again:
            assert await again.read_positions(2) == [2, 3]
        with pytest.raises(CursorFromOtherStoreError):
            await rolled_back.ledger.subscribe(subscribe_to(start=AfterCursor(second)), "me")


async def test_a_checkpoint_of_an_idle_stream_finds_a_rollback_too() -> None:
    """It leans on the newest record there is, not only on those the stream was shown."""
    rig, rolled_back = Rig(), Rig()
    waiting = select(kinds=[RecordKind.WAITING])
    async with running(rig), running(rolled_back):
        async with rig.subscription(subscribe_to(waiting)) as stream:
            await stream.read_until("caught_up")
            rig.commit(RunLedger("a"), STARTED)
            await rig.advance(15 * SECOND_US)
            await stream.read_until("checkpoint")
        rolled_back.commit(RunLedger("b"), STARTED)
        with pytest.raises(CursorFromOtherStoreError):
            await rolled_back.ledger.subscribe(subscribe_to(waiting, AfterCursor(stream.cursor)), "me")


async def test_after_seq_begins_behind_that_record() -> None:
    run = select(ScopeKind.RUN, "a")
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, COMPLETED, COMPLETED)
        for seq in range(4):
            async with rig.subscription(subscribe_to(run, AfterSeq(seq))) as stream:
                await stream.read_until("caught_up")
                assert [entry.record.seq for entry in stream.entries] == list(range(seq + 1, 4))
        with pytest.raises(CursorFromOtherStoreError):
            await rig.ledger.subscribe(subscribe_to(run, AfterSeq(4)), "me")


async def test_the_cursor_after_a_seq_does_not_begin_again() -> None:
    run = select(ScopeKind.RUN, "a")
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, COMPLETED)
        async with rig.subscription(subscribe_to(run, AfterSeq(2))) as stream:
            await stream.read_until("subscribed")
        rig.commit(ledger, COMPLETED)
        async with rig.subscription(subscribe_to(run, AfterCursor(stream.cursor))) as again:
            assert await again.read_positions(1) == [3]


# 4. `checkpoint` comes whenever no other message was sent for checkpoint_interval.


async def test_a_checkpoint_comes_when_nothing_else_did_for_the_interval() -> None:
    command = subscribe_to(checkpoint_interval_us=2 * SECOND_US)
    async with running(Rig()) as rig, rig.subscription(command) as stream:
        await stream.read_until("caught_up")
        for _ in range(3):
            reading = asyncio.create_task(stream.read())
            await give_turns(5)
            for _ in range(3):
                await rig.advance(SECOND_US // 2)
                assert not reading.done()
            await rig.advance(SECOND_US // 2)
            message = await reading
            assert message is not None
            assert message.WhichOneof("event") == "checkpoint"
            assert message.checkpoint.server_time.ToMicroseconds() == rig.clock.now()


async def test_a_batch_puts_the_checkpoint_off() -> None:
    command = subscribe_to(checkpoint_interval_us=2 * SECOND_US)
    async with running(Rig()) as rig, rig.subscription(command) as stream:
        await stream.read_until("caught_up")
        await rig.advance(3 * SECOND_US // 2)
        rig.commit(RunLedger("a"), STARTED)
        await stream.read_until("batch")
        reading = asyncio.create_task(stream.read())
        await give_turns(5)
        await rig.advance(3 * SECOND_US // 2)
        assert not reading.done()
        await rig.advance(SECOND_US // 2)
        assert (await reading) is stream.messages[-1]
        assert stream.events[-1] == "checkpoint"


async def test_a_checkpoint_never_overtakes_a_record() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        rig.commit(RunLedger("a"), STARTED)
        await rig.advance(60 * SECOND_US)
        await stream.read()
        assert stream.events[-1] == "batch"


async def test_checkpoints_come_while_a_filter_finds_nothing_in_the_store() -> None:
    rig = Rig(HeldStore())
    rig.store.position = 1_000_000
    rig.store.commit(RunLedger("a"), STARTED)
    rare = subscribe_to(select(kinds=[RecordKind.RUN_STARTED]), checkpoint_interval_us=SECOND_US)
    async with running(rig), rig.subscription(rare) as stream:
        await stream.read_until("subscribed")
        rig.access.turns = 3
        cursors: list[str] = []
        while not stream.entries:
            reading = asyncio.create_task(stream.read())
            await give_turns(2)
            while not reading.done():
                await rig.advance(SECOND_US)
            if stream.events[-1] == "checkpoint":
                cursors.append(stream.cursor)
        assert len(set(cursors)) > 3, "each covers more than the one before"
        assert stream.positions == [1_000_001]


# 5. `caught_up` comes when what existed has been sent; `fell_behind` when the stream went back.


async def test_caught_up_comes_when_what_existed_has_been_sent() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED, *[COMPLETED] * 4)
        async with rig.subscription(subscribe_to(max_batch_records=2)) as stream:
            await stream.read_until("caught_up")
            assert stream.events == ["subscribed", "batch", "batch", "batch", "caught_up"]
            assert stream.positions == [1, 2, 3, 4, 5]


async def test_caught_up_comes_once_while_the_stream_stays_live() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        for number in range(5):
            rig.commit(RunLedger(f"r{number}"), STARTED)
            await stream.read()
        assert stream.events == ["subscribed", "caught_up"] + ["batch"] * 5


async def test_a_stream_behind_the_ring_reads_the_store_and_loses_nothing() -> None:
    async with running(Rig(ring=RingBounds(records=2))) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, *[COMPLETED] * 6)
        await stream.read_until("fell_behind")
        await stream.read_until("caught_up")
        rig.commit(ledger, COMPLETED)
        await stream.read_until("batch")
        assert stream.positions == list(range(1, 9))
        # Five from the store, two that the ring still had, one live.
        expected = ["subscribed", "caught_up", "fell_behind", "batch", "batch", "caught_up", "batch"]
        assert stream.events == expected


async def test_a_stream_that_never_was_live_does_not_fall_behind() -> None:
    async with running(Rig(ring=RingBounds(records=2), turns=3)) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, *[COMPLETED] * 5)
        async with rig.subscription() as other, rig.subscription() as stream:
            await other.read_until("caught_up")
            await stream.read_until("subscribed")
            reading = asyncio.create_task(stream.read_until("caught_up"))
            while not reading.done():
                if ledger.seq < 40:
                    rig.commit(ledger, COMPLETED)
                await give_turns(1)
            assert "fell_behind" not in stream.events
            assert stream.positions == list(range(1, len(stream.positions) + 1))


async def test_live_needs_no_query() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        rig.store.queries.clear()
        for number in range(20):
            rig.commit(RunLedger(f"r{number}"), STARTED)
        await stream.read_positions(20)
        assert rig.store.queries == []


# 6. A stream ends well only after `goodbye`.


def reason(stream: Stream) -> int:
    """The goodbye's reason."""
    assert stream.events[-1] == "goodbye"
    return stream.messages[-1].goodbye.reason


async def test_draining_says_goodbye_and_refuses_new_streams() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        reading = asyncio.create_task(stream.read())
        await give_turns(3)
        rig.ledger.drain()
        await reading
        assert reason(stream) == GOODBYE.REASON_DRAINING
        assert stream.messages[-1].goodbye.reconnect_delay.seconds == 1
        assert await stream.read() is None
        with pytest.raises(EngineError, match="going away"):
            await rig.ledger.subscribe(subscribe_to(), "me")


async def test_a_stream_that_opens_while_the_server_drains_says_goodbye_too() -> None:
    async with running(Rig(turns=5)) as rig:
        opening = asyncio.create_task(rig.ledger.subscribe(subscribe_to(), "me"))
        await give_turns(3)
        rig.ledger.drain()
        async with await opening as subscription:
            stream = Stream(subscription)
            await stream.read_until("goodbye")
        assert stream.events == ["subscribed", "goodbye"]


async def test_draining_comes_before_a_backlog() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED, *[COMPLETED] * 9)
        async with rig.subscription(subscribe_to(max_batch_records=1)) as stream:
            await stream.read_positions(2)
            rig.ledger.drain()
            await stream.read()
            assert reason(stream) == GOODBYE.REASON_DRAINING
            assert stream.positions == [1, 2]
            assert stream.messages[-1].cursor == stream.messages[-2].cursor


async def test_an_old_stream_says_goodbye() -> None:
    rig = Rig(limits=Limits(stream_age_us=40 * SECOND_US))
    async with running(rig), rig.subscription() as stream:
        await stream.read_until("caught_up")
        for _ in range(2):
            await rig.advance(15 * SECOND_US)
            await stream.read_until("checkpoint")
        reading = asyncio.create_task(stream.read())
        await give_turns(3)
        await rig.advance(10 * SECOND_US)
        await reading
        assert reason(stream) == GOODBYE.REASON_MAX_AGE


async def test_stop_when_caught_up_sends_what_exists_then_goodbye() -> None:
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, COMPLETED)
        async with rig.subscription(subscribe_to(stop_when_caught_up=True, max_batch_records=1)) as stream:
            await stream.read_until("subscribed")
            while await stream.read() is not None:
                rig.commit(ledger, COMPLETED)  # a writer that never rests does not keep it from ending
        assert stream.events == ["subscribed", "batch", "batch", "caught_up", "goodbye"]
        assert reason(stream) == GOODBYE.REASON_COMPLETE


TERMINAL_CASES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "no filter": ({}, [1, 2, 3]),
    "the end is filtered out": ({"kinds": [RecordKind.RUN_STARTED]}, [1]),
    "nothing matches": ({"node_ids": ["nowhere"]}, []),
}


@pytest.mark.parametrize("name", TERMINAL_CASES)
@pytest.mark.parametrize("live", [True, False], ids=["live", "from the store"])
@pytest.mark.parametrize("ring", [RingBounds(), RingBounds(records=1)], ids=["", "tiny ring"])
async def test_stop_when_terminal_ends_after_the_runs_end(name: str, live: bool, ring: RingBounds) -> None:
    conditions, expected = TERMINAL_CASES[name]
    run = select(ScopeKind.RUN, "a", **conditions)
    async with running(Rig(ring=ring)) as rig:
        ledger, late = RunLedger("a"), Step(RecordKind.LATE_RESULT, payload=b"late")
        rig.commit(ledger, STARTED)
        if not live:
            rig.commit(ledger, COMPLETED, ENDS, late)
        async with rig.subscription(subscribe_to(run, stop_when_terminal=True)) as stream:
            if live:
                await stream.read_until("caught_up")
                rig.commit(ledger, COMPLETED)
                rig.commit(RunLedger("b"), STARTED, ENDS)
                rig.commit(ledger, ENDS, late)
            await stream.read_until("goodbye")
        seqs = [entry.record.seq for entry in stream.entries]
        assert seqs == expected, "the late result comes after the end and is not sent"
        assert reason(stream) == GOODBYE.REASON_COMPLETE
        rest = subscribe_to(run, AfterCursor(stream.cursor), stop_when_caught_up=True)
        async with rig.subscription(rest) as again:
            await again.read_until("goodbye")
        covered = [entry.record.seq for entry in again.entries]
        assert covered == ([] if conditions else [4]), "nor does the cursor cover it"


async def test_the_end_of_a_run_is_found_although_the_ring_let_go_of_it() -> None:
    rare = select(ScopeKind.RUN, "a", node_ids=["nowhere"])
    async with running(Rig(ring=RingBounds(records=2))) as rig, rig.subscription() as other:
        await other.read_until("caught_up")
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED)
        async with rig.subscription(subscribe_to(rare, stop_when_terminal=True)) as stream:
            await stream.read_until("caught_up")
            rig.commit(ledger, ENDS)
            rig.commit(RunLedger("b"), STARTED, COMPLETED, COMPLETED)
            await stream.read_until("goodbye")
        assert stream.positions == []


async def test_stop_when_terminal_ends_at_once_after_the_end() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED, ENDS)
        run = select(ScopeKind.RUN, "a")
        async with rig.subscription(subscribe_to(run, AfterSeq(2), stop_when_terminal=True)) as stream:
            await stream.read_until("goodbye")
        assert stream.events == ["subscribed", "caught_up", "goodbye"]


async def test_leaving_a_stream_gives_everything_back() -> None:
    async with running(Rig()) as rig:
        async with rig.subscription() as stream:
            await stream.read_until("caught_up")
            assert rig.ledger.tailer.watched_namespaces() == ["default"]
            assert rig.ledger.open_streams == 1
        assert rig.ledger.tailer.watched_namespaces() == []
        assert rig.ledger.open_streams == 0
        assert await stream.read() is None


async def test_a_cancelled_reader_is_cancelled_and_gives_everything_back() -> None:
    async with running(Rig()) as rig:

        async def follow() -> None:
            async with rig.subscription() as stream:
                await stream.read_until("goodbye")

        reading = asyncio.create_task(follow())
        await give_turns(20)
        assert rig.ledger.open_streams == 1
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert rig.ledger.open_streams == 0
        assert rig.ledger.tailer.watched_namespaces() == []


# 7. A client that does not read for 60 s gets the stream ended (SLOW_CONSUMER).


async def test_a_client_that_does_not_read_gets_slow_consumer_and_costs_nothing() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED)
        await stream.read_until("batch")
        with stream.subscription.writing():  # a write that does not come to its end
            await rig.advance(59 * SECOND_US)
            assert rig.ledger.tailer.watched_namespaces() == ["default"]
            await rig.advance(SECOND_US)
            assert rig.ledger.tailer.watched_namespaces() == []
            rig.commit(ledger, COMPLETED)
            assert rig.ledger.tailer.ring_bytes == 0
        await stream.read()
        assert reason(stream) == GOODBYE.REASON_SLOW_CONSUMER
        assert await stream.read() is None
        async with rig.subscription(subscribe_to(start=AfterCursor(stream.cursor))) as again:
            assert await again.read_positions(1) == [2]


async def test_a_client_that_reads_slowly_but_reads_is_left_alone() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED)
        await stream.read_until("caught_up")
        for _ in range(3):
            rig.commit(ledger, COMPLETED)
            with stream.subscription.writing():
                await rig.advance(59 * SECOND_US)
            await stream.read_until("batch")
        assert stream.positions == [1, 2, 3, 4]


# Batches.


@pytest.mark.promise("P10")
@pytest.mark.parametrize("live", [True, False], ids=["live", "from the store"])
async def test_a_batch_is_cut_at_its_bounds_and_holds_at_least_one_entry(live: bool) -> None:
    big = Step(RecordKind.STEP_COMPLETED, payload=b"x" * 3_000)
    steps = [STARTED, COMPLETED, big, COMPLETED, COMPLETED, COMPLETED, COMPLETED]
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        if not live:
            rig.commit(ledger, *steps)
        async with rig.subscription(subscribe_to(max_batch_records=3, max_batch_bytes=1_000)) as stream:
            if live:
                await stream.read_until("caught_up")
                rig.commit(ledger, *steps)
            await stream.read_positions(7)
        batches = [message.batch for message in stream.messages if message.WhichOneof("event") == "batch"]
        assert [len(batch.entries) for batch in batches] == [2, 1, 3, 1]
        assert all(batch.ByteSize() <= 1_000 for batch in batches if len(batch.entries) > 1)


@pytest.mark.parametrize(
    ("scope", "scope_id"),
    [
        (ScopeKind.RUN, "child"),
        (ScopeKind.TREE, "root"),
        (ScopeKind.SESSION, "s"),
        (ScopeKind.WORKFLOW, "w"),
        (ScopeKind.ALL, ""),
    ],
)
@pytest.mark.parametrize("live", [True, False], ids=["live", "from the store"])
async def test_each_scope_shows_its_records(scope: ScopeKind, scope_id: str, live: bool) -> None:
    ledgers = [
        RunLedger("root", session_id="s"),
        RunLedger("child", root_run_id="root", session_id="s", workflow_id="w"),
        RunLedger("other", workflow_id="w"),
        RunLedger("child", namespace="elsewhere", root_run_id="root", session_id="s", workflow_id="w"),
    ]
    selection = select(scope, scope_id)
    async with running(Rig()) as rig:
        for ledger in ledgers:
            rig.commit(ledger, STARTED)
        if not live:
            for ledger in ledgers:
                rig.commit(ledger, COMPLETED)
        async with rig.subscription(subscribe_to(selection)) as stream:
            await stream.read_until("caught_up")
            if live:
                for ledger in ledgers:
                    rig.commit(ledger, COMPLETED)
            expected = [record.position for record in matching(rig.store, selection)]
            assert await stream.read_positions(len(expected)) == expected
    assert len(expected) > 1
    assert (selection == ALL) == (len(expected) == 6)
