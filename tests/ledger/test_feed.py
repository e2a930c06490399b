"""The feed from the store: the only one of a shared store, the net below the other."""

from __future__ import annotations

import asyncio
import logging

import pytest

from perdure_server.kernel.limits import MIB, SECOND_US
from perdure_server.ledger import feed as feed_module
from perdure_server.ledger.reads import read_gap
from perdure_server.ledger.selection import ScopeKind, Selection, View
from tests.ledger.rig import ALL, HeldStore, Rig, give_turns, running, select, subscribe_to
from tests.ledger.writer import COMPLETED, STARTED, RunLedger

pytestmark = pytest.mark.promise("P8")


async def test_a_commit_whose_announcement_was_lost_is_found() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        rig.store.commit(RunLedger("a"), STARTED)
        await rig.advance(SECOND_US)
        assert await stream.read_positions(1) == [1]


async def test_a_commit_whose_announcement_was_lost_is_found_by_the_next_one() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        ledger = RunLedger("a")
        rig.store.commit(ledger, STARTED)
        rig.commit(ledger, COMPLETED)
        rig.commit(ledger, COMPLETED)
        assert await stream.read_positions(3) == [1, 2, 3]
        rig.store.queries.clear()
        rig.commit(ledger, COMPLETED)
        assert await stream.read_positions(4) == [1, 2, 3, 4]
        assert rig.store.queries == [], "live again"


async def test_an_event_between_records_keeps_nothing_waiting() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        for number in range(5):
            rig.store.emit()
            rig.commit(RunLedger(f"r{number}"), STARTED)
            await stream.read()
        assert stream.positions == [2, 4, 6, 8, 10]


async def test_a_late_announcement_repeats_nothing() -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        ledger = RunLedger("a")
        records = rig.store.commit(ledger, STARTED)
        await rig.advance(SECOND_US)
        rig.ledger.records_committed(records)
        rig.commit(ledger, COMPLETED)
        assert await stream.read_positions(2) == [1, 2]


async def test_events_move_the_tailer_on() -> None:
    async with running(Rig()) as rig, rig.subscription():
        await give_turns(5)
        async with rig.subscription() as stream:
            await stream.read_until("caught_up")
            rig.store.emit()
            await rig.ledger.feed.poll()
            assert rig.ledger.tailer.position == 1


async def test_a_shared_store_is_followed_behind_its_horizon_only() -> None:
    rig = Rig(HeldStore(shared=True))
    async with running(rig), rig.subscription() as stream:
        await stream.read_until("caught_up")
        rig.commit(RunLedger("a"), STARTED)
        assert rig.ledger.tailer.position == 0, "the announcement alone means nothing"
        rig.store.commit(RunLedger("b"), STARTED)
        await rig.advance(feed_module.SHARED_POLL_US)
        assert await stream.read_positions(2) == [1, 2]


async def test_records_of_several_namespaces_come_in_one_order() -> None:
    rig = Rig(HeldStore(page_records=2))
    tailer = rig.ledger.tailer
    seen: list[int] = []

    class Watcher:
        def wake(self) -> None:
            seen.append(tailer.position)

    lines = [tailer.attach(Selection.of(name, ScopeKind.ALL), View.RECORD, Watcher()) for name in ("default", "other")]
    one, two = RunLedger("a"), RunLedger("a", namespace="other")
    for _ in range(5):
        rig.store.commit(one, STARTED)
        rig.store.commit(two, STARTED)
    assert read_gap(rig.store, ["other", "default"], 0, 100, MIB) == (10, rig.store.records)
    await rig.ledger.feed.poll()
    assert [len(line.strip) for line in lines] == [5, 5]
    assert tailer.position == 10


async def test_a_gap_too_large_for_the_ring_sends_readers_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "GAP_RECORDS", 3)
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        rig.store.commit(RunLedger("a"), STARTED, *[COMPLETED] * 9)
        await rig.ledger.feed.poll()
        await stream.read_until("fell_behind")
        await stream.read_until("caught_up")
        assert stream.positions == list(range(1, 11))


async def test_a_namespace_that_comes_to_be_watched_during_a_read_loses_nothing() -> None:
    rig = Rig()
    other = Selection.of("other", ScopeKind.ALL)
    async with running(rig), rig.subscription() as mine:
        await mine.read_until("caught_up")
        rig.store.commit(RunLedger("a"), STARTED)
        rig.access.turns = 30
        poll = asyncio.create_task(rig.ledger.feed.poll())
        await give_turns(5)
        rig.access.turns = 0
        async with rig.subscription(subscribe_to(other)) as stream:
            await stream.read_until("caught_up")
            rig.store.commit(RunLedger("b", namespace="other"), STARTED)
            await poll
            await rig.ledger.feed.poll()
            assert await stream.read_positions(1) == [2]
            assert await mine.read_positions(1) == [1]


async def test_a_store_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Rig()) as rig, rig.subscription() as stream:
        await stream.read_until("caught_up")
        rig.store.commit(RunLedger("a"), STARTED)
        rig.store.failing = True
        with caplog.at_level(logging.ERROR):
            await rig.advance(SECOND_US)
        assert "a pass of the loop ledger-feed failed" in caplog.text
        rig.store.failing = False
        await rig.advance(SECOND_US)
        assert await stream.read_positions(1) == [1]


async def test_nobody_watching_asks_nothing() -> None:
    async with running(Rig()) as rig:
        rig.store.commit(RunLedger("a"), STARTED)
        await rig.advance(10 * SECOND_US)
        assert rig.store.queries == []


async def test_stopping_twice_is_stopping_once() -> None:
    rig = Rig()
    await rig.ledger.start()
    rig.ledger.feed.loop.start()
    await rig.ledger.stop()
    await rig.ledger.stop()
    assert select() == ALL
