"""The file of a SQLite store: who may open it, and with which settings."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final, Literal, TypeAlias

from perdure_server.storage.port import StoreError

Synchronous: TypeAlias = Literal["FULL", "OFF"]
"""FULL: a commit returns after fdatasync. OFF exists for tests that show what FULL is for."""

APPLICATION_ID: Final = 0x50455244
"""Marks the file (`PRAGMA application_id`): ASCII "PERD"."""

WRITER_CACHE_KIB: Final = 16 * 1024
READER_CACHE_KIB: Final = 2 * 1024
STATEMENTS: Final = 512
"""Prepared statements kept by the writer: tables times powers of two up to 128 rows."""


class FileLock:
    """Keeps other processes, and a second store of this one, away from a file.

    An flock(2) on `FILE.lock`: it belongs to the open file, so the kernel drops it when the process ends,
    however it ends. The lock file stays; it holds the owner's process id, for the message only.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{os.path.realpath(path)}.lock")
        self._descriptor = -1

    def acquire(self) -> None:
        """Raises StoreError if another store holds the file."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"cannot open {self._path}: {error.strerror}; the folder of a store must be there, and be writable"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            self.release()
            raise StoreError(
                f"{self._path.with_suffix('')} is in use by process {owner or 'unknown'}: a SQLite store serves "
                "one process at a time; stop that one or use another file"
            ) from error
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets go. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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
