"""The ledger of a shared store: one total order for the observers of all replicas, and cursors of any (P8)."""

from __future__ import annotations

import asyncio
import random

import pytest

from perdure_server.engine.errors import CursorFromOtherStoreError, RunNotFoundError
from perdure_server.ledger.cursor import Cursor, CursorCodec
from perdure_server.ledger.pages import ListRecordsCommand
from perdure_server.ledger.reads import AfterCursor, AfterSeq, Now, Start
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import chain
from tests.dispatch.stream_worker import profile
from tests.ledger.rig import ALL, Stream, give_turns, select, subscribe_to
from tests.replicas.rig import NAMESPACE, Replica, Replicas, open_replicas, work
from tests.replicas.test_events import ended
from tests.replicas.test_following import asking

pytestmark = pytest.mark.promise("P8")

FUTURE = 1_000_000


async def read_all(replicas: Replicas, stream: Stream, until: int) -> list[int]:
    """Reads a stream until it has the record at this position."""

    async def read() -> None:
        while until not in stream.positions:
            assert await stream.read() is not None

    reading = asyncio.ensure_future(read())
    await replicas.until(reading.done)
    await reading
    return stream.positions


async def caught_up(replicas: Replicas, stream: Stream) -> None:
    """Reads a stream until it is live."""
    reading = asyncio.ensure_future(stream.read_until("caught_up"))
    await replicas.until(reading.done)
    await reading


async def subscribe(replica: Replica, start: Start | None = None, selection: Selection = ALL) -> Stream:
    """An observer at a replica."""
    return Stream(await replica.runtime.ledger.subscribe(subscribe_to(selection, start), "observer"))


async def opened(replicas: Replicas, replica: Replica, start: Start | None) -> Stream:
    """An observer whose start may have to be waited for."""
    opening = asyncio.ensure_future(subscribe(replica, start))
    await replicas.until(opening.done)
    return await opening


async def test_observers_of_all_replicas_see_one_order_with_every_record_once() -> None:
    rng = random.Random(7)
    async with open_replicas(3) as replicas:
        a, b, c = replicas.all
        await replicas.register(chain(steps=3))
        streams = [await subscribe(replica) for replica in replicas.all]
        late = [await subscribe(replica, Now()) for replica in replicas.all]
        for stream in (*streams, *late):
            await caught_up(replicas, stream)
        workers = [await replica.connect(profile(f"w{n}"), credit=4) for n, replica in enumerate((a, b))]
        for number in range(30):
            await rng.choice(replicas.all).start("chain", f"r{number}")
            if rng.random() < 0.3:
                replicas.data.hold_horizon()
            if rng.random() < 0.5:
                replicas.data.release_horizon()
                await replicas.pump()
        replicas.data.release_horizon()

        async def done() -> bool:
            for worker in workers:
                await work(worker)
            return all([await ended(c, f"r{number}") for number in range(30)])

        await replicas.until(done)
        last = replicas.data.store.horizon()
        expected = [record.position for record in replicas.data.store.read_changes(0, last, 100_000)]
        for stream in streams:
            assert await read_all(replicas, stream, expected[-1]) == expected
        for stream in late:
            seen = await read_all(replicas, stream, expected[-1])
            assert seen == expected[expected.index(seen[0]) :]
        for stream in (*streams, *late):
            stream.subscription.close()


async def test_a_chain_of_cursors_over_all_replicas_misses_and_repeats_nothing() -> None:
    rng = random.Random(11)
    async with open_replicas(3) as replicas:
        await replicas.register(asking())
        seen: list[int] = []
        cursor = ""
        for number in range(40):
            await rng.choice(replicas.all).start("ask", f"r{number}")
            stream = await opened(replicas, rng.choice(replicas.all), AfterCursor(cursor) if cursor else None)
            if number % 2:
                seen += await read_all(replicas, stream, replicas.data.store.horizon())
                cursor = stream.cursor
            stream.subscription.close()
        assert seen == [change.position for change in replicas.data.store.read_changes(0, seen[-1], 100_000)]


async def test_a_cursor_that_another_replica_gave_out_above_this_ones_horizon_is_waited_for() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await a.start("ask", "r1")
        first = await subscribe(a)
        await read_all(replicas, first, replicas.data.store.horizon())
        replicas.data.held_horizon = 0
        opening = asyncio.ensure_future(subscribe(b, AfterCursor(first.cursor)))
        page = asyncio.ensure_future(
            b.runtime.ledger.list_records(ListRecordsCommand(ALL, View.RECORD, 10, first.cursor))
        )
        replicas.clock.advance(1_000_000)
        await give_turns(50)
        assert not opening.done()
        assert not page.done()
        replicas.data.release_horizon()
        await replicas.until(lambda: opening.done() and page.done())
        assert (await page).count == 0
        (await opening).subscription.close()
        first.subscription.close()


async def test_a_cursor_that_no_replica_can_have_given_out_is_refused() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await a.start("ask", "r1")
        cursor = CursorCodec(b.engine.info.epoch).encode(ALL.binding(), Cursor(FUTURE))
        opening = asyncio.ensure_future(subscribe(b, AfterCursor(cursor)))
        await replicas.until(opening.done)
        with pytest.raises(CursorFromOtherStoreError):
            await opening


async def test_a_run_is_read_and_followed_as_soon_as_it_is_acknowledged() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await a.start("ask", "r0")
        replicas.data.hold_horizon()
        seq = (await a.start("ask", "r1")).seq
        run = select(ScopeKind.RUN, "r1")
        page = await b.runtime.ledger.list_records(ListRecordsCommand(run, View.RECORD, 100))
        assert page.count == seq
        stream = await subscribe(b, AfterSeq(seq), run)
        from_cursor = asyncio.ensure_future(subscribe(b, AfterCursor(page.cursor), run))
        replicas.data.release_horizon()
        await replicas.until(from_cursor.done)
        for opened_stream in (stream, await from_cursor):
            await caught_up(replicas, opened_stream)
            assert opened_stream.positions == []
            opened_stream.subscription.close()
        with pytest.raises(RunNotFoundError):
            await subscribe(b, None, select(ScopeKind.RUN, "nobody"))


async def test_a_chain_verifies_behind_a_lagging_horizon() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        replicas.data.hold_horizon()
        run = await a.start("ask", "r1")
        verified = await b.runtime.ledger.verify_run(RunKey(NAMESPACE, "r1"))
        assert (verified.report.problem, verified.report.seq) == ("", run.seq)
        replicas.data.release_horizon()
