"""`python -m tests.differential --seed 1 --count 5000 --stores memory,sqlite --shrink`: the oracle by hand."""

from __future__ import annotations

import argparse
import sys

from tests.differential.expected import missing
from tests.differential.grounds import MemoryGround, PostgresGround, journal, sqlite
from tests.differential.operations import stream
from tests.differential.oracle import DifferenceError, MakeGround, Tally, consult, problem_of
from tests.differential.shrinking import shrunk

STORES: dict[str, MakeGround] = {
    "memory": MemoryGround,
    "journal": journal,
    "sqlite": sqlite,
    "postgres": PostgresGround,
}


def main() -> int:
    """Consults the oracle; 1 if stores differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the stream")
    parser.add_argument("--count", type=int, default=5_000, help="operations")
    parser.add_argument("--stores", default="memory,journal,sqlite", help=f"some of {', '.join(STORES)}")
    parser.add_argument("--shrink", type=int, default=0, metavar="TRIES", help="shorten a failing stream")
    given = parser.parse_args()
    grounds = [STORES[name] for name in given.stores.split(",")]
    operations = stream(given.seed, given.count)
    problem = problem_of(lambda: tell(consult(operations, grounds, seed=given.seed)))
    if problem is None:
        return 0
    say(f"seed {given.seed}: {problem}")
    if given.shrink and isinstance(problem, DifferenceError):
        until = operations[: problem.step + 1]
        few = shrunk(
            until, lambda some: problem_of(lambda: consult(some, grounds, seed=given.seed)) is not None, given.shrink
        )
        say(f"shrunk to {len(few)} operations:\n  " + "\n  ".join(map(str, few)))
        say(str(problem_of(lambda: consult(few, grounds, seed=given.seed))))
    return 1


def tell(tally: Tally) -> None:
    """Prints what happened."""
    for name, counts in vars(tally).items():
        say(f"{name}: " + ", ".join(f"{what} {count}" for what, count in counts.most_common()))
    say("missing: " + (", ".join(sorted(missing(tally))) or "nothing"))


def say(text: str) -> None:
    """One paragraph for whoever looks on."""
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
