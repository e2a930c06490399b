"""`python -m tests.upgrade.killed_migration FILE N`: opens a store and dies by SIGKILL before the Nth statement that
brings its schema up to date; prints "migrated" if there are fewer."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from perdure_server.engine.sealing import genesis_hash
from perdure_server.storage.sql import sqlite
from perdure_server.storage.sql.migrate import migrate


def main(path: str, last: int) -> None:
    """Opens the store with a migration that counts."""

    def counted(connection: sa.Connection) -> None:
        numbers = itertools.count(1)

        def before(*_: Any) -> None:
            if next(numbers) >= last:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(connection, "before_cursor_execute", before)
        migrate(connection)
        event.remove(connection, "before_cursor_execute", before)

    sqlite.__dict__["migrate"] = counted
    sqlite.open_sqlite(path, genesis=genesis_hash, epoch="0" * 32, now=1).close()
    sys.stdout.write("migrated\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
