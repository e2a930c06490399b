"""One Commit is all or nothing, and no other one's business."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.storage.port import (
    Commit,
    MailRow,
    RecordQuery,
    RunQuery,
    Store,
    StoreError,
    VerdictKind,
)
from tests.contract.bindings import NOW, Binding, genesis
from tests.contract.builders import (
    DEFAULT,
    committed,
    create,
    digest,
    ended_head,
    event,
    head,
    identity,
    key,
    kinds,
    leased_task,
    payload,
    put_task,
    put_timers,
    put_turn,
    record,
    records,
    request,
    start,
    step,
    task,
    wait,
    waiting_head,
)

COMMITTED, CONFLICT, RUN_EXISTS, REQUEST_KNOWN, FAILED = (
    VerdictKind.COMMITTED,
    VerdictKind.CONFLICT,
    VerdictKind.RUN_EXISTS,
    VerdictKind.REQUEST_KNOWN,
    VerdictKind.FAILED,
)


def everything(store: Store) -> object:
    """All that a store shows of namespace "default", to see that something changed nothing."""
    runs = store.list_runs(RunQuery(DEFAULT), None, 1_000)
    keys = [key(run.identity.run_id) for run in runs]
    return (
        runs,
        [store.load_run(one) for one in keys],
        [store.read_obligations(one) for one in keys],
        store.read_records(RecordQuery(DEFAULT, limit=10_000)),
        store.read_events(DEFAULT, 1, "s1", "", 0, 0, 1_000),
        store.due_work(2 * NOW, 2 * NOW, 1_000),
    )


@pytest.mark.promise("P1")
def test_a_commit_keeps_everything_it_carries(store: Store) -> None:
    committed(store, start("r1"))
    child = create("r2", parent_run_id="r1", root_run_id="r1", session_id="r1", depth=1, change=put_turn(False))
    (verdict,) = committed(
        store,
        step(
            "r1",
            1,
            count=2,
            keyframe=b"state at 3",
            change=replace(put_task(task(3)), timers_put=put_timers((4, NOW + 9)).timers_put),
            new_runs=(child,),
            mail=(MailRow("r2", "cancel", "r1"),),
            events=(event("e1"),),
            request=request("q1"),
        ),
    )
    assert verdict.positions == (2, 3, 4)
    assert (verdict.event_positions, verdict.events_known) == ((5,), (False,))
    assert store.horizon() == 5
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert (snapshot.head, snapshot.keyframe_seq, snapshot.keyframe) == (head(3), 3, b"state at 3")
    obligations = store.read_obligations(key("r1"))
    assert obligations is not None
    assert obligations.task == task(3)
    assert [(timer.kind, timer.due_at) for timer in obligations.timers] == [(4, NOW + 9)]
    due = store.due_work(NOW, NOW, 10)
    assert due.turns == (key("r2"),)
    assert [(mail.key, mail.kind, mail.from_run_id) for mail in due.mail] == [(key("r2"), "cancel", "r1")]
    assert [kept.event for kept in store.read_events(DEFAULT, 1, "s1", "paid", 0, 0, 10)] == [event("e1")]
    assert store.find_request(DEFAULT, "StartRun", "q1") == request("q1")


def test_an_empty_batch_changes_nothing(store: Store) -> None:
    assert store.commit([]) == []
    assert store.horizon() == 0


@pytest.mark.promise("P5")
def test_only_one_of_two_commits_with_the_same_expected_seq_wins(store: Store) -> None:
    committed(store, start("r1"))
    first, second = step("r1", 1), step("r1", 1, count=2)
    assert kinds(store.commit([first])) == [COMMITTED]
    assert kinds(store.commit([second])) == [CONFLICT]
    assert kinds(store.commit([step("r1", 2), step("r1", 2, count=3)])) == [COMMITTED, CONFLICT]
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.head.seq == 3


@pytest.mark.parametrize("expected_seq", [0, 1, 3, 99])
def test_an_expected_seq_that_is_not_the_runs_is_a_conflict(store: Store, expected_seq: int) -> None:
    committed(store, start("r1", last=2))
    before = everything(store)
    assert kinds(store.commit([step("r1", expected_seq)])) == [CONFLICT]
    assert everything(store) == before


def test_a_commit_to_an_unknown_run_is_a_conflict(store: Store) -> None:
    assert kinds(store.commit([step("nobody", 0), step("nobody", 1)])) == [CONFLICT, CONFLICT]
    assert store.load_run(key("nobody")) is None


def test_a_conflict_keeps_nothing_of_its_commit_and_does_not_hurt_its_neighbours(store: Store) -> None:
    committed(store, start("r1"), start("r2"), start("r3"))
    stale = step(
        "r2",
        7,
        keyframe=b"never",
        change=put_task(task(1)),
        new_runs=(create("r4"),),
        mail=(MailRow("r1", "cancel", "r2"),),
        events=(event("e1"),),
        request=request("q1"),
    )
    verdicts = store.commit([step("r1", 1), stale, step("r3", 1)])
    assert kinds(verdicts) == [COMMITTED, CONFLICT, COMMITTED]
    assert [verdict.positions for verdict in verdicts] == [(4,), (), (5,)]
    assert store.load_run(key("r4")) is None
    assert store.find_request(DEFAULT, "StartRun", "q1") is None
    assert store.read_events(DEFAULT, 1, "s1", "", 0, 0, 10) == []
    assert store.due_work(2 * NOW, 2 * NOW, 10).mail == ()
    obligations, untouched = store.read_obligations(key("r2")), store.load_run(key("r2"))
    assert obligations is not None
    assert untouched is not None
    assert (obligations.task, untouched.keyframe, untouched.head.seq) == (None, None, 1)


def test_a_batch_may_go_on_where_an_earlier_commit_of_it_ended(store: Store) -> None:
    committed(store, start("r1", change=put_task(task(1))))
    committed(
        store,
        step("r1", 1, change=put_task(leased_task(1))),
        step("r1", 2, count=2, run_head=waiting_head(4, wait(4)), change=put_task(None)),
        step("r1", 4, keyframe=b"at 5", change=put_timers((1, NOW))),
        step("r1", 5, keyframe=b"at 6", change=put_turn(True)),
    )
    snapshot, obligations = store.load_run(key("r1")), store.read_obligations(key("r1"))
    assert snapshot is not None
    assert obligations is not None
    assert (snapshot.head, snapshot.keyframe, snapshot.keyframe_seq) == (head(6), b"at 6", 6)
    assert (obligations.task, obligations.turn, len(obligations.timers)) == (None, True, 1)
    ledger = store.read_records(RecordQuery(DEFAULT, run_id="r1"))
    assert [stored.seq for stored in ledger] == [1, 2, 3, 4, 5, 6]
    assert [stored.prev_hash for stored in ledger[1:]] == [stored.record_hash for stored in ledger[:-1]]
    committed(store, step("r1", 6))


def test_a_batch_may_go_on_with_a_run_that_it_created(store: Store) -> None:
    verdicts = store.commit(
        [
            start("r1", change=put_task(task(1))),
            step("r1", 1, run_head=waiting_head(2, wait(2)), change=put_task(None)),
            step("r1", 1),
            step("r1", 2, run_head=waiting_head(3, wait(2, wait_key="other"))),
        ]
    )
    assert kinds(verdicts) == [COMMITTED, COMMITTED, CONFLICT, COMMITTED]
    snapshot, obligations = store.load_run(key("r1")), store.read_obligations(key("r1"))
    assert snapshot is not None
    assert obligations is not None
    assert snapshot.head == waiting_head(3, wait(2, wait_key="other"))
    assert obligations.task is None


def test_a_bad_commit_fails_even_if_the_next_one_of_its_batch_would_hide_it(store: Store) -> None:
    committed(store, start("r1"), start("r2"))
    hidden = step("r1", 1, count=0, run_head=head(1, status=9), change=put_task(leased_task(1, held=True)))
    verdicts = store.commit([hidden, step("r2", 1), step("r1", 1, change=put_task(task(1)))])
    assert kinds(verdicts) == [FAILED, COMMITTED, COMMITTED]
    assert [verdict.positions for verdict in verdicts] == [(), (3,), (4,)]
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.head == head(2)


def test_a_run_id_names_one_run_for_ever(store: Store) -> None:
    committed(store, start("r1", run_head=ended_head(1)))
    before = everything(store)
    (verdict,) = store.commit([start("r1", last=2)])
    assert (verdict.kind, verdict.taken_run_id) == (RUN_EXISTS, "r1")
    assert everything(store) == before


def test_of_two_creations_of_a_run_in_one_batch_the_first_wins(store: Store) -> None:
    verdicts = store.commit([start("r1", actor_id="first"), start("r1", actor_id="second"), start("r2")])
    assert kinds(verdicts) == [COMMITTED, RUN_EXISTS, COMMITTED]
    assert verdicts[1].taken_run_id == "r1"
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.identity.actor_id == "first"


def test_a_taken_child_id_keeps_nothing_of_its_parents_commit(store: Store) -> None:
    committed(store, start("r1"), start("taken"))
    before = everything(store)
    (verdict,) = store.commit([step("r1", 1, new_runs=(create("fresh"), create("taken")))])
    assert (verdict.kind, verdict.taken_run_id) == (RUN_EXISTS, "taken")
    assert everything(store) == before


def test_the_same_run_id_in_two_namespaces_names_two_runs(store: Store) -> None:
    committed(store, start("r1"), start("r1", namespace="other", actor_id="elsewhere"))
    committed(store, step("r1", 1, namespace="other"))
    here, there = store.load_run(key("r1")), store.load_run(key("r1", "other"))
    assert here is not None
    assert there is not None
    assert (here.head.seq, here.identity.actor_id) == (1, "actor")
    assert (there.head.seq, there.identity.actor_id) == (2, "elsewhere")


@pytest.mark.promise("P5")
@pytest.mark.parametrize("body_hash", [digest("q1"), digest("another body")], ids=["same", "other"])
def test_a_known_request_gets_the_row_that_was_kept(store: Store, body_hash: bytes) -> None:
    committed(store, replace(start("r1"), request=request("q1")))
    before = everything(store)
    again = replace(start("r2"), request=request("q1", body_hash=body_hash, reply=b"another reply"))
    (verdict,) = store.commit([again])
    assert (verdict.kind, verdict.request) == (REQUEST_KNOWN, request("q1"))
    assert everything(store) == before
    assert store.find_request(DEFAULT, "StartRun", "q1") == request("q1")


@pytest.mark.parametrize("body_hash", [digest("q1"), digest("another body")], ids=["same", "other"])
def test_a_request_is_known_to_later_commits_of_its_batch(store: Store, body_hash: bytes) -> None:
    verdicts = store.commit(
        [
            replace(start("r1"), request=request("q1")),
            replace(start("r2"), request=request("q1", body_hash=body_hash)),
            replace(start("r3"), request=request("q2")),
        ]
    )
    assert kinds(verdicts) == [COMMITTED, REQUEST_KNOWN, COMMITTED]
    assert verdicts[1].request == request("q1")
    assert store.load_run(key("r2")) is None


def test_a_request_id_belongs_to_its_namespace_and_method(store: Store) -> None:
    committed(
        store,
        replace(start("r1"), request=request("q1")),
        replace(start("r1", namespace="other"), request=request("q1")),
        replace(start("r2"), request=request("q1", method="EmitEvent")),
    )
    assert store.find_request("other", "EmitEvent", "q1") is None


def test_the_request_of_a_refused_commit_is_not_kept(store: Store) -> None:
    refused = replace(step("nobody", 1), request=request("q1"))
    assert kinds(store.commit([refused])) == [CONFLICT]
    assert store.find_request(DEFAULT, "StartRun", "q1") is None
    committed(store, replace(start("r1"), request=request("q1")))


def test_a_known_request_comes_before_a_conflict_and_that_before_a_taken_id(store: Store) -> None:
    committed(store, replace(start("r1"), request=request("q1")))
    repeated = step("r1", 9, new_runs=(create("r1"),), request=request("q1"))
    stale = step("r1", 9, new_runs=(create("r1"),), request=request("q2"))
    assert kinds(store.commit([repeated, stale])) == [REQUEST_KNOWN, CONFLICT]


def test_a_commit_without_a_run_keeps_its_events_and_request(store: Store) -> None:
    (verdict,) = committed(store, Commit(DEFAULT, events=(event("e1"), event("e2")), request=request("q1")))
    assert (verdict.positions, verdict.event_positions) == ((), (1, 2))
    assert store.find_request(DEFAULT, "StartRun", "q1") == request("q1")


def test_a_commit_may_change_rows_without_a_record(store: Store) -> None:
    committed(store, start("r1"))
    committed(store, step("r1", 1, count=0, change=put_turn(True)))
    obligations = store.read_obligations(key("r1"))
    assert obligations is not None
    assert (obligations.turn, store.horizon()) == (True, 1)


@pytest.mark.promise("P9")
def test_prev_hashes_start_with_the_genesis_and_follow_the_records(store: Store) -> None:
    committed(store, start("r1", last=2))
    committed(store, step("r1", 2))
    ledger = store.read_records(RecordQuery(DEFAULT, run_id="r1"))
    assert [stored.prev_hash for stored in ledger] == [
        genesis(DEFAULT, "r1"),
        digest("record", 1),
        digest("record", 2),
    ]


BAD_COMMITS = {
    "a gap in the records": step("r1", 1, run_head=head(3), records=(record(3),)),
    "a head beyond the records": step("r1", 1, run_head=head(3)),
    "a hash of no record": step("r1", 1, run_head=head(2, head_hash=digest("other"))),
    "another hash without a record": step("r1", 1, count=0, run_head=head(1, head_hash=digest("other"))),
    "no head": step("r1", 1, head=None),
    "another namespace's run": replace(step("r1", 1), namespace="other", expected_seq=1),
    "no run but records": Commit(DEFAULT, records=records(1, 1)),
    "no run but obligations": Commit(DEFAULT, change=put_turn(False)),
    "a new run of another namespace": step("r1", 1, new_runs=(create("x", namespace="other"),)),
    "a new run without records": step("r1", 1, new_runs=(replace(create("x"), records=()),)),
    "a new run named twice": step("r1", 1, new_runs=(create("x"), create("x"))),
    "a new run without an id": start(""),
    "a new run without a session": start("x", session_id=""),
    "a new run without a workflow": start("x", workflow_id=""),
    "a new run of drive 3": start("x", drive=3),
    "status 9": step("r1", 1, run_head=head(2, status=9)),
    "activity 7": step("r1", 1, run_head=head(2, activity=7)),
    "ended with an activity": step("r1", 1, run_head=ended_head(2, activity=1)),
    "ended without an instant": step("r1", 1, run_head=ended_head(2, ended_at=0)),
    "running with an end": step("r1", 1, run_head=head(2, ended_at=NOW)),
    "ended and paused": step("r1", 1, run_head=ended_head(2, paused=True)),
    "waiting without a wait": step("r1", 1, run_head=head(2, status=2, activity=4)),
    "a wait but not waiting": step("r1", 1, run_head=head(2, wait=wait())),
    "a head hash of 31 bytes": step("r1", 1, run_head=head(2, head_hash=bytes(31))),
    "a wait for reason 9": step("r1", 1, run_head=waiting_head(2, wait(reason=9))),
    "an event of scope 0": step("r1", 1, run_head=waiting_head(2, wait(event_name="x", event_scope=0))),
    "a record of kind 0": step("r1", 1, records=(record(2, kind=0),)),
    "a record hash of 33 bytes": step("r1", 1, records=(record(2, record_hash=bytes(33)),)),
    "a slot used twice": step("r1", 1, records=(record(2, payloads=(payload(1), payload(1))),)),
    "a slot beyond the last": step("r1", 1, records=(record(2, payloads=(payload(256),)),)),
    "a salt of 3 bytes": step("r1", 1, records=(record(2, payloads=(replace(payload(0), salt=b"123"),)),)),
    "a task held and leased": step("r1", 1, change=put_task(leased_task(2, held=True))),
    "a lease without a worker": step("r1", 1, change=put_task(leased_task(2, worker_id=""))),
    "a lease without an end": step("r1", 1, change=put_task(leased_task(2, expires_at=0))),
    "a worker without a lease": step("r1", 1, change=put_task(task(2, worker_id="w1"))),
    "a heartbeat without a lease": step("r1", 1, change=put_task(task(2, heartbeat_due_at=NOW))),
    "a task of step 0": step("r1", 1, change=put_task(task(0))),
    "a timer at 0": step("r1", 1, change=put_timers((1, 0))),
    "a timer of kind 0": step("r1", 1, change=put_timers((0, NOW))),
    "an event without a name": step("r1", 1, events=(event("e1", name=""),)),
    "an event of scope 5": step("r1", 1, events=(event("e1", scope=5),)),
    "a lone surrogate": step("r1", 1, run_head=head(2, current_node="\ud800")),
    "a lone surrogate in an id": start("\udfff"),
    "a number beyond 64 bits": step("r1", 1, run_head=head(2, step_budget=2**63)),
}


@pytest.mark.parametrize("bad", BAD_COMMITS.values(), ids=BAD_COMMITS.keys())
def test_a_commit_that_cannot_be_kept_fails_alone(binding: Binding, store: Store, bad: Commit) -> None:
    committed(store, start("r1"), start("r2"), start("r3"))
    if bad.key is not None and bad.key.namespace != bad.namespace:
        bad = replace(bad, key=key("r1"))
    before = store.load_run(key("r1")), store.read_obligations(key("r1"))
    verdicts = store.commit([step("r2", 1), bad, step("r3", 1, new_runs=(create("r4"),))])
    assert kinds(verdicts) == [COMMITTED, FAILED, COMMITTED]
    assert verdicts[1].error
    given = [verdict.positions for verdict in verdicts]
    assert [len(positions) for positions in given] == [1, 0, 2]
    assert 3 < given[0][0] < given[2][0] < given[2][1] <= store.horizon()
    assert "dense" in binding.excluded or (given, store.horizon()) == ([(4,), (), (5, 6)], 6)
    assert (store.load_run(key("r1")), store.read_obligations(key("r1"))) == before
    assert store.load_run(key("x")) is None
    committed(store, step("r1", 1), step("r4", 1))


def test_identities_come_back_as_they_were_given(store: Store) -> None:
    given = identity(
        "r2",
        root_run_id="r1",
        parent_run_id="r1",
        depth=3,
        workflow_id="w",
        workflow_version="v9",
        entry_node="n1",
        branch="left/2",
        session_id="s1",
        actor_id="",
        labels={"b": "2", "a": "", "": "empty"},
        drive=2,
        created_at=NOW + 1,
        deadline_at=NOW + 2,
    )
    committed(store, start("r1"))
    committed(store, step("r1", 1, new_runs=(replace(create("r2"), identity=given),)))
    snapshot = store.load_run(key("r2"))
    assert snapshot is not None
    assert replace(snapshot.identity, labels=dict(snapshot.identity.labels)) == given


def test_labels_are_not_shared_with_the_caller(store: Store) -> None:
    labels = {"tier": "gold"}
    committed(store, start("r1", labels=labels))
    labels["tier"] = "changed"
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert dict(snapshot.identity.labels) == {"tier": "gold"}


def test_heads_come_back_as_they_were_given(store: Store) -> None:
    first = waiting_head(2, wait(2, event_name="*", event_scope=4, event_scope_id="s:1", detail=b"\0\xff"))
    second = waiting_head(3, replace(wait(2), detail=b"again"), paused=True)
    third = ended_head(4, status=4, current_node="end", error_type="BAD_PLAN", updated_at=NOW + 77)
    committed(store, start("r1"))
    for expected_seq, given in enumerate((first, second, third), start=1):
        committed(store, step("r1", expected_seq, run_head=given))
        snapshot = store.load_run(key("r1"))
        assert snapshot is not None
        assert snapshot.head == given


def test_a_large_batch_is_committed_whole(store: Store) -> None:
    names = [f"r{number}" for number in range(300)]
    verdicts = committed(store, *(start(name, last=2) for name in names))
    assert [verdict.positions for verdict in verdicts] == [(2 * n + 1, 2 * n + 2) for n in range(300)]
    committed(store, *(step(name, 2, count=3) for name in names))
    assert store.count_runs(RunQuery(DEFAULT), 10_000) == 300
    assert store.horizon() == 1_500


def test_a_batch_with_many_requests_and_events_finds_each_of_them(store: Store) -> None:
    def emit(number: int) -> Commit:
        return Commit(DEFAULT, events=(event(f"e{number}"),), request=request(f"q{number}"))

    committed(store, *(emit(number) for number in range(0, 300, 2)))
    verdicts = store.commit([replace(emit(number), request=None) for number in range(300)])
    assert [verdict.events_known for verdict in verdicts] == [(number % 2 == 0,) for number in range(300)]
    verdicts = store.commit([emit(number) for number in range(300)])
    assert kinds(verdicts) == [COMMITTED if number % 2 else REQUEST_KNOWN for number in range(300)]


def test_a_closed_store_refuses_commits(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.commit([start("r1")])
