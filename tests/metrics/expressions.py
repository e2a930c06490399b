"""PromQL: which series an expression reads, and by which labels it selects them."""

from __future__ import annotations

from typing import Any, Final

import promql_parser

from perdure_server.metrics.families import OWN, PROCESS, Family

SCRAPED: Final = {"up": {"job", "instance"}}
"""What Prometheus itself writes down of every scrape, with its labels."""
TARGET: Final = {"job", "instance"}
"""Labels that Prometheus adds to every series."""

_parser: Final[Any] = promql_parser


def series_in(expression: str) -> dict[str, set[str]]:
    """Names of the series that an expression reads, with the labels that it selects them by.

    Raises: ValueError if it is no PromQL, types included.
    """
    found: dict[str, set[str]] = {}

    def look(node: Any) -> bool:
        if isinstance(node, _parser.VectorSelector):
            labels = {matcher.name for matcher in node.matchers.matchers}
            found.setdefault(node.name, set()).update(labels)
        return True

    # Grafana puts the interval in.
    _parser.walk(_parser.parse(expression.replace("$__rate_interval", "1m")), look)
    return found


def problems_of(expression: str) -> list[str]:
    """What an expression reads that no scrape brings."""
    known = known_series()
    wrong = [name for name in series_in(expression) if name not in known]
    for name, labels in series_in(expression).items():
        wrong += [f"{name}{{{label}}}" for label in labels - known.get(name, labels)]
    return wrong


def known_series() -> dict[str, set[str]]:
    """Every series that there is, with its labels."""
    known = dict(SCRAPED)
    for family in (*OWN, *PROCESS):
        for name in names_of(family):
            known[name] = {*family.labels, *TARGET, *({"le"} if name.endswith("_bucket") else ())}
    return known


def names_of(family: Family) -> list[str]:
    """The series of a family."""
    if family.kind == "histogram":
        return [f"{family.name}_{part}" for part in ("bucket", "sum", "count")]
    return [family.name]
