"""Concurrency keys: who holds a slot, who is in line, and what a commit may not give."""

from __future__ import annotations

import pytest

from perdure_server.storage.port import (
    ObligationChange,
    ObligationRows,
    RunQuery,
    SlotKind,
    SlotLine,
    SlotRow,
    Store,
    VerdictKind,
)
from tests.contract.builders import DEFAULT, committed, ended_head, key, kinds, request, start, step

LINE, ASIDE, HELD = SlotKind.IN_LINE, SlotKind.ASIDE, SlotKind.HELD
GONE = ObligationChange(slot_set=True)


def place(kind: SlotKind, slot_key: str = "k", *, limit: int = 1, newest_wins: bool = False) -> ObligationChange:
    """Gives a run a place with a key."""
    return ObligationChange(slot_set=True, slot=SlotRow(slot_key, limit, kind, newest_wins))


def line(store: Store, slot_key: str = "k", namespace: str = DEFAULT) -> tuple[list[str], list[str]]:
    """Who holds a slot, and who is in line."""
    found = store.slot_line(namespace, slot_key, 100)
    return [place.run_id for place in found.holders], [place.run_id for place in found.line]


@pytest.mark.promise("P7")
def test_a_place_is_one_of_the_rows_that_a_run_has(store: Store) -> None:
    committed(store, start("a", change=place(HELD)))
    assert store.read_obligations(key("a")) == ObligationRows(None, None, (), SlotRow("k", 1, HELD, False))
    (summary,) = store.list_runs(RunQuery(DEFAULT), None, 10)
    assert summary.slot == SlotRow("k", 1, HELD, False)
    committed(store, step("a", 1, run_head=ended_head(2), change=GONE))
    assert store.read_obligations(key("a")) == ObligationRows(None, None, ())
    assert store.slot_line(DEFAULT, "k", 10) == SlotLine()


def test_a_slot_is_given_only_while_fewer_than_the_limit_hold_one(store: Store) -> None:
    starts = [start(run_id, change=place(HELD, limit=2)) for run_id in ("a", "b", "c")]
    assert kinds(store.commit(starts)) == [VerdictKind.COMMITTED, VerdictKind.COMMITTED, VerdictKind.NO_SLOT]
    assert kinds(store.commit(starts[2:])) == [VerdictKind.NO_SLOT]
    assert store.load_run(key("c")) is None
    committed(store, step("a", 1, run_head=ended_head(2), change=GONE), start("other", change=place(HELD, "o")))
    committed(store, start("c", change=place(HELD, limit=2)))
    assert line(store) == (["b", "c"], [])


def test_a_refused_slot_keeps_nothing_and_comes_after_the_other_verdicts(store: Store) -> None:
    committed(store, start("a", change=place(HELD)))
    refused = start("b", change=place(HELD))
    refused = type(refused)(refused.namespace, new_runs=refused.new_runs, request=request("q"))
    assert kinds(store.commit([refused])) == [VerdictKind.NO_SLOT]
    assert store.find_request(DEFAULT, "StartRun", "q") is None
    assert kinds(store.commit([start("a", change=place(HELD))])) == [VerdictKind.RUN_EXISTS]
    assert kinds(store.commit([step("a", 7, change=place(HELD))])) == [VerdictKind.CONFLICT]


def test_nobody_passes_those_in_line_but_those_aside_are_passed(store: Store) -> None:
    committed(store, start("a", change=place(HELD)))
    committed(store, start("b", change=place(LINE)), start("c", change=place(LINE)))
    committed(store, step("a", 1, run_head=ended_head(2), change=GONE))
    assert kinds(store.commit([start("d", change=place(HELD))])) == [VerdictKind.NO_SLOT]
    assert kinds(store.commit([step("c", 1, change=place(HELD))])) == [VerdictKind.NO_SLOT]
    committed(store, step("b", 1, change=place(ASIDE)))
    committed(store, step("c", 1, change=place(HELD)))
    assert line(store) == (["c"], [])
    assert store.slot_line(DEFAULT, "k", 10).waiting == 1
    committed(store, start("e", change=place(LINE)), step("b", 2, change=place(LINE)))
    assert line(store) == (["c"], ["b", "e"]), "the rank of the first day is kept"


def test_a_holder_that_says_so_again_is_not_counted_twice(store: Store) -> None:
    committed(store, start("a", change=place(HELD)))
    committed(store, step("a", 1, change=place(HELD)))
    assert line(store) == (["a"], [])


def test_keys_of_namespaces_are_apart(store: Store) -> None:
    committed(store, start("a", change=place(HELD)), start("a", namespace="n", change=place(HELD)))
    assert line(store, namespace="n") == (["a"], [])


@pytest.mark.promise("P6")
def test_due_lines_are_those_that_may_move(store: Store) -> None:
    assert store.due_slots(10) == []
    committed(store, start("a", change=place(HELD)))
    committed(store, start("b", change=place(LINE)), start("n", change=place(LINE, "free")))
    assert store.due_slots(10) == [(DEFAULT, "free")]
    committed(store, step("a", 1, run_head=ended_head(2), change=GONE))
    assert store.due_slots(10) == [(DEFAULT, "free"), (DEFAULT, "k")]
    assert store.due_slots(1) == [(DEFAULT, "free")]
    committed(store, step("b", 1, change=place(HELD)))
    committed(store, start("c", change=place(LINE)), start("d", change=place(LINE, newest_wins=True)))
    assert store.due_slots(10) == [(DEFAULT, "free"), (DEFAULT, "k")], "d makes others give way"
    committed(store, step("d", 1, change=place(ASIDE, newest_wins=True)), step("n", 1, change=place(HELD, "free")))
    assert store.due_slots(10) == []


def test_a_repair_sets_the_place_and_keeps_its_rank(store: Store) -> None:
    committed(store, start("a", change=place(LINE)))
    committed(store, start("b", change=place(LINE)))
    assert store.install(key("a"), 1, ObligationRows(None, None, (), SlotRow("k", 1, LINE, False)), None)
    assert line(store) == ([], ["a", "b"])
    assert store.install(key("a"), 1, ObligationRows(None, None, ()), None)
    assert line(store) == ([], ["b"])


@pytest.mark.parametrize("row", [SlotRow("", 1, HELD, False), SlotRow("k", 0, LINE, False)])
def test_a_place_without_a_key_or_a_limit_is_refused(store: Store, row: SlotRow) -> None:
    change = ObligationChange(slot_set=True, slot=row)
    verdicts = store.commit([start("a", change=change)])
    assert kinds(verdicts)[0] in (VerdictKind.FAILED, VerdictKind.NO_SLOT)
    assert store.load_run(key("a")) is None


def test_a_run_that_takes_a_slot_and_ends_in_the_same_commit_needs_one_too(store: Store) -> None:
    asked = ObligationChange(slot_asked=SlotRow("k", 1, HELD, False))
    ends = start("b", run_head=ended_head(1), change=asked)
    committed(store, start("a", change=place(HELD)), start("c", change=place(LINE)))
    assert kinds(store.commit([ends])) == [VerdictKind.NO_SLOT]
    committed(store, step("a", 1, run_head=ended_head(2), change=GONE))
    assert kinds(store.commit([ends])) == [VerdictKind.NO_SLOT], "c is before it in line"
    gone = ObligationChange(slot_set=True, slot_asked=SlotRow("k", 1, HELD, False))
    committed(store, step("c", 1, run_head=ended_head(2), change=gone))
    committed(store, ends)
    assert line(store) == ([], [])
