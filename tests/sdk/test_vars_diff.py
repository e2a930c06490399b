"""The changes that a handler's vars become: applied to what was there, they give what the handler left."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.json_text import UnserialisableError, encode
from perdure.v1 import model_pb2
from perdure.vars_diff import vars_ops

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab/~é")
)
KEYS = st.text("ab/~é", max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


def applied(before: Any, ops: list[model_pb2.VarsOp]) -> Any:
    """What the contract's VarsOp says, written plainly: only containers that exist are walked."""
    root = copy.deepcopy(before)
    for op in ops:
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in op.path.split("/")[1:]]
        target = root
        for token in tokens[:-1]:
            target = target[token]
        if op.WhichOneof("op") == "remove":
            del target[tokens[-1]]
        elif op.WhichOneof("op") == "append_json":
            target[tokens[-1]].append(json.loads(op.append_json))
        else:
            target[tokens[-1]] = json.loads(op.set_json)
    return root


def listed(before: Any, after: Any) -> list[tuple[str, str, str]]:
    """The operations as (kind, path, text)."""
    ops = vars_ops(encode(before), after)
    return [(op.WhichOneof("op") or "", op.path, op.set_json or op.append_json) for op in ops]


def canonical(value: Any) -> str:
    """Equal texts are equal JSON: members in any order, but true is not 1 and 1 is not 1.0."""
    return json.dumps(value, sort_keys=True)


@given(OBJECTS, OBJECTS)
def test_the_changes_lead_from_before_to_after(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert canonical(applied(before, vars_ops(encode(before), after))) == canonical(after)


@given(OBJECTS)
def test_the_same_vars_are_no_change(before: dict[str, Any]) -> None:
    assert vars_ops(encode(before), copy.deepcopy(before)) == []


@given(OBJECTS)
def test_another_order_or_spacing_is_no_change(before: dict[str, Any]) -> None:
    assert vars_ops(json.dumps(dict(reversed(before.items())), indent=1), before) == []


@pytest.mark.parametrize(
    ("before", "after", "ops"),
    [
        ({}, {"a": None}, [("set_json", "/a", "null")]),
        ({"a": 1}, {}, [("remove", "/a", "")]),
        ({"a": 1}, {"a": True}, [("set_json", "/a", "true")]),
        ({"a": 1}, {"a": 1.0}, [("set_json", "/a", "1.0")]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("set_json", "/a/c", "3")]),
        ({"a": {"b": 1}}, {"a": {}}, [("remove", "/a/b", "")]),
        ({"a": {"b": 1}}, {"a": [1]}, [("set_json", "/a", "[1]")]),
        ({"a": [1]}, {"a": [1, 2, {"x": 3}]}, [("append_json", "/a", "2"), ("append_json", "/a", '{"x":3}')]),
        ({"a": [1, 2]}, {"a": [2, 2]}, [("set_json", "/a", "[2,2]")]),
        ({"a": [1, 2]}, {"a": [1]}, [("set_json", "/a", "[1]")]),
        ({"a": [1]}, {"a": [True, 2]}, [("set_json", "/a", "[true,2]")]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [("set_json", "/a~1b/~0", "2")]),
        ({"": 1}, {"": 2}, [("set_json", "/", "2")]),
        ({"gone": 1, "kept": 1}, {"kept": 2, "new": 3}, [
            ("remove", "/gone", ""), ("set_json", "/kept", "2"), ("set_json", "/new", "3"),
        ]),
        ({"a": (1,)}, {"a": (1, 2)}, [("append_json", "/a", "2")]),
    ],
)  # fmt: skip
def test_the_rules(before: Any, after: Any, ops: list[tuple[str, str, str]]) -> None:
    assert listed(before, after) == ops


def test_integers_keep_their_digits() -> None:
    assert listed({"n": 2**64 - 1}, {"n": 2**64 - 2}) == [("set_json", "/n", "18446744073709551614")]


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(UnserialisableError):
        vars_ops("{}", {"a": {1, 2}})


def test_vars_stay_an_object() -> None:
    with pytest.raises(TypeError, match="must stay a dict"):
        vars_ops("{}", [1])
