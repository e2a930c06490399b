"""Every check that is switched off somewhere is counted, so that one more needs a decision."""

import re
import tomllib
from collections import Counter
from typing import Any

from tests.architecture.source import ROOT, Source, python_sources

# What is switched off today. Lower a number when one goes; raising one is a reviewer's business.
PER_FILE_IGNORES = 2
INLINE = {
    "noqa": 0,
    "type: ignore": 5,
    "pyright:": 0,
    "fmt: off": 0,
    "pragma: no cover": 0,
}
FILTERED_WARNINGS = 0


def comments(source: Source) -> Counter[str]:
    """How often each kind of inline suppression stands in `source`."""
    counted: Counter[str] = Counter()
    for kind in INLINE:
        counted[kind] = len(re.findall(rf"#\s*{kind}", source.text))
    return counted


def project_tools() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def test_per_file_ignores_are_as_counted() -> None:
    lint = project_tools()["ruff"]["lint"]
    entries = {**lint.get("per-file-ignores", {}), **lint.get("extend-per-file-ignores", {})}
    assert sum(len(codes) for codes in entries.values()) == PER_FILE_IGNORES


def test_inline_suppressions_are_as_counted() -> None:
    per_file = {source.path: comments(source) for source in python_sources()}
    total = sum(per_file.values(), Counter[str]())
    where = {path: dict(+counted) for path, counted in per_file.items() if counted.total()}
    assert {kind: total[kind] for kind in INLINE} == INLINE, where


def test_warning_filters_are_as_counted() -> None:
    first, *exceptions = project_tools()["pytest"]["ini_options"]["filterwarnings"]
    assert first == "error"
    assert len(exceptions) == FILTERED_WARNINGS


def test_the_counter_sees_each_kind() -> None:
    planted = "".join(f"x = 1  # {kind}\ny = 2  #{kind}\n" for kind in INLINE)
    assert comments(Source("tests/planted.py", planted)) == dict.fromkeys(INLINE, 2)
