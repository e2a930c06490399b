"""What holds a store's data while the servers over it come and die."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from perdure_server.engine.sealing import genesis_hash
from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import Store, StoreError
from perdure_server.storage.sql.postgres import open_postgres
from perdure_server.storage.sql.sqlite import open_sqlite
from tests.differential.dense import DenseStore
from tests.postgres import cluster

EPOCH = "0123456789abcdef" * 2
NOW = 1_767_225_600_000_000

Wrap = Callable[[Store], Store]


class Ground(Protocol):
    """Opens the store for each life of a server."""

    name: str

    def open(self) -> Store:
        """The store, with all that was committed before."""
        ...

    def crash(self) -> None:
        """Its process is gone, without a word to the store."""
        ...

    def close(self) -> None:
        """Nobody needs the data any more."""
        ...


class MemoryGround:
    """A memory store that outlives its servers; the model of the others."""

    name = "memory"

    def __init__(self, _folder: Path) -> None:
        self._store = MemoryStore(genesis=genesis_hash, epoch=EPOCH)

    def open(self) -> Store:
        """See `Ground`."""
        return self._store

    def crash(self) -> None:
        """See `Ground`. There is nothing that could be half written."""

    def close(self) -> None:
        """See `Ground`."""
        self._store.close()


class FolderGround:
    """A store in files. A crash leaves them as they are at that moment: the next life gets a copy, made while the
    store that is lost is still open, so nothing of how that one ends is in it.

    Args:
        name: of the store.
        folder: where its files may be.
        open_in: opens the store that a folder holds.
    """

    def __init__(self, name: str, folder: Path, open_in: Callable[[Path], Store]) -> None:
        self.name = name
        self._folder = folder / name
        self._open_in = open_in
        self._life = 0
        self._store: Store | None = None
        self._here.mkdir(parents=True)

    @property
    def _here(self) -> Path:
        return self._folder / str(self._life)

    def open(self) -> Store:
        """See `Ground`."""
        self._store = self._open_in(self._here)
        return self._store

    def crash(self) -> None:
        """See `Ground`."""
        lost, before = self._store, self._here
        self._life += 1
        shutil.copytree(before, self._here)
        if lost is not None:
            lost.close()
        shutil.rmtree(before)

    def close(self) -> None:
        """See `Ground`."""
        if self._store is not None:
            self._store.close()
        shutil.rmtree(self._folder)


def journal(folder: Path) -> Ground:
    """The journal."""
    return FolderGround("journal", folder, lambda here: open_journal(here, genesis=genesis_hash, epoch=EPOCH))


def sqlite(folder: Path) -> Ground:
    """SQLite. Its commits are not flushed here: what a power cut would leave is another suite's matter, and the copy
    after a crash has what was written either way."""
    return FolderGround(
        "sqlite",
        folder,
        lambda here: open_sqlite(here / "runs.db", genesis=genesis_hash, epoch=EPOCH, now=NOW, synchronous="OFF"),
    )


class PostgresGround:
    """A database of PostgreSQL's, which outlives its servers.

    The oracle's server is told that nobody else uses it: what several replicas do at the same time has no one order
    that could be compared, and is the matter of `tests/replicas`. All statements are those that replicas make.
    """

    name = "postgres"

    def __init__(self, _folder: Path) -> None:
        self._database = cluster().new_database()
        self._store: Store | None = None
        self._real: list[int] = []

    def open(self) -> Store:
        """See `Ground`."""
        self._store = open_postgres(cluster().url(self._database), genesis=genesis_hash, epoch=EPOCH)
        return DenseStore(self._store, self._real).as_store()

    def crash(self) -> None:
        """See `Ground`. The server's connections end with it."""
        if self._store is not None:
            self._store.close()

    def close(self) -> None:
        """See `Ground`."""
        self.crash()
        cluster().drop_database(self._database)


class Fence:
    """A store as one server sees it: from the server's death on, nothing of it reaches the store.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            return _gone
        return getattr(self._store, name)

    def close(self) -> None:
        """The store is its ground's to close."""

    def as_store(self) -> Store:
        """Itself, by type."""
        return cast(Store, self)


def _gone(*_args: Any, **_options: Any) -> Any:
    raise StoreError("this server is dead")
