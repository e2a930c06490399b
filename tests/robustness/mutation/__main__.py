"""Runs the mutants of the kernel and prints the score and the survivors.

python -m tests.robustness.mutation                    all mutants
python -m tests.robustness.mutation --sample 80       a seeded sample
python -m tests.robustness.mutation --module steps     one module
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.robustness.mutation.execution import TESTS, Fate, fates, is_healthy
from tests.robustness.mutation.mutants import Mutant, mutants_of
from tests.robustness.mutation.report import Report

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
    tests: Path
    report: Path | None


def options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.mutation", description=__doc__)
    parser.add_argument("--module", default="", help="only this kernel module, for example steps")
    parser.add_argument("--sample", type=int, default=0, help="only so many mutants, chosen by the seed")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--required", type=float, default=REQUIRED_SCORE, help="score in percent below which it fails")
    parser.add_argument("--tests", type=Path, default=TESTS, help="the folder of the tests that should kill them")
    parser.add_argument("--report", type=Path, help="also write the report into this file")
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
    """Prints the report; 0 if the score is high enough."""
    chosen = options(arguments)
    mutants, paths = kernel_mutants(chosen.module)
    excused = equivalent_keys()
    unknown = set(excused) - {mutant.key for mutant in mutants}
    if unknown and not chosen.module:
        _say("equivalent.json names mutants that are no more:", *(f"\n  {key}" for key in sorted(unknown)))
        return 1
    if not mutants:
        _say(f"the kernel has no module {chosen.module!r}")
        return 1
    if not is_healthy(chosen.tests):
        _say("the tests fail without any mutant")
        return 1
    subjects = [mutant for mutant in mutants if mutant.key not in excused]
    if chosen.sample:
        subjects = random.Random(chosen.seed).sample(subjects, min(chosen.sample, len(subjects)))
        _say(f"seed {chosen.seed}")
    _say(f"{len(subjects)} of {len(mutants)} mutants, {chosen.jobs} at a time")
    found: list[tuple[Mutant, Fate]] = []
    for mutant, fate in fates(subjects, paths, chosen.jobs, chosen.tests):
        found.append((mutant, fate))
        if fate is Fate.SURVIVED:
            _say(f"{len(found):5}  survived  line {mutant.line}: {mutant.key}")
    report = Report(found, {key: excused[key] for key in set(excused) - unknown})
    _say(report.text())
    if chosen.report is not None:
        chosen.report.write_text(report.text(), encoding="utf-8")
    return 0 if report.score >= chosen.required else 1


if __name__ == "__main__":
    sys.exit(main())
