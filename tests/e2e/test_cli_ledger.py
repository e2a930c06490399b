"""`perdure ledger` against a real server: shown, verified, followed live, across interruptions of either side."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import PERDURE, ROOT
from tests.e2e.shell import ASKING, Shell, serve, start


def test_a_ledger_is_shown_verified_and_tailed(shell: Shell) -> None:
    run_id = start(shell, "asking", "--vars", '{"order": 7}')
    shown = shell.ok("ledger", "show", run_id)
    assert [row[:3:2] for row in shown.rows] == [["1", "run_started"], ["2", "step_completed"], ["3", "waiting"]]
    assert '{"order": 7}' in shown.rows[0][-1]
    assert "hash chain intact" in shown.errors
    assert [row[2] for row in shell.ok("ledger", "show", run_id, "--kind", "waiting").rows] == ["waiting"]
    forms = shell.ok("ledger", "show", run_id, "--json").objects
    assert forms[0]["body"]["vars"] == {"order": 7}
    assert [form["prev_hash"] for form in forms[1:]] == [form["record_hash"] for form in forms[:-1]]

    tailed = shell.ok("ledger", "tail", "--from", "beginning", "--no-follow", "--json")
    assert tailed.objects == forms
    told = shell.ok("ledger", "tail", "--run", run_id, "--from", "beginning", "--no-follow")
    cursor = told.errors.split()[-1]
    shell.ok("run", "cancel", run_id)
    rest = shell.ok("ledger", "tail", "--run", run_id, "--after-cursor", cursor, "--json").objects
    assert [form["kind"] for form in rest] == ["cancelled"]
    verified = shell.json("ledger", "verify", run_id)
    assert (verified["intact"], verified["head_hash"]) == (True, rest[-1]["record_hash"])


def test_a_tail_names_its_scope_and_kinds(shell: Shell) -> None:
    run_id = start(shell)
    options = ("--from", "beginning", "--no-follow", "--json")
    assert len(shell.ok("ledger", "tail", "--workflow", "asking", "--kind", "waiting", *options).objects) == 1
    assert len(shell.ok("ledger", "tail", "--tree", run_id, *options).objects) == 3
    assert shell.refused("ledger", "tail", "--run", run_id, "--tree", run_id, code=2)
    assert "the kinds are" in shell.refused("ledger", "tail", "--kind", "dance", code=2)["advice"]
    wrong = shell.refused("ledger", "tail", "--workflow", "asking", "--after-cursor", "nonsense")
    assert wrong["reason"] == "INVALID_CURSOR"


def tail_process(shell: Shell, *arguments: str) -> subprocess.Popen[str]:
    """`perdure ledger tail` as a process of its own."""
    command = [*PERDURE, "ledger", "tail", "--from", "beginning", "--json", *arguments]
    environment = {**os.environ, **shell.environment}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_reader_that_goes_away_ends_a_command_quietly(shell: Shell) -> None:
    for _ in range(3):
        start(shell)
    process = tail_process(shell)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    start(shell)
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0, errors
    assert errors == ""


def test_an_interrupted_tail_tells_where_to_go_on(shell: Shell) -> None:
    run_id = start(shell)
    command = [*PERDURE, "ledger", "tail", "--from", "beginning"]
    environment = {**os.environ, **shell.environment}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(3):
            assert process.stdout.readline().startswith(run_id)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait() == 130
    cursor = re.fullmatch(r"go on with --after-cursor (\S+)\n", errors)
    assert cursor is not None, errors
    shell.ok("run", "cancel", run_id)
    rest = shell.ok("ledger", "tail", "--after-cursor", cursor.group(1), "--no-follow", "--json").objects
    assert [form["seq"] for form in rest] == [4]


@pytest.mark.promise("P8")
def test_a_tail_goes_on_across_a_killed_server(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/perdure.sqlite"
    first, address = serve("--store", store)
    shell = Shell(address)
    with first, tail_process(shell) as tailing:
        assert tailing.stdout is not None
        shell.ok("workflow", "register", "-", given=json.dumps(ASKING))
        seen = [start(shell)] * 3
        told = [json.loads(tailing.stdout.readline()) for _ in seen]
        first.kill()
        first.wait()
        second, _ = serve("--store", store, "--listen", address)
        with second:
            seen += [start(shell)] * 3
            told += [json.loads(tailing.stdout.readline()) for _ in range(3)]
            tailing.terminate()
            second.terminate()
    assert [form["run_id"] for form in told] == seen
    assert [form["seq"] for form in told] == [1, 2, 3, 1, 2, 3]
