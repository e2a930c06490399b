"""The file of a SQLite store: who may open it, and with which settings."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, Literal, TypeAlias

from perdure_server.storage.port import StoreError
from perdure_server.storage.process_lock import ProcessLock

Synchronous: TypeAlias = Literal["FULL", "OFF"]
"""FULL: a commit returns after fdatasync. OFF exists for tests that show what FULL is for."""

APPLICATION_ID: Final = 0x50455244
"""Marks the file (`PRAGMA application_id`): ASCII "PERD"."""

WRITER_CACHE_KIB: Final = 16 * 1024
READER_CACHE_KIB: Final = 2 * 1024
STATEMENTS: Final = 512
"""Prepared statements kept by the writer: tables times powers of two up to 128 rows."""


def file_lock(path: Path) -> ProcessLock:
    """Keeps other processes, and a second store of this one, away from a file: the lock is `FILE.lock`."""
    file = os.path.realpath(path)
    lock = Path(f"{file}.lock")
    return ProcessLock(
        lock,
        unusable=f"cannot open {lock}",
        advice="the folder of a store must be there, and be writable",
        taken=(
            f"{file} is in use by process {{owner}}: a SQLite store serves one process at a time; "
            "stop that one or use another file"
        ),
    )


def connect_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """The one connection that writes, in autocommit mode, after a look at whose file it is.

    Raises: StoreError if the file is not ours or cannot be used.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    except sqlite3.Error as error:
        raise StoreError(f"cannot open {path}: {error}; does its folder exist and can it be written?") from error
    try:
        _claim(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{path}: this file system cannot hold a write-ahead log (journal mode {mode})")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path} is not a Perdure store: {error}") from error
    except StoreError:
        connection.close()
        raise
    return connection


def _claim(connection: sqlite3.Connection, path: Path) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark == APPLICATION_ID:
        return
    if mark or tables:
        raise StoreError(f"{path} is the database of another application; choose another file")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, usable from any thread, one at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = 1")
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection
