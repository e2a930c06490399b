"""`perdure workflow`, `namespace`, `run`, `inbox` and `event` against a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.shell import WORKING, Shell, start

# Workflows and namespaces.


def test_a_workflow_is_registered_once(shell: Shell, tmp_path: Path) -> None:
    known = shell.json("workflow", "register", str(tmp_path / "asking.json"))
    assert (known["workflow_id"], known["created"], known["is_default"]) == ("asking", False, True)
    assert re.fullmatch("[0-9a-f]{64}", known["version"])
    listed = shell.ok("workflow", "list", "--json").objects
    assert {each["workflow_id"] for each in listed} == {"asking", "listening", "working"}
    rows = shell.ok("workflow", "list", "asking").rows
    assert [row[:5] for row in rows] == [["asking", known["version"], "default", "3", "ask"]]


def test_a_shown_workflow_can_be_registered_again(shell: Shell) -> None:
    shown = shell.json("workflow", "show", "asking")
    assert shown["spec"]["nodes"]["ask"]["template"]["payload"]["choices"] == ["yes", "no"]
    again = shell.ok("workflow", "register", "-", "--json", given=json.dumps(shown["spec"])).objects[0]
    assert (again["created"], again["version"]) == (False, shown["spec"]["version"])
    assert "ask_user" in shell.ok("workflow", "show", "asking").output


def test_problems_of_a_workflow_are_named(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text(json.dumps({**WORKING, "entry_node": "nowhere"}))
    answer = shell.run("workflow", "validate", str(file))
    assert answer.code == 1
    assert answer.output.startswith("entry_node: ")
    error = shell.refused("workflow", "register", str(file))
    assert error["reason"] == "INVALID_SPEC"
    assert error["fields"][0]["field"].endswith("entry_node")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "there are no nodes"),
        ("[]", "takes a JSON object"),
        ('{"nodes": {"a": 1}}', "nodes[a] is not an object"),
        ('{"nodes": {"a": {"kind": "dance"}}}', "NODE_KIND_DANCE"),
        ('{"nodes": {"a": {}}, "color": "red"}', "color"),
    ],
)
def test_a_file_that_is_no_workflow_is_a_wrong_use(shell: Shell, text: str, problem: str) -> None:
    answer = shell.run("workflow", "validate", "-", given=text)
    assert answer.code == 2
    assert problem in answer.errors


def test_set_default(shell: Shell, tmp_path: Path) -> None:
    before = shell.json("workflow", "show", "working")["spec"]["version"]
    file = tmp_path / "other.json"
    file.write_text(json.dumps({**WORKING, "nodes": {"work": {"kind": "complete", "template": {}}}}))
    other = shell.json("workflow", "register", str(file))
    assert other["is_default"] is False
    moved = shell.json("workflow", "set-default", "working", other["version"])
    assert moved == {"workflow_id": "working", "version": other["version"], "previous_version": before}


def test_namespaces_are_apart(shell: Shell, address: str) -> None:
    run_id = start(shell)
    assert Shell(address).refused("run", "get", run_id)["reason"] == "RUN_NOT_FOUND"
    assert shell.refused("namespace", "create", shell.environment["PERDURE_NAMESPACE"])["reason"] == "NAMESPACE_EXISTS"
    assert Shell(address, "nowhere").refused("run", "list")["reason"] == "NAMESPACE_NOT_FOUND"


# Runs.


def test_a_run_from_its_start_to_its_end(shell: Shell) -> None:
    run_id = start(shell, "asking", "--vars", '{"order": 1}', "--var", 'order={"id": "A"}', "--label", "team=blue")
    run = shell.json("run", "get", run_id)
    assert (run["status"], run["activity"], run["vars"]) == ("waiting", "waiting", {"order": {"id": "A"}})
    assert (run["labels"], run["waiting"]["reason"], run["error"]) == ({"team": "blue"}, "user", None)

    (waits,) = shell.ok("inbox").rows
    assert waits[:7] == [run_id, str(run["waiting"]["wait_id"]), "user", "asking", "ada", "Go on?", "yes, no"]
    resumed = shell.ok("run", "resume", run_id, "yes", "--by", "ada")
    assert re.fullmatch(rf"resumed {run_id}: \S+ at record \d+|resumed {run_id}: .*", resumed.output.strip())
    assert f"answering wait {run['waiting']['wait_id']}: Go on?" in resumed.errors

    shell.ok("run", "wait", run_id, "--until", "settled", "--min-seq", "5")
    emitted = shell.json("event", "emit", "go", '{"at": "last"}', "--scope", "global")
    assert emitted["duplicate"] is False
    ended = shell.ok("run", "wait", run_id, "--json").objects[0]
    assert (ended["status"], ended["activity"]) == ("completed", None)
    assert ended["output"] == {"answer": "yes", "order": {"id": "A"}}
    facts = dict(row for row in shell.ok("run", "get", run_id).rows)
    assert facts["output"] == '{"answer": "yes", "order": {"id": "A"}}'


def test_start_prints_the_id_alone_and_start_again_returns_it(shell: Shell) -> None:
    assert shell.ok("run", "start", "asking", "--id", "mine").output == "mine\n"
    assert shell.refused("run", "start", "asking", "--id", "mine")["reason"] == "RUN_EXISTS"
    again = shell.json("run", "start", "asking", "--id", "mine", "--on-existing", "return")
    assert (again["run_id"], again["created"]) == ("mine", False)


def test_start_and_wait(shell: Shell) -> None:
    run = shell.json("run", "start", "asking", "--wait", "settled")
    assert run["waiting"]["prompt"] == "Go on?"


def test_lists_filter_and_stop(shell: Shell) -> None:
    runs = [start(shell, "asking", "--label", f"n={number}", "--session", "s") for number in range(3)]
    assert [row[0] for row in shell.ok("run", "list").rows] == runs[::-1]
    assert [row[0] for row in shell.ok("run", "list", "--label", "n=1").rows] == [runs[1]]
    assert shell.ok("run", "list", "--status", "completed", "--status", "failed").output == ""
    assert len(shell.ok("run", "list", "-s", "waiting", "-a", "waiting", "--session", "s", "--roots").rows) == 3
    assert shell.ok("run", "list", "--since", "+1h").output == ""
    limited = shell.ok("run", "list", "--limit", "2")
    assert len(limited.rows) == 2
    assert "--limit 0 lists all" in limited.errors
    assert len(shell.ok("run", "list", "--limit", "0", "--wait-reason", "user", "--assignee", "ada").rows) == 3


@pytest.mark.parametrize(
    ("arguments", "stored"),
    [(["yes"], "yes"), (["--text", "no"], "no"), (['{"response": "yes"}'], {"response": "yes"})],
)
def test_answers(shell: Shell, arguments: list[str], stored: object) -> None:
    run_id = start(shell)
    shell.ok("run", "resume", run_id, *arguments)
    assert shell.json("run", "get", run_id)["vars"]["answer"] == stored


def test_an_answer_reaches_the_wait_it_names(shell: Shell) -> None:
    run_id = start(shell)
    wait_id = shell.json("run", "get", run_id)["waiting"]["wait_id"]
    assert shell.refused("run", "resume", run_id, "yes", "--wait-id", str(wait_id + 5))["reason"] == "WAIT_ENDED"
    assert (
        shell.refused("run", "resume", run_id, "yes", "--any-wait", "--wait-key", "k")["reason"] == "WAIT_KEY_MISMATCH"
    )
    missing = shell.refused("run", "resume", run_id, code=2)
    assert "Go on?" in missing["advice"]
    shell.ok("run", "resume", run_id, "yes", "--wait-id", str(wait_id))
    assert shell.refused("run", "resume", run_id, "yes", "--wait-id", str(wait_id))["reason"] == "WAIT_ENDED"
    shell.ok("run", "wait", run_id, "--until", "settled", "--min-seq", str(wait_id + 1))
    assert shell.refused("run", "resume", run_id, "yes")["reason"] == "WAIT_NOT_RESUMABLE"


def test_a_repeated_request_acts_once(shell: Shell) -> None:
    first = shell.json("run", "start", "asking", "--request-id", "once")
    assert shell.json("run", "start", "asking", "--request-id", "once") == first
    assert shell.refused("run", "start", "working", "--request-id", "once")["reason"] == "REQUEST_ID_REUSED"


def test_pause_unpause_and_cancel(shell: Shell) -> None:
    run_id = start(shell)
    shell.ok("run", "pause", run_id, "--reason", "lunch", "--by", "ada")
    assert shell.ok("run", "list", "--paused").rows[0][3] == "waiting user, paused"
    shell.ok("run", "unpause", run_id)
    assert shell.ok("run", "list", "--paused").output == ""
    cancelled = shell.json("run", "cancel", run_id, "--reason", "no longer wanted")
    assert cancelled["status"] == "cancelled"
    waited = shell.run("run", "wait", run_id)
    assert waited.code == 1
    assert "no longer wanted" in waited.output
    assert shell.refused("run", "resume", run_id, "yes")["reason"] == "RUN_ENDED"
    assert shell.refused("run", "pause", run_id)["reason"] == "RUN_ENDED"


def test_a_cancel_says_what_it_came_to(shell: Shell) -> None:
    ended, waiting = start(shell, "asking", "--entry-node", "done"), start(shell)
    assert shell.ok("run", "cancel", ended).output.startswith(f"nothing to cancel: {ended}: completed")
    for _ in range(2):
        assert shell.ok("run", "cancel", waiting).output.startswith(f"cancelled {waiting}: cancelled")


def test_a_manual_run_is_ticked(shell: Shell) -> None:
    run_id = shell.ok("run", "start", "asking", "--drive", "manual").output.strip()
    assert shell.json("run", "get", run_id)["activity"] == "idle"
    ticked = shell.json("run", "tick", run_id, "--steps", "1")
    assert (ticked["status"], ticked["step_budget"]) == ("waiting", 0)
    assert shell.refused("run", "tick", start(shell))["reason"] == "RUN_NOT_MANUAL"


def test_a_tree_shows_every_run_below(shell: Shell) -> None:
    run_id = start(shell)
    shell.ok("run", "resume", run_id, "yes")
    shell.ok("run", "wait", run_id, "--until", "settled", "--min-seq", "5")
    tree = shell.json("run", "tree", run_id)
    (child,) = tree["children"]
    assert (tree["run_id"], child["workflow_id"], child["parent_run_id"]) == (run_id, "listening", run_id)
    rows = shell.ok("run", "tree", run_id).rows
    assert [row[0] for row in rows] == [run_id, f"  {child['run_id']}"]
    assert [row[0] for row in shell.ok("run", "tree", child["run_id"]).rows] == [child["run_id"]]
    assert len(shell.ok("run", "tree", child["run_id"], "--whole").rows) == 2
    drawn = shell.ok("run", "tree", run_id, PERDURE_FORCE_TTY="1", NO_COLOR="1", COLUMNS="120").output
    assert "└── listening waiting" in drawn


def test_resolve_wants_a_parked_step_and_one_decision(shell: Shell) -> None:
    run_id = start(shell)
    assert shell.refused("run", "resolve", run_id, "--rerun")["reason"] == "STEP_NOT_PARKED"
    assert shell.refused("run", "resolve", run_id, code=2)["message"] == "one decision is needed"
    assert shell.refused("run", "resolve", run_id, "--rerun", "--failed", "X", code=2)
    assert shell.refused("run", "resolve", run_id, "--plan", '{"dance": 1}', code=2)
    assert shell.refused("run", "resolve", run_id, "--rerun", "--step-id", "1")["reason"] == "STEP_NOT_PARKED"


# Events.


def test_events_are_emitted_once_and_listed(shell: Shell) -> None:
    emitted = shell.json("event", "emit", "paid", '{"n": 1}', "--scope", "global", "--event-id", "e-1", "--by", "bank")
    repeated = shell.json("event", "emit", "paid", '{"n": 1}', "--scope", "global", "--event-id", "e-1")
    assert repeated == {**emitted, "duplicate": True}
    shell.ok("event", "emit", "told", "hello", "--scope", "global")
    events = shell.ok("event", "list", "--scope", "global", "--json").objects
    assert [(each["name"], each["payload"], each["emitted_by"]) for each in events] == [
        ("paid", {"n": 1}, "bank"),
        ("told", {"value": "hello"}, ""),
    ]
    assert [row[2] for row in shell.ok("event", "list", "paid", "--scope", "global").rows] == ["paid"]
    assert shell.refused("event", "emit", "*", "--scope", "global")["fields"][0]["field"] == "name"
