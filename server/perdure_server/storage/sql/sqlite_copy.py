"""Copies of a SQLite store: taken while a server writes it, and put in place of one.

A copy is taken by SQLite's backup API inside of one read transaction, so it is the store at one instant, the one at
which the copying began: what was acknowledged before is in it. Writers go on meanwhile; their log grows until the copy
is done, because a checkpoint may not pass a reader. A copy is one file, without a log.

Data that is put in place gets another epoch. Its positions will be given again, to other records, so whoever
reads with a cursor of the time before must be told (CURSOR_FROM_OTHER_STORE) instead of being shown a gap. Attempts
will be handed out again, too, so a task token of the time before is stale.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perdure_server.storage.port import StoreError
from perdure_server.storage.sql.migrate import REVISIONS
from perdure_server.storage.sql.sqlite_file import APPLICATION_ID, file_lock
from perdure_server.storage.sql.upkeep import TOKENS_NAME_EPOCH

PAGES_A_STEP: Final = 2_048
"""8 MiB between two reports of progress."""

LOG_FILES: Final = ("-wal", "-shm")

Progress = Callable[[int, int], None]
"""Called with the pages that are left, and all."""


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What a copy holds.

    Attributes:
        epoch: identity of the data.
        schema: its revision.
        position: its last position; 0 for none.
    """

    path: Path
    bytes: int
    schema: str
    epoch: str
    runs: int
    records: int
    position: int


def take_copy(source: Path, target: Path, progress: Progress) -> CopyFacts:
    """Copies a store, which a server may be writing, into a new file, and verifies the copy.

    Raises: StoreError if the source is no store or the target exists; nothing is left at the target then.
    """
    if not source.is_file():
        raise StoreError(f"there is no store at {source}: --store names the file that `perdure serve` uses")
    if target.exists():
        raise StoreError(f"{target} exists: a copy never replaces a file; choose another name")
    with _new_file(target) as partial:
        _copy(source, partial, progress)
        facts = inspect_copy(partial)
    return _renamed(facts, target)


def put_in_place(source: Path, target: Path, epoch: str, progress: Progress, *, replace: bool = False) -> CopyFacts:
    """Makes a copy the store at `target`, as data of another epoch.

    Args:
        source: a copy; it is only read.
        epoch: the new identity of the data.
        replace: a store that is there is renamed to `TARGET.replaced`, with its log.

    Raises: StoreError if the copy is damaged or newer than this version, the target is in use, or it exists
        and is not to be replaced; what is at the target is untouched then.
    """
    if not source.is_file():
        raise StoreError(f"there is no copy at {source}")
    if target.exists() and os.path.samefile(source, target):
        raise StoreError(f"{source} is the store itself; restore from a copy of it")
    inspect_copy(source)
    with _locked(target):
        if target.exists() and not replace:
            raise StoreError(f"{target} exists: move it away, or say --replace to have it renamed to {target}.replaced")
        with _new_file(target, lambda: _set_aside(target)) as partial:
            _copy(source, partial, progress)
            _write_epoch(partial, epoch)
            facts = inspect_copy(partial)
    return _renamed(facts, target)


def change_epoch(target: Path, epoch: str) -> CopyFacts:
    """Makes data that was put in place by other means (a snapshot of the disk) data of another epoch.

    Raises: StoreError if it is in use, damaged, or no store.
    """
    if not target.is_file():
        raise StoreError(f"there is no store at {target}")
    with _locked(target):
        inspect_copy(target)
        _write_epoch(target, epoch)
        return inspect_copy(target)


def inspect_copy(path: Path) -> CopyFacts:
    """Reads the whole file and what it says of itself. Raises: StoreError if it is damaged, foreign or newer."""
    try:
        with closing(_open(path)) as connection:
            return _facts(connection, path)
    except sqlite3.Error as error:
        raise StoreError(f"{path} is not a usable store: {error}") from error


def _facts(connection: sqlite3.Connection, path: Path) -> CopyFacts:
    def one(statement: str) -> object:
        row = connection.execute(statement).fetchone()
        return row[0] if row is not None else ""

    if one("PRAGMA application_id") != APPLICATION_ID:
        raise StoreError(f"{path} is not a Perdure store")
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    if problems != ["ok"]:
        raise StoreError(f"{path} is damaged: {'; '.join(problems)}; use another copy")
    schema = str(one("SELECT version_num FROM alembic_version"))
    if schema not in REVISIONS:
        raise StoreError(f"{path} has schema {schema}, made by a newer Perdure; use that release")
    last = max(int(str(one(f"SELECT coalesce(max(position), 0) FROM {table}"))) for table in ("records", "events"))
    return CopyFacts(
        path=path,
        bytes=path.stat().st_size,
        schema=schema,
        epoch=str(one("SELECT value FROM store_meta WHERE name = 'epoch'")),
        runs=int(str(one("SELECT count(*) FROM runs"))),
        records=int(str(one("SELECT count(*) FROM records"))),
        position=max(last, int(str(one("SELECT value FROM store_meta WHERE name = 'position'") or 0))),
    )


def _open(path: Path) -> sqlite3.Connection:
    """A connection to a file that exists; never makes one."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)


def _copy(source: Path, partial: Path, progress: Progress) -> None:
    try:
        with closing(_open(source)) as reader, closing(sqlite3.connect(partial, isolation_level=None)) as writer:
            reader.execute("PRAGMA query_only = 1")
            if reader.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                raise StoreError(f"{source} is not a Perdure store")
            # Without this the copying would begin anew whenever the server commits, and never end.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reader.backup(writer, pages=PAGES_A_STEP, progress=lambda _, left, total: progress(left, total))
            reader.execute("COMMIT")
            writer.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source} to {partial}: {error}") from error


def _write_epoch(path: Path, epoch: str) -> None:
    try:
        with closing(_open(path)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE store_meta SET value = ? WHERE name = 'epoch'", (epoch,))
            connection.execute("INSERT OR REPLACE INTO store_meta VALUES (?, '1')", (TOKENS_NAME_EPOCH,))
            connection.execute("COMMIT")
            # Back to one file: a log beside it would be taken for that of whatever gets this name.
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise StoreError(f"cannot change {path}: {error}") from error


@contextmanager
def _new_file(target: Path, before_rename: Callable[[], None] = lambda: None) -> Generator[Path]:
    """A file that gets the target's name, on disk, when the block has ended well; else it is gone."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        yield partial
        _sync(partial)
        before_rename()
        os.replace(partial, target)
        _sync(target.absolute().parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error}") from error
    finally:
        for name in (partial, *(Path(f"{partial}{suffix}") for suffix in (*LOG_FILES, "-journal"))):
            name.unlink(missing_ok=True)


@contextmanager
def _locked(target: Path) -> Generator[None]:
    lock = file_lock(target)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _set_aside(target: Path) -> None:
    """Renames what is at the target; a log without its store, too, would be taken for the new one's."""
    for suffix in ("", *LOG_FILES):
        path, aside = Path(f"{target}{suffix}"), Path(f"{target}.replaced{suffix}")
        if path.exists():
            if aside.exists():
                raise StoreError(f"{aside} exists already: move it away first")
            os.rename(path, aside)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _renamed(facts: CopyFacts, path: Path) -> CopyFacts:
    return CopyFacts(path, facts.bytes, facts.schema, facts.epoch, facts.runs, facts.records, facts.position)
