"""Values as people type them: JSON, key=value pairs, instants and spans of time."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from perdure_server.cli.refusals import USAGE, Refusal

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def read_text(source: str, option: str) -> str:
    """The text itself; with "@FILE" the file's content; with "-" standard input.

    Raises:
        Refusal: the file cannot be read.
    """
    if source == "-":
        return sys.stdin.read()
    if not source.startswith("@"):
        return source
    try:
        return Path(source[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{option}: cannot read {source[1:]!r}: {error}", exit_code=USAGE) from error


def json_value(source: str, option: str) -> Any:
    """The JSON value of a text, "@FILE" or "-".

    Raises:
        Refusal: it is not JSON, or repeats a key.
    """
    text = read_text(source, option)
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        advice = "quote it for the shell, for example '{\"amount\": 12}', or give @FILE"
        raise Refusal(f"{option} takes JSON: {error}", advice, exit_code=USAGE) from error


def json_object(source: str, option: str) -> dict[str, Any]:
    """The JSON object of a text, "@FILE" or "-".

    Raises:
        Refusal: it is not a JSON object.
    """
    value = json_value(source, option)
    if not isinstance(value, dict):
        raise Refusal(f"{option} takes a JSON object, for example '{{\"amount\": 12}}'", exit_code=USAGE)
    return cast("dict[str, Any]", value)


def json_or_text(source: str, option: str) -> Any:
    """The JSON value of a text, or the text itself where it is none: `approve` is the string "approve"."""
    text = read_text(source, option)
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def pairs(items: Iterable[str], option: str) -> dict[str, str]:
    """`key=value` items as a dict.

    Raises:
        Refusal: one has no "=".
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise Refusal(f"{option} takes KEY=VALUE, not {item!r}", exit_code=USAGE)
        found[name] = value
    return found


def span(text: str, option: str) -> timedelta:
    """`90`, `90s`, `5m`, `2h`, `1d`, `1w`, `250ms`.

    Raises:
        Refusal: it is none of these.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise Refusal(f"{option} takes a time such as 90s, 5m, 2h or 1d, not {text!r}", exit_code=USAGE)
    return timedelta(seconds=float(match.group(1)) * _UNIT_SECONDS[match.group(2) or "s"])


def instant(text: str, option: str, now: datetime) -> datetime:
    """An RFC 3339 instant, or a time from now on: `+2h`, `-15m`.

    Args:
        text: what was typed.
        option: for the refusal.
        now: from when `+` and `-` count.

    Raises:
        Refusal: it is neither, or has no time zone.
    """
    if text[:1] in {"+", "-"} and text[1:]:
        delta = span(text[1:], option)
        return now + delta if text[0] == "+" else now - delta
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{option} takes an instant such as 2027-01-31T12:00:00Z or +2h, not {text!r}"
        raise Refusal(message, exit_code=USAGE) from error
    if parsed.tzinfo is None:
        raise Refusal(f"{option}: {text!r} has no time zone: end it with Z or +02:00", exit_code=USAGE)
    return parsed.astimezone(UTC)


def _unique(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        names = [name for name, _ in members]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
