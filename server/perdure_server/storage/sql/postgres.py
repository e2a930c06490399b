"""The PostgreSQL store: one database, any number of processes.

A process has one connection that writes (`postgres_writer`, on the driver), a pool that reads (SQLAlchemy Core;
the rare writes beside the commits borrow from it), and one for hints and the clock (`postgres_hints`). Leases are in
the database's clock. A connection that is lost fails the call under way and is made anew by the next one; reads are
tried a second time by themselves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from perdure_server.storage.port import (
    CatalogChange,
    CatalogVerdict,
    Commit,
    Feature,
    LeaseRenewal,
    ObligationRows,
    RunKey,
    StoreError,
    StoreInfo,
    Verdict,
    WaitRow,
)
from perdure_server.storage.rules import Genesis
from perdure_server.storage.sql import catalog, schema, upkeep
from perdure_server.storage.sql.postgres_hints import Hints
from perdure_server.storage.sql.postgres_link import Link
from perdure_server.storage.sql.postgres_numbers import read_horizon
from perdure_server.storage.sql.postgres_start import Start, prepare
from perdure_server.storage.sql.postgres_url import (
    READER_SETTINGS,
    PostgresTarget,
    answered_with,
    parse_postgres_url,
    set_locally,
)
from perdure_server.storage.sql.postgres_writer import PostgresCommitter
from perdure_server.storage.sql.reading import P, SqlReadingSide, T

log = logging.getLogger(__name__)

READER_WAIT_S: Final = 30
FULL_TRIM_EVERY: Final = 60
"""Of so many trimmings one looks at all keys of the event log, also those that processes left behind."""

_CATALOG_LOCK: Final = (1 << 40) - 1
_TRIM_LOCK: Final = (1 << 40) - 2
"""Advisory locks of the store, where no position will ever have one. Exclusive, so nobody takes them for one."""

_runs: Final = schema.runs.c
_LEASED: Final = sa.select(schema.tasks.c.run_no).where(schema.tasks.c.leased == sa.literal_column("1"))
_LOCK_LEASED: Final = sa.select(_runs.run_no).where(_runs.run_no.in_(_LEASED)).order_by(_runs.run_no)
_names: Final = schema.identifiers.c
_LOCK_ONE: Final = sa.select(_runs.run_no).where(
    _runs.run_no
    == sa.select(_names.identifier_no)
    .where(_names.namespace == sa.bindparam("of_namespace"), _names.identifier == sa.bindparam("of_run"))
    .scalar_subquery()
)
_LOCK_LINE: Final = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("line"), 0)))
"""As LOCK_LINES of the commits."""


class PostgresStore(SqlReadingSide):
    """A store in a PostgreSQL database. Made by `open_postgres`."""

    def __init__(self, target: PostgresTarget, start: Start, genesis: Genesis) -> None:
        self._target = target
        self._start = start
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._trims = 0
        self._events_kept = 0
        self._link = Link(target)
        self._committer = PostgresCommitter(self._link, genesis, start)
        self._pool = _engine(target, target.readers)
        self._reads = self._pool.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # A proxy gets its settings with each transaction, so there all are transactions.
        alone = self._pool.execution_options(isolation_level="AUTOCOMMIT")
        self._single_reads = self._reads if target.pooled else alone
        self._writes = self._pool.execution_options(isolation_level="READ COMMITTED")
        self._hints = Hints(target, f"perdure_{start.advisory_key >> 40}")

    def _query(self, read: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        return self._twice(self._reads, lambda connection: read(connection, *args, **options))

    def _ask(self, read: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        # Without BEGIN and COMMIT: one round trip in place of three.
        return self._twice(self._single_reads, lambda connection: read(connection, *args, **options))

    def _twice(self, engine: sa.Engine, read: Callable[[sa.Connection], T]) -> T:
        with self._failing():
            try:
                with engine.begin() as connection:
                    return read(connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            # The pool has thrown its connections away: they were all to the server that went.
            with engine.begin() as connection:
                return read(connection)

    @contextmanager
    def _write(self) -> Generator[sa.Connection]:
        with self._exclusive(), self._failing(), self._writes.begin() as connection:
            yield connection

    @contextmanager
    def _exclusive(self) -> Generator[None]:
        with self._lock:
            self._check_open()
            yield

    @contextmanager
    def _failing(self) -> Generator[None]:
        self._check_open()
        try:
            yield
        except DBAPIError as error:
            raise answered_with(error.orig or error) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise StoreError(f"PostgreSQL cannot hold this: {error}") from error
        except PoolTimeoutError as error:
            raise StoreError(f"all {self._target.readers} readers are busy") from error

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StoreError("the store is closed")

    # The writing side.

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter. Where the answer to a commit is lost, the database is asked what became of it; if that
        cannot be learned either, the StoreError says so, and each Commit may or may not have been kept.
        """
        with self._exclusive():
            verdicts = self._committer.commit(batch) if batch else []
        self._hints.mark()
        return verdicts

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """See StoreWriter."""
        with self._exclusive():
            return self._committer.renew_leases(renewals)

    def reset_leases(self, expires_at: int) -> int:
        """See StoreWriter. A heartbeat that was due gets the same instant."""
        with self._write() as connection:
            connection.execute(_LOCK_LEASED.with_for_update(key_share=True))
            return upkeep.reset_leases(connection, expires_at)

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """See StoreWriter. Changes of all processes wait for each other."""
        with self._write() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(self._start.advisory_key + _CATALOG_LOCK)))
            verdict = catalog.change_catalog(connection, change)
        self._hints.mark()
        return verdict

    def install(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
        """See StoreWriter."""
        with self._write() as connection:
            locked = _LOCK_ONE.with_for_update(key_share=True)
            connection.execute(locked, {"of_namespace": key.namespace, "of_run": key.run_id})
            if rows.slot is not None:
                connection.execute(_LOCK_LINE, {"line": f"{key.namespace}/{rows.slot.key}"})
            return upkeep.install(connection, key, expected_seq, rows, wait, self._committer.position)

    def trim(self, requests_before: int, events_before: int, events_per_key: int, limit: int) -> int:
        """See StoreWriter. One process trims at a time; the others have nothing to do then.

        Of the keys of the event log, those that got events from here since the last trimming are counted; now and
        then, and if fewer events are kept than before, all.
        """
        committer = self._committer
        self._trims += 1
        all_keys = events_per_key < self._events_kept or self._trims % FULL_TRIM_EVERY == 0
        keys = None if all_keys else committer.event_keys
        with self._write() as connection:
            lock = sa.func.pg_try_advisory_xact_lock(self._start.advisory_key + _TRIM_LOCK)
            if not connection.execute(sa.select(lock)).scalar_one():
                return 0
            aged = upkeep.trim_aged(connection, requests_before, events_before, limit, committer.position)
            surplus = upkeep.trim_surplus(connection, keys, events_per_key, limit - aged, committer.position)
        if aged + surplus < limit:
            committer.event_keys = set()
            self._events_kept = events_per_key
        return aged + surplus

    def close(self) -> None:
        """See StoreWriter."""
        if not self._closed.is_set():
            self._closed.set()
            self._link.give_up()
            self._hints.close()
            with self._lock:
                self._link.drop()
                self._pool.dispose()

    # The reading side, beside what SqlReadingSide has.

    def info(self) -> StoreInfo:
        """See StoreReader."""
        self._check_open()
        hints = Feature(
            not self._target.pooled,
            "polling only: a transaction-pooling proxy passes no notifications on"
            if self._target.pooled
            else "processes tell each other of commits (LISTEN/NOTIFY)",
        )
        return StoreInfo("postgresql", self._start.epoch, shared=True, features={**_FEATURES, "hints": hints})

    def horizon(self) -> int:
        """See StoreReader."""
        return self._ask(read_horizon, self._start.advisory_key)

    def lease_offset(self) -> int:
        """See StoreReader. Leases are in the database's clock."""
        self._check_open()
        return self._hints.lease_offset

    def wait_for_change(self, timeout_us: int) -> bool:
        """See StoreReader."""
        self._check_open()
        return self._hints.wait(timeout_us)


_FEATURES: Final = {
    "durable": Feature(True, "synchronous_commit=on: a commit returns after the write-ahead log is on disk"),
    "replicas": Feature(True, "any number of processes serve one database"),
}


def open_postgres(url: str, *, genesis: Genesis, epoch: str) -> PostgresStore:
    """Opens the store in a database, or makes it if the database has none, and brings its schema up to date.

    Args:
        url: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with parameters (see `postgres_url`).
        genesis: gives the `prev_hash` of a run's first record.
        epoch: identity of the data if it is new.

    Raises: StoreError if the database cannot be reached or used, with what to do.
    """
    target = parse_postgres_url(url)
    return PostgresStore(target, prepare(target, epoch), genesis)


def _engine(target: PostgresTarget, readers: int) -> sa.Engine:
    """Makes connections when they are first needed, at most so many."""

    def connect() -> psycopg.Connection[Any]:
        try:
            return target.connect(READER_SETTINGS)
        except StoreError as error:
            # As the pool's other failures, so that it sees to its connections. Clients are told: no addresses.
            log.info("a reader cannot connect: %s", error)
            raise psycopg.OperationalError("the database cannot be reached") from error

    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=readers,
        max_overflow=0,
        pool_timeout=READER_WAIT_S,
        hide_parameters=True,
        use_native_hstore=False,
    )
    if target.pooled:
        settings = set_locally(READER_SETTINGS)

        def set_up(connection: sa.Connection) -> None:
            connection.exec_driver_sql(settings)

        event.listen(engine, "begin", set_up)
    return engine
