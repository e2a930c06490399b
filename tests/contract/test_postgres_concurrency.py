"""What keeps the stores of several processes out of each other's way: each defence is met by what it is for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from perdure_server.clock import SystemClock
from perdure_server.storage.port import (
    LeaseRenewal,
    ObligationRows,
    SlotKind,
    Store,
    TaskRow,
    Verdict,
    VerdictKind,
)
from perdure_server.storage.sql.postgres import open_postgres
from tests.contract.bindings import EPOCH, NOW, POSTGRES, genesis, postgres_url
from tests.contract.builders import (
    DEFAULT,
    LEASED,
    committed,
    event,
    head,
    key,
    kinds,
    leased_task,
    put_task,
    request,
    start,
    step,
)
from tests.contract.test_slots import place
from tests.postgres import cluster

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

ROUNDS = 25
RUNS = [f"r{number}" for number in range(8)]
MINUTE_US = 60_000_000


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two stores on one database, as two processes have."""
    stores = POSTGRES.open(tmp_path), POSTGRES.open(tmp_path)
    yield stores
    for store in stores:
        store.close()


def both(first: Callable[[int], list[Verdict]], second: Callable[[int], list[Verdict]]) -> list[list[list[Verdict]]]:
    """Calls both with each round's number, at the same moment; their verdicts by round."""
    barrier = threading.Barrier(2)

    def rounds(work: Callable[[int], list[Verdict]]) -> list[list[Verdict]]:
        told: list[list[Verdict]] = []
        for number in range(ROUNDS):
            barrier.wait(60)
            told.append(work(number))
        return told

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(rounds, work) for work in (first, second)]
        one, other = (future.result() for future in futures)
    return [list(pair) for pair in zip(one, other, strict=True)]


def deadlocks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was tried again because of one."""
    return [record.getMessage() for record in caplog.records if "deadlock" in record.getMessage()]


def until_waiting(connection: psycopg.Connection[Any], number: int = 1) -> None:
    """Returns once so many transactions of the database wait for others' locks."""
    waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
    while (row := connection.execute(waiting).fetchone()) is None or row[0] < number:
        pass


def lease(seq: int) -> TaskRow:
    """A task that a worker has."""
    return leased_task(expires_at=NOW + seq)


@pytest.mark.promise("P5")
def test_the_same_runs_in_opposite_order_meet_no_deadlock(
    two: tuple[Store, Store], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "perdure_server.storage.sql")
    committed(two[0], *(start(run_id) for run_id in RUNS))
    committed(two[1], *(step(run_id, 1) for run_id in RUNS))
    with ThreadPoolExecutor(2) as pool, psycopg.connect(postgres_url(tmp_path)) as slow:
        slow.execute("SELECT FROM runs ORDER BY run_no OFFSET 3 LIMIT 1 FOR NO KEY UPDATE")
        one = pool.submit(two[0].commit, [step(run_id, 2) for run_id in RUNS])
        until_waiting(slow, 1)
        other = pool.submit(two[1].commit, [step(run_id, 2) for run_id in RUNS[::-1]])
        until_waiting(slow, 2)
        slow.rollback()
        told = [kinds(future.result(60)) for future in (one, other)]
    assert told == [[VerdictKind.COMMITTED] * len(RUNS), [VerdictKind.CONFLICT] * len(RUNS)]
    assert deadlocks(caplog) == []


@pytest.mark.promise("P7")
def test_leases_are_reset_renewed_and_repaired_beside_commits_of_the_same_runs(
    two: tuple[Store, Store], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "perdure_server.storage.sql")
    store, other = two
    leased = head(1, activity=LEASED)
    committed(store, *(start(run_id, run_head=leased, change=put_task(leased_task())) for run_id in RUNS))

    def commit(number: int) -> list[Verdict]:
        seq = 1 + number
        batch = [
            step(run_id, seq, run_head=head(seq + 1, activity=LEASED), change=put_task(lease(seq)))
            for run_id in RUNS[::-1]
        ]
        return committed(store, *batch)

    def disturb(number: int) -> list[Verdict]:
        assert other.reset_leases(NOW + number) == len(RUNS)
        renewals = [LeaseRenewal(key(run_id), 1, 1, NOW + number, None) for run_id in RUNS]
        assert other.renew_leases(renewals) == [True] * len(RUNS)
        for run_id in RUNS:
            # As the sweeper does: only if nothing has happened since it looked.
            other.install(key(run_id), 1 + number, ObligationRows(lease(number), None, ()), None)
        return []

    both(commit, disturb)
    assert deadlocks(caplog) == []
    for run_id in RUNS:
        rows = store.read_obligations(key(run_id))
        assert rows is not None
        assert rows.task is not None


@contextmanager
def slow_commit(folder: Path) -> Generator[psycopg.Connection[Any]]:
    """A commit to r1 and r2 that is under way in another process: it has locked both, and changed r2's task."""
    with psycopg.connect(postgres_url(folder)) as slow:
        slow.execute("SELECT FROM runs ORDER BY run_no FOR NO KEY UPDATE")
        slow.execute("UPDATE tasks SET queued_at = 7 WHERE run_no = (SELECT max(run_no) FROM runs)")
        yield slow


@pytest.mark.promise("P7")
def test_a_repair_never_undoes_a_commit_that_is_under_way(two: tuple[Store, Store], tmp_path: Path) -> None:
    committed(
        two[0], *(start(name, run_head=head(1, activity=LEASED), change=put_task(lease(1))) for name in RUNS[1:3])
    )
    with ThreadPoolExecutor(1) as pool, slow_commit(tmp_path) as slow:
        repair = pool.submit(two[1].install, key("r1"), 1, ObligationRows(lease(9), None, ()), None)
        until_waiting(slow)
        slow.execute("UPDATE runs SET seq = 2")
        slow.commit()
        assert repair.result(60) is False
    rows = two[0].read_obligations(key("r1"))
    assert rows is not None
    assert rows.task == lease(1)


@pytest.mark.promise("P7")
def test_leases_are_reset_after_a_commit_that_is_under_way(two: tuple[Store, Store], tmp_path: Path) -> None:
    committed(
        two[0], *(start(name, run_head=head(1, activity=LEASED), change=put_task(lease(1))) for name in RUNS[1:3])
    )
    with ThreadPoolExecutor(1) as pool, slow_commit(tmp_path) as slow:
        reset = pool.submit(two[1].reset_leases, NOW + 9)
        until_waiting(slow)
        # Had the other taken the rows of tasks before the locks of runs, the two would now wait for each other.
        slow.execute("UPDATE tasks SET queued_at = 7 WHERE run_no = (SELECT min(run_no) FROM runs)")
        slow.commit()
        assert reset.result(60) == 2


@pytest.mark.promise("P5")
def test_the_last_slot_of_a_key_is_given_once(two: tuple[Store, Store]) -> None:
    def starts(store: Store, name: str) -> Callable[[int], list[Verdict]]:
        return lambda number: store.commit([start(f"{name}{number}", change=place(SlotKind.HELD, f"k{number}"))])

    for number, pair in enumerate(both(starts(two[0], "a"), starts(two[1], "b"))):
        told = sorted(kind.name for verdicts in pair for kind in kinds(verdicts))
        assert told == ["COMMITTED", "NO_SLOT"], number
        assert len(two[0].slot_line(DEFAULT, f"k{number}", 10).holders) == 1


@pytest.mark.promise("P6")
def test_what_both_insert_has_one_winner_and_no_failure(two: tuple[Store, Store]) -> None:
    """Run ids, identifiers, request ids and event ids that did not exist before, at the same moment. With a sequel in
    the batch, Commits are written one by one from the beginning."""

    def work(store: Store, name: str) -> Callable[[int], list[Verdict]]:
        def commit(number: int) -> list[Verdict]:
            new = f"n{number}"
            return [
                *store.commit([start(f"{name}-{new}", workflow_id=f"w{number}", session_id=f"s{number}")]),
                *store.commit([start(new), step(new, 1)])[:1],
                *store.commit([step(f"{name}-{new}", 1, events=(event(f"e{number}"),))]),
                *store.commit([step(f"{name}-{new}", 2, request=request(f"q{number}"))]),
            ]

        return commit

    for number, pair in enumerate(both(work(two[0], "a"), work(two[1], "b"))):
        names, runs, events, requests = zip(*pair, strict=True)
        assert kinds(names) == [VerdictKind.COMMITTED] * 2, number
        assert {*kinds(runs)} == {VerdictKind.COMMITTED, VerdictKind.RUN_EXISTS}, number
        assert kinds(events) == [VerdictKind.COMMITTED] * 2, number
        assert sorted(verdict.events_known for verdict in events) == [(False,), (True,)], number
        assert len({verdict.event_positions for verdict in events}) == 1, number
        assert {*kinds(requests)} == {VerdictKind.COMMITTED, VerdictKind.REQUEST_KNOWN}, number


def test_trimming_beside_commits_deletes_what_is_old_and_nothing_else(two: tuple[Store, Store]) -> None:
    store, other = two
    committed(store, start("r1"))

    def commit(number: int) -> list[Verdict]:
        aged = event(f"old{number}", at=NOW - MINUTE_US)
        fresh = event(f"new{number}", at=NOW)
        asked = request(f"q{number}", at=NOW - MINUTE_US * (number % 2))
        return committed(store, step("r1", 1 + number, events=(aged, fresh), request=asked))

    def trim(_number: int) -> list[Verdict]:
        other.trim(NOW, NOW, 1_000, 100)
        return []

    both(commit, trim)
    while other.trim(NOW, NOW, 1_000, 100):
        pass
    kept = [stored.event.event_id for stored in store.read_events(DEFAULT, 1, "s1", "", 0, 0, 1_000)]
    assert kept == [f"new{number}" for number in range(ROUNDS)]
    found = [store.find_request(DEFAULT, "StartRun", f"q{number}") is not None for number in range(ROUNDS)]
    assert found == [number % 2 == 0 for number in range(ROUNDS)]


def test_stores_that_open_an_empty_database_at_once_make_one_schema() -> None:
    url = cluster().url(cluster().new_database())
    with ThreadPoolExecutor(8) as pool:
        opening = [pool.submit(open_postgres, url, genesis=genesis, epoch=EPOCH[:-1] + str(n)) for n in range(8)]
        stores = [future.result() for future in opening]
    assert len({store.info().epoch for store in stores}) == 1
    committed(stores[0], start("r1"))
    assert [len(store.read_changes(0, 10, 10)) for store in stores] == [1] * 8
    for store in stores:
        store.close()


def test_a_commit_is_hinted_to_the_others_and_not_to_oneself(two: tuple[Store, Store]) -> None:
    store, other = two
    # What was said while they opened.
    while store.wait_for_change(200_000) or other.wait_for_change(200_000):
        pass
    committed(store, start("r1"))
    assert other.wait_for_change(30_000_000)
    assert not store.wait_for_change(200_000)
    assert not other.wait_for_change(1), "one commit is said once"


def test_leases_are_in_the_clock_of_the_database(two: tuple[Store, Store], tmp_path: Path) -> None:
    with psycopg.connect(postgres_url(tmp_path), autocommit=True) as connection:
        row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
    assert row is not None
    for store in two:
        assert abs(SystemClock().monotonic() + store.lease_offset() - row[0]) < MINUTE_US
