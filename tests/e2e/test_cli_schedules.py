"""`perdure schedule` against a real server."""

from __future__ import annotations

import re

import pytest

from tests.e2e.shell import Shell

CREATE = ("schedule", "create", "nightly", "asking", "--cron", "30 2 * * MON-FRI", "--zone", "Europe/Berlin")


def test_a_schedule_from_its_creation_to_its_end(shell: Shell) -> None:
    made = shell.json(*CREATE, "--vars", '{"order": 7}', "--label", "team=blue", "--note", "books")
    assert (made["schedule_id"], made["revision"], made["paused"], made["note"]) == ("nightly", 1, False, "books")
    assert made["spec"]["crons"] == ["30 2 * * MON-FRI"]
    assert shell.refused(*CREATE)["reason"] == "SCHEDULE_EXISTS"
    run_id = shell.ok("schedule", "trigger", "nightly").output.strip()
    assert run_id.startswith("nightly:")
    run = shell.json("run", "get", run_id)
    assert (run["labels"]["team"], run["labels"]["perdure.schedule"]) == ("blue", "nightly")
    again = shell.json("schedule", "trigger", "nightly")
    assert (again["outcome"], again["run_id"]) == ("skipped", ""), "its run has not ended"
    shell.ok("schedule", "pause", "nightly", "--note", "holidays")
    (row,) = shell.ok("schedule", "list").rows
    assert (row[0], row[1], row[3:6]) == ("nightly", "asking", ["paused", "1", "1"])
    assert shell.json("schedule", "unpause", "nightly")["paused"] is False
    assert shell.refused("schedule", "update", "nightly", "asking", "--every", "1h", "--revision", "99")["reason"] == (
        "SCHEDULE_CHANGED"
    )
    changed = shell.json("schedule", "update", "nightly", "asking", "--every", "1h", "--overlap", "allow_all")
    assert changed["revision"] > made["revision"]
    assert shell.json("schedule", "backfill", "nightly", "--from", "-3h", "--to", "-1s")["instants"] == 3
    facts = dict(row[:2] for row in shell.ok("schedule", "get", "nightly").rows)
    assert (facts["workflow"], facts["intervals"]) == ("asking", "3600s")
    shell.ok("schedule", "delete", "nightly")
    assert shell.refused("schedule", "get", "nightly")["reason"] == "SCHEDULE_NOT_FOUND"
    assert shell.json("run", "get", run_id)["status"] == "waiting", "its runs go on"


def test_next_shows_what_an_expression_means(shell: Shell) -> None:
    shown = shell.ok("schedule", "next", "--cron", "30 2 * * MON-FRI", "--zone", "Europe/Berlin", "--count", "3")
    assert len(shown.rows) == 3
    assert all(re.match(r"\d{4}-\d\d-\d\dT0[01]:30:00", row[0]) for row in shown.rows), shown.output


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--cron", "61 * * * *"), 1, "INVALID_FIELD"),
        ((), 1, "INVALID_FIELD"),
        (("--every", "soon"), 2, "USAGE"),
    ],
)
def test_a_timing_that_cannot_be_is_refused(shell: Shell, arguments: tuple[str, ...], code: int, reason: str) -> None:
    error = shell.refused("schedule", "create", "s", "asking", *arguments, code=code)
    assert error["reason"] == reason
    assert shell.ok("schedule", "list", "--json").objects == []
