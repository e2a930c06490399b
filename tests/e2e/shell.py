"""The `perdure` command as a test uses it: one server and namespace, results in parts, and some workflows."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
        with _without_others_loops():
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


@contextmanager
def _without_others_loops() -> Generator[None]:
    """gRPC's one poller of a process complains of event loops that other tests have closed, on the stderr of
    whoever runs then. A command in a process of its own has one loop.
    """
    logger = logging.getLogger("asyncio")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def serve(*flags: str, command: Sequence[str] = PERDURE) -> tuple[subprocess.Popen[str], str]:
    """Starts a server; returns it with its address once it listens."""
    listen = () if "--listen" in flags else ("--listen", "127.0.0.1:0")
    process = subprocess.Popen([*command, "serve", *listen, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = LISTENING.search(line)
        if found is not None:
            return process, found.group(1)
    raise AssertionError(f"the server ended with exit code {process.wait()}")


def start(shell: Shell, workflow: str = "asking", *arguments: str) -> str:
    """Starts a run, waits until it is settled, and returns its id."""
    run_id = shell.ok("run", "start", workflow, *arguments).output.strip()
    shell.ok("run", "wait", run_id, "--until", "settled")
    return run_id
