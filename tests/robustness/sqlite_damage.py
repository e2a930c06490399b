"""Damage to a SQLite file: one page of a table overwritten. The format is that of
https://www.sqlite.org/fileformat2.html#b_tree_pages."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_INTERIOR = (2, 5)


def damage_page(store: Path, table: str, filling: int) -> None:
    """Overwrites a leaf page in the middle of a table. No process may have the file open.

    Args:
        filling: the byte that stands there afterwards.
    """
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    data = store.read_bytes()
    page = root
    while data[start := (page - 1) * page_size] in _INTERIOR:
        middle = int.from_bytes(data[start + 3 : start + 5], "big") // 2
        cell = start + int.from_bytes(data[start + 12 + 2 * middle : start + 14 + 2 * middle], "big")
        page = int.from_bytes(data[cell : cell + 4], "big")
    with store.open("r+b") as file:
        file.seek((page - 1) * page_size)
        file.write(bytes([filling]) * page_size)
