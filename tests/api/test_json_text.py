"""The JSON check accepts exactly what the contract accepts, and keeps the text byte for byte."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perdure_server.api.json_text import JsonTextError, check_json
from perdure_server.kernel.limits import Limits
from tests.api.slow_json import Refused, read_slowly
from tests.strategies.json_values import values

BLANKS = st.text(" \t\n\r", max_size=3)
DEPTH = 6
SHALLOW = Limits(json_depth=DEPTH)

STRINGS = [
    '":"',
    '"\\u003a"',
    '"\\u003A"',
    '"\\\\u003a"',
    '"a:b"',
    '"{[\\""',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    '"\\x"',
    '"\x01"',
    '"\\"',
    '"12345678901234567890123"',
]
NUMBERS = [
    "0",
    "-0",
    "00",
    "01",
    "-01",
    "1.",
    ".5",
    "1e",
    "1e5",
    "1E+5",
    "1e-400",
    "1e400",
    "-1e400",
    "1e308",
    "+1",
    "-",
    "0x1",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1000000000000000000000000",
    "1000000000000000000000000.0",
    "0.1234567890123456789012",
    "1234567890123456789e1",
    "1" * 5_000,
]

strings = st.one_of(
    st.text(max_size=8).map(json.dumps),
    st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(STRINGS),
)
numbers = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(repr),
    st.sampled_from(NUMBERS),
)
keys = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"\\u003a"', '""', "a", "1"])


def joined(left: str, items: list[str], right: str) -> str:
    """An array or object of these items."""
    return left + ",".join(items) + right


def listed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays of JSON-like texts, some of them not closed well."""
    return st.builds(joined, st.just("["), st.lists(inner, max_size=4), closings("]"))


def membered(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects of JSON-like texts, with repeated keys and other faults."""
    member = st.builds("{}{}{}:{}{}".format, BLANKS, keys, BLANKS, BLANKS, inner)
    return st.builds(joined, st.just("{"), st.lists(member, max_size=4), closings("}"))


def closings(right: str) -> st.SearchStrategy[str]:
    """Mostly the right one."""
    return st.sampled_from([right] * 12 + ["", "," + right, right * 2])


texts = st.builds(
    "{}{}{}".format,
    BLANKS,
    st.recursive(
        st.one_of(strings, numbers, st.sampled_from(["true", "false", "null", "True", "nul", "", "'a'"])),
        lambda inner: st.one_of(listed(inner), membered(inner)),
        max_leaves=10,
    ),
    BLANKS,
)


def same(left: object, right: object) -> bool:
    """Equal values of equal kinds: 1 is not 1.0."""
    return repr(left) == repr(right)


def agree(text: str) -> None:
    """The check and the grammar say the same of a text."""
    try:
        expected = read_slowly(text, DEPTH)
    except Refused:
        with pytest.raises(JsonTextError) as caught:
            check_json(text, "f", limits=SHALLOW)
        assert caught.value.reason == "INVALID_JSON"
        assert caught.value.violations[0].field == "f"
    else:
        leaf = check_json(text, "f", limits=SHALLOW)
        assert leaf.data == text.encode()
        assert same(leaf.value, expected)


@pytest.mark.parametrize("frame", ["{}", " {}\n", "[{}]", '{{"k":{}}}', '[1,"a:b",{}]', '{{"a":1,"b":[{},{}]}}'])
@pytest.mark.parametrize("text", [*STRINGS, *NUMBERS])
def test_it_agrees_on_every_known_trap(text: str, frame: str) -> None:
    agree(frame.format(text, text))


@given(texts.filter(bool))
@example('{"a":1,"\\u0061":2}')
@example('{":":1,"\\u003a":2}')
@example('{"\\u003a":1}')
@example("[" * DEPTH + "]" * DEPTH)
@example("[" * (DEPTH + 1) + "]" * (DEPTH + 1))
def test_it_agrees_with_the_grammar(text: str) -> None:
    agree(text)


@given(values, st.booleans())
def test_every_json_value_is_accepted(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert same(check_json(text, "f").value, value)


@given(texts.filter(bool))
def test_the_value_is_the_one_that_is_read_back_from_the_ledger(text: str) -> None:
    try:
        leaf = check_json(text, "f")
    except JsonTextError:
        return
    assert same(leaf.value, json.loads(leaf.data))


@pytest.mark.promise("P10")
@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded(open_: str, close: str) -> None:
    def nested(depth: int) -> str:
        return open_ * depth + "1" + close * depth

    assert check_json(nested(128), "f")
    with pytest.raises(JsonTextError, match="deeper than 128"):
        check_json(nested(129), "f")
    with pytest.raises(JsonTextError):
        check_json(nested(10_000), "f")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    text = "[" + ",".join(["[[]]"] * 300) + "]"
    assert check_json(text, "f").data == text.encode()
    assert check_json('"' + "[{" * 300 + '"', "f")


@pytest.mark.promise("P10")
def test_size_is_bounded() -> None:
    limits = Limits(payload_bytes=10)
    assert check_json('"12345678"', "f", limits=limits)
    assert check_json('"\u00e4\u00e4\u00e4\u00e4"', "f", limits=limits)
    with pytest.raises(JsonTextError) as caught:
        check_json('"\u00e4\u00e4\u00e4\u00e45"', "f", limits=limits)
    assert caught.value.reason == "PAYLOAD_TOO_LARGE"
    assert caught.value.metadata == {"size": "11", "limit": "10"}


@pytest.mark.parametrize("text", ["1", '"a"', "[]", "null", "true"])
def test_an_object_may_be_required(text: str) -> None:
    assert check_json(text, "f")
    with pytest.raises(JsonTextError, match="must be a JSON object"):
        check_json(text, "f", object_only=True)


def test_a_repeated_key_is_named() -> None:
    with pytest.raises(JsonTextError, match="key 'price' twice"):
        check_json('{"order":[{"price":1,"price":2}]}', "f")


def test_lone_surrogates_are_refused_written_either_way() -> None:
    for text in ('"\ud800"', '"\\ud800"', '{"\\udfff":1}'):
        with pytest.raises(JsonTextError):
            check_json(text, "f")
