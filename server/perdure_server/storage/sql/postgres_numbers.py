"""Ledger positions and numbers of identifiers, given to several writers at once; and where readers may read to.

Positions come from a sequence, so a later one may be committed first. A writer takes a shared advisory lock on the
sequence's last value before it takes positions, and holds it until its transaction ends. Whoever reads the last
value, and after that the lowest such lock, knows that nothing can still appear at or below the lower of the two:
a writer that had no lock yet will take positions beyond the value read, and one that let go had committed.
Rolled-back positions stay holes.

A crash of the server takes with it what was not on its disk yet: positions that were rolled back just before, which a
reader may know to be passed, would be given again below the reader's place, and transaction ids would be, too. So
each start of the server is noted in the store, and whoever is the first to notice a new one skips more positions
than can have been lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, LiteralString

import psycopg
import sqlalchemy as sa

from perdure_server.storage.port import StoreError

IDENTIFIER_BLOCK: Final = 1_000
"""Numbers of identifiers that one value of their sequence stands for."""

_LOCK_BITS: Final = 40
"""Of an advisory key for the position; 23 bits above them name the store within its database."""

LAST_POSITION: Final = "SELECT last_value FROM ledger_positions"

STARTED: Final = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"
"""When the server was started: Unix microseconds."""

LOCK_POSITIONS: Final = f"""
    SELECT pg_current_xact_id()::text, pg_advisory_xact_lock_shared($1 + last_value), {STARTED} FROM ledger_positions
"""
"""Must be a statement of its own, before TAKE_POSITIONS. `$1`: the store's advisory key."""

SKIPPED: Final = 1 << 16
"""Positions skipped after a start of the server. The log's writer brings what nobody waits for to the disk within
0.6 s; there is room for 16 million starts."""

STARTED_FACT: Final = "server_started"
"""Name of the fact about the store: the last start after which positions were skipped."""

_SKIP_LOCK: Final = (1 << _LOCK_BITS) - 3
_NOTED: Final = f"""
    SELECT {STARTED}, (SELECT value FROM store_meta WHERE name = '{STARTED_FACT}'),
        (SELECT value FROM store_meta WHERE name = 'epoch')
"""
_SKIP: Final = "SELECT setval('ledger_positions', last_value + $1) FROM ledger_positions"
_NOTE: Final = f"""
    INSERT INTO store_meta (name, value) VALUES ('{STARTED_FACT}', $1)
    ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value
"""

TAKE_POSITIONS: Final = """
    SELECT min(position), max(position), CASE WHEN max(position) - min(position) >= $1 THEN array_agg(position) END
    FROM (SELECT nextval('ledger_positions') AS position FROM generate_series(1, $1)) AS taken
"""

TAKE_IDENTIFIER_BLOCK: Final = "SELECT nextval('identifier_blocks')"

ADVISORY_KEY: Final = f"SELECT ('ledger_positions'::regclass::oid::bigint & {(1 << 23) - 1}) << {_LOCK_BITS}"

_HORIZON: Final = sa.text(
    f"""
    SELECT least(last_value, (
        SELECT min(((classid::bigint << 32) | objid::bigint) - :store)
        FROM pg_locks
        WHERE last_value IS NOT NULL AND locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND ((classid::bigint << 32) | objid::bigint) >> {_LOCK_BITS} = :store >> {_LOCK_BITS}))
    FROM ledger_positions
    """
).bindparams(sa.bindparam("store", type_=sa.BigInteger()))
"""The locks are asked for with the last value in hand (`last_value IS NOT NULL`), so they are read after it."""


def read_horizon(connection: sa.Connection, advisory_key: int) -> int:
    """The position at or below which nothing can still appear, by one statement. It looks at no snapshot; what is
    read up to the answer must be read in a later one."""
    return connection.execute(_HORIZON, {"store": advisory_key}).scalar_one()


def skip_lost_positions(
    connection: psycopg.Connection[Any], advisory_key: int, begin: Sequence[LiteralString], epoch: str
) -> int:
    """Skips the positions that the last crash of the server may have lost, unless another process has; when the
    server was started. Nobody takes positions from a server before that.

    Raises: StoreError if the data has another epoch than it had when this process opened it.
    """
    for statement in begin:
        connection.execute(statement)
    connection.execute("SELECT pg_advisory_xact_lock($1)", (advisory_key + _SKIP_LOCK,))
    row = connection.execute(_NOTED).fetchone()
    started, noted, found = row if row is not None else (0, None, epoch)
    if found != epoch:
        connection.execute("ROLLBACK")
        raise StoreError("the database was restored under another epoch: start this server again")
    if noted != str(started):
        connection.execute(_SKIP, (SKIPPED,))
        connection.execute(_NOTE, (str(started),))
    connection.execute("COMMIT")
    return started


class IdentifierNumbers:
    """Numbers for new identifiers, from blocks that no other process has."""

    def __init__(self) -> None:
        self._blocks: list[range] = []

    def lacks(self, count: int) -> int:
        """How many blocks must be added before so many can be given."""
        left = sum(map(len, self._blocks))
        return max(0, -((left - count) // IDENTIFIER_BLOCK)) if left < count else 0

    def add_block(self, value: int) -> None:
        """Takes in a value of the sequence."""
        self._blocks.append(range(value * IDENTIFIER_BLOCK + 1, (value + 1) * IDENTIFIER_BLOCK + 1))

    def give(self) -> Iterator[int]:
        """The next ones. What a transaction that failed took is not given again."""
        while self._blocks:
            block = self._blocks[0]
            if block:
                self._blocks[0] = block[1:]
                yield block[0]
            else:
                del self._blocks[0]

    def forget(self) -> None:
        """Gives none of these any more: the database may be another one."""
        self._blocks.clear()


def as_positions(row: tuple[Any, ...]) -> list[int] | range:
    """What TAKE_POSITIONS gave."""
    first, last, several = row
    return range(first, last + 1) if several is None else several
