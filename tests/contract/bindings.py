"""The stores that the suite is for. One that cannot do a thing says so here, with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import Store
from perdure_server.storage.sql.sqlite import open_sqlite

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
            close and open), `owner` (refuses a second store on the same data).
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

STORES = (MEMORY, JOURNAL, SQLITE)
