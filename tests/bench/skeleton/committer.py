"""SQLite group commit: one synchronous writer thread, many rows per transaction."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue

Row = tuple[str, str, str]
"""(run id, node, body): one durable fact."""

_SCHEMA = "CREATE TABLE facts (position INTEGER PRIMARY KEY, run_id TEXT, node TEXT, body TEXT)"
_INSERT = "INSERT INTO facts (run_id, node, body) VALUES (?, ?, ?)"


class GroupCommitter:
    """Makes rows durable in the order they came; tells the caller after the fdatasync.

    While one transaction is being written the next one gathers, so that under
    load a disk flush is shared by all runs that wait for one.
    """

    def __init__(self, path: str) -> None:
        """Open `path` on the writer thread; must be called inside a running loop."""
        self.commits = 0
        self.transactions = 0
        self._loop = asyncio.get_running_loop()
        self._gathered: list[tuple[Row, Callable[[], None]]] = []
        self._writing = False
        self._scheduled = False
        self._batches: SimpleQueue[list[tuple[Row, Callable[[], None]]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, args=(path,), name="writer")
        self._thread.start()

    def submit(self, row: Row, on_durable: Callable[[], None]) -> None:
        """Queue `row`; `on_durable` is called on the loop once it is on disk."""
        self._gathered.append((row, on_durable))
        if not self._writing and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)

    def close(self) -> None:
        """Stop the writer thread after the batch in hand. Rows still gathering are dropped."""
        self._batches.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        self._scheduled = False
        if self._gathered and not self._writing:
            self._writing = True
            batch, self._gathered = self._gathered, []
            self._batches.put(batch)

    def _write(self, path: str) -> None:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(_SCHEMA)
        while (batch := self._batches.get()) is not None:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_INSERT, [row for row, _ in batch])
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._committed, batch)
        database.close()

    def _committed(self, batch: list[tuple[Row, Callable[[], None]]]) -> None:
        self.commits += len(batch)
        self.transactions += 1
        self._writing = False
        for _, on_durable in batch:
            on_durable()
        self._hand_over()
