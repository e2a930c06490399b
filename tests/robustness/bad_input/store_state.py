"""What a SQLite store holds, read beside its server."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path


class StoreState:
    """Looks at a store's file while its server runs.

    Args:
        store: the file.
    """

    def __init__(self, store: Path) -> None:
        self._connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True, isolation_level=None)

    def version(self) -> int:
        """Another number after any commit of the server."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def contents(self) -> dict[str, str]:
        """A digest of each table."""
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return {name: self._digest(name) for (name,) in tables.fetchall()}

    def _digest(self, table: str) -> str:
        digest = hashlib.sha256()
        for row in self._connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2'):
            digest.update(repr(row).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()
