"""Loading runs: keyframes, tails, and ids as they were given."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from perdure_server.storage.port import (
    CatalogChange,
    IdentityChange,
    RecordQuery,
    RunQuery,
    RunSnapshot,
    Store,
    VerdictKind,
)
from tests.contract.bindings import EPOCH, NOW, Binding
from tests.contract.builders import (
    DEFAULT,
    committed,
    event,
    head,
    identity,
    key,
    leased_task,
    put_task,
    put_timers,
    put_turn,
    record,
    request,
    start,
    step,
    wait,
    waiting_head,
    workflow,
)

ODD_IDS = [
    "a",
    "A",
    "á",
    "a\u0301",
    "a:b",
    "a:b:c",
    "\uff41",
    "ß",
    "SS",
    "a b",
    "a%",
    "a_",
    "a'b",
    'a"b',
    "\U0001f600",
]


def test_an_unknown_run_is_none(store: Store) -> None:
    committed(store, start("r1"))
    assert store.load_run(key("r2")) is None
    assert store.load_run(key("r1", "other")) is None
    assert store.read_obligations(key("r2")) is None


@pytest.mark.promise("P3")
def test_without_a_keyframe_all_records_are_loaded(store: Store) -> None:
    committed(store, start("r1", last=3))
    committed(store, step("r1", 3, count=2))
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert (snapshot.keyframe_seq, snapshot.keyframe) == (0, None)
    assert [stored.seq for stored in snapshot.records] == [1, 2, 3, 4, 5]
    assert snapshot.records == tuple(store.read_records(RecordQuery(DEFAULT, run_id="r1")))


@pytest.mark.promise("P4")
def test_with_a_keyframe_only_later_records_are_loaded(store: Store) -> None:
    committed(store, start("r1", last=3))
    committed(store, step("r1", 3, count=2, keyframe=b"state at 5"))
    at_keyframe = store.load_run(key("r1"))
    committed(store, step("r1", 5, count=2))
    later = store.load_run(key("r1"))
    assert at_keyframe is not None
    assert later is not None
    assert (at_keyframe.keyframe_seq, at_keyframe.keyframe, at_keyframe.records) == (5, b"state at 5", ())
    assert (later.keyframe_seq, later.keyframe) == (5, b"state at 5")
    assert [stored.seq for stored in later.records] == [6, 7]


def test_the_newest_keyframe_is_chosen(store: Store) -> None:
    committed(store, start("r1"))
    committed(store, step("r1", 1, keyframe=b"at 2"))
    committed(store, step("r1", 2, keyframe=b"at 3"))
    committed(store, step("r1", 3))
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert (snapshot.keyframe_seq, snapshot.keyframe) == (3, b"at 3")
    assert [stored.seq for stored in snapshot.records] == [4]


def test_an_empty_keyframe_is_a_keyframe(store: Store) -> None:
    committed(store, start("r1"))
    committed(store, step("r1", 1, keyframe=b""))
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert (snapshot.keyframe_seq, snapshot.keyframe, snapshot.records) == (2, b"", ())


def test_ids_are_compared_code_point_by_code_point(store: Store) -> None:
    """Case, accents, normal forms, separators and wildcards all tell ids apart (D9 among them)."""
    committed(store, *(start(run_id, actor_id=run_id) for run_id in ODD_IDS))
    for run_id in ODD_IDS:
        snapshot = store.load_run(key(run_id))
        assert snapshot is not None
        assert (snapshot.identity.run_id, snapshot.identity.actor_id) == (run_id, run_id)
    committed(store, *(step(run_id, 1) for run_id in ODD_IDS))


def test_text_with_a_nul_is_kept_or_refused_but_never_cut(binding: Binding, store: Store) -> None:
    commits = [start("a"), start("a\0b"), start("b", labels={"x": "\0"}), start("c")]
    if "nul" in binding.excluded:
        assert [verdict.kind for verdict in store.commit(commits)] == [
            VerdictKind.COMMITTED,
            VerdictKind.FAILED,
            VerdictKind.FAILED,
            VerdictKind.COMMITTED,
        ]
        return
    committed(store, *commits)
    listed = [run.identity.run_id for run in store.list_runs(RunQuery(DEFAULT), None, 100)]
    assert listed == ["c", "b", "a\0b", "a"]


def test_odd_ids_are_told_apart_by_every_filter(store: Store) -> None:
    committed(
        store,
        *(
            start(
                f"r{number}",
                session_id=odd,
                workflow_id=odd,
                workflow_version=odd,
                root_run_id=odd,
                parent_run_id=odd,
                labels={odd: odd},
            )
            for number, odd in enumerate(ODD_IDS)
        ),
    )
    for number, odd in enumerate(ODD_IDS):
        queries = [
            RunQuery(DEFAULT, session_id=odd),
            RunQuery(DEFAULT, workflow_id=odd),
            RunQuery(DEFAULT, workflow_version=odd),
            RunQuery(DEFAULT, root_run_id=odd),
            RunQuery(DEFAULT, parent_run_id=odd),
            RunQuery(DEFAULT, labels={odd: odd}),
        ]
        for query in queries:
            found = [run.identity.run_id for run in store.list_runs(query, None, 100)]
            assert found == [f"r{number}"], query


def test_ids_are_ordered_by_code_point(store: Store) -> None:
    committed(store, *(start(run_id) for run_id in reversed(ODD_IDS)))
    listed = [run.identity.run_id for run in store.list_runs(RunQuery(DEFAULT), None, 100)]
    assert listed == sorted(ODD_IDS, reverse=True)


def test_instants_keep_their_microseconds(store: Store) -> None:
    instant = 253_402_300_799_999_999
    given = waiting_head(2, wait(2, since_at=instant - 1), updated_at=instant - 2)
    committed(store, start("r1", created_at=instant, deadline_at=instant - 3))
    committed(
        store,
        step("r1", 1, run_head=given, records=(record(2, at=instant - 4),), change=put_timers((3, instant - 5))),
    )
    snapshot, obligations = store.load_run(key("r1")), store.read_obligations(key("r1"))
    assert snapshot is not None
    assert obligations is not None
    assert (snapshot.identity.created_at, snapshot.identity.deadline_at) == (instant, instant - 3)
    assert snapshot.head == given
    assert snapshot.records[-1].at == instant - 4
    assert obligations.timers[0].due_at == instant - 5


def test_info_names_the_store_and_its_abilities(store: Store) -> None:
    info = store.info()
    assert info.epoch == EPOCH
    assert info.shared == info.features["replicas"].available == (info.kind == "postgresql")
    assert {"durable", "replicas"} <= set(info.features)
    assert all(feature.reason for feature in info.features.values())


@pytest.mark.promise("P2")
def test_a_reopened_store_gives_everything_back(store: Store, reopen: Callable[[], Store]) -> None:
    committed(store, start("r1", change=put_task(leased_task(1)), labels={"a": "b"}), start("r2"))
    committed(store, step("r1", 1, count=2, keyframe=b"at 3", events=(event("e1"),), request=request("q1")))
    committed(store, step("r2", 1, run_head=waiting_head(2, wait(2)), change=put_timers((4, NOW)), mail=()))
    committed(store, start("r3", change=put_turn(False)))

    def seen(of: Store) -> object:
        return (
            of.info(),
            of.horizon(),
            [of.load_run(key(run_id)) for run_id in ("r1", "r2", "r3")],
            [of.read_obligations(key(run_id)) for run_id in ("r1", "r2", "r3")],
            of.read_records(RecordQuery(DEFAULT)),
            of.read_events(DEFAULT, 1, "s1", "", 0, 0, 10),
            of.find_request(DEFAULT, "StartRun", "q1"),
            of.due_work(2 * NOW, 2 * NOW, 10),
        )

    before = seen(store)
    assert seen(reopen()) == before


def test_positions_and_runs_go_on_after_reopening(store: Store, reopen: Callable[[], Store]) -> None:
    committed(store, start("r1", session_id="s1"))
    again = reopen()
    (verdict,) = committed(again, step("r1", 1, new_runs=(), events=(event("e1"),)))
    assert (verdict.positions, verdict.event_positions) == ((2,), (3,))
    committed(again, start("r2", session_id="s1", workflow_id="other"))
    found = again.list_runs(RunQuery(DEFAULT, session_id="s1"), None, 10)
    assert sorted(run.identity.run_id for run in found) == ["r1", "r2"]


def test_trimming_the_last_position_does_not_give_it_again(store: Store, reopen: Callable[[], Store]) -> None:
    committed(store, start("r1"))
    committed(store, step("r1", 1, events=(event("e1", at=NOW),)))
    assert store.trim(0, NOW + 1, 100, 10) == 1
    again = reopen()
    assert again.horizon() == 3
    (verdict,) = committed(again, step("r1", 2))
    assert verdict.positions == (4,)


def test_rows_that_are_read_do_not_change_when_the_run_does(store: Store) -> None:
    committed(store, start("r1", change=put_task(leased_task(1))))
    snapshot, obligations = store.load_run(key("r1")), store.read_obligations(key("r1"))
    assert snapshot is not None
    assert obligations is not None
    committed(store, step("r1", 1, change=put_task(None)))
    assert (snapshot.head, len(snapshot.records)) == (head(1), 1)
    assert obligations.task == leased_task(1)
    assert snapshot.identity == identity("r1")


def test_catalogue_and_runs_survive_reopening_together(store: Store, reopen: Callable[[], Store]) -> None:
    store.change_catalog(CatalogChange(DEFAULT, put_workflow=workflow()))
    store.change_catalog(CatalogChange("", create_namespace=("team", "", NOW)))
    again = reopen()
    assert again.list_namespaces() == ["default", "team"]
    found = again.find_workflow(DEFAULT, "order", "")
    assert found is not None
    assert (found.version, found.spec, found.is_default) == ("v1", b"spec v1", True)


@pytest.mark.promise("P1")
def test_a_run_that_is_loaded_while_it_changes_is_loaded_whole(store: Store) -> None:
    """Head, keyframe, records and rows of one commit, never of two."""
    committed(store, start("r1"))
    done = threading.Event()
    loaded: list[RunSnapshot] = []

    def load() -> None:
        while not done.is_set():
            snapshot = store.load_run(key("r1"))
            assert snapshot is not None
            loaded.append(snapshot)

    reader = threading.Thread(target=load)
    reader.start()
    for seq in range(1, 400):
        frame = f"state at {seq + 1}".encode() if seq % 3 == 0 else None
        held = waiting_head(seq + 1, wait(seq + 1)) if seq % 2 else head(seq + 1)
        committed(store, step("r1", seq, run_head=held, keyframe=frame))
    done.set()
    reader.join(60)
    assert len({snapshot.head.seq for snapshot in loaded}) > 5
    for snapshot in loaded:
        last = snapshot.head.seq
        assert [stored.seq for stored in snapshot.records] == list(range(snapshot.keyframe_seq + 1, last + 1))
        assert (snapshot.head.wait is None) == (snapshot.head.activity != 4)
        assert snapshot.head.wait is None or snapshot.head.wait.wait_id == last
        assert snapshot.keyframe is None or snapshot.keyframe == f"state at {snapshot.keyframe_seq}".encode()


def test_a_commit_gives_a_run_another_version_and_deadline(store: Store) -> None:
    moved = IdentityChange("v2", NOW + 99)
    committed(store, start("r1", labels={"a": "b"}), start("r2"))
    committed(store, step("r1", 1, identity=moved), step("r2", 1))
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.identity == identity("r1", labels={"a": "b"}, workflow_version="v2", deadline_at=NOW + 99)
    listed = store.list_runs(RunQuery(DEFAULT, workflow_version="v2"), None, 10)
    assert [summary.identity for summary in listed] == [snapshot.identity]
    assert [run.identity.run_id for run in store.list_runs(RunQuery(DEFAULT, workflow_version="v1"), None, 10)] == [
        "r2"
    ]


def test_an_identity_stays_with_a_commit_that_does_not_change_it_or_is_not_kept(store: Store) -> None:
    moved = IdentityChange("v2", NOW + 99)
    committed(store, start("r1"))
    assert store.commit([step("r1", 7, identity=moved)])[0].kind is VerdictKind.CONFLICT
    assert store.commit([step("r1", 1, identity=IdentityChange("", 0))])[0].kind is VerdictKind.FAILED
    committed(store, step("r1", 1))
    assert store.list_runs(RunQuery(DEFAULT), None, 10)[0].identity == identity("r1")


def test_two_commits_of_one_batch_change_an_identity_one_after_the_other(store: Store) -> None:
    committed(store, start("r1"))
    moves = [step("r1", 1, identity=IdentityChange("v2", 7)), step("r1", 2, identity=IdentityChange("v3", 0))]
    committed(store, *moves)
    assert store.list_runs(RunQuery(DEFAULT), None, 10)[0].identity == identity("r1", workflow_version="v3")
