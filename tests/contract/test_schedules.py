"""Schedules: rows guarded by their version, alone and together with the run that they start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.storage.port import Commit, DueSchedules, ScheduleRow, ScheduleWrite, Store, VerdictKind
from tests.contract.bindings import NOW
from tests.contract.builders import DEFAULT, committed, key, kinds, request, start

CHANGED = VerdictKind.SCHEDULE_CHANGED


def row(schedule_id: str = "s", version: int = 1, next_at: int = NOW) -> ScheduleRow:
    """A schedule."""
    return ScheduleRow(schedule_id, version, next_at, NOW, f"detail {version}".encode())


def put(found: ScheduleRow, expected: int = 0, namespace: str = DEFAULT) -> Commit:
    """Puts a schedule."""
    return Commit(namespace, schedule=ScheduleWrite(found.schedule_id, expected, found))


def test_a_schedule_is_put_changed_and_deleted_under_its_version(store: Store) -> None:
    assert store.find_schedule(DEFAULT, "s") is None
    committed(store, put(row()))
    assert kinds(store.commit([put(row(version=5))])) == [CHANGED]
    committed(store, put(row(version=5), 1))
    assert kinds(store.commit([put(row(version=6), 1)])) == [CHANGED]
    assert store.find_schedule(DEFAULT, "s") == row(version=5)
    gone = ScheduleWrite("s", 5, None)
    assert kinds(store.commit([Commit(DEFAULT, schedule=replace(gone, expected_version=1))])) == [CHANGED]
    committed(store, Commit(DEFAULT, schedule=gone))
    assert store.find_schedule(DEFAULT, "s") is None


@pytest.mark.promise("P1")
@pytest.mark.promise("P5")
def test_a_run_starts_with_the_change_of_its_schedule_or_not_at_all(store: Store) -> None:
    committed(store, put(row()))
    firing = replace(start("r1"), schedule=ScheduleWrite("s", 1, row(version=2)), request=request("q"))
    other = replace(start("r2"), schedule=ScheduleWrite("s", 1, row(version=2)))
    assert kinds(store.commit([firing, other])) == [VerdictKind.COMMITTED, CHANGED]
    assert store.load_run(key("r2")) is None
    assert kinds(store.commit([other])) == [CHANGED]
    taken = replace(start("r1"), schedule=ScheduleWrite("s", 2, row(version=3)))
    assert kinds(store.commit([taken])) == [VerdictKind.RUN_EXISTS]
    assert store.find_schedule(DEFAULT, "s") == row(version=2), "a refused start leaves the schedule as it was"
    assert kinds(store.commit([firing])) == [VerdictKind.REQUEST_KNOWN]


def test_changes_of_one_schedule_in_a_batch_follow_each_other(store: Store) -> None:
    batch = [put(row()), put(row(version=2), 1), put(row(version=3), 1), put(row("t"))]
    assert kinds(store.commit(batch)) == [VerdictKind.COMMITTED, VerdictKind.COMMITTED, CHANGED, VerdictKind.COMMITTED]
    assert store.find_schedule(DEFAULT, "s") == row(version=2)


def test_schedules_are_listed_by_id_page_by_page_in_their_namespace(store: Store) -> None:
    committed(store, *(put(row(name)) for name in ("b", "a", "c")), put(row("x"), namespace="n"))
    assert [each.schedule_id for each in store.list_schedules(DEFAULT, "", 2)] == ["a", "b"]
    assert [each.schedule_id for each in store.list_schedules(DEFAULT, "b", 2)] == ["c"]
    assert store.list_schedules("n", "", 9) == [row("x")]


def test_due_schedules_come_by_their_instant_with_the_next_one_named(store: Store) -> None:
    assert store.due_schedules(NOW, 10) == DueSchedules()
    committed(
        store,
        put(row("late", next_at=NOW + 9)),
        put(row("b", next_at=NOW)),
        put(row("a", next_at=NOW)),
        put(row("never", next_at=0)),
        put(row("first", next_at=NOW - 1), namespace="n"),
    )
    due = store.due_schedules(NOW, 10)
    assert [(namespace, each.schedule_id) for namespace, each in due.rows] == [
        ("n", "first"),
        (DEFAULT, "a"),
        (DEFAULT, "b"),
    ]
    assert due.next_at == NOW + 9
    cut = store.due_schedules(NOW, 1)
    assert ([each.schedule_id for _, each in cut.rows], cut.next_at) == (["first"], NOW)
    assert store.due_schedules(NOW + 9, 10).next_at == 0


@pytest.mark.parametrize("bad", [row(version=0), row(next_at=-1), row("")])
def test_a_row_that_cannot_be_is_refused(store: Store, bad: ScheduleRow) -> None:
    assert kinds(store.commit([put(bad)])) == [VerdictKind.FAILED]
    assert store.list_schedules(DEFAULT, "", 9) == []
