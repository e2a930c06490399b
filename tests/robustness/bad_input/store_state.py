"""What a SQLite store holds, read beside its server."""

from __future__ import annotations

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

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()
