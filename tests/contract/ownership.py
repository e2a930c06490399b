"""Programs that the file tests run as processes of their own: `python -m tests.contract.ownership WHAT FOLDER STORE`.

hold   opens the store, says "open", and keeps it until it is killed or its standard input ends
write  commits batches for ever and says the number of each one after `commit` has returned
count  commits `write`'s first five batches and ends; with OFF as a fourth argument, without waiting for the disk
warm   opens the store and says which modules a start loads that it should not
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.port import Commit, Store, StoreError
from perdure_server.storage.sql.sqlite import open_sqlite
from tests.contract.bindings import EPOCH, JOURNAL, NOW, SQLITE, genesis
from tests.contract.builders import payload, put_task, record, start, step, task


class UnsyncedDisk(Disk):
    """Does not wait for the disk."""

    def sync(self, descriptor: int) -> None:
        """Does nothing."""


BINDINGS = {"sqlite": SQLITE, "journal": JOURNAL}
UNSYNCED: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: open_sqlite(folder / "runs.db", genesis=genesis, epoch=EPOCH, now=NOW, synchronous="OFF"),
    "journal": lambda folder: open_journal(folder / "journal", genesis=genesis, epoch=EPOCH, disk=UnsyncedDisk),
}

RUNS = 4
RECORDS = 3


def batch(number: int) -> list[Commit]:
    """The batch of this number: the runs are started by the first and get three records by each later one."""
    if number == 0:
        return [start(f"r{run}", change=put_task(task(1))) for run in range(RUNS)]
    expected = 1 + RECORDS * (number - 1)
    rows = tuple(record(expected + n, payloads=(payload(0, bytes(500)),)) for n in range(1, RECORDS + 1))
    return [step(f"r{run}", expected, count=RECORDS, records=rows) for run in range(RUNS)]


def say(word: object) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Does what the first argument says in the folder that the second names."""
    what, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if what == "count":
        store = UNSYNCED[name](folder) if sys.argv[4] == "OFF" else BINDINGS[name].open(folder)
        for number in range(5):
            store.commit(batch(number))
            say(f"acknowledged {number}")
        return
    try:
        store = BINDINGS[name].open(folder)
    except StoreError as error:
        say(f"refused: {error}")
        return
    if what == "hold":
        say("open")
        sys.stdin.read()
    elif what == "warm":
        say(sorted(name for name in ("alembic", "mako") if name in sys.modules))
    else:
        for number in count():
            store.commit(batch(number))
            say(number)


if __name__ == "__main__":
    main()
