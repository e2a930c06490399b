"""ListRecords: pages, their tokens, and going on with a subscription."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.v1 import ledger_service_pb2 as pb
from perdure_server.engine.errors import CursorFromOtherStoreError, InvalidPageTokenError
from perdure_server.kernel.limits import MIB
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.cursor import CursorCodec
from perdure_server.ledger.pages import ListRecordsCommand, RecordPage, read_page
from perdure_server.ledger.reads import AfterCursor
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.wire import page_response
from tests.ledger.rig import ALL, EPOCH, HeldStore, Rig, matching, running, select, subscribe_to
from tests.ledger.writer import COMPLETED, STARTED, RunLedger, Step

pytestmark = pytest.mark.promise("P8")

CURSORS = CursorCodec(EPOCH)
BIG = 10**9


def ask(selection: Selection = ALL, page_size: int = 100, **options: Any) -> ListRecordsCommand:
    """A command."""
    return ListRecordsCommand(selection, View.RECORD, page_size, **options)


def positions(page: RecordPage) -> list[int]:
    """Positions of a page's entries."""
    message = pb.ListRecordsResponse.FromString(page_response(page.frames, page.next_page_token, page.cursor))
    assert len(message.entries) == page.count
    return [entry.position for entry in message.entries]


def all_pages(store: HeldStore, selection: Selection, page_size: int, max_bytes: int = BIG) -> list[RecordPage]:
    """Every page, by the tokens."""
    pages = [read_page(store, CURSORS, ask(selection, page_size), max_bytes)]
    while pages[-1].next_page_token:
        command = ask(selection, page_size, page_token=pages[-1].next_page_token)
        pages.append(read_page(store, CURSORS, command, max_bytes))
    return pages


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([1, 2_000, BIG]),
    st.sampled_from([ALL, select(ScopeKind.RUN, "r1"), select(kinds=[RecordKind.RUN_STARTED])]),
)
def test_pages_show_every_record_once(
    script: list[int], page_size: int, page_records: int, max_bytes: int, selection: Selection
) -> None:
    store = HeldStore(page_records=page_records)
    ledgers = [RunLedger(f"r{number}") for number in range(4)]
    for which in script:
        store.commit(ledgers[which], STARTED if ledgers[which].seq == 0 else COMPLETED, COMPLETED)
        store.emit()
    pages = all_pages(store, selection, page_size, max_bytes)
    shown = [position for page in pages for position in positions(page)]
    assert shown == [record.position for record in matching(store, selection)]
    assert all(0 < page.count <= page_size for page in pages[:-1])
    assert (pages[-1].count > 0) == bool(shown), "no empty page follows the last record"


def test_an_unknown_run_gives_an_empty_page() -> None:
    page = read_page(HeldStore(), CURSORS, ask(select(ScopeKind.RUN, "nobody")), BIG)
    assert (page.count, page.next_page_token) == (0, "")
    assert page.cursor


def test_the_cursor_of_the_last_page_covers_what_the_filter_left_out() -> None:
    store = HeldStore()
    store.commit(RunLedger("a"), STARTED, COMPLETED)
    store.emit()
    started = select(kinds=[RecordKind.RUN_STARTED])
    page = read_page(store, CURSORS, ask(started), BIG)
    assert CURSORS.decode(started, page.cursor, "cursor").position == 3


def test_after_seq_begins_behind_that_record() -> None:
    store, ledger = HeldStore(), RunLedger("a")
    store.commit(RunLedger("b"), STARTED)
    store.commit(ledger, STARTED, COMPLETED, COMPLETED)
    run = select(ScopeKind.RUN, "a")
    assert positions(read_page(store, CURSORS, ask(run, after_seq=2), BIG)) == [4]
    assert positions(read_page(store, CURSORS, ask(run, after_seq=3), BIG)) == []
    with pytest.raises(CursorFromOtherStoreError):
        read_page(store, CURSORS, ask(run, after_seq=4), BIG)
    unknown = select(ScopeKind.RUN, "nobody")
    assert positions(read_page(store, CURSORS, ask(unknown, after_seq=9), BIG)) == []


def test_a_page_after_a_seq_goes_on_by_its_token() -> None:
    store, ledger = HeldStore(), RunLedger("a")
    store.commit(ledger, STARTED, *[COMPLETED] * 5)
    run = select(ScopeKind.RUN, "a")
    first = read_page(store, CURSORS, ask(run, 2, after_seq=1), BIG)
    second = read_page(store, CURSORS, ask(run, 9, page_token=first.next_page_token), BIG)
    assert positions(first) + positions(second) == [2, 3, 4, 5, 6]


@pytest.mark.promise("P10")
def test_a_page_ends_by_bytes_and_holds_at_least_one_record() -> None:
    store, ledger = HeldStore(), RunLedger("a")
    large = Step(RecordKind.STEP_COMPLETED, payload=b"x" * (MIB + 1))
    store.commit(ledger, STARTED, large, large, large, large)
    limit = 7 * MIB // 2
    pages = all_pages(store, ALL, 1_000, limit)
    assert [page.count for page in pages] == [4, 1]
    assert all(len(page.frames) <= limit for page in pages)
    assert [page.count for page in all_pages(store, ALL, 1_000, MIB)] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("token", ["x", "x" * 60, "=", "A" * 60])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InvalidPageTokenError) as caught:
        read_page(HeldStore(), CURSORS, ask(page_token=token), BIG)
    assert caught.value.field == "page_token"


def test_a_token_of_another_list_or_store_is_refused() -> None:
    store = HeldStore()
    store.commit(RunLedger("a"), STARTED, COMPLETED)
    token = read_page(store, CURSORS, ask(page_size=1), BIG).next_page_token
    with pytest.raises(InvalidPageTokenError):
        read_page(store, CURSORS, ask(select(ScopeKind.RUN, "a"), page_token=token), BIG)
    with pytest.raises(CursorFromOtherStoreError):
        read_page(store, CursorCodec("another"), ask(page_token=token), BIG)
    with pytest.raises(CursorFromOtherStoreError):
        read_page(HeldStore(), CURSORS, ask(page_token=token), BIG)


async def test_list_then_subscribe_has_no_gap_and_no_repeat() -> None:
    async with running(Rig()) as rig:
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, *[COMPLETED] * 4)
        rig.store.emit()
        for page_size in (2, 100):
            page = await rig.ledger.list_records(ask(page_size=page_size))
            rig.commit(ledger, COMPLETED)
            async with rig.subscription(subscribe_to(start=AfterCursor(page.cursor))) as stream:
                await stream.read_until("caught_up")
                everything = [record.position for record in matching(rig.store, ALL)]
                assert positions(page) + stream.positions == everything


async def test_a_subscriptions_cursor_is_a_page_token() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED, *[COMPLETED] * 4)
        async with rig.subscription(subscribe_to(max_batch_records=2)) as stream:
            await stream.read_positions(2)
        page = await rig.ledger.list_records(ask(page_token=stream.cursor))
        assert positions(page) == [3, 4, 5]
