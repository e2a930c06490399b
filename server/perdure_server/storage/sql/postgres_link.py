"""The writing connection to PostgreSQL: made anew after it was lost, with growing pauses; and what became of a
transaction whose end nobody heard of."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final, LiteralString, TypeVar, cast

import psycopg

from perdure_server.clock import SystemClock
from perdure_server.storage.port import StoreError
from perdure_server.storage.sql.arrays import register
from perdure_server.storage.sql.postgres_numbers import STARTED
from perdure_server.storage.sql.postgres_url import (
    WRITER_SETTINGS,
    PostgresTarget,
    answered_with,
    one_line,
    set_locally,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_US: Final = 100_000
LAST_PAUSE_US: Final = 2_000_000
SETTLE_WITHIN_US: Final = 20_000_000
SETTLE_PAUSE_S: Final = 0.2
UNREACHABLE: Final = "PostgreSQL cannot be reached"

_LOST: Final = ("08", "57P01", "57P02", "57P03")
"""SQLSTATEs of a connection that ends: connection exceptions, and a server that stops, crashes or starts."""

_KEPT: Final = (
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""What the caller decides about."""

_OUTCOME: Final = f"SELECT CASE WHEN {STARTED} = $2 THEN pg_xact_status($1::xid8) ELSE 'restarted' END"
_IS_KEPT: Final = """
    SELECT EXISTS (SELECT FROM records WHERE position = $1) OR EXISTS (SELECT FROM events WHERE position = $1)
"""
_END_IT: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid::text::bigint = $1::bigint & 4294967295
"""


class LostError(StoreError):
    """The connection ended during the call."""


class Link:
    """One connection for writing, used from one thread at a time.

    Args:
        target: where to connect to.
    """

    def __init__(self, target: PostgresTarget) -> None:
        self._target = target
        self._clock = SystemClock()
        self._closed = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._pause_us = 0
        self._not_before = 0
        self.connected = 0
        """How often a connection was made."""
        self.prepares = not target.pooled
        settings = (cast(LiteralString, set_locally(WRITER_SETTINGS)),) if target.pooled else ()
        self.begin: tuple[LiteralString, ...] = ("BEGIN", *settings)
        """The statements that begin a transaction."""

    def connection(self) -> psycopg.Connection[Any]:
        """The connection, in autocommit mode; a new one if there is none.

        Raises: StoreError if there is none to be had. Who asks again too soon after that only gets the same error.
        """
        if self._connection is not None and not self._connection.closed:
            return self._connection
        now = self._clock.monotonic()
        if self._closed.is_set():
            raise StoreError("the store is closed")
        if now < self._not_before:
            raise StoreError(UNREACHABLE)
        try:
            connection = self._target.connect(WRITER_SETTINGS, autocommit=True, cursor_factory=psycopg.RawCursor)
        except StoreError as error:
            self._pause_us = min(self._pause_us * 2 or FIRST_PAUSE_US, LAST_PAUSE_US)
            self._not_before = self._clock.monotonic() + self._pause_us
            # Clients are told: no addresses.
            log.info("the writer cannot connect: %s", error)
            raise StoreError(UNREACHABLE) from error
        register(connection)
        self._pause_us = 0
        self.connected += 1
        self._connection = connection
        return connection

    def guarded(self, work: Callable[[], T]) -> T:
        """Calls `work`; the driver's errors become StoreErrors, but for those that values and races cause.

        Raises: LostError if the connection ended; it is dropped then. StoreDamagedError.
        """
        try:
            return work()
        except psycopg.Error as error:
            if self.is_lost(error):
                self.drop()
                raise LostError(f"PostgreSQL went away: {one_line(error)}") from error
            if isinstance(error, _KEPT):
                raise
            raise answered_with(error) from error

    def is_lost(self, error: psycopg.Error) -> bool:
        """Whether the error means that the connection is gone."""
        connection = self._connection
        return connection is None or connection.closed or (error.sqlstate or "").startswith(_LOST)

    def drop(self) -> None:
        """Closes the connection; the next call makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def outcome(self, transaction_id: str, started: int, position: int) -> str:
        """What became of a transaction whose connection is gone: "committed", "aborted", or "unknown".

        A transaction that is still in progress has not got its COMMIT: its end is hastened. After a restart of the
        server its id may be another one's; then the row tells that it wrote at a position of its own.

        Args:
            started: when the server of the transaction was started.
            position: the last one that the transaction took; 0 if it took none.
        """
        self.drop()
        deadline = self._clock.monotonic() + SETTLE_WITHIN_US
        while self._clock.monotonic() < deadline:
            try:
                found = self._ask_outcome(transaction_id, started, position)
            except (StoreError, psycopg.OperationalError) as error:
                log.info("the outcome of a commit is not known yet: %s", error)
                self.drop()
            else:
                if found in {"committed", "aborted"}:
                    return found
                if found == "restarted":
                    break
            if self._closed.wait(SETTLE_PAUSE_S):
                break
        return "unknown"

    def _ask_outcome(self, transaction_id: str, started: int, position: int) -> str:
        connection = self.connection()
        row = connection.execute(_OUTCOME, (transaction_id, started)).fetchone()
        found = str(row[0]) if row else ""
        if found == "restarted" and position:
            row = connection.execute(_IS_KEPT, (position,)).fetchone()
            return "committed" if row is not None and row[0] else "aborted"
        if found == "in progress":
            connection.execute(_END_IT, (transaction_id,))
        return found

    def give_up(self) -> None:
        """From any thread: makes no further connection, and waits for no outcome any more."""
        self._closed.set()
