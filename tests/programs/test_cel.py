"""Expressions: exact, deterministic, and bounded in size, time and memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from perdure_server.kernel.bounds import EXPRESSION_BYTES
from perdure_server.kernel.values import Json
from perdure_server.programs.cel import ExpressionError, compile_expression
from perdure_server.programs.cel_cost import ITERATIONS

MEGABYTE = "x" * 1_000_000


def value(source: str, **vars_: Json) -> Json:
    """The value of an expression over these vars."""
    return compile_expression(source).evaluate({"vars": vars_, "run": {"run_id": "run-1", "labels": {"tier": "gold"}}})


def why(source: str, **vars_: Json) -> str:
    """Why it has none."""
    with pytest.raises(ExpressionError) as failed:
        value(source, **vars_)
    return str(failed.value)


@pytest.mark.parametrize(
    "number",
    [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 0.1, -0.0, 1e308, 5e-324, 3.0, 1e15],
)
def test_numbers_pass_as_they_are(number: float) -> None:
    [through] = [*_items(value("[vars.n]", n=number))]
    assert (type(through), through) == (type(number), number)
    assert value("vars.n == vars.m", n=number, m=number) is True


def _items(found: Json) -> list[Json]:
    assert isinstance(found, list)
    return found


def test_whole_numbers_are_int64_and_overflow_is_an_error() -> None:
    assert value("vars.n + 1", n=2**63 - 2) == 2**63 - 1
    assert why("vars.n + 1", n=2**63 - 1) == "integer overflow"
    assert value("vars.n - 1u", n=2**64 - 1) == 2**64 - 2
    assert "no such operation" in why("vars.n + 1", n=2**64 - 1)
    assert value("vars.n > 5", n=2**64 - 1) is True
    assert why("1 / 0") == "divide by zero"
    assert "not finite" in why("vars.n / 0.0", n=1.0)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("vars.items.filter(i, i.n > 1)", [{"a": 3, "k": 4, "n": 2}]),
        ("vars.items.map(i, i.n)", [1, 2]),
        ("vars.items.exists(i, i.n == 2) && !vars.items.all(i, i.n == 2)", True),
        ("has(vars.gone) ? vars.gone : 'none'", "none"),
        ("has(vars.items) && size(vars.items) == 2", True),
        ("vars['odd key'].x + 1", 2),
        ("vars.items[vars.items.size() - 1].n", 2),
        ("'a' in {'a': 1}", True),
        ("vars.text.matches('^h.*o$') && vars.text.contains('ell')", True),
        ("string(timestamp('2026-02-03T04:05:06Z') + duration('1h'))", "2026-02-03T05:05:06Z"),
        ("run.run_id + run.labels.tier", "run-1gold"),
        ("{'b': 1, 'a': [null, true, 'é', 1.5]}", {"a": [None, True, "é", 1.5], "b": 1}),
        ("[1].all(vars, vars == 1)", True),
    ],
)
def test_what_an_expression_says(source: str, expected: Json) -> None:
    items: Json = [{"n": 1}, {"n": 2, "k": 4, "a": 3}]
    odd: dict[str, Json] = {"odd key": {"x": 1}}
    found = value(source, items=items, text="hello", **odd)
    assert found == expected
    assert list(found) == sorted(found) if isinstance(found, dict) else True


def test_a_path_is_taken_as_it_is_and_a_missing_one_is_an_error() -> None:
    huge: Json = {"z": list(range(200_000)), "a": "\0"}
    assert value("vars.huge", huge=huge) is huge
    assert why("vars.gone") == "key not found in map: gone"
    assert "no object" in why("vars.n.x", n=5)


def test_only_what_is_read_is_handed_over() -> None:
    expression = compile_expression("vars.a.b + vars.a.b + size(vars.a) + vars.list[0].x")
    assert expression.reads == (("vars", "a"), ("vars", "list"))
    assert value("vars.a.b + 1", a={"b": 1}, poison="\0") == 2, "what is not read cannot disturb"


@pytest.mark.parametrize(
    "source",
    [
        "now()",
        "vars.x.y.now()",
        "env.HOME",
        "item",
        "open('f')",
        "import os",
        "__import__",
        "cel",
        "index",
        "os.environ",
    ],
)
def test_nothing_outside_can_be_named(source: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(source).evaluate({"vars": {"x": {"y": 1}}, "run": {}})


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("", "empty"),
        ("1 +", "1:4: Syntax error"),
        ("foo + bar", "1:1: undeclared reference to 'foo'"),
        ("1 + 'a'", "found no matching overload"),
        ("google.protobuf.Struct{}", "makes a message"),
        ("b'bytes'", "type bytes"),
        ("timestamp('2026-01-01T00:00:00Z')", "type timestamp"),
        ("'" + "x" * EXPRESSION_BYTES + "'", "at most 4096"),
        ("(" * 500 + "1" + ")" * 500, "nested too deep"),
        ("+".join(["1"] * 1_000), "nested too deep"),
    ],
)
def test_what_cannot_be_compiled_says_where_and_why(source: str, part: str) -> None:
    with pytest.raises(ExpressionError) as failed:
        compile_expression(source)
    assert part in str(failed.value)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("[b'a']", "JSON does not have"),
        ("{1: 2}", "JSON does not have"),
        ("[type(1)]", "JSON does not have"),
        ("vars.s + 'x' == ''", "U+0000"),
        ("vars.lone + 'x' == ''", "no Unicode"),
        ("vars.n ? 1 : 2", "no such operation"),
        ("vars.list[7]", "index error"),
    ],
)
def test_what_cannot_be_evaluated_says_why(source: str, part: str) -> None:
    assert part in why(source, s="a\0b", lone="\ud800", n=1, list=[1])


@pytest.mark.parametrize(
    "source",
    [
        "vars.m[vars.secret]",
        "int(vars.secret)",
        "double(vars.secret)",
        "string(timestamp(vars.secret))",
        "string(duration(vars.secret))",
        "'a'.matches('(' + vars.secret)",
        "vars.secret + 1",
        "bool(vars.secret)",
        "vars.list[int(vars.number)]",
        "vars.number / 0",
    ],
)
def test_an_error_does_not_tell_the_values_of_the_run(source: str) -> None:
    message = why(source, secret="hunter2", m={}, list=[], number=42)
    assert "hunter2" not in message
    assert "42" not in message


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "source",
    [
        "vars.many.map(x, vars.text + vars.text).size() > 0",
        "vars.many.filter(x, vars.text.contains('xy')).size() > 0",
        "vars.many.all(x, !vars.text.matches('y$'))",
        "vars.many.all(x, vars.text == vars.text)",
        "vars.many.map(x, vars.many)",
        "vars.many.map(x, vars.many.map(y, [x, y]))",
        "vars.many.map(x, {'a': vars.text})",
        " + ".join(["vars.text"] * 25) + " == ''",
        "vars.long.map(x, x).size() > 0",
    ],
)
def test_what_would_work_on_too_much_is_refused_before_it_begins(source: str) -> None:
    message = why(source, many=list(range(1_000)), long=list(range(9_000)), text=MEGABYTE)
    assert "work on more than" in message or "turns together" in message


@pytest.mark.promise("P10")
def test_loops_have_a_budget() -> None:
    assert value("vars.l.all(x, x >= 0)", l=list(range(ITERATIONS - 1))) is True
    assert "turns together" in why("vars.l.all(x, x >= 0)", l=list(range(ITERATIONS + 1)))
    assert "turns together" in why("vars.l.all(x, vars.l.all(y, x + y >= 0))", l=list(range(200)))


def test_ordinary_work_is_not_refused() -> None:
    orders: Any = [{"id": f"o{n}", "lines": [{"sku": "a", "price": 1.5}] * 5, "open": n % 2 == 0} for n in range(300)]
    assert (
        len(_items(value("vars.o.filter(x, x.open && x.lines.exists(l, l.price > 1.0)).map(x, x.id)", o=orders))) == 150
    )
    assert value("vars.text.size() + vars.text.size()", text=MEGABYTE) == 2_000_000
    assert value("vars.l.filter(x, x % 2 == 0).size()", l=list(range(1_500))) == 750


_ORDER = """
from perdure_server.programs.cel import compile_expression
from perdure_server.kernel.values import dump_json
vars_ = {"l": [{f"key{n}": n for n in range(40)}]}
print(dump_json(compile_expression("vars.l.filter(x, true)").evaluate({"vars": vars_, "run": {}})).decode())
"""


def test_the_same_expression_gives_the_same_bytes_in_every_process() -> None:
    def told() -> bytes:
        return subprocess.run([sys.executable, "-c", _ORDER], check=True, capture_output=True).stdout

    first: Any = told()
    assert first
    assert told() == first
