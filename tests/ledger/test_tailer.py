"""The tailer: lines, floors and the bounds of the ring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.tailer import Line, RingBounds, Tailer
from tests.ledger.rig import ALL, HeldStore, select
from tests.ledger.writer import COMPLETED, STARTED, RunLedger

pytestmark = pytest.mark.promise("P8")

BIG = 10**9


class Woken:
    """Counts its wake-ups."""

    def __init__(self) -> None:
        self.count = 0

    def wake(self) -> None:
        """Counts one."""
        self.count += 1


def positions(line: Line) -> list[int]:
    """Positions in the line."""
    found: list[int] = []
    after = 0
    while position := line.strip.first_after(after):
        found.append(position)
        after = position
    return found


def test_every_scope_that_holds_a_record_shows_it() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    mine = RunLedger("a", session_id="s", root_run_id="root", workflow_id="w")
    other = RunLedger("b", session_id="t", workflow_id="v")
    lines = {
        scope: tailer.attach(select(scope, scope_id), View.RECORD, woken)
        for scope, scope_id in {
            ScopeKind.RUN: "a",
            ScopeKind.TREE: "root",
            ScopeKind.SESSION: "s",
            ScopeKind.WORKFLOW: "w",
            ScopeKind.ALL: "",
        }.items()
    }
    tailer.append(store.commit(other, STARTED))
    tailer.append(store.commit(mine, STARTED, COMPLETED))
    assert positions(lines.pop(ScopeKind.ALL)) == [1, 2, 3]
    assert [positions(line) for line in lines.values()] == [[2, 3]] * 4
    assert woken.count == 2, "once a commit, however many lines and records"


def test_another_namespace_is_another_ledger() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    tailer.append(store.commit(RunLedger("a", namespace="other"), STARTED))
    assert positions(line) == []
    assert woken.count == 0


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"kinds": [RecordKind.RUN_STARTED]}, [1]),
        ({"statuses": [COMPLETED.status]}, [2]),
        ({"node_ids": ["first", "nowhere"]}, [1]),
        ({"node_ids": ["first"], "statuses": [COMPLETED.status]}, []),
    ],
)
def test_a_line_shows_what_its_filter_keeps(conditions: dict[str, Any], expected: list[int]) -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    line = tailer.attach(select(**conditions), View.RECORD, woken)
    tailer.append(store.commit(RunLedger("a"), STARTED, COMPLETED))
    assert positions(line) == expected
    assert woken.count == bool(expected)


def test_what_nobody_watches_is_not_kept() -> None:
    store, tailer = HeldStore(), Tailer()
    tailer.append(store.commit(RunLedger("a"), STARTED))
    assert (tailer.ring_records, tailer.ring_bytes, tailer.position) == (0, 0, 1)


def test_equal_subscriptions_share_a_line_until_the_last_leaves() -> None:
    store, tailer, one, two = HeldStore(), Tailer(), Woken(), Woken()
    first = tailer.attach(select(kinds=[1, 2]), View.RECORD, one)
    assert tailer.attach(select(kinds=[2, 1]), View.RECORD, two) is first
    assert tailer.attach(select(kinds=[2, 1]), View.RECORD_BYTES, two) is not first
    tailer.append(store.commit(RunLedger("a"), STARTED))
    assert (one.count, two.count) == (1, 1)
    tailer.detach(first, one)
    tailer.append(store.commit(RunLedger("b"), STARTED))
    assert (one.count, two.count) == (1, 2)
    assert tailer.watched_namespaces() == ["default"]


def test_the_ring_is_empty_when_nobody_watches_any_more() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    tailer.append(store.commit(RunLedger("a"), STARTED))
    assert tailer.ring_records == 1
    assert tailer.ring_bytes > 0
    tailer.detach(line, woken)
    tailer.detach(line, woken)
    assert (tailer.ring_records, tailer.ring_bytes, tailer.watched_namespaces()) == (0, 0, [])


@pytest.mark.promise("P10")
@pytest.mark.parametrize("bounds", [RingBounds(records=3, frame_bytes=BIG), RingBounds(BIG, 1_000)])
def test_the_ring_stays_within_its_bounds(bounds: RingBounds) -> None:
    store, tailer, woken = HeldStore(), Tailer(0, bounds), Woken()
    everything = tailer.attach(ALL, View.RECORD, woken)
    started = tailer.attach(select(kinds=[RecordKind.RUN_STARTED]), View.RECORD, woken)
    for number in range(50):
        tailer.append(store.commit(RunLedger(f"r{number}"), STARTED, COMPLETED))
        assert tailer.ring_records <= bounds.records
        assert tailer.ring_bytes <= bounds.frame_bytes
        held = positions(everything)
        assert held == list(range(tailer.position - len(held) + 1, tailer.position + 1))
        assert everything.floor == tailer.position - len(held)
        assert positions(started) == [position for position in held if position % 2]
        assert started.floor <= everything.floor


def test_a_record_larger_than_the_ring_leaves_a_floor() -> None:
    store, tailer, woken = HeldStore(), Tailer(0, RingBounds(10, 1)), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    tailer.append(store.commit(RunLedger("a"), STARTED))
    assert (positions(line), line.floor, tailer.ring_bytes) == ([], 1, 0)
    assert woken.count == 1


def test_what_comes_twice_is_ignored() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    records = store.commit(RunLedger("a"), STARTED, COMPLETED)
    tailer.append(records, horizon=9)
    tailer.append(records)
    assert (positions(line), tailer.position, tailer.ring_records) == ([1, 2], 9, 2)


def test_an_announcement_that_does_not_follow_is_left_to_the_store() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    gaps: list[int] = []
    tailer.on_gap = lambda: gaps.append(tailer.position)
    ledger = RunLedger("a")
    lost = store.commit(ledger, STARTED)
    tailer.announce(lost)
    assert (tailer.position, gaps) == (1, []), "nobody watches: nothing can be missed"
    line = tailer.attach(ALL, View.RECORD, woken)
    lost = store.commit(ledger, COMPLETED)
    later = store.commit(ledger, COMPLETED)
    tailer.announce(later)
    assert (positions(line), tailer.position, gaps) == ([], 1, [1])
    tailer.append([*lost, *later])
    tailer.announce(later)
    tailer.announce(store.commit(ledger, COMPLETED))
    assert (positions(line), tailer.position, gaps) == ([2, 3, 4], 4, [1])


def test_an_append_that_fails_leaves_no_half_of_it() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    good, bad = store.commit(RunLedger("a"), STARTED, COMPLETED)
    broken: Any = None
    with pytest.raises(TypeError):
        tailer.append([good, replace(bad, prev_hash=broken)])
    assert (positions(line), line.floor, tailer.position, woken.count) == ([], 2, 2, 1)


def test_a_line_knows_nothing_from_before_it() -> None:
    store, tailer, woken = HeldStore(), Tailer(7), Woken()
    assert tailer.attach(ALL, View.RECORD, woken).floor == 7
    store.position = 7
    tailer.append(store.commit(RunLedger("a"), STARTED))
    assert tailer.attach(select(ScopeKind.RUN, "a"), View.RECORD, woken).floor == 8


def test_skipping_raises_every_floor_and_wakes() -> None:
    store, tailer, woken = HeldStore(), Tailer(), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    tailer.append(store.commit(RunLedger("a"), STARTED))
    tailer.skip_to(40)
    assert (positions(line), line.floor, tailer.position, tailer.ring_bytes) == ([], 40, 40, 0)
    assert woken.count == 2


def test_the_epoch_changes_with_the_watched_namespaces_only() -> None:
    tailer, woken = Tailer(), Woken()
    line = tailer.attach(ALL, View.RECORD, woken)
    epoch = tailer.epoch
    second = tailer.attach(select(ScopeKind.RUN, "a"), View.RECORD, woken)
    tailer.detach(second, woken)
    assert tailer.epoch == epoch
    tailer.attach(Selection.of("other", ScopeKind.ALL), View.RECORD, woken)
    assert tailer.epoch > epoch
    epoch = tailer.epoch
    tailer.detach(line, woken)
    assert tailer.epoch > epoch
