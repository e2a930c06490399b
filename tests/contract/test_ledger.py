"""The ledger: scopes, cursors, filters, pages, and what an observer sees while commits go on."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from perdure_server.storage.port import Commit, RecordQuery, Store, StoredRecord
from tests.contract.bindings import Binding
from tests.contract.builders import (
    DEFAULT,
    committed,
    create,
    event,
    payload,
    record,
    start,
    step,
)


def seen(store: Store, **query: Any) -> list[tuple[str, int]]:
    """(run_id, seq) of a page."""
    page = store.read_records(replace(RecordQuery(DEFAULT), **query))
    return [(stored.run_id, stored.seq) for stored in page]


def page_of(store: Store, scope: dict[str, str], **query: int) -> list[StoredRecord]:
    """A page of a scope."""
    return store.read_records(replace(RecordQuery(DEFAULT), **scope, **query))


def forest(store: Store) -> None:
    """Two trees that share a session, and one run that has a session named like the first tree's root."""
    committed(store, start("a"), start("b", session_id="s", workflow_id="billing"))
    committed(store, step("a", 1, new_runs=(create("a1", root_run_id="a", parent_run_id="a", session_id="a"),)))
    committed(store, step("b", 1, new_runs=(create("b1", root_run_id="b", parent_run_id="b", session_id="s"),)))
    committed(
        store,
        step("a", 2, new_runs=(create("a2", root_run_id="a", parent_run_id="a", session_id="s"),)),
        step("a1", 1, count=2),
        start("c", session_id="a"),
        start("a", namespace="other"),
        step("b1", 1),
        step("a", 3),
    )


A = [("a", 1), ("a", 2), ("a", 3), ("a", 4)]


def test_changes_are_the_records_of_all_namespaces_without_their_content(store: Store) -> None:
    forest(store)
    whole = store.read_changes(0, store.horizon(), 100)
    assert [change.position for change in whole] == list(range(1, 15))
    assert [change.namespace for change in whole if change.position == 12] == ["other"]
    records = {record.position: record for record in store.read_records(RecordQuery(DEFAULT))}
    assert [(change.run_id, change.seq, change.kind) for change in whole if change.namespace == DEFAULT] == [
        (record.run_id, record.seq, record.kind) for record in records.values()
    ]
    assert store.read_changes(3, 9, 100) == whole[3:9]
    assert store.read_changes(3, 9, 2) == whole[3:5]
    assert store.read_changes(14, 99, 2) == []


def test_each_scope_holds_its_records_in_order_of_positions(store: Store) -> None:
    forest(store)
    whole = store.read_records(RecordQuery(DEFAULT))
    assert [stored.position for stored in whole] == sorted(stored.position for stored in whole)
    assert [stored.position for stored in whole] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14]

    def of(*runs: str) -> list[tuple[str, int]]:
        return [(stored.run_id, stored.seq) for stored in whole if stored.run_id in runs]

    assert seen(store, run_id="a") == A == of("a")
    assert seen(store, root_run_id="a") == of("a", "a1", "a2")
    assert seen(store, root_run_id="b") == of("b", "b1")
    assert seen(store, session_id="s") == of("b", "b1", "a2")
    assert seen(store, session_id="a") == of("a", "a1", "c")
    assert seen(store, session_id="c") == []
    assert seen(store, workflow_id="billing") == of("b")
    assert seen(store, workflow_id="order") == of("a", "a1", "a2", "b1", "c")
    for scope in ("run_id", "root_run_id", "session_id", "workflow_id"):
        assert seen(store, **{scope: "nobody"}) == []
    assert [stored.run_id for stored in store.read_records(RecordQuery("other"))] == ["a"]
    assert store.read_records(RecordQuery("nowhere")) == []


SCOPES: list[dict[str, str]] = [
    {},
    {"run_id": "a"},
    {"root_run_id": "a"},
    {"session_id": "s"},
    {"session_id": "a"},
    {"workflow_id": "order"},
]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_every_cursor_splits_a_scope_without_gap_or_repeat(store: Store, scope: dict[str, str]) -> None:
    forest(store)
    whole = page_of(store, scope)
    assert whole
    for cursor in range(store.horizon() + 2):
        later = page_of(store, scope, after_position=cursor)
        earlier = page_of(store, scope, until_position=cursor) if cursor else []
        assert earlier + later == whole, cursor
    for limit in (1, 2, 3):
        paged: list[StoredRecord] = []
        while page := page_of(store, scope, after_position=paged[-1].position if paged else 0, limit=limit):
            assert len(page) <= limit
            paged += page
        assert paged == whole


def test_after_seq_counts_within_a_run_and_joins_the_cursor(store: Store) -> None:
    forest(store)
    assert seen(store, run_id="a", after_seq=2) == A[2:]
    assert seen(store, run_id="a", after_seq=4) == []
    position = store.read_records(RecordQuery(DEFAULT, run_id="a"))[2].position
    assert seen(store, run_id="a", after_seq=1, after_position=position) == A[3:]
    assert seen(store, run_id="a", after_seq=3, after_position=1) == A[3:]


def test_filters_are_ored_within_and_anded_between(store: Store) -> None:
    committed(store, start("r1"))
    given = [(1, 1, "n1"), (2, 1, "n2"), (2, 2, "n1"), (3, 2, "n2"), (1, 0, "n1")]
    rows = tuple(
        record(seq, kind=kind, status=status, node_id=node) for seq, (kind, status, node) in enumerate(given, start=2)
    )
    committed(store, step("r1", 1, count=5, records=rows))
    assert seen(store, kinds=(1, 3)) == [("r1", 2), ("r1", 5), ("r1", 6)]
    assert seen(store, statuses=(2,)) == [("r1", 4), ("r1", 5)]
    assert seen(store, run_id="r1", node_ids=("n2", "absent")) == [("r1", 3), ("r1", 5)]
    assert seen(store, workflow_id="order", kinds=(2,), statuses=(1, 2), node_ids=("n1",)) == [("r1", 4)]
    assert seen(store, kinds=(2,), after_position=3, limit=1) == [("r1", 4)]


def test_records_come_back_as_they_were_given(store: Store) -> None:
    payloads = (payload(2, b"two"), payload(0, b""), replace(payload(7), data=None), payload(255, b"\0\xff"))
    given = record(2, kind=9, status=3, node_id="ø", at=7, record=b"\0\x01bytes\xff", payloads=payloads)
    committed(store, start("r1", session_id="s", root_run_id="x"))
    committed(store, step("r1", 1, records=(given,)))
    (stored,) = store.read_records(RecordQuery(DEFAULT, run_id="r1", after_seq=1))
    assert stored == StoredRecord(
        namespace=DEFAULT,
        run_id="r1",
        seq=2,
        position=2,
        kind=9,
        status=3,
        node_id="ø",
        at=7,
        workflow_id="order",
        session_id="s",
        root_run_id="x",
        record=given.record,
        prev_hash=record(1).record_hash,
        record_hash=given.record_hash,
        payloads=tuple(sorted(payloads, key=lambda one: one.index)),
    )


def test_records_far_apart_keep_their_own_payloads(store: Store) -> None:
    committed(store, start("a"), start("b"))
    for seq in range(1, 6):
        for run_id in ("a", "b"):
            row = record(seq + 1, payloads=(payload(0, f"{run_id}{seq}".encode()), payload(1, b"x")))
            committed(store, step(run_id, seq, records=(row,)))
    found = [stored.payloads[0].data for stored in store.read_records(RecordQuery(DEFAULT, run_id="a", after_seq=1))]
    assert found == [b"a1", b"a2", b"a3", b"a4", b"a5"]


@pytest.mark.promise("P10")
def test_a_page_stops_before_it_goes_beyond_its_bytes(store: Store) -> None:
    committed(store, start("r1"))
    rows = tuple(
        record(seq, record=bytes(40), payloads=(payload(0, bytes(30)), payload(1, bytes(30)))) for seq in range(2, 12)
    )
    committed(store, step("r1", 1, count=10, records=rows))
    after: dict[str, Any] = {"run_id": "r1", "after_seq": 1}
    assert len(seen(store, byte_limit=300, **after)) == 3
    assert len(seen(store, byte_limit=299, **after)) == 2
    assert len(seen(store, byte_limit=1_000, **after)) == 10
    assert len(seen(store, byte_limit=1_000, limit=4, **after)) == 4
    assert seen(store, byte_limit=299, after_position=1) == [("r1", 2), ("r1", 3)]


@pytest.mark.promise("P10")
@pytest.mark.parametrize("byte_limit", [0, 1, 99])
def test_a_page_holds_at_least_one_record(store: Store, byte_limit: int) -> None:
    committed(store, start("r1"))
    committed(store, step("r1", 1, records=(record(2, record=bytes(100)),)))
    assert seen(store, byte_limit=byte_limit, after_position=1) == [("r1", 2)]
    assert seen(store, byte_limit=byte_limit) == [("r1", 1)]


def test_erased_payloads_count_nothing(store: Store) -> None:
    committed(store, start("r1"))
    rows = tuple(record(seq, record=bytes(10), payloads=(replace(payload(0), data=None),)) for seq in range(2, 5))
    committed(store, step("r1", 1, count=3, records=rows))
    assert len(seen(store, byte_limit=30, after_position=1)) == 3


@pytest.mark.promise("P8")
def test_events_and_records_share_one_line_of_positions(binding: Binding, store: Store) -> None:
    verdicts = [
        *committed(store, start("r1", last=2)),
        *committed(store, step("r1", 2, events=(event("e1"), event("e2"))), start("r2")),
        *committed(store, Commit(DEFAULT, events=(event("e1"), event("e3")))),
    ]
    given = [position for verdict in verdicts for position in (*verdict.positions, *verdict.event_positions)]
    assert given[:6] == [1, 2, 3, 4, 5, 6]
    assert given[6] == given[3]
    assert given[5] < given[7] <= store.horizon()
    assert "dense" in binding.excluded or given[7] == store.horizon() == 7


def test_nothing_is_read_above_the_horizon_asked_for(store: Store) -> None:
    forest(store)
    assert len(seen(store, until_position=3)) == 3
    assert len(seen(store, until_position=10_000)) == 13


@pytest.mark.promise("P8")
def test_ten_thousand_records_page_without_gap_or_repeat_while_commits_go_on(store: Store) -> None:
    committed(store, start("r1"))
    for seq in range(1, 10_000, 500):
        rows = tuple(record(one, payloads=()) for one in range(seq + 1, seq + 501))
        committed(store, step("r1", seq, count=500, records=rows))
    target, last = 10_001, 10_001
    scopes: list[dict[str, str]] = [{}, {"run_id": "r1"}, {"workflow_id": "order"}]
    for scope in scopes:
        cursor, found = 0, list[int]()
        while page := page_of(store, scope, after_position=cursor, until_position=target, limit=700):
            found += [stored.position for stored in page]
            cursor = page[-1].position
            committed(store, step("r1", last))
            last += 1
        assert found == list(range(1, target + 1)), scope


@pytest.mark.promise("P8")
def test_an_observer_beside_the_writer_sees_every_record_once_and_whole_commits_only(store: Store) -> None:
    """The observer follows the horizon in its own thread while batches of three-record commits are made."""
    runs, rounds = 8, 40
    committed(store, *(start(f"r{number}") for number in range(runs)))
    done = threading.Event()
    seen_positions: list[int] = []
    torn: list[int] = []

    def observe() -> None:
        cursor = 0
        while True:
            ended = done.is_set()
            horizon = store.horizon()
            page = store.read_records(RecordQuery(DEFAULT, after_position=cursor, until_position=horizon, limit=10_000))
            seen_positions.extend(stored.position for stored in page)
            torn.extend(
                number
                for number in range(runs)
                if (len([s for s in page if s.run_id == f"r{number}" and s.seq > 1]) % 3)
            )
            if page:
                cursor = page[-1].position
                if cursor != horizon:
                    torn.append(horizon)
            if ended:
                return

    observer = threading.Thread(target=observe)
    observer.start()
    for turn in range(rounds):
        committed(store, *(step(f"r{number}", 1 + 3 * turn, count=3) for number in range(runs)))
    done.set()
    observer.join(60)
    assert not observer.is_alive()
    assert seen_positions == list(range(1, runs * (1 + 3 * rounds) + 1))
    assert torn == []
