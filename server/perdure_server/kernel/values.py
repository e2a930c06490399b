"""JSON values as the kernel holds them: the text that was sent, and its value when somebody needs it."""

from __future__ import annotations

import json
import re
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_UNSET: Final = object()

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_GROWS: Final = re.compile(rb"[0-9][eE]|[0-9]{16}\.")
"""Numbers whose re-serialised text may be longer: 1E15 becomes 1000000000000000.0."""


class Leaf:
    """One JSON value that crosses the contract: its bytes are kept, its value is parsed at most once.

    Args:
        data: UTF-8 JSON text, already validated at the edge.
        value: the parsed value when the caller has it anyway; parsed on first use otherwise.
    """

    __slots__ = ("_stored_size", "_value", "data")

    def __init__(self, data: bytes, value: object = _UNSET) -> None:
        self.data = data
        self._value = value
        self._stored_size = 0

    @property
    def value(self) -> Json:
        """The value. Shared: whoever changes it copies first."""
        if self._value is _UNSET:
            self._value = json.loads(self.data)
        return self._value  # type: ignore[return-value]

    @property
    def text(self) -> str:
        """The JSON text."""
        return self.data.decode()

    @property
    def size(self) -> int:
        """Length of the text in bytes."""
        return len(self.data)

    @property
    def stored_size(self) -> int:
        """What the value takes in vars, which are re-serialised, in bytes: at most. A string never takes more."""
        if not self._stored_size:
            data = self.data
            grows = not data.startswith(b'"') and _GROWS.search(data) is not None
            self._stored_size = max(len(data), len(dump_json(self.value))) if grows else len(data)
        return self._stored_size

    @staticmethod
    def of(value: Json) -> Leaf:
        """Makes a leaf from a value, in the compact form that vars are re-serialised in."""
        leaf = Leaf(dump_json(value), value)
        leaf._stored_size = len(leaf.data)
        return leaf

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"Leaf({self.data[:60]!r})"


def dump_json(value: Json) -> bytes:
    """Compact UTF-8 JSON text with keys in their order."""
    return _encode(value).encode()
