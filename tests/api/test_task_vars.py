"""What a node task carries of its run's vars."""

import json

import pytest
from hypothesis import given

from perdure_server.api.codec.task_vars import vars_text
from perdure_server.kernel.values import Json
from tests.strategies.json_values import objects

VARS: dict[str, Json] = {
    "a": {"b": {"c": 1, "d": [1, {"e": 2}]}, "x": None},
    "list": [{"n": 1}, {"n": 2}],
    "text": "t",
    "": {"": 3},
    "s/l": {"ti~de": 4},
}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["/a/b/c"], {"a": {"b": {"c": 1}}}),
        (["/a/b", "/text"], {"a": {"b": {"c": 1, "d": [1, {"e": 2}]}}, "text": "t"}),
        (["/a/b/c", "/a/b"], {"a": {"b": {"c": 1, "d": [1, {"e": 2}]}}}),
        (["/a/b", "/a/b/c"], {"a": {"b": {"c": 1, "d": [1, {"e": 2}]}}}),
        (["/a/x"], {"a": {"x": None}}),
        (["/a/missing"], {"a": {}}),
        (["/missing/deep"], {}),
        (["/text/deeper"], {}),
        (["/a/b/d/1/e"], {"a": {"b": {"d": [1, {"e": 2}]}}}),
        (["/list/0"], {"list": [{"n": 1}, {"n": 2}]}),
        (["/"], {"": {"": 3}}),
        (["//"], {"": {"": 3}}),
        (["/s~1l/ti~0de"], {"s/l": {"ti~de": 4}}),
        ([""], VARS),
        (["/text", ""], VARS),
    ],
)
def test_inputs_name_what_a_task_carries(inputs: list[str], expected: dict[str, Json]) -> None:
    assert json.loads(vars_text(VARS, tuple(inputs))) == expected


@given(objects)
def test_without_inputs_it_carries_all(run_vars: dict[str, Json]) -> None:
    found = json.loads(vars_text(run_vars))
    assert json.dumps(found) == json.dumps(run_vars)


def test_vars_deeper_than_one_leaf_are_carried() -> None:
    value: Json = 1
    for _ in range(300):
        value = [value]
    assert json.loads(vars_text({"deep": value})) == {"deep": value}
