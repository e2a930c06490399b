"""Every promise of the architecture has a test that carries its number, in its name or as a marker."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import Source, python_sources
from tests.architecture.tidy import Function, dotted_name
from tests.conftest import PROMISES, check_promises

NUMBER_IN_NAME = re.compile(r"(?:^|_)(p\d+)(?:_|$)", re.IGNORECASE)


def marked(node: ast.AST) -> Iterator[str]:
    """The promises in every `pytest.mark.promise(...)` inside `node`."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and dotted_name(call.func) == "pytest.mark.promise":
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def promises_shown(source: Source) -> set[str]:
    """The promises for which the test module `source` holds a test."""
    name = source.path.rsplit("/", 1)[-1]
    if not (source.path.startswith("tests/") and name.startswith("test_")):
        return set()
    shown = set(marked(source.tree))
    tests = [node for node in ast.walk(source.tree) if isinstance(node, Function)]
    for test in tests:
        if test.name.startswith("test_"):
            shown.update(number.upper() for number in NUMBER_IN_NAME.findall(test.name))
    return shown


def shown_by(sources: list[Source]) -> set[str]:
    others = [source for source in sources if not source.path.startswith("tests/architecture/")]
    return set[str]().union(*(promises_shown(source) for source in others))


def test_every_promise_is_shown() -> None:
    missing = [promise for promise in PROMISES if promise not in shown_by(python_sources())]
    assert missing == []


def test_no_other_promise_is_claimed() -> None:
    assert shown_by(python_sources()) <= set(PROMISES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def test_p2_is_synced(): ...", {"P2"}),
        ("async def test_head_equals_fold_p3(): ...", {"P3"}),
        ("class TestLeases:\n    def test_p10_limit(self): ...", {"P10"}),
        ("@pytest.mark.promise('P5', 'P6')\ndef test_fenced(): ...", {"P5", "P6"}),
        ("pytestmark = pytest.mark.promise('P8')", {"P8"}),
        ("def test_p99_latency(): ...", {"P99"}),
        ("def test_http2(): ...", set[str]()),
        ("def show_p1(): ...", set[str]()),
    ],
)
def test_how_a_test_names_its_promise(text: str, expected: set[str]) -> None:
    assert promises_shown(Source("tests/engine/test_x.py", text)) == expected
    assert promises_shown(Source("tests/engine/x.py", text)) == set()


def test_a_promise_nobody_shows_is_missing() -> None:
    sources = [
        Source("tests/engine/test_x.py", "def test_p1(): ..."),
        Source("tests/architecture/test_y.py", ""),
    ]
    assert set(PROMISES) - shown_by(sources) == set(PROMISES) - {"P1"}


@pytest.mark.parametrize("names", [(), ("P0",), ("P11",), ("p1",), ("P1", "P11")])
def test_a_marker_that_names_no_promise_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(pytest.UsageError, match=r"none of P1\.\.P10"):
        check_promises("tests/engine/test_x.py::test_y", names)


def test_a_marker_that_names_promises_is_accepted() -> None:
    check_promises("tests/engine/test_x.py::test_y", ("P1", "P10"))
