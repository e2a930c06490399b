"""The stores that the suite is for. One that cannot do a thing says so here, with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import Store
from perdure_server.storage.sql.postgres import open_postgres
from perdure_server.storage.sql.sqlite import open_sqlite
from tests.postgres import cluster

EPOCH = "0123456789abcdef" * 2
NOW = 1_767_225_600_000_000


def genesis(namespace: str, run_id: str) -> bytes:
    """Where a run's chain begins, for these tests: any 32 bytes that depend on both."""
    return hashlib.sha256(f"{namespace}\0{run_id}".encode()).digest()


@dataclass(frozen=True)
class Binding:
    """A store under test.

    Args:
        open: opens the store whose data is in this folder.
        excluded: ability -> why the store does not have it. Abilities: `reopen` (gives everything back after
            close and open), `owner` (refuses a second store on the same data), `nul` (keeps U+0000 in text),
            `dense` (positions without holes).
    """

    name: str
    open: Callable[[Path], Store]
    excluded: Mapping[str, str] = field(default_factory=dict[str, str])


MEMORY = Binding(
    "memory",
    lambda _folder: MemoryStore(genesis=genesis, epoch=EPOCH),
    excluded={
        "reopen": "its data ends with the process",
        "owner": "its data has no place that another store could open",
    },
)

SQLITE = Binding("sqlite", lambda folder: open_sqlite(folder / "runs.db", genesis=genesis, epoch=EPOCH, now=NOW))

JOURNAL = Binding("journal", lambda folder: open_journal(folder / "journal", genesis=genesis, epoch=EPOCH))


@cache
def _template() -> str:
    """A database with an empty store in it: copying one is quicker than making its schema."""
    name = cluster().new_database()
    open_postgres(cluster().url(name), genesis=genesis, epoch=EPOCH).close()
    return name


@cache
def postgres_url(folder: Path) -> str:
    """The database that stands for a folder."""
    return cluster().url(cluster().new_database(_template()))


POSTGRES = Binding(
    "postgres",
    lambda folder: open_postgres(postgres_url(folder), genesis=genesis, epoch=EPOCH),
    excluded={
        "owner": "any number of processes share a database",
        "nul": "PostgreSQL's text has no U+0000; the edge refuses it in every field",
        "dense": "a transaction that is rolled back leaves a hole in the positions",
    },
)

STORES = (MEMORY, JOURNAL, SQLITE, POSTGRES)


def as_params(stores: Iterable[Binding] = STORES) -> list[Any]:
    """For pytest's parametrize, with the marks of what a store needs."""
    return [
        pytest.param(binding, id=binding.name, marks=[pytest.mark.postgres] if binding is POSTGRES else [])
        for binding in stores
    ]
