"""Differences from AbstractRuntime: which tests rely on which entry of docs/differences.md, and what comes later."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "differences.md"
SCENARIOS = HERE.parent.parent.parent / "shared" / "reference" / "acceptance_scenarios.md"
SECTIONS = "ABCDEF"
"""Sections of the scenarios of which every one is a test here or comes later."""

LATER: dict[int, str] = {
    2: "seeds of `_limits` and `_runtime` from a model's capabilities belong to the host's layer, which comes later",
    11: "the limits API (GetLimits, UpdateLimits) comes later",
    22: "memory_note and its index come later",
    25: "artifacts, and with them offloaded results, come later",
    59: "workspace keys are inherited by the host's layer, which comes later",
}

_ENTRY = re.compile(r"^\| *([a-z][a-z0-9-]*) *\| *(\S[^|]*?) *\| *(\S[^|]*?) *\|$", re.MULTILINE)
_NUMBER = re.compile(r"^test_scenario_(\d+)_")

_Test = TypeVar("_Test", bound=Callable[..., object])


def differs(*entries: str) -> Callable[[_Test], _Test]:
    """Marks a test that relies on entries of docs/differences.md; test_every_difference_is_listed reads the marks."""
    if not entries:
        raise ValueError("name the entries of docs/differences.md")
    return lambda test: test


def listed_differences(page: str) -> list[str]:
    """Ids of the entries of docs/differences.md; each must have a text and a reason."""
    found = _ENTRY.findall(page)
    return [identity for identity, _, reason in found if identity != "id" and reason]


def differences_relied_on(sources: Iterable[str]) -> set[str]:
    """Ids in every `differs(...)` of these sources."""
    return {
        argument.value
        for source in sources
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "differs"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def scenarios_tested(sources: Iterable[str]) -> set[int]:
    """Numbers in the names of the tests of these sources."""
    return {
        int(found.group(1))
        for source in sources
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (found := _NUMBER.match(function.name)) is not None
    }


def scenario_numbers(page: str, sections: str = SECTIONS) -> set[int]:
    """Numbers of the scenarios in these sections."""
    numbers: set[int] = set()
    section = ""
    for line in page.splitlines():
        if heading := re.match(r"## ([A-Z])\. ", line):
            section = heading.group(1)
        elif section in sections and section and (number := re.match(r"(\d+)\. \*\*", line)):
            numbers.add(int(number.group(1)))
    return numbers


def module_texts() -> list[str]:
    """The sources of this folder's test modules."""
    return [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("test_*.py"))]
