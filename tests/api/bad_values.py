"""Kinds of fields and what must be refused in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

JSON_TEXTS = (
    "{",
    "NaN",
    "Infinity",
    "[1e999]",
    '{"a":1,"a":2}',
    "[" * 10_000 + "]" * 10_000,
    "[" * 129 + "]" * 129,
    "18446744073709551616",
    "-9223372036854775809",
    '"\\ud800"',
    "\ufeff1",
    "1 2",
    "'a'",
)


@dataclass(frozen=True)
class Kind:
    """Values that a field refuses; `reported` is appended to its path in the answer."""

    values: tuple[Any, ...]
    reason: str = "INVALID_FIELD"
    reported: str = ""


ID = Kind(("", "a b", "x" * 129, "\u00e4", "a\0", "a/b", "a\n"))
OPTIONAL_ID = Kind(ID.values[1:])
ENUM = Kind((99, -1))
JSON = Kind(JSON_TEXTS, "INVALID_JSON")
OBJECT = Kind((*JSON_TEXTS, "[]", "1", '"a"', "null"), "INVALID_JSON")
LARGE = Kind(('"' + "x" * (1024 * 1024) + '"',), "PAYLOAD_TOO_LARGE")
INSTANT = Kind(
    (
        Timestamp(),
        Timestamp(seconds=-1),
        Timestamp(seconds=253_402_300_800),
        Timestamp(seconds=5, nanos=-1),
        Timestamp(seconds=5, nanos=1_000_000_000),
        Timestamp(seconds=2**63 - 1),
        Timestamp(seconds=-(2**63)),
    )
)
ANY_SPAN = Kind(
    (
        Duration(seconds=-1),
        Duration(nanos=-1),
        Duration(seconds=1, nanos=-1),
        Duration(nanos=1_000_000_000),
        Duration(seconds=36_526 * 86_400),
        Duration(seconds=2**63 - 1),
        Duration(seconds=-(2**63)),
    )
)
SPAN = Kind((Duration(), Duration(nanos=999), *ANY_SPAN.values))
WAIT = Kind((Duration(seconds=51), *ANY_SPAN.values))
PAGE_SIZE = Kind((-1, -(2**31)))
LABELS = Kind(({str(number): "" for number in range(33)}, {"": "v"}), reported="")
LABEL = Kind(({"k": "v" * 256}, {"k": "\0"}), reported="[k]")


Rules: TypeAlias = Mapping[str, tuple[Kind, ...]]
"""Path of a field to what it refuses."""


def under(prefix: str, rules: Rules) -> Rules:
    """Rules of a message inside another one."""
    return {f"{prefix}.{path}": kinds for path, kinds in rules.items()}


def text(max_bytes: int, *, required: bool = False) -> Kind:
    """Text of so many bytes."""
    wide = "\u00e4" * (max_bytes // 2) + "x" * (max_bytes % 2 + 1)
    return Kind((*([""] if required else []), "x" * (max_bytes + 1), wide, "a\0b"))


def integer(low: int, high: int, bits: int = 64) -> Kind:
    """A number within bounds, of a field of so many bits."""
    outside = (low - 1, high + 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    inside = range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    return Kind(tuple(sorted({value for value in outside if value in inside and not low <= value <= high})))


def put(message: Message, path: str, value: Any) -> None:
    """Sets the field at a path such as `plan.vars_ops[0].set_json`."""
    owner: Any = message
    *parents, last = path.split(".")
    for part in parents:
        name, _, key = part.partition("[")
        owner = getattr(owner, name)
        if key:
            key = key.rstrip("]")
            owner = owner[int(key)] if key.isdigit() else owner[key]
    name, _, key = last.partition("[")
    if key:
        getattr(owner, name)[int(key.rstrip("]"))] = value
    elif isinstance(value, Message):
        getattr(owner, name).CopyFrom(value)
        getattr(owner, name).SetInParent()
    elif isinstance(value, list):
        getattr(owner, name)[:] = value
    elif isinstance(value, Mapping):
        getattr(owner, name).clear()
        getattr(owner, name).update(value)
    else:
        setattr(owner, name, value)
