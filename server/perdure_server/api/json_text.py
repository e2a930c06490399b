"""The JSON check at the edge: once, on the leaf that was sent (RFC 8259, and the contract's limits).

orjson refuses what is not JSON: bad UTF-8, bad grammar, NaN and Infinity, numbers beyond a double, lone
surrogates. It lets pass what the contract forbids besides: a repeated key (the last one wins), an integer
outside [-2^63, 2^64-1] (it becomes a float), nesting of up to 1,024. Those three are found here by counting,
so that no Python code looks at single values:

- A repeated key: the text written back has fewer members, so fewer colons. Strings hold as many colons as
  before, unless one was written as an escape.
- An integer out of range has at least 19 digits in a row.
- Nesting: at most as deep as there are brackets; else orjson writes it back inside as many arrays as
  leave room for the limit and no more.

Where counting cannot tell (an escaped colon, a long run of digits), the standard library's slower parser
looks again.
"""

from __future__ import annotations

import json
from typing import Final

import orjson

from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.values import Json, Leaf

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1

_LONG_DIGITS: Final = b"0" * 19
_DIGITS_AS_ZERO: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_INVALID: Final = "INVALID_JSON"


class JsonTextError(EdgeError):
    """A text that the contract does not accept as JSON; reason INVALID_JSON or PAYLOAD_TOO_LARGE."""

    def __init__(self, reason: str, field: str, description: str, **metadata: str) -> None:
        super().__init__(reason, f"{field}: {description}", (FieldViolation(field, description),), 0, **metadata)
        self.field = field
        self.description = description


class _RefusedError(ValueError):
    """What the standard library's parser was told to refuse."""


def check_json(text: str, field: str, *, object_only: bool = False, limits: Limits = DEFAULT_LIMITS) -> Leaf:
    """The leaf for a JSON text that was sent; its bytes are kept as they are.

    Args:
        text: the text, not empty.
        field: path of the field, for the error.
        object_only: only an object is accepted at the root.
        limits: `payload_bytes` and `json_depth` in force.

    Raises: JsonTextError.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise JsonTextError(_INVALID, field, "must be UTF-8 without lone surrogates") from error
    if len(data) > limits.payload_bytes:
        raise JsonTextError(
            "PAYLOAD_TOO_LARGE",
            field,
            f"has {len(data)} bytes; at most {limits.payload_bytes} are accepted: keep large data outside "
            "and send a reference",
            size=str(len(data)),
            limit=str(limits.payload_bytes),
        )
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonTextError(_INVALID, field, f"is not JSON as RFC 8259 has it: {error}") from error
    if type(value) is not str:
        value = _check_value(data, value, field, limits.json_depth)
    if object_only and type(value) is not dict:
        raise JsonTextError(_INVALID, field, "must be a JSON object")
    return Leaf(data, value)


def _check_value(data: bytes, value: Json, field: str, depth: int) -> Json:
    colons = data.count(b":")
    in_doubt = False
    deep = data.count(b"[") + data.count(b"{") > depth
    if deep or colons > 1:
        written = _write_within(value, depth) if deep else orjson.dumps(value)
        if written is None:
            raise JsonTextError(_INVALID, field, f"is nested deeper than {depth} levels: flatten it")
        if b"\\u003a" in data or b"\\u003A" in data:
            in_doubt = True
        elif written.count(b":") != colons:
            raise JsonTextError(_INVALID, field, _repeated_key(data))
    if in_doubt or (len(data) >= len(_LONG_DIGITS) and _LONG_DIGITS in data.translate(_DIGITS_AS_ZERO)):
        try:
            return json.loads(data, object_pairs_hook=_unique_keys, parse_int=_integer)
        except _RefusedError as error:
            raise JsonTextError(_INVALID, field, str(error)) from error
    return value


def _writable_depth() -> int:
    """How deeply nested a value orjson writes: asked of it, because it is nobody's promise."""
    depth = 0
    value: list[object] = []
    try:
        while depth < 4_096:
            orjson.dumps(value)
            value = [value]
            depth += 1
    except orjson.JSONEncodeError:
        return depth
    return depth


_WRITABLE_DEPTH: Final = _writable_depth()


def _write_within(value: Json, depth: int) -> bytes | None:
    """The value as text, or None if it is nested deeper than `depth`. The text has no other colons."""
    wrapped: object = value
    for _ in range(_WRITABLE_DEPTH - depth):
        wrapped = [wrapped]
    try:
        return orjson.dumps(wrapped)
    except orjson.JSONEncodeError:
        return None


def _repeated_key(data: bytes) -> str:
    try:
        json.loads(data, object_pairs_hook=_unique_keys)
    except _RefusedError as error:
        return str(error)
    raise AssertionError("counting found a repeated key that the parser does not see")


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"has the key {key[:60]!r} twice in one object")
            seen.add(key)
    return members


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) <= 20 else MAX_INTEGER + 1
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise _RefusedError(f"has the integer {digits[:24]}, outside -2^63 .. 2^64-1: send it as a string or a decimal")
    return number
