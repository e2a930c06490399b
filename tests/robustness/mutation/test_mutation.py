"""The kernel's tests kill at least 85% of its mutants: a seeded sample, and in the long suite all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.mutation.execution import Fate
from tests.robustness.mutation.mutants import mutants_of
from tests.robustness.mutation.report import Report

SOURCE = '''
"""Says nothing."""

def pick(items, wanted=0):
    """Not changed."""
    if items and wanted < 3:
        raise ValueError(f"no {wanted}")
    return items[wanted + 1]
'''


REPORT = Path("docs/robustness-mutation.txt")


def run_mutation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the mutants in a process of their own, which has not imported the kernel."""
    command = [sys.executable, "-m", "tests.robustness.mutation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


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


def test_the_report_tells_the_score_of_each_module_and_the_survivors() -> None:
    mutants = mutants_of("shop.till", SOURCE)
    found = [(mutant, Fate.SURVIVED if "wanted" in mutant.key else Fate.KILLED) for mutant in mutants]
    report = Report(found, {"till:pick: a key": "a reason"})
    assert report.score == 30.0
    assert len(report.survivors) == 7
    first, _, module, _, *others = report.text().splitlines()
    assert first.startswith("30.0% of 10 mutants")
    assert module.split() == ["till", "3", "of", "10", "killed", "30.0%"]
    assert others[1] == f"  {report.survivors[0].key}"
    assert others[-1].strip() == "a reason"


def test_nothing_scores_nothing() -> None:
    assert Report([], {}).score == 0.0


def test_tests_that_assert_nothing_kill_nothing(tmp_path: Path) -> None:
    tests = tmp_path / "test_nothing.py"
    tests.write_text("from perdure_server.kernel import instants\n\ndef test_nothing():\n    assert instants\n")
    ended = run_mutation("--module", "instants", "--tests", str(tmp_path))
    assert ended.returncode == 1
    assert "\n0.0% of " in ended.stdout, ended.stderr


def test_tests_that_fail_anyway_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("def test_broken():\n    assert not 1\n")
    ended = run_mutation("--module", "instants", "--tests", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "the tests fail without any mutant\n")


@pytest.mark.timeout(1800)
def test_a_sample_of_the_kernels_mutants_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    ended = run_mutation("--sample", "80")
    with capsys.disabled():
        sys.stdout.write(ended.stdout)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


@pytest.mark.long
def test_the_kernels_mutants_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them; the report is kept in the docs."""
    ended = run_mutation("--report", str(REPORT))
    with capsys.disabled():
        sys.stdout.write(ended.stdout)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
