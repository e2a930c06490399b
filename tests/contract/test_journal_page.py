"""docs/journal.md shows what there is: its commands run, its fields are those of the lines."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from perdure_server.storage.journal.files import segment_name
from perdure_server.storage.journal.store import MEMORY_BYTES, SEGMENT_BYTES
from tests.contract.builders import (
    committed,
    event,
    payload,
    put_timers,
    record,
    request,
    start,
    step,
    wait,
    waiting_head,
)
from tests.contract.journals import opened

PAGE = (Path(__file__).parents[2] / "docs" / "journal.md").read_text(encoding="utf-8")
SECOND = "2026-01-01T00:00:00"
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a journal in `runs`."""
    store = opened(tmp_path / "runs")
    committed(store, start("order-7", change=put_timers((3, 9))), start("order-8", last=2))
    answer = record(2, kind=7, payloads=(payload(1, b'{"approved":true}'),))
    committed(store, step("order-7", 1, records=(answer,), events=(event("e1"),), request=request("q")))
    committed(store, step("order-8", 2, run_head=waiting_head(3, wait(3)), keyframe=b"state"))
    store.close()
    return tmp_path


@pytest.mark.skipif(shutil.which("jq") is None, reason="the page's commands need jq")
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            0,
            [
                "2026-01-01T00:00:00.000002Z\torder-7\t2\tresumed\tstart",
                "2026-01-01T00:00:00.000001Z\t\t1\tstep_started\tstart",
            ],
        ),
        (1, ["order-8\tstart\tuser"]),
        (2, ['resumed\t{"approved":true}', "step_started\t{}"]),
        (3, ["      4 2026-01-01T00:00"]),
    ],
)
def test_the_pages_commands(runs: Path, number: int, expected: list[str]) -> None:
    assert len(COMMANDS) == 4
    done = subprocess.run(["bash", "-ec", COMMANDS[number]], cwd=runs, capture_output=True, text=True, check=True)
    assert set(expected) <= set(done.stdout.splitlines()), done.stdout
    assert number != 1 or len(done.stdout.splitlines()) == 1


def test_the_pages_fields_are_those_of_the_lines(runs: Path) -> None:
    lines = [json.loads(line) for line in (runs / "runs" / segment_name(1)).read_text().splitlines()]
    assert [line["type"] for line in lines] == ["segment", "commit", "commit", "commit", "commit"]
    fields = {name for line in lines[1:] for name in line} - {"type"}
    documented = set(re.findall(r"`(?:records\[\]\.)?([a-z_]+)`", PAGE.partition("| field |")[2].partition("\n\n")[0]))
    assert fields - documented == {"sum"} - documented
    assert {name for line in lines for each in line.get("records", []) for name in each} <= documented
    assert {name for line in lines for name in line.get("head", {})} - documented == {"updated_at"}


def test_the_pages_figures_are_those_of_the_code() -> None:
    assert f"{SEGMENT_BYTES >> 20} MiB" in PAGE
    assert f"{MEMORY_BYTES >> 30} GiB" in PAGE
