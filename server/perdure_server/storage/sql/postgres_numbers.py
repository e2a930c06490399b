"""Ledger positions and numbers of identifiers, given to several writers at once; and where readers may read to.

Positions come from a sequence, so a later one may be committed first. A writer takes a shared advisory lock on the
sequence's last value before it takes positions, and holds it until its transaction ends. Whoever reads the last
value, and after that the lowest such lock, knows that nothing can still appear at or below the lower of the two:
a writer that had no lock yet will take positions beyond the value read, and one that let go had committed.
Rolled-back positions stay holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

IDENTIFIER_BLOCK: Final = 1_000
"""Numbers of identifiers that one value of their sequence stands for."""

_LOCK_BITS: Final = 40
"""Of an advisory key for the position; 23 bits above them name the store within its database."""

LAST_POSITION: Final = "SELECT last_value FROM ledger_positions"

LOCK_POSITIONS: Final = """
    SELECT pg_current_xact_id()::text, pg_advisory_xact_lock_shared($1 + last_value) FROM ledger_positions
"""
"""Must be a statement of its own, before TAKE_POSITIONS. `$1`: the store's advisory key."""

TAKE_POSITIONS: Final = """
    SELECT min(position), max(position), CASE WHEN max(position) - min(position) >= $1 THEN array_agg(position) END
    FROM (SELECT nextval('ledger_positions') AS position FROM generate_series(1, $1)) AS taken
"""

TAKE_IDENTIFIER_BLOCK: Final = "SELECT nextval('identifier_blocks')"

ADVISORY_KEY: Final = f"SELECT ('ledger_positions'::regclass::oid::bigint & {(1 << 23) - 1}) << {_LOCK_BITS}"

_LOWEST_LOCK: Final = sa.text(
    f"""
    SELECT min(((classid::bigint << 32) | objid::bigint) - :store)
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) >> {_LOCK_BITS} = :store >> {_LOCK_BITS}
    """
).bindparams(sa.bindparam("store", type_=sa.BigInteger()))
_LAST_POSITION: Final = sa.text(LAST_POSITION)


def read_horizon(connection: sa.Connection, advisory_key: int) -> int:
    """The position at or below which nothing can still appear. Neither statement looks at a snapshot; what is read
    up to the answer must be read in a later one."""
    last: int = connection.execute(_LAST_POSITION).scalar_one()
    lowest: int | None = connection.execute(_LOWEST_LOCK, {"store": advisory_key}).scalar()
    return last if lowest is None else min(last, lowest)


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
