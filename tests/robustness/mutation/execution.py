"""Runs tests against mutants, each in a forked child of this process, several at a time.

The parent never imports the kernel. A child imports it with one module changed, runs the tests until the first
failure and tells by its exit status what happened. A child that does not end, or eats memory, is ended by its
own alarm and limits: a mutant that hangs is one that the tests see.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

import hypothesis
import pytest

from tests.robustness.mutation.mutants import Mutant

CPU_SECONDS: Final = 180
"""Of processor time: what else the machine does must not make a mutant look killed."""
ALARM_SECONDS: Final = 1_200
MEMORY_BYTES: Final = 4 << 30
TESTS: Final = Path("tests/kernel")
# The slow ones are not even collected before the others have passed: most mutants die early.
LAST: Final = ("test_table.py", "test_vars_ops.py", "test_machine.py")


class Fate(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


class _ChangedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the import system one module from a code object instead of its file."""

    def __init__(self, name: str, code: CodeType) -> None:
        self.name = name
        self.code = code

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The changed module's spec; nothing for any other."""
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        """Runs the changed module."""
        exec(self.code, module.__dict__)


def test_files(folder: Path) -> list[list[str]]:
    """The test files of a folder, in the parts in which they run."""
    paths = sorted(folder.glob("test_*.py"))
    quick = [str(path) for path in paths if path.name not in LAST]
    slow = [str(folder / name) for name in LAST if folder / name in paths]
    return [part for part in (quick, slow) if part]


def run_tests(parts: Sequence[Sequence[str]]) -> int:
    """Runs tests up to the first failure; pytest's exit status. Hypothesis neither varies nor shrinks."""
    generate = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutation", deadline=None, derandomize=True, database=None, phases=generate, max_examples=30
    )
    options = ["-x", "-q", "-m", "not long", "--tb=no", "--timeout=0", "--assert=plain"]
    options += ["-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"]
    for files in parts:
        status = int(pytest.main([*options, *files]))
        if status != 0:
            return status
    return 0


def _child(module: str, code: CodeType | None, tests: Path, output: int) -> int:
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.alarm(ALARM_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if code is not None:
        sys.meta_path.insert(0, _ChangedModule(module, code))
    return run_tests(test_files(tests))


def _fork(work: Callable[[], int]) -> int:
    """Runs `work` in a child; the child's pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = work()
        finally:
            os._exit(status)
    return pid


def is_healthy(tests: Path) -> bool:
    """Whether the tests of a folder pass with the kernel as it is."""
    with open(os.devnull, "wb") as output:
        pid = _fork(lambda: _child("", None, tests, output.fileno()))
        _, status = os.waitpid(pid, 0)
    return status == 0


def fates(
    mutants: Sequence[Mutant], paths: Mapping[str, Path], jobs: int, tests: Path
) -> Iterator[tuple[Mutant, Fate]]:
    """What becomes of each mutant, as they end.

    Args:
        mutants: what to run.
        paths: the file of each module, by dotted name.
        jobs: children at a time.
        tests: the folder of the tests.

    Raises: RuntimeError if this process has imported the kernel: its children would not see the change.
    """
    if any(name in sys.modules for name in paths):
        raise RuntimeError("mutants need a process that has not imported the kernel")
    running: dict[int, Mutant] = {}
    queue = list(reversed(mutants))
    with open(os.devnull, "wb") as output:
        while queue or running:
            while queue and len(running) < jobs:
                mutant = queue.pop()
                running[_fork(_work(mutant, paths[mutant.module], tests, output.fileno()))] = mutant
            pid, status = os.wait()
            yield running.pop(pid), _fate(status)


def _work(mutant: Mutant, path: Path, tests: Path, output: int) -> Callable[[], int]:
    def work() -> int:
        return _child(mutant.module, mutant.code(str(path)), tests, output)

    return work


def _fate(status: int) -> Fate:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU):
        return Fate.TIMED_OUT
    return Fate.SURVIVED if status == 0 else Fate.KILLED
