"""How SQLite answers the reads: by an index, in its order. Every statement that the reads send is explained."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from perdure_server.storage.port import RecordQuery, Store, WaitQuery
from tests.contract.bindings import NOW, SQLITE
from tests.contract.builders import DEFAULT, committed, create, leased_task, put_task, start, step, wait, waiting_head
from tests.contract.test_closing import CALLS
from tests.contract.test_lists import COMBINATIONS, WAIT_FILTERS, combined

# Tables of live work, which loops read from the front of an index; and one that is listed whole.
FROM_THE_FRONT = {"timers", "turns", "mail", "tasks", "schedules", "namespaces"}

# Filters whose matches are sorted, because no index has them in the order of the list: their own index
# is by the wait or by the end.
SORTED = {"wait_key", "assignee", "wait_reason", "ended_from"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store's file is."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    """A store with something in every table that the statements look at before they ask the next one."""
    opened = SQLITE.open(folder)
    named = {"session_id": "s0", "workflow_id": "w1", "workflow_version": "v2"}
    root = start("r08", change=put_task(leased_task(1)), labels={"tier": "t1"}, **named)
    child = create("r09", root_run_id="r08", parent_run_id="r04", session_id="s2", workflow_id="w0")
    committed(opened, root, start("r04", session_id="s1"))
    committed(opened, step("r08", 1, new_runs=(child,)), start("w", run_head=waiting_head(1, wait(1))))
    yield opened
    opened.close()


@contextmanager
def statements() -> Generator[list[tuple[str, Any]]]:
    """The SELECTs that SQLAlchemy sends meanwhile, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, text: str, parameters: Any, *_: object) -> None:
        if text.lstrip().startswith(("SELECT", "WITH")):
            sent.append((text, parameters))

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def database(store: Store, folder: Path) -> Iterator[sqlite3.Connection]:
    """A bystander's connection to the store's file."""
    assert store.list_namespaces()
    connection = sqlite3.connect(folder / "runs.db")
    yield connection
    connection.close()


def faults(database: sqlite3.Connection, call: Callable[[], object], may_sort: bool) -> list[str]:
    """What is wrong with the plans of the statements that a call sends: full scans, and sorts of all matches."""
    with statements() as sent:
        call()
    assert sent
    found: list[str] = []
    for text, parameters in sent:
        for *_, detail in database.execute(f"EXPLAIN QUERY PLAN {text}", parameters):
            scan = re.match(r"SCAN (\w+)", detail)
            from_the_front = scan and scan[1] in FROM_THE_FRONT and ("USING" in detail or scan[1] == "namespaces")
            derived = scan and (scan[1] == "CONSTANT" or scan[1].startswith("anon"))
            if (scan and not derived and not from_the_front) or (
                detail == "USE TEMP B-TREE FOR ORDER BY" and not may_sort
            ):
                found.append(f"{detail}\n    in {text}")
    return found


def test_lists_of_runs_search_indexes_for_every_filter_and_pair(store: Store, database: sqlite3.Connection) -> None:
    for names in [(), *COMBINATIONS]:
        query = combined(names)
        if query is None:
            continue
        may_sort = any(getattr(query, field) for field in SORTED)
        for after in (None, (NOW, "r5")):
            found = faults(database, lambda query=query, after=after: store.list_runs(query, after, 10), may_sort)
            assert not found, (names, *found)
        assert not faults(database, lambda query=query: store.count_runs(query, 10), may_sort), names


def test_lists_of_waits_search_indexes_for_every_filter_and_pair(store: Store, database: sqlite3.Connection) -> None:
    for first, (fields, _) in WAIT_FILTERS.items():
        for second, (others, _) in WAIT_FILTERS.items():
            query = replace(WaitQuery(DEFAULT), **(fields | others))
            for after in (None, (NOW, "r5")):
                found = faults(database, lambda query=query, after=after: store.list_waits(query, after, 10), False)
                assert not found, (first, second, *found)


SCOPES = [{}, {"run_id": "r08"}, {"root_run_id": "r08"}, {"session_id": "s0"}, {"workflow_id": "w1"}]
FILTERS: list[dict[str, Any]] = [{}, {"kinds": (1, 2)}, {"statuses": (1,)}, {"node_ids": ("start",)}, {"after_seq": 1}]


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_pages_of_the_ledger_search_indexes(store: Store, database: sqlite3.Connection, scope: dict[str, str]) -> None:
    for fields in FILTERS:
        for after in (0, 2):
            query = replace(RecordQuery(DEFAULT, after_position=after, limit=10), **scope, **fields)
            found = faults(database, lambda query=query: store.read_records(query), False)
            assert not found, (scope, fields, *found)


WRITES = {"commit", "renew_leases", "reset_leases", "change_catalog", "install", "trim"}
FROM_MEMORY = {"info", "horizon", "lease_offset", "wait_for_change"}
READS = sorted(CALLS.keys() - WRITES - FROM_MEMORY)


@pytest.mark.parametrize("name", READS)
def test_every_other_read_searches_indexes(store: Store, database: sqlite3.Connection, name: str) -> None:
    assert not faults(database, lambda: CALLS[name](store), may_sort=False)


def test_the_check_sees_a_scan_and_a_sort(database: sqlite3.Connection) -> None:
    engine = sa.create_engine("sqlite://")

    def scan(text: str) -> Callable[[], object]:
        def execute() -> None:
            with engine.connect() as connection, pytest.raises(OperationalError):
                connection.execute(sa.text(text))

        return execute

    assert faults(database, scan("SELECT * FROM runs WHERE actor_id = 'x'"), may_sort=True)
    assert faults(database, scan("SELECT * FROM records WHERE position > 1 ORDER BY at"), may_sort=False)
    assert not faults(database, scan("SELECT * FROM records WHERE position > 1 ORDER BY at"), may_sort=True)
    assert faults(database, scan("SELECT * FROM tasks WHERE worker_id = 'x'"), may_sort=True)
    engine.dispose()
