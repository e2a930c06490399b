"""The `perdure` command against a real server: what it prints, what it returns, and what it says when refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure_server.cli.program import program
from tests.e2e.processes import PERDURE, ROOT

LISTENING = re.compile(r"listening on ([^\s,]+)")

ASKING = {
    "workflow_id": "asking",
    "entry_node": "ask",
    "nodes": {
        "ask": {
            "kind": "effect",
            "template": {
                "type": "ask_user",
                "payload": {"prompt": "Go on?", "choices": ["yes", "no"], "assignee": "ada"},
            },
            "result_key": "answer",
            "next": "child",
        },
        "child": {
            "kind": "effect",
            "template": {"type": "start_subworkflow", "payload": {"workflow_id": "listening"}},
            "result_key": "child",
            "next": "done",
        },
        "done": {"kind": "complete", "template": {"answer": "${vars.answer}", "order": "${vars.order}"}},
    },
}
HEARING = {
    "workflow_id": "listening",
    "entry_node": "listen",
    "nodes": {
        "listen": {
            "kind": "effect",
            "template": {"type": "wait_event", "payload": {"name": "go", "scope": "global"}},
            "result_key": "heard",
            "next": "done",
        },
        "done": {"kind": "complete", "template": {"heard": "${vars.heard.payload}"}},
    },
}
WORKING: dict[str, Any] = {"workflow_id": "working", "entry_node": "work", "nodes": {"work": {"kind": "worker"}}}


@dataclass
class Answer:
    """What a command printed and returned."""

    code: int
    output: str
    errors: str

    @property
    def rows(self) -> list[list[str]]:
        """Its lines, split at tabs."""
        return [line.split("\t") for line in self.output.splitlines()]

    @property
    def objects(self) -> list[Any]:
        """Its lines, as JSON."""
        return [json.loads(line) for line in self.output.splitlines()]


class Shell:
    """Runs commands in this process, against one server and namespace."""

    def __init__(self, address: str, namespace: str = "default") -> None:
        self.environment = {"PERDURE_ADDRESS": address, "PERDURE_NAMESPACE": namespace}

    def run(self, *arguments: str, given: str | None = None, **environment: str) -> Answer:
        """Runs a command, whatever comes of it."""
        result = CliRunner().invoke(program, list(arguments), input=given, env={**self.environment, **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    def ok(self, *arguments: str, given: str | None = None, **environment: str) -> Answer:
        """Runs a command that has to succeed."""
        answer = self.run(*arguments, given=given, **environment)
        assert answer.code == 0, answer
        return answer

    def json(self, *arguments: str) -> Any:
        """Runs a command that has to succeed under --json and print one object."""
        (value,) = self.ok(*arguments, "--json").objects
        return value

    def refused(self, *arguments: str, code: int = 1) -> dict[str, Any]:
        """Runs a command that has to be refused, and returns the error it prints under --json."""
        answer = self.run(*arguments, "--json")
        assert answer.code == code, answer
        assert answer.output == ""
        return json.loads(answer.errors)["error"]


def serve(*flags: str) -> tuple[subprocess.Popen[str], str]:
    """Starts a server; returns it with its address once it listens."""
    listen = () if "--listen" in flags else ("--listen", "127.0.0.1:0")
    command = [*PERDURE, "serve", *listen, *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = LISTENING.search(line)
        if found is not None:
            return process, found.group(1)
    raise AssertionError(f"the server ended with exit code {process.wait()}")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    process, listening = serve("--store", "memory:", "--log-level", "info")
    with process:
        yield listening
        process.terminate()
        assert process.wait() == 0


@pytest.fixture
def shell(address: str, request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """A namespace of the test's own, with the workflows registered."""
    namespace = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)
    shell = Shell(address, namespace)
    shell.ok("namespace", "create", namespace)
    for workflow in (ASKING, HEARING, WORKING):
        file = tmp_path / f"{workflow['workflow_id']}.json"
        file.write_text(json.dumps(workflow))
        shell.ok("workflow", "register", str(file))
    return shell


def start(shell: Shell, workflow: str = "asking", *arguments: str) -> str:
    """Starts a run, waits until it is settled, and returns its id."""
    run_id = shell.ok("run", "start", workflow, *arguments).output.strip()
    shell.ok("run", "wait", run_id, "--until", "settled")
    return run_id


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


# The ledger.


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


# Terminals.


def test_a_terminal_gets_tables(shell: Shell) -> None:
    run_id = start(shell)
    terminal = {"PERDURE_FORCE_TTY": "1", "NO_COLOR": "1", "COLUMNS": "140"}
    table = shell.ok("run", "list", **terminal).output
    assert table.splitlines()[0].split() == ["RUN", "WORKFLOW", "STATUS", "DOING", "NODE", "SEQ", "CREATED"]
    assert run_id in table
    assert "ago" in table
    assert "\x1b[" not in table
    coloured = shell.ok("run", "list", "--color", **{**terminal, "NO_COLOR": ""}).output
    assert "\x1b[33m" in coloured
    assert "waits for" in shell.ok("run", "get", run_id, **terminal).output
    assert "nothing waits" in shell.ok("inbox", "--assignee", "nobody", **terminal).errors


# Failures.


def test_an_unreachable_server_is_exit_code_3() -> None:
    nobody = Shell("127.0.0.1:1")
    answer = nobody.run("run", "list", "--timeout", "0.3")
    assert answer.code == 3
    assert "what to do: start one with `perdure serve`" in answer.errors
    assert nobody.refused("run", "list", "--timeout", "0.3", code=3)["reason"] == "UNREACHABLE"
    doctor = nobody.run("doctor", "--timeout", "0.3")
    assert doctor.code == 3
    assert "nothing listens" in doctor.output


def test_a_refusal_is_exit_code_1_and_says_what_to_do(shell: Shell) -> None:
    answer = shell.run("run", "get", "nothing")
    assert answer.code == 1
    assert answer.output == ""
    assert answer.errors.startswith("error: RUN_NOT_FOUND: ")
    assert "what to do: `perdure run list`" in answer.errors
    assert "Traceback" not in answer.errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "start", "asking", "--vars", "{no json"),
        ("run", "start", "asking", "--vars", "[1]"),
        ("run", "start", "asking", "--label", "plain"),
        ("run", "start", "asking", "--start-at", "tomorrow"),
        ("run", "start"),
        ("run", "list", "--status", "sleepy"),
        ("run", "list", "--limit", "-1"),
        ("run", "wait", "x", "--for", "ever"),
        ("run", "dance",),
        ("run", "get", "x", "--cert", "only.pem"),
        ("run", "get", "x", "--ca", "/does/not/exist.pem"),
        ("run", "get", "x", "--address", "example.org:7171", "--token", "secret"),
        ("serve", "--tls-cert", "only.pem"),
        ("serve", "--listen", "0.0.0.0:0"),
        ("serve", "--listen", "nonsense"),
        ("serve", "--store", "floppy:"),
        ("serve", "--limit", "unknown=1"),
        ("serve", "--limit", "vars_bytes=many"),
        ("serve", "--lease-seconds", "0"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_exit_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    answer = shell.run(*arguments)
    assert answer.code == 2
    assert answer.errors
    assert "Traceback" not in answer.errors


def test_a_port_or_store_in_use_is_told(address: str, tmp_path: Path) -> None:
    taken = subprocess.run(
        [*PERDURE, "serve", "--store", "memory:", "--listen", address],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert taken.returncode == 1
    assert "what to do:" in taken.stderr
    store = f"sqlite:///{tmp_path}/one.sqlite"
    process, _ = serve("--store", store)
    with process:
        second = subprocess.run(
            [*PERDURE, "serve", "--store", store, "--listen", "127.0.0.1:0"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        process.terminate()
    assert second.returncode == 1
    assert "one process serves a store at a time" in second.stderr
    assert "Traceback" not in taken.stderr + second.stderr


def test_tokens_open_their_namespaces(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("ada a-token-of-some-length default\n")
    process, address = serve("--store", "memory:", "--token-file", str(tokens))
    with process:
        shell = Shell(address)
        assert shell.refused("run", "list")["reason"] == "UNAUTHENTICATED"
        assert shell.ok("run", "list", PERDURE_TOKEN="a-token-of-some-length").output == ""
        denied = shell.refused("run", "list", "--token", "a-token-of-some-length", "-n", "other")
        assert denied["reason"] == "NAMESPACE_DENIED"
        doctor = shell.run("doctor", "--json")
        assert doctor.code == 1
        found = doctor.objects[-1]
        assert (found["check"], found["state"]) == ("access", "problem")
        assert "--token" in found["advice"]
        process.terminate()


# Doctor.


def test_a_healthy_server(shell: Shell) -> None:
    start(shell)
    shell.ok("run", "start", "working")
    findings = {each["check"]: each for each in shell.ok("doctor", "--json").objects}
    assert {name for name, each in findings.items() if each["state"] == "ok"} == {
        "reachable", "transport", "access", "versions", "clocks", "health", "runs", "audit",
    }  # fmt: skip
    assert findings["store"]["state"] == "warning"
    assert "memory" in findings["store"]["detail"]
    assert findings["workers"]["state"] == "warning"
    assert "1 runs have work" in findings["workers"]["detail"]
    assert findings["audit"]["detail"].startswith("2 runs, 4 records")


# The command itself.


def test_every_command_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    offline = {"serve", "dev"}

    def walk(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        text = CliRunner().invoke(program, [*path, "--help"]).stdout
        listed = re.findall(r"^  ([a-z-]+) {2,}\S", text.partition("Commands:")[2], re.MULTILINE)
        for name in listed:
            yield from walk((*path, name))
        if not listed:
            yield path

    commands = list(walk(()))
    assert len(commands) == 27
    for path in commands:
        text = CliRunner().invoke(program, [*path, "--help"]).stdout
        undescribed = re.findall(r"^  (--?\S+)(?:,? (?:--\S+|/|<[^>]*>))*$(?!\n {10})", text, re.MULTILINE)
        assert not undescribed, (path, undescribed)
        if path[0] not in offline:
            assert "--json" in text, path
            assert "--address" in text, path


def test_help_does_not_load_what_it_does_not_need() -> None:
    probe = (
        "import sys; from perdure_server.cli import program; "
        "print(sorted({'grpc', 'google', 'perdure', 'rich', 'asyncio', 'sqlalchemy', 'uvloop'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_completion_for_shells(shell: Shell) -> None:
    run_id = start(shell)
    environment = {
        "PATH": "/usr/bin",
        **shell.environment,
        "_PERDURE_COMPLETE": "complete_bash",
        "COMP_WORDS": "perdure run get ",
        "COMP_CWORD": "3",
    }
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'perdure'; from perdure_server.cli import main; main()"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run_id in done.stdout, done.stderr


def test_dev_shows_a_sample_order_live() -> None:
    command = [*PERDURE, "dev", "--store", "memory:", "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        kinds: list[str] = []
        for line in process.stdout:
            record = json.loads(line)
            kinds.append(record["kind"])
            if record["kind"] == "waiting":
                break
        assert kinds[0] == "run_started"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
