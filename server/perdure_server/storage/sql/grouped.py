"""Statements over many rows in few driver calls.

Each call into SQLite gives the GIL up and takes it back, once per row with `executemany`. Beside a busy event
loop every take costs a wait, and a transaction of 450 rows then lasts twice as long. A statement with all its
rows in one VALUES list costs one. Larger row counts are cut to powers of two, so that the driver's cache of
prepared statements stays small.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

MAX_ROWS: Final = 128
"""Rows of one statement; 128 rows of the widest table stay far below SQLite's 32,766 parameters."""

EXACT_ROWS: Final = 8
"""Up to here a statement is prepared for the very number of rows; above, for powers of two."""

Value: TypeAlias = "int | str | bytes | None"
Row: TypeAlias = tuple[Value, ...]


class Grouped:
    """One statement that takes any number of rows.

    Args:
        text: gives the SQL for a number of rows; its parameters are the rows' values, one row after the other.
    """

    __slots__ = ("_text", "_texts")

    def __init__(self, text: Callable[[int], str]) -> None:
        self._text = text
        self._texts: dict[int, str] = {}

    def _sql(self, rows: int) -> str:
        found = self._texts.get(rows)
        if found is None:
            found = self._texts[rows] = self._text(rows)
        return found

    def run(self, cursor: sqlite3.Cursor, rows: Sequence[Row]) -> None:
        """Executes for all rows, in order."""
        start, left = 0, len(rows)
        while left:
            count = left if left <= EXACT_ROWS else min(1 << (left.bit_length() - 1), MAX_ROWS)
            chunk = rows[start : start + count]
            cursor.execute(self._sql(count), list(chain.from_iterable(chunk)))
            start += count
            left -= count

    def read(self, cursor: sqlite3.Cursor, rows: Sequence[Row]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Executes a SELECT for all rows. Gives each answer with the number of the first row it was asked with.

        Rows go in chunks, filled up with NULLs, which no join finds.
        """
        for start in range(0, len(rows), MAX_ROWS):
            chunk = list(rows[start : start + MAX_ROWS])
            count = 1 << (len(chunk) - 1).bit_length()
            chunk += [(None,) * len(chunk[0])] * (count - len(chunk))
            for answer in cursor.execute(self._sql(count), list(chain.from_iterable(chunk))).fetchall():
                yield start, answer


def values_list(rows: int, width: int) -> str:
    """`(?,?),(?,?)` for two rows of two."""
    row = f"({','.join('?' * width)})"
    return ",".join([row] * rows)


def numbered_values(rows: int, width: int) -> str:
    """`(0,?,?),(1,?,?)`: each row behind its own number."""
    row = ",?" * width
    return ",".join(f"({number}{row})" for number in range(rows))


def _names(columns: Sequence[sa.Column[object]]) -> str:
    return ", ".join(f'"{column.name}"' for column in columns)


def insert(table: sa.Table, *, on_conflict: str = "") -> Grouped:
    """Inserts rows that hold every column in the schema's order.

    Args:
        on_conflict: what to do where the key exists: `REPLACE` the row, replace all but one column (`KEEP column`),
            keep it (`NOTHING`), or fail (empty).
    """
    columns = list(table.columns)
    verb = "INSERT OR REPLACE" if on_conflict == "REPLACE" else "INSERT"
    tail = " ON CONFLICT DO NOTHING" if on_conflict == "NOTHING" else ""
    if on_conflict.startswith("KEEP "):
        key, *others = [column.name for column in columns if column.name != on_conflict.removeprefix("KEEP ")]
        tail = f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)}"
    head = f"{verb} INTO {table.name} ({_names(columns)}) VALUES "
    return Grouped(lambda rows: head + values_list(rows, len(columns)) + tail)


def update(table: sa.Table, key: str, columns: Sequence[str]) -> Grouped:
    """Sets columns of rows found by an integer key. A row: the key, then the columns' values."""
    one = ", ".join(f"{name} = ?{number}" for number, name in enumerate(columns, 2))
    many = ", ".join(f"{name} = new.column{number}" for number, name in enumerate(columns, 2))

    def text(rows: int) -> str:
        if rows == 1:
            return f"UPDATE {table.name} SET {one} WHERE {key} = ?1"
        source = values_list(rows, len(columns) + 1)
        return f"UPDATE {table.name} SET {many} FROM (VALUES {source}) AS new WHERE {table.name}.{key} = new.column1"

    return Grouped(text)


def delete(table: sa.Table, keys: Sequence[str]) -> Grouped:
    """Deletes rows by key columns."""
    if len(keys) == 1:
        return Grouped(lambda rows: f"DELETE FROM {table.name} WHERE {keys[0]} IN ({','.join('?' * rows)})")
    names = ", ".join(keys)
    return Grouped(lambda rows: f"DELETE FROM {table.name} WHERE ({names}) IN (VALUES {values_list(rows, len(keys))})")
