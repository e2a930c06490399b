"""The JSON that --json prints: the contract's names, plain values.

Instants are RFC 3339 in UTC to the microsecond, spans seconds, bytes lower-case hex, enumerations their
lower-case word (null where unset), user payloads the JSON they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, cast


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC, microseconds always written."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def json_form(value: object) -> Any:
    """A value made of dataclasses, enumerations, instants and JSON, as JSON alone."""
    if isinstance(value, Enum):
        return None if value.value == "unspecified" else value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: json_form(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        return {str(name): json_form(member) for name, member in members.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [json_form(item) for item in cast("Sequence[object]", value)]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_line(value: object) -> str:
    """One line of JSON."""
    return json.dumps(json_form(value), ensure_ascii=False, separators=(",", ":"))


def json_block(value: object) -> str:
    """Indented JSON, for people."""
    return json.dumps(json_form(value), ensure_ascii=False, indent=2)
