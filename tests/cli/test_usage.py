"""Under --json an error is an object, wrong usage too; and who has to wait is told why."""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
import grpc.aio
import pytest

from perdure import Unavailable
from perdure.v1.run_service_pb2_grpc import RunServiceServicer, add_RunServiceServicer_to_server
from perdure_server.cli import main, patience
from perdure_server.cli.invocation import Session, Settings
from perdure_server.cli.usage import wants_json


@pytest.mark.parametrize(
    ("arguments", "words", "command"),
    [
        (["run", "start", "--json", "--nope"], "--nope", "perdure run start"),
        (["run", "wait", "--json"], "RUN_ID", "perdure run wait"),
        (["run", "list", "--json", "--limit", "many"], "--limit", "perdure run list"),
        (["run", "list", "--json", "--status", "sleepy"], "sleepy", "perdure run list"),
        (["dance", "--json"], "dance", "perdure"),
    ],
)
def test_wrong_usage_is_an_object_too(
    arguments: list[str],
    words: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["perdure", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    error = json.loads(printed.err)["error"]
    assert (left.value.code, printed.out, error["reason"]) == (2, "", "USAGE")
    assert words in error["message"]
    assert error["advice"] == f"`{command} --help` tells what it takes"


@pytest.mark.parametrize(("arguments", "code"), [(["run", "wait", "--json", "--help"], 0), (["run", "tree"], 2)])
def test_help_and_plain_errors_stay_text(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["perdure", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    assert (left.value.code, "Usage: " in printed.out + printed.err) == (code, True)


def test_the_environment_may_ask_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERDURE_JSON", raising=False)
    assert not wants_json(["run", "list"])
    monkeypatch.setenv("PERDURE_JSON", "1")
    assert wants_json(["run", "list"])
    monkeypatch.setenv("PERDURE_JSON", "false")
    assert not wants_json(["run", "list"])
    assert wants_json(["run", "list", "--json"])


class Away(RunServiceServicer):
    """A server behind a proxy that does not find it."""

    async def GetRun(self, request: Any, context: Any) -> Any:
        """Unavailable."""
        await context.abort(grpc.StatusCode.UNAVAILABLE, "upstream is away")


def session(address: str) -> Session:
    """A command's, that waits for a second."""
    return Session(Settings(address, "default", "", False, None, None, None, "", 1.0, False, None))


async def test_a_call_that_is_repeated_for_long_is_spoken_of_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.05)
    server = grpc.aio.server()
    away: type[Any] = Away
    add_RunServiceServicer_to_server(away(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    address = f"127.0.0.1:{port}"
    try:
        async with session(address).connect() as client:
            with pytest.raises(Unavailable):
                await client.get_run("r")
    finally:
        await server.stop(None)
    assert capsys.readouterr().err == f"{address}: upstream is away; trying for 1 s (--timeout)\n"


async def test_a_server_that_is_not_there_is_spoken_of_before_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.05)
    with pytest.raises(Unavailable):
        async with session("127.0.0.1:1").connect():
            raise AssertionError("somebody is there")
    assert capsys.readouterr().err == "127.0.0.1:1: nobody answers; trying for 1 s (--timeout)\n"
