"""Templates: what v0.1.0 meant stays, everything else between "${" and "}" is an expression."""

from __future__ import annotations

import pytest

from perdure_server.kernel.values import Json, Leaf
from perdure_server.programs.cel import ITEM_SCOPE, ExpressionError
from perdure_server.programs.templates import compile_template, expressions_in

VARS: dict[str, Json] = {"a": {"b": [10, {"c": None}], "x-y": 1, "größe": 2}, "n": 5, "count": 2, "count + 1": "trap"}


def rendered(template: Json) -> Json:
    """The template over VARS."""
    compiled = compile_template(Leaf.of(template).data)
    assert not compiled.flaw
    return compiled.render({"vars": VARS, "run": {"run_id": "r"}})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${vars}", VARS),
        ("${vars.a.b.0}", 10),
        ("${vars.a.b.1.c}", None),
        ("${vars.a.b.7}", None),
        ("${vars.gone.further}", None),
        ("${vars.n.no_object}", None),
        ("${vars.a.x-y}", 1),
        ("${vars.a.größe}", 2),
        ("$${vars.n}", "${vars.n}"),
        ("plain", "plain"),
        ("$ {vars.n}", "$ {vars.n}"),
        ({"k": ["${vars.n}", 1, {"$${": "${vars.n}"}]}, {"k": [5, 1, {"$${": 5}]}),
    ],
)
def test_a_plain_path_means_what_it_always_did(template: Json, expected: Json) -> None:
    assert rendered(template) == expected


def test_anything_else_is_an_expression() -> None:
    assert rendered("${vars.count + 1}") == 3, "and no key of the vars can stand in for it"
    assert rendered("${vars.a.b[0] > 5 ? 'big' : 'small'}") == "big"
    assert rendered({"t": "${'n=' + string(vars.n) + '}'}"}) == {"t": "n=5}"}
    assert rendered("${run.run_id}") == "r"


def test_a_missing_member_of_an_expression_is_an_error_that_says_where() -> None:
    compiled = compile_template(Leaf.of({"payload": {"sum": ["${vars.gone + 1}"]}}).data)
    with pytest.raises(ExpressionError) as failed:
        compiled.render({"vars": VARS, "run": {}})
    assert str(failed.value) == "payload.sum[0]: ${vars.gone + 1}: key not found in map: gone"


@pytest.mark.parametrize(
    ("template", "place", "part"),
    [
        ({"a": {"b": ["x", "see ${vars.n}"]}}, ".a.b[1]", "only a whole string"),
        ({"a": "${vars.n"}, ".a", "only a whole string"),
        ({"a": "${vars.n +}"}, ".a", "Syntax error"),
        ({"a": "${}"}, ".a", "empty"),
        ({"a": "${env.HOME}"}, ".a", "undeclared reference"),
        ({"a": "${item}"}, ".a", "undeclared reference"),
    ],
)
def test_a_fault_is_told_with_its_place(template: Json, place: str, part: str) -> None:
    [fault] = compile_template(Leaf.of(template).data).faults
    assert fault.place == place
    assert part in fault.why


def test_every_fault_is_told() -> None:
    faults = compile_template(Leaf.of({"a": "${1 +}", "b": ["${x}", "${y}"], "c": "${1}"}).data).faults
    assert [fault.place for fault in faults] == [".a", ".b[0]", ".b[1]"]


def test_a_workflow_registered_before_keeps_an_odd_path_that_is_no_expression() -> None:
    compiled = compile_template(b'{"a":"${vars.first name}"}')
    assert [fault.fatal for fault in compiled.faults] == [False], "it is told when registered anew"
    assert compiled.render({"vars": {"first name": "Ada"}, "run": {}}) == {"a": "Ada"}


def test_items_see_two_more_variables() -> None:
    compiled = compile_template(b'{"a":"${item.x}","b":"${index + 1}"}', ITEM_SCOPE)
    assert compiled.render({"vars": {}, "run": {}, "item": {"x": 1}, "index": 4}) == {"a": 1, "b": 5}


def test_expressions_are_counted_without_compiling_them() -> None:
    assert expressions_in(Leaf.of(["${vars.a}", "${vars.a.b-c}", "${1 + 1}", "x", "${vars.a +}"])) == 2
