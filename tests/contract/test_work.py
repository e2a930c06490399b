"""What loops take up: timers, turns, mail, leases, ready tasks; and the repairs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdure_server.storage.port import (
    DueLease,
    DueTimer,
    DueWork,
    LeaseRenewal,
    MailRow,
    ObligationChange,
    ObligationRows,
    RunKey,
    Store,
    StoreError,
    TaskQuery,
    TaskRow,
    TimerRow,
    WaitQuery,
)
from tests.contract.bindings import NOW
from tests.contract.builders import (
    DEFAULT,
    committed,
    ended_head,
    head,
    key,
    kinds,
    leased_task,
    put_task,
    put_timers,
    put_turn,
    start,
    step,
    task,
    wait,
    waiting_head,
)

LATE = NOW + 1_000_000


def rows(store: Store, run_id: str) -> ObligationRows:
    """The rows of a run that exists."""
    found = store.read_obligations(key(run_id))
    assert found is not None
    return found


def test_nothing_is_due_in_an_empty_store(store: Store) -> None:
    assert store.due_work(LATE, LATE, 10) == DueWork()


@pytest.mark.promise("P7")
def test_a_change_sets_what_it_sets_and_leaves_the_rest(store: Store) -> None:
    whole = replace(put_task(task(1)), turn_set=True, turn=True, timers_put=(TimerRow(1, NOW), TimerRow(4, NOW + 4)))
    committed(store, start("r1", change=whole))
    assert rows(store, "r1") == ObligationRows(task(1), True, (TimerRow(1, NOW), TimerRow(4, NOW + 4)))
    committed(store, step("r1", 1))
    assert rows(store, "r1") == ObligationRows(task(1), True, (TimerRow(1, NOW), TimerRow(4, NOW + 4)))
    committed(store, step("r1", 2, change=put_turn(False)))
    assert rows(store, "r1").turn is False
    committed(store, step("r1", 3, change=put_task(leased_task(3))))
    assert rows(store, "r1") == ObligationRows(leased_task(3), False, (TimerRow(1, NOW), TimerRow(4, NOW + 4)))
    change = ObligationChange(timers_put=(TimerRow(4, NOW + 5), TimerRow(2, NOW)), timers_dropped=(1, 7))
    committed(store, step("r1", 4, change=change))
    assert rows(store, "r1").timers == (TimerRow(2, NOW), TimerRow(4, NOW + 5))
    gone = ObligationChange(task_set=True, turn_set=True, timers_dropped=(2, 4))
    committed(store, step("r1", 5, run_head=ended_head(6), change=gone))
    assert rows(store, "r1") == ObligationRows(None, None, ())


def test_a_timer_dropped_and_put_by_one_commit_is_put(store: Store) -> None:
    committed(store, start("r1", change=put_timers((1, NOW))))
    change = ObligationChange(timers_put=(TimerRow(1, NOW + 1),), timers_dropped=(1,))
    committed(store, step("r1", 1, change=change))
    assert rows(store, "r1").timers == (TimerRow(1, NOW + 1),)


def test_due_timers_come_by_instant_with_the_next_one_named(store: Store) -> None:
    committed(
        store,
        start("b", change=put_timers((1, NOW + 2), (3, NOW + 1))),
        start("a", change=put_timers((2, NOW + 2))),
        start("a", namespace="another", change=put_timers((5, NOW + 2))),
        start("c", change=put_timers((4, NOW + 3))),
    )
    due = [
        DueTimer(key("b"), 3, NOW + 1),
        DueTimer(key("a", "another"), 5, NOW + 2),
        DueTimer(key("a"), 2, NOW + 2),
        DueTimer(key("b"), 1, NOW + 2),
        DueTimer(key("c"), 4, NOW + 3),
    ]
    for now, expected, upcoming in (
        (NOW, [], NOW + 1),
        (NOW + 1, due[:1], NOW + 2),
        (NOW + 2, due[:4], NOW + 3),
        (NOW + 3, due, 0),
    ):
        work = store.due_work(now, NOW, 10)
        assert (list(work.timers), work.next_timer_at) == (expected, upcoming)
    for limit in range(6):
        work = store.due_work(LATE, NOW, limit)
        assert list(work.timers) == due[:limit]
        assert work.next_timer_at == (due[limit].due_at if limit < 5 else 0)


def test_turns_wait_in_line_and_held_ones_do_not(store: Store) -> None:
    committed(store, start("c", change=put_turn(False)))
    committed(store, start("b", change=put_turn(True)), start("a", change=put_turn(False)))
    assert store.due_work(NOW, NOW, 10).turns == (key("c"), key("a"))
    committed(store, step("c", 1, change=put_turn(False)), step("b", 1, change=put_turn(False)))
    assert store.due_work(NOW, NOW, 10).turns == (key("a"), key("c"), key("b"))
    assert store.due_work(NOW, NOW, 2).turns == (key("a"), key("c"))
    committed(store, step("a", 1, change=put_turn(True)), step("c", 2, change=put_turn(None)))
    assert store.due_work(NOW, NOW, 10).turns == (key("b"),)


def mail(store: Store, limit: int = 10) -> list[tuple[str, str, str]]:
    """Waiting mail: (to, kind, from)."""
    return [(due.key.run_id, due.kind, due.from_run_id) for due in store.due_work(NOW, NOW, limit).mail]


@pytest.mark.promise("P6")
def test_mail_waits_in_line_until_it_is_consumed(store: Store) -> None:
    committed(store, start("parent"), start("child"), start("other"))
    committed(store, step("child", 1, mail=(MailRow("parent", "child_ended", "child"),)))
    committed(
        store, step("parent", 1, mail=(MailRow("other", "cancel", "parent"), MailRow("child", "cancel", "parent")))
    )
    line = [("parent", "child_ended", "child"), ("child", "cancel", "parent"), ("other", "cancel", "parent")]
    assert mail(store) == line
    assert mail(store, 1) == line[:1]
    committed(store, step("parent", 2, mail_consumed=(("child_ended", "child"), ("cancel", "nobody"))))
    assert mail(store) == line[1:]


def test_mail_is_unique_and_a_repeat_keeps_its_place(store: Store) -> None:
    committed(store, start("a"), start("b"), start("c"))
    committed(store, step("b", 1, mail=(MailRow("a", "child_ended", "b"),)))
    committed(store, step("c", 1, mail=(MailRow("a", "child_ended", "c"),)))
    committed(store, step("b", 2, mail=(MailRow("a", "child_ended", "b"), MailRow("a", "child_ended", "b"))))
    assert mail(store) == [("a", "child_ended", "b"), ("a", "child_ended", "c")]
    committed(store, step("a", 1, mail_consumed=(("child_ended", "b"),)))
    committed(store, step("b", 3, mail=(MailRow("a", "child_ended", "b"),)))
    assert mail(store) == [("a", "child_ended", "c"), ("a", "child_ended", "b")]


def test_mail_sent_and_consumed_within_one_batch(store: Store) -> None:
    committed(store, start("a"), start("b"))
    sent, taken = (MailRow("a", "cancel", "b"),), (("cancel", "b"),)
    committed(store, step("b", 1, mail=sent), step("a", 1, mail_consumed=taken))
    assert mail(store) == []
    committed(store, step("b", 2, mail=sent))
    committed(store, step("a", 2, mail_consumed=taken), step("b", 3, mail=sent))
    assert mail(store) == [("a", "cancel", "b")]


def test_mail_to_a_run_of_the_same_name_elsewhere_stays(store: Store) -> None:
    committed(store, start("a"), start("a", namespace="other"))
    committed(store, step("a", 1, namespace="other", mail=(MailRow("a", "cancel", "x"),)))
    committed(store, step("a", 1, mail_consumed=(("cancel", "x"),)))
    assert [due.key for due in store.due_work(NOW, NOW, 10).mail] == [key("a", "other")]


def test_mail_may_wait_for_a_run_that_does_not_exist_yet(store: Store) -> None:
    committed(store, start("a"))
    committed(store, step("a", 1, mail=(MailRow("later", "cancel", "a"),)))
    assert mail(store) == [("later", "cancel", "a")]
    committed(store, start("later"))
    committed(store, step("later", 1, mail_consumed=(("cancel", "a"),)))
    assert mail(store) == []


def leased(store: Store, **leases: TaskRow) -> None:
    """Starts runs that have these tasks."""
    committed(store, *(start(run_id, change=put_task(row)) for run_id, row in leases.items()))


def test_leases_come_by_the_instant_they_end_a_missed_heartbeat_included(store: Store) -> None:
    leased(
        store,
        late=leased_task(1, NOW + 9),
        silent=leased_task(2, NOW + 9, heartbeat_due_at=NOW + 3, attempt=4),
        tied=leased_task(3, NOW + 5, heartbeat_due_at=NOW + 5),
        lapsed=leased_task(4, NOW + 1, heartbeat_due_at=NOW + 2),
        ready=task(5),
        held=task(6, held=True),
    )
    ends = [
        DueLease(key("lapsed"), 4, 1, NOW + 1, False),
        DueLease(key("silent"), 2, 4, NOW + 3, True),
        DueLease(key("tied"), 3, 1, NOW + 5, False),
        DueLease(key("late"), 1, 1, NOW + 9, False),
    ]
    for now, count in ((NOW, 0), (NOW + 1, 1), (NOW + 4, 2), (NOW + 5, 3), (NOW + 9, 4)):
        work = store.due_work(LATE, now, 10)
        assert list(work.leases) == ends[:count]
        assert work.next_lease_at == (ends[count].due_at if count < 4 else 0)
    for limit in range(5):
        work = store.due_work(LATE, LATE, limit)
        assert list(work.leases) == ends[:limit]
        assert work.next_lease_at == (ends[limit].due_at if limit < 4 else 0)


def test_timers_and_leases_have_clocks_of_their_own(store: Store) -> None:
    leased(store, r1=leased_task(1, NOW + 5))
    committed(store, start("r2", change=put_timers((1, NOW + 5))))
    assert store.due_work(NOW + 5, NOW, 10).leases == ()
    assert store.due_work(NOW, NOW + 5, 10).timers == ()


@pytest.mark.promise("P5")
def test_only_the_attempt_that_holds_a_lease_renews_it(store: Store) -> None:
    leased(store, r1=leased_task(3, NOW + 5, attempt=2, heartbeat_due_at=NOW + 1), r2=task(1), r3=leased_task(1))

    def renewal(run_id: str, step_id: int, attempt: int, heartbeat: int | None = None) -> LeaseRenewal:
        return LeaseRenewal(key(run_id), step_id, attempt, NOW + 50, heartbeat)

    before = [rows(store, run_id) for run_id in ("r1", "r2", "r3")]
    stale = [renewal("r1", 3, 1), renewal("r1", 2, 2), renewal("r2", 1, 0), renewal("nobody", 1, 1)]
    stale.append(replace(renewal("r1", 3, 2), key=RunKey("other", "r1")))
    assert store.renew_leases(stale) == [False] * 5
    assert [rows(store, run_id) for run_id in ("r1", "r2", "r3")] == before
    assert store.renew_leases([renewal("r3", 1, 1), renewal("r1", 3, 3), renewal("r1", 3, 2)]) == [True, False, True]
    row = leased_task(3, NOW + 50, attempt=2, heartbeat_due_at=NOW + 1)
    assert rows(store, "r1").task == row
    assert store.renew_leases([renewal("r1", 3, 2, NOW + 9)]) == [True]
    assert rows(store, "r1").task == replace(row, heartbeat_due_at=NOW + 9)
    assert store.renew_leases([renewal("r1", 3, 2, 0)]) == [True]
    assert rows(store, "r1").task == replace(row, heartbeat_due_at=0)
    committed(store, step("r1", 1, change=put_task(leased_task(3, NOW + 60, attempt=3))))
    assert store.renew_leases([renewal("r1", 3, 2)]) == [False]
    assert store.renew_leases([]) == []


def test_resetting_gives_every_lease_the_same_end(store: Store) -> None:
    leased(store, a=leased_task(1, 5), b=leased_task(1, 6, heartbeat_due_at=4), c=task(1), d=task(1, held=True))
    assert store.reset_leases(NOW) == 2
    assert rows(store, "a").task == leased_task(1, NOW)
    assert rows(store, "b").task == leased_task(1, NOW, heartbeat_due_at=NOW)
    assert [rows(store, run_id).task for run_id in ("c", "d")] == [task(1), task(1, held=True)]
    assert store.due_work(LATE, NOW - 1, 10).leases == ()
    assert len(store.due_work(LATE, NOW, 10).leases) == 2


def ready(store: Store, **query: Any) -> list[str]:
    """Ids of ready tasks of queue "default" that an all-round worker could take."""
    asked = TaskQuery(DEFAULT, ("default",), ("*",), ("order",), 100)
    return [found.key.run_id for found in store.ready_tasks(replace(asked, **query))]


def test_ready_tasks_come_by_priority_then_age_then_id(store: Store) -> None:
    leased(
        store,
        young=task(1, queued_at=NOW + 9),
        tied_b=task(1),
        urgent=task(1, priority=5, queued_at=NOW + 10),
        idle=task(1, priority=-5, queued_at=NOW - 10),
        tied_a=task(1),
        other=task(1, queue="other", priority=1),
        held=task(1, held=True, priority=9),
        taken=leased_task(1, priority=9),
    )
    committed(store, start("urgent", namespace="other", change=put_task(task(1, priority=9))))
    line = ["urgent", "tied_a", "tied_b", "young", "idle"]
    assert ready(store) == line
    assert ready(store, queues=("other", "default", "default")) == ["urgent", "other", *line[1:]]
    assert ready(store, limit=2) == line[:2]
    assert ready(store, limit=0) == []
    assert ready(store, queues=()) == []
    assert ready(store, queues=("Default",)) == []
    assert ready(store, namespace="nowhere") == []
    assert ready(store, namespace="other") == ["urgent"]


def test_ready_tasks_are_those_that_the_worker_serves(store: Store) -> None:
    leased(
        store,
        llm=task(1, effect_type="llm_call"),
        tool=task(1, effect_type="tool_calls"),
        node=task(1, effect_type="", workflow_id="order"),
        foreign=task(1, effect_type="", workflow_id="billing"),
        of_billing=task(1, effect_type="llm_call", workflow_id="billing"),
    )
    assert ready(store, effect_types=(), workflow_ids=()) == []
    assert ready(store, effect_types=("llm_call",), workflow_ids=()) == ["llm", "of_billing"]
    assert ready(store, effect_types=("*",), workflow_ids=()) == ["llm", "of_billing", "tool"]
    assert ready(store, effect_types=(), workflow_ids=("order",)) == ["node"]
    assert ready(store, effect_types=("tool_calls", "x"), workflow_ids=("order", "billing")) == [
        "foreign",
        "node",
        "tool",
    ]
    assert ready(store, effect_types=("llm",), workflow_ids=("orde",)) == []


def test_a_worker_gets_its_tasks_however_many_of_others_wait_before_them(store: Store) -> None:
    committed(store, *(start(f"r{n}", change=put_task(task(1, effect_type="slow", priority=9))) for n in range(60)))
    leased(store, mine=task(1, effect_type="fast"))
    assert ready(store, effect_types=("fast",), limit=1) == ["mine"]


def test_a_ready_task_comes_back_as_it_was_given(store: Store) -> None:
    given = task(7, attempt=3, node_id="ø", workflow_version="v2", queue="q:1", priority=-3, queued_at=NOW + 1)
    committed(store, start("r1", change=put_task(given)))
    (found,) = store.ready_tasks(TaskQuery(DEFAULT, ("q:1",), ("llm_call",), (), 1))
    assert (found.key, found.task) == (key("r1"), given)


@pytest.mark.promise("P7")
def test_install_makes_the_rows_exactly_these(store: Store) -> None:
    committed(store, start("r1", change=replace(put_task(task(1)), timers_put=(TimerRow(1, NOW), TimerRow(2, NOW)))))
    wanted = ObligationRows(None, False, (TimerRow(2, NOW + 5), TimerRow(3, NOW)))
    assert store.install(key("r1"), 1, wanted, None)
    assert rows(store, "r1") == wanted
    assert store.due_work(NOW, NOW, 10).turns == (key("r1"),)
    assert store.install(key("r1"), 1, ObligationRows(leased_task(1), None, ()), None)
    assert rows(store, "r1") == ObligationRows(leased_task(1), None, ())


def test_install_repairs_a_wait(store: Store) -> None:
    committed(store, start("r1", run_head=waiting_head(1, wait(1))))
    better = wait(1, wait_key="repaired", assignee="bob")
    assert store.install(key("r1"), 1, ObligationRows(None, None, ()), better)
    (found,) = store.list_waits(WaitQuery(DEFAULT, assignee="bob"), None, 10)
    assert found.head == waiting_head(1, better)
    assert store.list_waits(WaitQuery(DEFAULT, assignee="ann"), None, 10) == []


def test_install_leaves_a_run_alone_that_has_moved_on(store: Store) -> None:
    committed(store, start("r1", last=2))
    nothing = ObligationRows(None, None, ())
    assert not store.install(key("r1"), 1, ObligationRows(task(1), None, ()), None)
    assert not store.install(key("nobody"), 1, nothing, None)
    assert rows(store, "r1") == nothing


def test_install_refuses_rows_that_no_run_may_have(store: Store) -> None:
    committed(store, start("r1"))
    with pytest.raises(StoreError):
        store.install(key("r1"), 1, ObligationRows(None, None, ()), wait(1))
    with pytest.raises(StoreError):
        store.install(key("r1"), 1, ObligationRows(leased_task(1, held=True), None, ()), None)
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.head == head(1)
    assert rows(store, "r1") == ObligationRows(None, None, ())
    assert kinds(store.commit([step("r1", 1)]))[0].value == "committed"
