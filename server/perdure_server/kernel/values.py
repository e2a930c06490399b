"""JSON values as the kernel holds them: the text that was sent, and its value when somebody needs it."""

from __future__ import annotations

import json
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_UNSET: Final = object()

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Leaf:
    """One JSON value that crosses the contract: its bytes are kept, its value is parsed at most once.

    Args:
        data: UTF-8 JSON text, already validated at the edge.
        value: the parsed value when the caller has it anyway; parsed on first use otherwise.
    """

    __slots__ = ("_value", "data")

    def __init__(self, data: bytes, value: object = _UNSET) -> None:
        self.data = data
        self._value = value

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

    @staticmethod
    def of(value: Json) -> Leaf:
        """Makes a leaf from a value, in the compact form that vars are re-serialised in."""
        return Leaf(dump_json(value), value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"Leaf({self.data[:60]!r})"


def dump_json(value: Json) -> bytes:
    """Compact UTF-8 JSON text with keys in their order."""
    return _encode(value).encode()
