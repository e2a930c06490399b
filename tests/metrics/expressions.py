"""PromQL as far as a check needs it: which series an expression names, and whether its brackets are closed."""

from __future__ import annotations

import re
from typing import Final

from perdure_server.metrics.families import OWN, PROCESS, Family

# Words that stand where a series could, and a word before "(" is a function or an aggregation.
KEYWORDS: Final = frozenset(
    {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "inf"}
)
SCRAPED: Final = frozenset({"up", "scrape_duration_seconds"})
"""What Prometheus itself writes down of every scrape."""

_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTORS: Final = re.compile(r"\{([^}]*)\}")
_GROUPS: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGES: Final = re.compile(r"\[[^\]]*\]")
_WORD: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def series_in(expression: str) -> set[str]:
    """Names of the series that an expression reads. Raises: ValueError if its brackets do not match."""
    _check_brackets(_STRINGS.sub('""', expression))
    text = _RANGES.sub(" ", _GROUPS.sub(" ", _SELECTORS.sub(" ", _STRINGS.sub('""', expression))))
    found: set[str] = set()
    for match in _WORD.finditer(text):
        is_function = text[match.end() :].lstrip().startswith("(")
        before = text[match.start() - 1 : match.start()]
        if not is_function and match.group() not in KEYWORDS and not before.isdigit():
            found.add(match.group())
    return found


def labels_in(expression: str) -> dict[str, set[str]]:
    """Labels by which each series is selected."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}", expression):
        matchers = re.findall(r'([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"', selector)
        found.setdefault(name, set()).update(matchers)
    return found


def known_series() -> dict[str, Family | None]:
    """Every series that a scrape brings, with its family."""
    known: dict[str, Family | None] = dict.fromkeys(SCRAPED)
    for family in (*OWN, *PROCESS):
        names = [f"{family.name}_{part}" for part in ("bucket", "sum", "count")]
        for name in names if family.kind == "histogram" else [family.name]:
            known[name] = family
    return known


def _check_brackets(text: str) -> None:
    closing = {"(": ")", "[": "]", "{": "}"}
    open_ones: list[str] = []
    for character in text:
        if character in closing:
            open_ones.append(closing[character])
        elif character in closing.values() and (not open_ones or open_ones.pop() != character):
            raise ValueError(f"{character!r} closes nothing")
    if open_ones:
        raise ValueError(f"{open_ones[-1]!r} is missing")
