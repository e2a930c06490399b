"""The kernel's tests kill at least 85% of its mutants: a seeded sample, and in the long suite all of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.robustness.mutation.mutants import mutants_of

SOURCE = '''
"""Says nothing."""

def pick(items, wanted=0):
    """Not changed."""
    if items and wanted < 3:
        raise ValueError(f"no {wanted}")
    return items[wanted + 1]
'''


def run_mutation(*arguments: str) -> str:
    """Runs the mutants in a process of their own, which has not imported the kernel; what it printed."""
    command = [sys.executable, "-m", "tests.robustness.mutation", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def test_mutants_are_made_everywhere_but_in_words() -> None:
    keys = [mutant.key.partition(": ")[2] for mutant in mutants_of("shop.till", SOURCE)]
    assert keys == [
        "constant: 0 -> 1",
        "and/or: items and wanted < 3 -> items or wanted < 3",
        "operand 1: items and wanted < 3 -> wanted < 3",
        "operand 2: items and wanted < 3 -> items",
        "comparison: wanted < 3 -> wanted <= 3",
        "constant: 3 -> 4",
        "statement: raise ValueError(f'no {wanted}') -> pass",
        "return: return items[wanted + 1] -> return None",
        "arithmetic: wanted + 1 -> wanted - 1",
        "constant: 1 -> 2",
    ]


def test_each_mutant_changes_one_thing() -> None:
    scope: dict[str, object] = {}
    mutant = next(mutant for mutant in mutants_of("shop.till", SOURCE) if "wanted - 1" in mutant.key)
    exec(mutant.code("shop/till.py"), scope)
    pick = scope["pick"]
    assert callable(pick)
    assert pick([1, 2, 3, 4, 5], 3) == 3


@pytest.mark.timeout(1800)
def test_a_sample_of_the_kernels_mutants_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(run_mutation("--sample", "150"))


@pytest.mark.long
def test_the_kernels_mutants_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(run_mutation())
