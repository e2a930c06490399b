"""docs/metrics.md lists what there is, as it is."""

from __future__ import annotations

import re

import pytest

from perdure_server.metrics.families import OWN, PROCESS
from tests.e2e.processes import ROOT
from tests.metrics.expressions import problems_of, series_in

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_]+)` \| (gauge|counter|histogram) \| (.*?) \| (.*) \|$", re.MULTILINE)


def test_the_page_and_the_code_agree() -> None:
    documented = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in ROW.findall(PAGE)
    ]
    assert documented == [(each.name, each.kind, each.labels, each.text) for each in (*OWN, *PROCESS)]


def test_names_follow_the_conventions() -> None:
    for family in OWN:
        assert family.name.startswith("perdure_")
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert not re.search(r"_(ms|us|millis|minutes|mib|kib|percent)(_|$)", family.name)


@pytest.mark.parametrize("expression", re.findall(r"```promql\n(.*?)\n```", PAGE, re.DOTALL))
def test_the_expressions_of_the_page_name_what_there_is(expression: str) -> None:
    assert series_in(expression)
    assert problems_of(expression) == []


@pytest.mark.parametrize(
    ("expression", "problems"),
    [
        ("rate(perdure_commits[1m])", ["perdure_commits"]),
        ("perdure_commit_seconds", ["perdure_commit_seconds"]),
        ('perdure_runs{state="parked"}', ["perdure_runs{state}"]),
        ("sum(perdure_requests_total) / perdure_requests_seen", ["perdure_requests_seen"]),
    ],
)
def test_an_expression_about_something_else_is_found(expression: str, problems: list[str]) -> None:
    assert problems_of(expression) == problems


@pytest.mark.parametrize("expression", ["sum(", "rate(perdure_commits_total)", "perdure_runs{activity=}"])
def test_what_is_no_promql_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        series_in(expression)
