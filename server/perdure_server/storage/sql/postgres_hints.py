"""What a process tells others, and hears of them, beside its transactions: "something was committed", and the time.

One thread with one connection. It listens on the store's channel; it sends at most one notification every 20 ms,
outside of every write transaction, because a transaction with a NOTIFY in it makes all commits of the cluster wait
for each other; and it measures the database's clock, in which leases are kept. All of it may fail: whoever waits
for changes polls anyway, and the clock's last measurement stays in force.

Through a transaction-pooling proxy there is no LISTEN: then nobody is told, and others only poll.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from typing import Any, Final

import psycopg
from psycopg import sql

from perdure_server.clock import SystemClock
from perdure_server.storage.port import StoreError
from perdure_server.storage.sql.postgres_url import HINT_SETTINGS, PostgresTarget

log = logging.getLogger(__name__)

DEBOUNCE_US: Final = 20_000
CLOCK_EVERY_US: Final = 3_000_000
FIRST_PAUSE_US: Final = 100_000
LAST_PAUSE_US: Final = 5_000_000

_CLOCK: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class Hints:
    """Hints of a store.

    Args:
        target: where the store is.
        channel: of the notifications; the same for all processes of the store.

    Raises: StoreError if the first connection cannot be made.
    """

    def __init__(self, target: PostgresTarget, channel: str) -> None:
        self._target = target
        self._channel = sql.Identifier(channel)
        self._clock = SystemClock()
        self._closing = threading.Event()
        self._dirty = threading.Event()
        self._changed = threading.Event()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._connection: psycopg.Connection[Any] | None = None
        self._told_at = 0
        self._measured_at = 0
        self._pause_us = 0
        self.lease_offset = 0
        """Microseconds from this machine's monotonic clock to the database's clock."""
        self._connect()
        self._thread = threading.Thread(target=self._work, name="perdure-hints", daemon=True)
        self._thread.start()

    def mark(self) -> None:
        """This process has committed something."""
        if not self._dirty.is_set():
            self._dirty.set()
            self._wake()

    def wait(self, timeout_us: int) -> bool:
        """Blocks until another process said that it committed something, until the time is over, or until `close`."""
        hinted = self._changed.wait(timeout_us / 1_000_000)
        if hinted and not self._closing.is_set():
            self._changed.clear()
        return hinted and not self._closing.is_set()

    def close(self) -> None:
        """Ends the thread and lets go whoever waits. Idempotent."""
        if not self._closing.is_set():
            self._closing.set()
            self._changed.set()
            self._wake()
            self._thread.join()
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            return  # it is full of wake-ups already

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._target.connect(HINT_SETTINGS, autocommit=True)
        try:
            if not self._target.pooled:
                connection.execute(sql.SQL("LISTEN {}").format(self._channel))
            self._connection = connection
            self._measure(connection)
        except psycopg.Error as error:
            self._drop()
            raise StoreError(f"{self._target.shown}: {error}") from error
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                connection = self._connection or self._connect()
                self._pass(connection)
                self._pause_us = 0
            except (psycopg.Error, StoreError, OSError) as error:
                if not self._pause_us:
                    log.warning("hints of other processes pause, they are polled for meanwhile: %s", error)
                self._drop()
                self._changed.set()
                self._pause_us = min(self._pause_us * 2 or FIRST_PAUSE_US, LAST_PAUSE_US)
                self._closing.wait(self._pause_us / 1_000_000)
        self._drop()

    def _pass(self, connection: psycopg.Connection[Any]) -> None:
        """Waits for something to do, and does it."""
        now = self._clock.monotonic()
        due_at = self._measured_at + CLOCK_EVERY_US
        if self._dirty.is_set():
            due_at = min(due_at, self._told_at + DEBOUNCE_US)
        ready, _, _ = select.select([connection.fileno(), self._wake_reader], [], [], max(due_at - now, 0) / 1_000_000)
        if self._wake_reader in ready:
            os.read(self._wake_reader, 4096)
        self._hear(connection)
        now = self._clock.monotonic()
        if self._dirty.is_set() and now >= self._told_at + DEBOUNCE_US and not self._closing.is_set():
            self._tell(connection, now)
        if now >= self._measured_at + CLOCK_EVERY_US:
            self._measure(connection)
        # What came with the answers to these would otherwise lie there until something else comes.
        self._hear(connection)

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        heard = False
        for notification in connection.notifies(timeout=0):
            heard = heard or notification.pid != connection.info.backend_pid
        if heard:
            self._changed.set()

    def _tell(self, connection: psycopg.Connection[Any], now: int) -> None:
        # Cleared first: what is committed from here on is told the next time.
        self._dirty.clear()
        self._told_at = now
        if not self._target.pooled:
            connection.execute(sql.SQL("NOTIFY {}").format(self._channel))

    def _measure(self, connection: psycopg.Connection[Any]) -> None:
        before = self._clock.monotonic()
        row = connection.execute(_CLOCK).fetchone()
        after = self._clock.monotonic()
        self._measured_at = after
        if row is not None:
            self.lease_offset = int(row[0]) - (before + after) // 2
