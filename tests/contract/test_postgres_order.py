"""Commit order on PostgreSQL: many writers at once, and every reader sees each record once, in one order (P8).

Eight writers commit over stores of their own, as eight processes would. Some of their transactions are held open
after they took their positions, some are rolled back. Readers follow the horizon, and one follows what the horizon
is for not following: `position > last` alone. It must miss something, or the others have proved nothing.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from perdure_server.storage.port import NO_LIMIT, RecordQuery, Store, StoredRecord, VerdictKind
from perdure_server.storage.sql.postgres import open_postgres
from perdure_server.storage.sql.postgres_numbers import ADVISORY_KEY, LOCK_POSITIONS, TAKE_POSITIONS
from tests.contract.bindings import EPOCH, POSTGRES, genesis, postgres_url
from tests.contract.builders import DEFAULT, committed, event, request, start, step
from tests.postgres import cluster

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

WRITERS = 8
COMMITS = 60
SEEDS = (1, 2)


def open_again(folder: Path) -> Store:
    """Another store on the same database: what another process has."""
    return POSTGRES.open(folder)


def first(connection: psycopg.Connection[Any], statement: str, *values: int) -> int:
    """The first value of a statement's answer."""
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    return row[0]


def write(store: Store, writer: int, seed: int) -> list[tuple[str, int]]:
    """Commits to two runs of its own and one that all share; gives (run, position) of what was accepted."""
    chance = random.Random(seed * 100 + writer)
    seqs = {f"w{writer}a": 0, f"w{writer}b": 0}
    kept: list[tuple[str, int]] = []
    for number in range(COMMITS):
        run_id = chance.choice(list(seqs))
        count = chance.randrange(1, 4)
        seq = seqs[run_id]
        if seq == 0:
            commit = start(run_id, last=count)
        elif chance.random() < 0.1:
            # Breaks a rule of the rows: rolled back after its positions were taken.
            commit = step(run_id, seq, count=count, events=(event(f"{run_id}{number}", scope=9),))
        else:
            commit = step(run_id, seq, count=count, request=request(f"{run_id}{number}"))
        (verdict,) = store.commit([commit])
        if verdict.kind is VerdictKind.COMMITTED:
            seqs[run_id] = seq + count
            kept += [(run_id, position) for position in verdict.positions]
        else:
            assert verdict.kind is VerdictKind.FAILED
    return kept


def hold_positions(url: str, chance: random.Random, ended: threading.Event) -> None:
    """Takes positions like a commit does, holds them for a moment, and rolls back: what delays a writer."""
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        key = first(connection, ADVISORY_KEY)
        while not ended.is_set():
            connection.execute("BEGIN")
            connection.execute(LOCK_POSITIONS, (key,))
            connection.execute(TAKE_POSITIONS, (chance.randrange(1, 4),))
            ended.wait(chance.random() / 50)
            connection.execute("ROLLBACK")


def follow(store: Store, ended: threading.Event, limit: int, horizon: Callable[[], int]) -> list[StoredRecord]:
    """Pages through the ledger until a pass that began after the writers' end finds nothing more."""
    seen: list[StoredRecord] = []
    last = 0
    while True:
        done = ended.is_set()
        until = max(horizon(), last)
        page = store.read_records(RecordQuery(DEFAULT, after_position=last, until_position=until, limit=limit))
        seen += page
        last = page[-1].position if page else last
        if done and not page:
            return seen


@pytest.mark.promise("P8")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_reader_misses_or_reorders_what_many_writers_commit(tmp_path: Path, seed: int) -> None:
    stores = [open_again(tmp_path) for _ in range(WRITERS)]
    readers = [open_again(tmp_path) for _ in range(3)]
    ended, holders_end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(WRITERS + 5) as pool:
        holder = pool.submit(hold_positions, postgres_url(tmp_path), random.Random(seed), holders_end)
        followed = [
            pool.submit(follow, readers[0], ended, 5, readers[0].horizon),
            pool.submit(follow, readers[1], ended, 500, readers[1].horizon),
        ]
        naive = pool.submit(follow, readers[2], ended, 500, lambda: NO_LIMIT)
        written = [pool.submit(write, store, number, seed) for number, store in enumerate(stores)]
        kept = [entry for one in written for entry in one.result()]
        holders_end.set()
        holder.result()
        ended.set()
        views = [[(record.run_id, record.position) for record in one.result()] for one in followed]
        missed = len(kept) - len(naive.result())
    for store in (*stores, *readers):
        store.close()
    whole = sorted(kept, key=lambda entry: entry[1])
    assert len({position for _, position in kept}) == len(kept)
    assert views == [whole, whole]
    for run_id in {run_id for run_id, _ in kept}:
        # What a writer was told in the order of its commits is the order that observers see.
        assert [p for r, p in kept if r == run_id] == [p for r, p in whole if r == run_id]
    assert missed > 0, "the writers were too orderly to show anything"


@pytest.mark.promise("P8")
def test_a_position_below_one_that_is_committed_holds_the_horizon_back(tmp_path: Path) -> None:
    """The race itself, without chance: an earlier position is committed after a later one."""
    store, other = open_again(tmp_path), open_again(tmp_path)
    committed(store, start("r1"))
    slow = psycopg.connect(postgres_url(tmp_path), autocommit=True, cursor_factory=psycopg.RawCursor)
    with slow:
        key = first(slow, ADVISORY_KEY)
        slow.execute("BEGIN")
        slow.execute(LOCK_POSITIONS, (key,))
        taken = first(slow, TAKE_POSITIONS, 1)
        (verdict,) = committed(other, step("r1", 1))
        assert taken < verdict.positions[0]
        assert store.horizon() == taken - 1
        assert [record.seq for record in store.read_records(RecordQuery(DEFAULT))] == [1]
        beyond = store.read_records(RecordQuery(DEFAULT, until_position=NO_LIMIT))
        assert [record.seq for record in beyond] == [1, 2], "whoever does not look at the horizon sees it too early"
        slow.execute("ROLLBACK")
    assert store.horizon() == verdict.positions[0]
    assert [record.seq for record in store.read_records(RecordQuery(DEFAULT))] == [1, 2]
    for one in (store, other):
        one.close()


def test_positions_of_another_store_in_the_database_hold_nobody_back(tmp_path: Path) -> None:
    url = postgres_url(tmp_path)
    cluster().execute("CREATE SCHEMA other", url.rpartition("/")[2])
    store = open_again(tmp_path)
    other = open_postgres(f"{url}?options=-csearch_path%3Dother", genesis=genesis, epoch=EPOCH)
    committed(store, start("r1", last=3))
    committed(other, start("r1"))
    with psycopg.connect(f"{url}?options=-csearch_path%3Dother", cursor_factory=psycopg.RawCursor) as slow:
        key = first(slow, ADVISORY_KEY)
        slow.execute(LOCK_POSITIONS, (key,))
        committed(store, step("r1", 3))
        assert store.horizon() == 4
        slow.rollback()
    for one in (store, other):
        one.close()


@pytest.mark.promise("P5")
@pytest.mark.parametrize("seed", SEEDS)
def test_writers_that_want_the_same_things_neither_block_nor_both_win(tmp_path: Path, seed: int) -> None:
    """Identifiers, run ids, request ids, event ids and runs that several processes write at the same time, in
    batches and in every order: no deadlock is left over, and each thing has one winner."""
    stores = [open_again(tmp_path) for _ in range(4)]
    shared = [f"s{number}" for number in range(6)]
    committed(stores[0], *(start(run_id, workflow_id="first") for run_id in shared))

    def work(number: int) -> list[tuple[str, VerdictKind]]:
        chance = random.Random(seed * 10 + number)
        told: list[tuple[str, VerdictKind]] = []
        for turn in range(25):
            names = chance.sample(shared, 4)
            batch = [step(name, 1 + turn, request=request(f"{name}-{turn}")) for name in names]
            batch += [start(f"new-{turn}-{n}", workflow_id=f"w{turn}", workflow_version=f"v{turn}") for n in (1, 2)]
            chance.shuffle(batch)
            for commit, verdict in zip(batch, stores[number].commit(batch), strict=True):
                what = f"{commit.key.run_id}-{turn}" if commit.key else commit.new_runs[0].identity.run_id
                told.append((what, verdict.kind))
        return told

    with ThreadPoolExecutor(4) as pool:
        told = [entry for one in [pool.submit(work, number) for number in range(4)] for entry in one.result()]
    winners = [what for what, kind in told if kind is VerdictKind.COMMITTED]
    assert len(winners) == len(set(winners))
    assert {f"new-{turn}-{n}" for turn in range(25) for n in (1, 2)} <= set(winners)
    losers = {kind for _, kind in told} - {VerdictKind.COMMITTED}
    assert losers <= {VerdictKind.CONFLICT, VerdictKind.REQUEST_KNOWN, VerdictKind.RUN_EXISTS}
    for store in stores:
        store.close()
