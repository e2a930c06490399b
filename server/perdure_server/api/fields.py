"""The rules of single fields. A decoder of `api/codec` names one rule for each field of its message; what
is wrong is collected, so that a caller learns all of it at once.

Paths are those of google.rpc.BadRequest, from the request down: `plan.vars_ops[2].set_json`. A rule takes
the path of the message (`at`, empty or ending in a dot) and the name of the field apart, because joining
them costs more than the check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure_server.api.codec.shapes import micros
from perdure_server.api.json_text import JsonTextError, check_json
from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.kernel.bounds import (
    ID_CHARS,
    KEY_BYTES,
    MAX_ENUMS,
    MAX_INSTANT_US,
    MAX_SPAN_US,
    NAME_BYTES,
    RESULT_KEY_TOKENS,
)
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US, Limits
from perdure_server.kernel.values import Leaf
from perdure_server.kernel.vars import VarsError, pointer_tokens

E = TypeVar("E", bound=IntEnum)

EMPTY_OBJECT: Final = Leaf(b"{}", {})
NULL: Final = Leaf(b"null", None)

_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{ID_CHARS}}}", re.ASCII)
_ID_RULE: Final = f"must be 1 to {ID_CHARS} characters of [A-Za-z0-9._:-]"
_NOTHING: Final = "INVALID_FIELD"


class Check:
    """Checks the fields of one message and keeps what is wrong with them.

    Rules answer a usable value in every case, so that decoding goes on to the end; `done` then raises.

    Args:
        limits: limits in force.
        most: violations kept; the rest would not fit an answer.
    """

    __slots__ = ("limits", "metadata", "most", "reason", "violations")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, most: int = 20) -> None:
        self.limits = limits
        self.most = most
        self.violations: list[FieldViolation] = []
        self.reason = _NOTHING
        self.metadata: dict[str, str] = {}

    def refuse(self, path: str, description: str, reason: str = _NOTHING) -> None:
        """Notes that the field at `path` is wrong; the first reason is the call's."""
        if not self.violations:
            self.reason = reason
        if len(self.violations) < self.most:
            self.violations.append(FieldViolation(path, description))

    def done(self) -> None:
        """Raises: EdgeError if anything was refused."""
        if self.violations:
            texts = "; ".join(f"{path}: {text}" for path, text in self.violations)
            raise EdgeError(self.reason, texts, tuple(self.violations), 0, **self.metadata)

    def id(self, at: str, name: str, value: str, *, optional: bool = False) -> str:
        """1 to 128 characters of [A-Za-z0-9._:-]; empty only where that means something."""
        if not value and optional:
            return value
        if _ID.fullmatch(value) is None:
            self.refuse(at + name, _ID_RULE if value else f"is required: it {_ID_RULE}")
        return value

    def namespace(self, at: str, value: str) -> str:
        """A namespace; empty means "default"."""
        return self.id(at, "namespace", value, optional=True) or "default"

    def text(self, at: str, name: str, value: str, max_bytes: int = NAME_BYTES, *, required: bool = False) -> str:
        """Text of at most `max_bytes` UTF-8 bytes, without U+0000 (which not every store can hold)."""
        if required and not value:
            self.refuse(at + name, f"is required: 1 to {max_bytes} bytes")
        elif len(value) * 4 > max_bytes and len(value.encode()) > max_bytes:
            self.refuse(at + name, f"has {len(value.encode())} bytes; at most {max_bytes} are accepted")
        if "\0" in value:
            self.refuse(at + name, "must not hold U+0000")
        return value

    def texts(self, at: str, name: str, values: Sequence[str], most: int, max_bytes: int) -> tuple[str, ...]:
        """At most `most` texts, none empty."""
        self.count(at, name, len(values), most)
        return tuple(
            self.text(at, f"{name}[{index}]", value, max_bytes, required=True)
            for index, value in enumerate(values[:most])
        )

    def ids(self, at: str, name: str, values: Sequence[str], most: int) -> tuple[str, ...]:
        """At most `most` ids."""
        self.count(at, name, len(values), most)
        return tuple(self.id(at, f"{name}[{index}]", value) for index, value in enumerate(values[:most]))

    def pointers(self, at: str, name: str, values: Sequence[str], most: int, max_bytes: int) -> tuple[str, ...]:
        """At most `most` RFC 6901 pointers."""
        self.count(at, name, len(values), most)
        for index, value in enumerate(values[:most]):
            self.text(at, f"{name}[{index}]", value, max_bytes)
            try:
                pointer_tokens(value)
            except VarsError as error:
                self.refuse(f"{at}{name}[{index}]", str(error))
        return tuple(values[:most])

    def count(self, at: str, name: str, given: int, most: int) -> None:
        """At most `most` items."""
        if given > most:
            self.refuse(at + name, f"has {given} items; at most {most} are accepted")

    def json(self, at: str, name: str, text: str, *, empty: Leaf = NULL, object_only: bool = False) -> Leaf:
        """A JSON text; `empty` stands for the empty text."""
        if not text:
            return empty
        try:
            return check_json(text, name, object_only=object_only, limits=self.limits)
        except JsonTextError as error:
            if not self.violations:
                self.metadata = error.metadata
            self.refuse(at + name, error.description, error.reason)
            return empty

    def optional_json(self, at: str, name: str, text: str, *, object_only: bool = False) -> Leaf | None:
        """A JSON text, or None for the empty text."""
        return self.json(at, name, text, object_only=object_only) if text else None

    def integer(self, at: str, name: str, value: int, low: int, high: int, default: int | None = None) -> int:
        """A whole number within bounds; 0 takes the default if there is one."""
        if value == 0 and default is not None:
            return default
        if not low <= value <= high:
            self.refuse(at + name, f"is {value}; it must be {low} to {high}")
        return value

    def page_size(self, value: int) -> int:
        """Items per page: 0 means 100, more than the limit is lowered."""
        if value < 0:
            self.refuse("page_size", f"is {value}; it must not be negative")
        return min(value or 100, self.limits.page_size)

    def choice(self, at: str, name: str, number: int, kinds: type[E], default: E | None = None) -> E:
        """An enum value; unspecified takes the default. Unknown numbers are refused."""
        if number == 0 and default is not None:
            return default
        try:
            return kinds(number)
        except ValueError:
            known = ", ".join(f"{kind.name} ({kind.value})" for kind in kinds if kind.value)
            self.refuse(at + name, f"is {number}, which is not one of {known}")
            return default or next(iter(kinds))

    def choices(self, at: str, name: str, numbers: Sequence[int], kinds: type[E]) -> tuple[E, ...]:
        """Enum values, each known and specified."""
        self.count(at, name, len(numbers), MAX_ENUMS)
        return tuple(
            self.choice(at, f"{name}[{index}]", number, kinds) for index, number in enumerate(numbers[:MAX_ENUMS])
        )

    def instant(self, at: str, name: str, message: Message, moment: Timestamp) -> int:
        """An instant after 1970 and before 10000, microseconds; 0 when unset (see `required_instant`)."""
        return self.required_instant(at, name, moment) if message.HasField(name) else 0

    def required_instant(self, at: str, name: str, moment: Timestamp) -> int:
        """A Timestamp that is set."""
        value = micros(moment)
        if not (0 <= moment.nanos < 1_000_000_000 and 0 < value <= MAX_INSTANT_US):
            self.refuse(
                at + name,
                "must be after 1970-01-01T00:00:00Z and before year 10000, with 0 to 999,999,999 nanos",
            )
            return 0
        return value

    def span(self, at: str, name: str, message: Message, length: Duration, *, default: int = 0) -> int:
        """A Duration above zero, microseconds; the default when unset."""
        if not message.HasField(name):
            return default
        if length.seconds == 0 and 0 <= length.nanos < 1_000:
            self.refuse(at + name, "must be at least 1 microsecond; leave it out for none")
            return 0
        return self.any_span(at, name, length)

    def any_span(self, at: str, name: str, length: Duration) -> int:
        """A Duration that is set and not negative, at most a hundred years."""
        value = micros(length)
        if length.seconds < 0 or not 0 <= length.nanos < 1_000_000_000 or value > MAX_SPAN_US:
            self.refuse(at + name, "must be 0 to 36,525 days, with 0 to 999,999,999 nanos")
            return 0
        return value

    def waiting_time(self, message: Message, length: Duration) -> int:
        """How long a call may wait (`wait`): at most 50 s, unset means 30 s; 0 does not wait."""
        if not message.HasField("wait"):
            return min(30 * SECOND_US, self.limits.poll_us)
        value = self.any_span("", "wait", length)
        if value > self.limits.poll_us:
            self.refuse("wait", f"is at most {self.limits.poll_us // SECOND_US} s")
        return value

    def one_of(self, at: str, message: Message, group: str) -> str | None:
        """Name of the field that is set in a oneof; refused when there is none."""
        name = message.WhichOneof(group)
        if name is None:
            fields = message.DESCRIPTOR.oneofs_by_name[group].fields
            self.refuse(at + group, f"set exactly one of {', '.join(field.name for field in fields)}")
        return name

    def labels(self, at: str, labels: Mapping[str, str]) -> dict[str, str]:
        """At most 32 labels; key (not empty) and value together at most 256 bytes."""
        self.count(at, "labels", len(labels), self.limits.labels)
        checked: dict[str, str] = {}
        for key, value in list(labels.items())[: self.limits.labels]:
            name = f"labels[{key[:40]}]"
            if not key:
                self.refuse(at + "labels", "must not have an empty key")
            if len(key.encode()) + len(value.encode()) > self.limits.label_bytes:
                self.refuse(at + name, f"key and value together have more than {self.limits.label_bytes} bytes")
            if "\0" in key or "\0" in value:
                self.refuse(at + name, "must not hold U+0000")
            checked[key] = value
        return checked

    def result_key(self, at: str, value: str) -> str:
        """A dotted path into vars; empty stores nothing."""
        if value.count(".") >= RESULT_KEY_TOKENS:
            self.refuse(at + "result_key", f"has more than {RESULT_KEY_TOKENS} parts")
        return self.text(at, "result_key", value, KEY_BYTES)


class Stored(Check):
    """Takes what was accepted once as it is: for messages that come from the store."""

    __slots__ = ()

    def refuse(self, path: str, description: str, reason: str = _NOTHING) -> None:
        """Nothing: the limits of today do not undo the acceptance of yesterday."""

    def json(self, at: str, name: str, text: str, *, empty: Leaf = NULL, object_only: bool = False) -> Leaf:
        """The text, unparsed."""
        return Leaf(text.encode()) if text else empty


STORED: Final = Stored()
