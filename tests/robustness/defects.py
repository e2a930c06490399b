"""Defects that a test plants in a server, to see that a suite finds them. Each takes one defence away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from perdure_server import app
from perdure_server.storage.port import Commit, Verdict
from perdure_server.storage.sql.sqlite import SqliteStore


def plant(name: str) -> None:
    """Changes the server's code in this process."""
    DEFECTS[name]()


def _forget_requests() -> None:
    """Request ids are not kept: a call that is sent again acts again."""
    commit = SqliteStore.commit

    def without_request(store: SqliteStore, batch: Sequence[Commit]) -> list[Verdict]:
        return commit(store, [replace(each, request=None) for each in batch])

    SqliteStore.commit = without_request


def _unsynced() -> None:
    """SQLite does not wait for the disk."""
    app.open_sqlite = partial(app.open_sqlite, synchronous="OFF")


DEFECTS: Mapping[str, Callable[[], None]] = {
    "forget_requests": _forget_requests,
    "unsynced": _unsynced,
}
