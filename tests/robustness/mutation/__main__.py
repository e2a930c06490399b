"""Runs the mutants of the kernel and prints the score and the survivors.

python -m tests.robustness.mutation                    all mutants
python -m tests.robustness.mutation --sample 150       a seeded sample
python -m tests.robustness.mutation --module steps     one module
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.robustness.mutation.execution import Fate, fates, healthy
from tests.robustness.mutation.mutants import Mutant, mutants_of

KERNEL = Path("server/perdure_server/kernel")
EQUIVALENT = Path(__file__).with_name("equivalent.json")
SEED = 20_240_229
REQUIRED_SCORE = 85.0


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    module: str
    sample: int
    seed: int
    jobs: int
    required: float


def options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.mutation", description=__doc__)
    parser.add_argument("--module", default="", help="only this kernel module, for example steps")
    parser.add_argument("--sample", type=int, default=0, help="only so many mutants, chosen by the seed")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--required", type=float, default=REQUIRED_SCORE, help="score in percent below which it fails")
    return Options(**vars(parser.parse_args(arguments)))


def kernel_mutants(only: str) -> tuple[list[Mutant], dict[str, Path]]:
    """All mutants of the kernel, and the file of each of its modules."""
    paths = {f"perdure_server.kernel.{path.stem}": path for path in sorted(KERNEL.glob("*.py"))}
    wanted = {name: path for name, path in paths.items() if only in ("", path.stem)}
    mutants = [mutant for name, path in wanted.items() for mutant in mutants_of(name, path.read_text())]
    return mutants, wanted


def equivalent_keys() -> dict[str, str]:
    """Mutants that no test can tell from the kernel, with the reason."""
    entries: list[dict[str, str]] = json.loads(EQUIVALENT.read_text())
    return {entry["mutant"]: entry["reason"] for entry in entries}


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the score; 0 if it is high enough."""
    chosen = options(arguments)
    mutants, paths = kernel_mutants(chosen.module)
    excused = equivalent_keys()
    unknown = set(excused) - {mutant.key for mutant in mutants}
    if unknown and not chosen.module:
        _say("equivalent.json names mutants that are no more:", *(f"\n  {key}" for key in sorted(unknown)))
        return 1
    if not healthy():
        _say("the tests fail without any mutant")
        return 1
    subjects = [mutant for mutant in mutants if mutant.key not in excused]
    if chosen.sample:
        subjects = random.Random(chosen.seed).sample(subjects, min(chosen.sample, len(subjects)))
        _say(f"seed {chosen.seed}")
    _say(f"{len(subjects)} of {len(mutants)} mutants, {len(excused)} known to be equivalent, {chosen.jobs} at a time")
    found: list[tuple[Mutant, Fate]] = []
    for mutant, fate in fates(subjects, paths, chosen.jobs):
        found.append((mutant, fate))
        if fate is Fate.SURVIVED:
            _say(f"{len(found):5}  survived  line {mutant.line}: {mutant.key}")
    return _report(subjects, found, chosen.required)


def _report(subjects: Sequence[Mutant], found: Sequence[tuple[Mutant, Fate]], required: float) -> int:
    survivors = [mutant for mutant, fate in found if fate is Fate.SURVIVED]
    totals = Counter(mutant.module for mutant in subjects)
    alive = Counter(mutant.module for mutant in survivors)
    for module, total in sorted(totals.items()):
        _say(f"  {module.rpartition('.')[2]:12} {total - alive[module]:5} of {total:5} killed")
    timed_out = sum(fate is Fate.TIMED_OUT for _, fate in found)
    score = 100 * (len(found) - len(survivors)) / max(len(found), 1)
    _say(f"score {score:.1f}% ({len(survivors)} survivors, {timed_out} killed by their time limit)")
    return 0 if score >= required else 1


if __name__ == "__main__":
    sys.exit(main())
