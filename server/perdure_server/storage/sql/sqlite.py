"""The SQLite store: one file, one process, one writer, several readers.

The writer's connection carries commits (`sqlite_writer`, on the driver) and the rare writes beside them
(SQLAlchemy Core). Write-ahead log with `synchronous=FULL`: a commit returns after fdatasync, and readers see
it only then. Readers have their own small pool; each read is one transaction, so it sees whole commits only.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool, StaticPool

from perdure_server.storage.port import (
    CatalogChange,
    CatalogVerdict,
    Commit,
    Feature,
    LeaseRenewal,
    ObligationRows,
    RunKey,
    StoreDamagedError,
    StoreError,
    StoreInfo,
    Verdict,
    WaitRow,
)
from perdure_server.storage.process_lock import ProcessLock
from perdure_server.storage.rules import DEFAULT_NAMESPACE, Genesis
from perdure_server.storage.sql import (
    catalog,
    schema,
    upkeep,
)
from perdure_server.storage.sql.migrate import migrate
from perdure_server.storage.sql.reading import P, SqlReadingSide, T
from perdure_server.storage.sql.sqlite_file import Synchronous, connect_reader, connect_writer, file_lock
from perdure_server.storage.sql.sqlite_writer import SqliteCommitter

READERS: Final = 4
READER_WAIT_S: Final = 30

_FAILURES: Final = (DBAPIError, sqlite3.Error, UnicodeEncodeError, OverflowError)
"""What the drivers raise: the store fails, or was given text or numbers that it cannot hold."""

_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_FEATURES: Final = {
    "durable": Feature(True, "write-ahead log, synchronous=FULL: a commit returns after fdatasync"),
    "replicas": Feature(False, "one process serves one file; the file is locked against a second one"),
}


def _failure(error: Exception) -> StoreError:
    """A driver's error without statements, parameters and paths: clients are told."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.DatabaseError) and cause.sqlite_errorcode & 0xFF in _DAMAGE:
        return StoreDamagedError(f"SQLite says: {cause}")
    return StoreError(f"SQLite says: {cause}")


class SqliteStore(SqlReadingSide):
    """A store in one file. Made by `open_sqlite`."""

    def __init__(self, path: Path, lock: ProcessLock, writer: sqlite3.Connection, genesis: Genesis, epoch: str) -> None:
        self._path = path
        self._file_lock = lock
        self._connection = writer
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._events_kept = 0
        self._writes = _engine(lambda: writer, "BEGIN IMMEDIATE", readers=0)
        with self._writes.begin() as connection:
            migrate(connection)
            self._epoch, position, identifier_no = _start(connection, epoch)
            self._takes_old_tokens = not upkeep.read_meta(connection, upkeep.TOKENS_NAME_EPOCH)
        self._committer = SqliteCommitter(writer, genesis, position, identifier_no)
        self._reads = _engine(lambda: connect_reader(path), "BEGIN", readers=READERS)

    @contextmanager
    def _write(self) -> Generator[sa.Connection]:
        with self._exclusive(), self._writes.begin() as connection:
            yield connection

    @contextmanager
    def _exclusive(self) -> Generator[None]:
        with self._lock:
            self._check_open()
            try:
                yield
            except _FAILURES as error:
                raise _failure(error) from error

    def _query(self, read: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        self._check_open()
        try:
            with self._reads.begin() as connection:
                return read(connection, *args, **options)
        except _FAILURES as error:
            raise _failure(error) from error
        except PoolTimeoutError as error:
            raise StoreError(f"all {READERS} readers are busy") from error

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StoreError("the store is closed")

    # The writing side.

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        with self._exclusive():
            return self._committer.commit(batch)

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """See StoreWriter."""
        with self._write() as connection:
            return upkeep.renew_leases(connection, renewals)

    def reset_leases(self, expires_at: int) -> int:
        """See StoreWriter. A heartbeat that was due gets the same instant."""
        with self._write() as connection:
            return upkeep.reset_leases(connection, expires_at)

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """See StoreWriter."""
        with self._write() as connection:
            return catalog.change_catalog(connection, change)

    def install(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
        """See StoreWriter."""
        self._committer.forget(key)
        with self._write() as connection:
            return upkeep.install(connection, key, expected_seq, rows, wait, self._committer.horizon)

    def trim(self, requests_before: int, events_before: int, events_per_key: int, limit: int) -> int:
        """See StoreWriter. Of the keys, those that got events since the last trimming are counted; all if fewer
        events are kept than then.
        """
        committer = self._committer
        keys = committer.event_keys if events_per_key >= self._events_kept else None
        with self._write() as connection:
            aged = upkeep.trim_aged(connection, requests_before, events_before, limit, committer.horizon)
            surplus = upkeep.trim_surplus(connection, keys, events_per_key, limit - aged, committer.horizon)
        if aged + surplus < limit:
            committer.event_keys = set()
            self._events_kept = events_per_key
        return aged + surplus

    def close(self) -> None:
        """See StoreWriter. The last connection to close folds the write-ahead log into the file."""
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                self._reads.dispose()
                self._writes.dispose()
                self._connection.close()
                self._file_lock.release()

    # The reading side, beside what SqlReadingSide has.

    def info(self) -> StoreInfo:
        """See StoreReader."""
        self._check_open()
        return StoreInfo("sqlite", self._epoch, False, _FEATURES, self._takes_old_tokens)

    def horizon(self) -> int:
        """See StoreReader."""
        self._check_open()
        return self._committer.horizon

    def lease_offset(self) -> int:
        """See StoreReader. Leases are in the monotonic clock itself."""
        self._check_open()
        return 0

    def wait_for_change(self, timeout_us: int) -> bool:
        """See StoreReader. There are no other processes: ends with the time or the store."""
        self._check_open()
        self._closed.wait(timeout_us / 1_000_000)
        return False


def open_sqlite(
    path: str | Path, *, genesis: Genesis, epoch: str, now: int, synchronous: Synchronous = "FULL"
) -> SqliteStore:
    """Opens a store, or makes it if the file does not exist, and brings its schema up to date.

    Args:
        path: the file. Beside it stand `-wal` and `-shm` (SQLite's) and `.lock`.
        genesis: gives the `prev_hash` of a run's first record.
        epoch: identity of the data if it is new.
        now: creation time of the default namespace if it is new, Unix microseconds.
        synchronous: FULL, unless a test wants to see what happens otherwise.

    Raises: StoreError if the file is in use, not ours, newer than this version, or cannot be used.
    """
    path = Path(path)
    lock = file_lock(path)
    lock.acquire()
    try:
        writer = connect_writer(path, synchronous)
    except StoreError:
        lock.release()
        raise
    try:
        return SqliteStore(path, lock, writer, genesis, epoch)
    except BaseException as error:
        writer.close()
        lock.release()
        if isinstance(error, (DBAPIError, sqlite3.Error)):
            raise StoreError(f"{path} is not a usable store: {error}") from error
        raise


def _engine(connect: Callable[[], sqlite3.Connection], begin: str, readers: int) -> sa.Engine:
    """An engine whose transactions start with `begin`; the driver must be in autocommit mode."""
    if readers:
        engine = sa.create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=readers,
            max_overflow=0,
            pool_timeout=READER_WAIT_S,
        )
    else:
        engine = sa.create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    def open_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "begin", open_transaction)
    return engine


def _start(connection: sa.Connection, epoch: str) -> tuple[str, int, int]:
    """Identity of the data, its last position and its last identifier number."""
    found = upkeep.read_meta(connection, "epoch")
    if not found:
        upkeep.write_meta(connection, "epoch", epoch)
        upkeep.write_meta(connection, upkeep.TOKENS_NAME_EPOCH, "1")
        row = {"namespace": DEFAULT_NAMESPACE, "description": "", "created_at": 0}
        connection.execute(sa.insert(schema.namespaces), row)
    last = [
        connection.execute(sa.select(sa.func.max(column))).scalar() or 0
        for column in (schema.records.c.position, schema.events.c.position, schema.identifiers.c.identifier_no)
    ]
    position = max(last[0], last[1], int(upkeep.read_meta(connection, "position") or 0))
    return found or epoch, position, last[2]
