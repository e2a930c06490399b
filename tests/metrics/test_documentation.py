"""docs/metrics.md lists what there is, as it is."""

from __future__ import annotations

import re

import pytest

from perdure_server.metrics.families import OWN, PROCESS
from tests.e2e.processes import ROOT
from tests.metrics.expressions import known_series, series_in

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
    assert series_in(expression) <= known_series().keys()
