"""Changes of vars: RFC 6901 pointers, the three ops, result keys, and the known size."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.kernel import model as m
from perdure_server.kernel.values import Json, Leaf, dump_json
from perdure_server.kernel.vars import Missing, VarsError, apply_ops, get_at
from tests.kernel.scene import Scene, custom, leaf

Op = Literal["set", "append", "remove"]


def op(kind: Op, path: str, value: Json = None) -> m.VarsOp:
    """One op."""
    return m.VarsOp(path, kind, None if kind == "remove" else leaf(value))


def after(vars_: dict[str, Json], *ops: m.VarsOp) -> Json:
    """The vars after some ops; those before are not touched."""
    before = copy.deepcopy(vars_)
    result = apply_ops(vars_, ops)
    assert vars_ == before
    return json.loads(dump_json(result))


SETS: list[tuple[dict[str, Json], str, Json, Json]] = [
    ({}, "/a", 1, {"a": 1}),
    ({"a": 1}, "/a", None, {"a": None}),
    ({"a": 1}, "/a", {"b": []}, {"a": {"b": []}}),
    ({}, "/a/b/c", 1, {"a": {"b": {"c": 1}}}),
    ({"a": {"x": 1}}, "/a/b", 2, {"a": {"x": 1, "b": 2}}),
    ({"a": 5}, "/a/b", 2, {"a": {"b": 2}}),
    ({"a": "text"}, "/a/0", 2, {"a": {"0": 2}}),
    ({"a": None}, "/a/b", 2, {"a": {"b": 2}}),
    ({"a": True}, "/a/b", 2, {"a": {"b": 2}}),
    ({"a": [1, 2]}, "/a/0", 9, {"a": [9, 2]}),
    ({"a": [1, 2]}, "/a/1", 9, {"a": [1, 9]}),
    ({"a": [1, 2]}, "/a/-", 9, {"a": [1, 2, 9]}),
    ({"a": []}, "/a/-", 9, {"a": [9]}),
    ({"a": [1, 2]}, "/a/b", 9, {"a": {"b": 9}}),
    ({"a": [1, 2]}, "/a/01", 9, {"a": {"01": 9}}),
    ({"a": [1, 2]}, "/a/-1", 9, {"a": {"-1": 9}}),
    ({"a": [1, 2]}, "/a/+1", 9, {"a": {"+1": 9}}),
    ({"a": [1, 2]}, "/a/ 1", 9, {"a": {" 1": 9}}),
    ({"a": [1, 2]}, "/a/\u0661", 9, {"a": {"\u0661": 9}}),
    ({"a": [1, 2]}, "/a/", 9, {"a": {"": 9}}),
    ({"a": [{"x": 1}]}, "/a/0/y", 2, {"a": [{"x": 1, "y": 2}]}),
    ({"a": [5]}, "/a/0/y", 2, {"a": [{"y": 2}]}),
    ({"a": [5]}, "/a/-/y", 2, {"a": [5, {"y": 2}]}),
    ({}, "/-", 1, {"-": 1}),
    ({}, "/0", 1, {"0": 1}),
    ({}, "/", 1, {"": 1}),
    ({}, "//", 1, {"": {"": 1}}),
    ({}, "/a~1b", 1, {"a/b": 1}),
    ({}, "/m~0n", 1, {"m~n": 1}),
    ({}, "/~01", 1, {"~1": 1}),
    ({}, "/~10", 1, {"/0": 1}),
    ({"x": 1}, "", {"y": 2}, {"y": 2}),
    ({"x": 1}, "", {}, {}),
]


@pytest.mark.parametrize(("vars_", "path", "value", "expected"), SETS)
def test_set(vars_: dict[str, Json], path: str, value: Json, expected: Json) -> None:
    assert after(vars_, op("set", path, value)) == expected


APPENDS: list[tuple[dict[str, Json], str, Json]] = [
    ({}, "/a", {"a": [9]}),
    ({"a": None}, "/a", {"a": [9]}),
    ({"a": [1]}, "/a", {"a": [1, 9]}),
    ({}, "/a/b", {"a": {"b": [9]}}),
    ({"a": 5}, "/a/b", {"a": {"b": [9]}}),
    ({"a": [[1]]}, "/a/0", {"a": [[1, 9]]}),
    ({"a": [[1]]}, "/a/-", {"a": [[1], [9]]}),
    ({"a": [1]}, "/a/b", {"a": {"b": [9]}}),
]


@pytest.mark.parametrize(("vars_", "path", "expected"), APPENDS)
def test_append(vars_: dict[str, Json], path: str, expected: Json) -> None:
    assert after(vars_, op("append", path, 9)) == expected


@pytest.mark.parametrize("target", ["text", 5, 1.5, True, {}, {"x": 1}])
def test_append_to_something_else_is_bad(target: Json) -> None:
    with pytest.raises(VarsError, match="/a"):
        apply_ops({"a": target}, [op("append", "/a", 9)])


REMOVES: list[tuple[dict[str, Json], str, Json]] = [
    ({"a": 1, "b": 2}, "/a", {"b": 2}),
    ({"a": {"b": 1, "c": 2}}, "/a/b", {"a": {"c": 2}}),
    ({"a": [1, 2, 3]}, "/a/1", {"a": [1, 3]}),
    ({"a": [{"x": 1}]}, "/a/0/x", {"a": [{}]}),
    ({"a": None}, "/a", {}),
    ({"": 1}, "/", {}),
    ({"a/b": 1}, "/a~1b", {}),
]
MISSING: list[tuple[dict[str, Json], str]] = [
    ({}, "/a"),
    ({"a": 1}, "/b"),
    ({"a": 1}, "/a/b"),
    ({"a": {}}, "/a/b/c"),
    ({"a": [1, 2]}, "/a/2"),
    ({"a": [1, 2]}, "/a/3"),
    ({"a": [1, 2]}, "/a/99"),
    ({"a": [1, 2]}, "/a/99999999999"),
    ({"a": [1, 2]}, "/a/7/x"),
    ({"a": [1, 2]}, "/a/-"),
    ({"a": [1, 2]}, "/a/b"),
    ({"a": [1, 2]}, "/a/01"),
    ({"a": [1, 2]}, "/a/0/x"),
]


@pytest.mark.parametrize(("vars_", "path", "expected"), REMOVES)
def test_remove(vars_: dict[str, Json], path: str, expected: Json) -> None:
    assert after(vars_, op("remove", path)) == expected


@pytest.mark.parametrize(("vars_", "path"), MISSING)
def test_removing_what_is_not_there_does_nothing(vars_: dict[str, Json], path: str) -> None:
    assert after(vars_, op("remove", path)) == vars_


BAD: list[m.VarsOp] = [
    op("set", "a", 1),
    op("set", "a/b", 1),
    op("set", "/~", 1),
    op("set", "/~2", 1),
    op("set", "/a~", 1),
    op("set", "/a~1~", 1),
    op("append", "a", 1),
    op("remove", "a"),
    op("remove", ""),
    op("append", "", 1),
    op("set", "", 5),
    op("set", "", [1]),
    op("set", "", None),
    op("set", "/list/3", 1),
    op("set", "/list/99999999999", 1),
    m.VarsOp("/a", "set", None),
    m.VarsOp("/a", "append", None),
]


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_a_change_that_cannot_be_applied_is_an_error(bad: m.VarsOp) -> None:
    with pytest.raises(VarsError, match=r"\w"):
        apply_ops({"list": [1, 2]}, [bad])


def test_ops_are_applied_in_order() -> None:
    ops = [op("set", "/a", [1]), op("append", "/a", 2), op("remove", "/a/0"), op("set", "/b", 3), op("remove", "/b")]
    assert after({}, *ops) == {"a": [2]}


def test_one_past_the_end_is_the_next_place() -> None:
    assert after({"a": [1]}, op("set", "/a/1", 2)) == {"a": [1, 2]}


def test_a_bad_op_leaves_nothing_of_those_before_it() -> None:
    vars_: dict[str, Json] = {"a": [1]}
    with pytest.raises(VarsError):
        apply_ops(vars_, [op("append", "/a", 2), op("append", "/a/0", 3)])
    assert vars_ == {"a": [1]}


def test_key_order_is_kept() -> None:
    assert list(apply_ops({"b": 1, "a": 2}, [op("set", "/b", 3), op("set", "/c", 4)])) == ["b", "a", "c"]


def test_vars_nest_at_most_128_deep() -> None:
    path = "/a" * 127
    assert after({}, op("set", path, {}))
    with pytest.raises(VarsError, match="deeper than 128"):
        apply_ops({}, [op("set", path + "/a", {})])
    with pytest.raises(VarsError, match="deeper than 128"):
        apply_ops({}, [op("set", path, {"a": [1]})])
    assert after({}, op("set", path, "{[{[ no depth at all")), "brackets in a text are no depth"


@pytest.mark.parametrize("innermost", [[1], {"x": 1}, {}, []])
def test_depth_is_the_longest_way_down(innermost: Json) -> None:
    """Many brackets beside each other are no depth, and nor is what is inside of the last one."""
    value: Json = innermost
    for _ in range(126):
        value = [value, {}, {}]
    assert after({}, op("set", "/a", value)) == {"a": value}
    with pytest.raises(VarsError, match="deeper than 128"):
        apply_ops({}, [op("set", "/a", [value])])


@pytest.mark.parametrize("path", [["a", "b"], ["a", "0"], ["b", "2"], ["b", "x"], ["b", "0", "x"], ["c"], ["n", "x"]])
def test_nothing_is_no_null(path: list[str]) -> None:
    assert isinstance(get_at({"a": "text", "b": [1, 2], "n": None}, path), Missing)


def test_what_is_there_is_found() -> None:
    assert get_at({"a": {"b": [1, {"c": None}]}}, ["a", "b", "1", "c"]) is None
    assert get_at({"a": {"b": [1]}}, ["a", "b", "0"]) == 1


@pytest.mark.parametrize(
    ("key", "before", "expected"),
    [
        ("a", {}, {"a": "R"}),
        ("a.b.c", {"a": 5}, {"a": {"b": {"c": "R"}}}),
        ("a.b..c", {}, {"a": {"b": {"": {"c": "R"}}}}),
        ("a.b", {"a": {"x": 1}}, {"a": {"x": 1, "b": "R"}}),
        ("a.b", {"a": [1, 2]}, {"a": {"b": "R"}}),
        ("a.b", {"a": None}, {"a": {"b": "R"}}),
        ("a~1b", {}, {"a~1b": "R"}),
        ("a/b", {}, {"a/b": "R"}),
    ],
)
def test_a_result_key_is_a_dotted_path(key: str, before: dict[str, Json], expected: Json) -> None:
    scene = Scene().start(before)
    scene.open(custom(key))
    scene.done("R")
    assert scene.run.vars == expected


def test_no_result_key_stores_nothing() -> None:
    scene = Scene().start({"a": 1})
    scene.open(custom(""))
    scene.done("R")
    assert scene.run.vars == {"a": 1}


TOKENS = st.text(st.characters(codec="utf-8"), max_size=3)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TOKENS, inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.sampled_from(
    [
        b"1E15",
        b"[1E15,2e9]",
        b"12345678901234567.5",
        b"-0.0",
        b"1e-7",
        b'"\\u0001"',
        b'"\\u20ac"',
        b"18446744073709551615",
    ]
)
LEAVES = st.builds(Leaf.of, VALUES) | st.builds(Leaf, TEXTS)
SEGMENT = st.sampled_from(["a", "b", "", "0", "-", "1", "\x01", "\u20ac"]) | TOKENS


def pointer(tokens: list[str]) -> str:
    """The RFC 6901 pointer of some tokens."""
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


POINTERS = st.lists(SEGMENT, min_size=1, max_size=6).map(pointer)
OPS = st.builds(m.VarsOp, POINTERS, st.sampled_from(["set", "append"]), LEAVES)


@pytest.mark.promise("P10")
@given(st.lists(OPS, max_size=6), LEAVES, st.lists(SEGMENT, min_size=1, max_size=6).map(".".join))
def test_the_known_size_of_vars_is_never_below_the_real_one(
    ops: Sequence[m.VarsOp], result: Leaf, result_key: str
) -> None:
    """The laws in Scene compare both after every commit."""
    scene = Scene().start()
    scene.plan(effect=custom(result_key), next_node="b", vars_ops=tuple(ops))
    if scene.run.ended:
        assert scene.error.type == "BAD_PLAN"
        return
    scene.lease()
    scene.settle(m.EffectResult(result))


def reference_set(root: Json, tokens: list[str], value: Json) -> Json:
    """`set` as its sentences say it, slowly."""
    if not tokens:
        return value
    token, rest = tokens[0], tokens[1:]
    if isinstance(root, list):
        plain = token in {"-", "0"} or (token.isascii() and token.isdigit() and token[0] != "0")
        if plain:
            place = len(root) if token == "-" else int(token)
            if place > len(root):
                raise VarsError(token)
            there = root[place] if place < len(root) else None
            return [*root[:place], reference_set(there, rest, value), *root[place + 1 :]]
        root = {}
    members = dict(root) if isinstance(root, dict) else {}
    members[token] = reference_set(members.get(token), rest, value)
    return members


OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "0"]), VALUES, max_size=3)


@given(OBJECTS, st.lists(SEGMENT, min_size=1, max_size=4), VALUES)
def test_set_does_what_its_sentences_say(vars_: dict[str, Json], tokens: list[str], value: Json) -> None:
    path = pointer(tokens)
    try:
        expected = reference_set(vars_, tokens, value)
    except VarsError:
        with pytest.raises(VarsError):
            apply_ops(vars_, [op("set", path, value)])
        return
    assert after(vars_, op("set", path, value)) == json.loads(dump_json(expected))
