"""Alerts and dashboard ask for metrics that there are; every alert has its runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.command_line import METRICS_PORT
from tests.e2e.processes import ROOT
from tests.metrics.expressions import problems_of, series_in

MONITORING = ROOT / "deploy" / "monitoring"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return group["rules"]


def panels() -> list[dict[str, Any]]:
    return json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))["panels"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield f"{panel['title']}/{target['refId']}", target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda value: str(value)[:40])
def test_every_expression_reads_what_there_is(where: str, expression: str) -> None:
    assert series_in(expression), where
    assert problems_of(expression) == [], where


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    text = (MONITORING / "runbooks.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"runbooks.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


def test_the_words_of_the_runbooks_are_metrics_and_commands() -> None:
    text = (MONITORING / "runbooks.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(perdure_\w+)`", text):
        assert problems_of(name) == [] or problems_of(f"{name}_bucket") == [], name


def test_panels_do_not_overlap_and_ids_are_unique() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & seen, panel["title"]
        assert max(x for x, _ in cells) < 24
        seen |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)


def test_the_scrape_configuration_fits_the_server_and_the_alerts() -> None:
    content = yaml.safe_load((MONITORING / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = content["scrape_configs"]
    assert job["job_name"] == "perdure"
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{METRICS_PORT}"]}]
    assert all((MONITORING / name).is_file() for name in content["rule_files"])
