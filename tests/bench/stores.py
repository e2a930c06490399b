"""`python -m tests.bench.stores`: the stores on disk side by side, without a server.

Commits a second in batches of 64 (a step's commit: the end of one attempt, the beginning of the next, a leased
task), and the start of a store with many waiting runs.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from perdure_server.app import YOUNG_OBJECTS
from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.port import Commit, Store, VerdictKind
from perdure_server.storage.sql.sqlite import open_sqlite
from tests.bench.machine import describe
from tests.contract.bindings import EPOCH, NOW, genesis
from tests.contract.builders import create, leased_task, payload, put_task, record, step, task, wait, waiting_head

BATCH = 64
STEPS_A_RUN = 10

OPEN: dict[str, Callable[[Path], Store]] = {
    "journal": lambda folder: open_journal(folder / "journal", genesis=genesis, epoch=EPOCH),
    "sqlite": lambda folder: open_sqlite(folder / "runs.db", genesis=genesis, epoch=EPOCH, now=NOW),
}


def batches() -> Iterator[list[Commit]]:
    """Runs of ten steps, 64 at a time: two records of 200 bytes and a payload of 100 a step."""
    generation = 0
    while True:
        names = [f"run-{generation:06d}-{number:02d}" for number in range(BATCH)]
        yield [Commit("default", new_runs=(create(name, change=put_task(task(1))),)) for name in names]
        for number in range(STEPS_A_RUN):
            seq = 1 + 2 * number
            rows = tuple(record(seq + n, record=bytes(200), payloads=(payload(0, bytes(100)),)) for n in (1, 2))
            change = put_task(leased_task(seq + 2))
            yield [step(name, seq, count=2, records=rows, change=change) for name in names]
        generation += 1


def rate(name: str, folder: Path, seconds: float) -> float:
    """Commits a second."""
    store = OPEN[name](folder)
    made = batches()
    for batch in islice(made, 30):
        store.commit(batch)
    commits, spent = 0, 0.0
    while spent < seconds:
        batch = next(made)
        start = time.perf_counter()
        verdicts = store.commit(batch)
        spent += time.perf_counter() - start
        commits += len(batch)
        if verdicts[0].kind is not VerdictKind.COMMITTED:
            raise SystemExit(f"{name}: {verdicts[0]}")
    store.close()
    return commits / spent


def fill(store: Store, runs: int) -> None:
    """Runs that wait for a person, with five records each."""
    for first in range(0, runs, 500):
        names = [f"run-{number:08d}" for number in range(first, min(first + 500, runs))]
        store.commit([Commit("default", new_runs=(create(name, last=2),)) for name in names])
        rows = tuple(record(seq, record=bytes(200), payloads=(payload(0, bytes(100)),)) for seq in (3, 4, 5))
        head = waiting_head(5, wait(5))
        store.commit([step(name, 2, count=3, records=rows, run_head=head) for name in names])


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def restart(name: str, folder: Path, runs: int) -> str:
    """How long a start takes, in a process of its own, and what it costs."""
    store = OPEN[name](folder)
    fill(store, runs)
    store.close()
    del store
    gc.collect()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        before = resident_mib()
        start = time.perf_counter()
        again = OPEN[name](folder)
        spent = time.perf_counter() - start
        size = sum(path.stat().st_size for path in folder.rglob("*")) / 2**20
        line = f"{spent:6.2f} s, {resident_mib() - before:5.0f} MiB more memory, {size:5.0f} MiB on disk"
        os.write(writer, line.encode())
        again.close()
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    return os.read(reader, 1_000).decode()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stores", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a sample (2)")
    parser.add_argument("--passes", type=int, default=3, help="interleaved passes (3)")
    parser.add_argument("--runs", type=int, default=100_000, help="waiting runs of the restart; 0: none")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="a real disk")
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)  # as a server does
    for name, value in describe(options.directory).items():
        sys.stdout.write(f"{name:<13} {value}\n")
    rates: dict[str, list[float]] = {name: [] for name in OPEN}
    for _ in range(options.passes):
        for name, found in rates.items():
            with tempfile.TemporaryDirectory(dir=options.directory) as folder:
                found.append(rate(name, Path(folder), options.seconds))
    for name, found in rates.items():
        sys.stdout.write(f"{name:<8} {max(found):8,.0f} commits/s in batches of {BATCH}, best of {len(found)}\n")
    for name in OPEN if options.runs else ():
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            sys.stdout.write(f"{name:<8} start with {options.runs:,} waiting runs: ")
            sys.stdout.write(f"{restart(name, Path(folder), options.runs)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
