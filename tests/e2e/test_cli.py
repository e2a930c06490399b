"""The `perdure` command itself: terminals, failures and exit codes, doctor, dev, help and completion."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure_server.cli.program import program
from tests.e2e.processes import PERDURE, ROOT
from tests.e2e.shell import Shell, serve, start

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
    error, advice = taken.stderr.splitlines()
    assert error.startswith("error: cannot listen on ")
    assert advice.startswith("what to do: ")
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


def test_options_that_cannot_be_used_are_told_before_anything_is_opened(tmp_path: Path) -> None:
    certificates = ROOT / "tests/api/certificates"
    good, stranger, junk = certificates / "server.pem", certificates / "stranger.key", tmp_path / "junk"
    junk.write_text("ops short default\n")
    for named, options in (
        ("--tls-key", ["--tls-cert", str(good), "--tls-key", str(stranger)]),
        ("--tls-cert", ["--tls-cert", str(junk), "--tls-key", str(junk)]),
        (
            "--client-ca",
            ["--tls-cert", str(good), "--tls-key", str(good.with_suffix(".key")), "--client-ca", str(junk)],
        ),
        ("at least 16 characters", ["--token-file", str(junk)]),
        ("--listen takes HOST:PORT", ["--listen", ":7171"]),
        ("--lease-seconds", ["--limit", "lease_us=5000000"]),
        ("at least 1", ["--limit", "page_size=0"]),
        ("json_depth", ["--limit", "json_depth=1000"]),
    ):
        command = [*PERDURE, "serve", "--store", f"sqlite:///{tmp_path}/x.db", "--listen", "127.0.0.1:0", *options]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
        assert refused.returncode == 2, refused.stderr
        assert "one process serves" not in refused.stderr
        assert named in refused.stderr
    assert not (tmp_path / "x.db").exists()


def test_tokens_open_their_namespaces(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("ada a-token-of-some-length default\n")
    process, address = serve("--store", "memory:", "--token-file", str(tokens))
    with process:
        shell = Shell(address)
        assert shell.refused("run", "list")["reason"] == "UNAUTHENTICATED"
        assert shell.ok("run", "list", PERDURE_TOKEN="a-token-of-some-length").output == ""
        checked = shell.ok("doctor", "--token", "a-token-of-some-length", "--json").objects
        assert {"check": "health", "state": "ok", "detail": "serving", "advice": ""} in checked
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


def make_certificates(folder: Path) -> None:
    """A CA with a certificate for the server and one for a client, as PEM files."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
def test_doctor_tells_who_is_missing_a_certificate(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    certificate = ("--tls-cert", f"{tmp_path}/server.pem", "--tls-key", f"{tmp_path}/server.key")
    process, address = serve("--store", "memory:", *certificate, "--client-ca", f"{tmp_path}/ca.pem")
    with process:
        shell = Shell(address)
        trusting = ("--ca", f"{tmp_path}/ca.pem", "--timeout", "2")
        for options in (("--timeout", "2"), trusting):
            answer = shell.run("doctor", *options)
            assert answer.code == 3
            assert "--cert and --key" in answer.output
        mine = ("--cert", f"{tmp_path}/client.pem", "--key", f"{tmp_path}/client.key")
        findings = {row[0]: row[1:3] for row in shell.ok("doctor", *trusting, *mine).rows}
        assert findings["transport"] == ["ok", "TLS"]
        process.terminate()


# The command itself.


def test_every_command_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    offline, on_files = {"serve", "dev"}, {"backup", "restore"}

    def walk(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        text = CliRunner().invoke(program, [*path, "--help"]).stdout
        listed = re.findall(r"^  ([a-z-]+) {2,}\S", text.partition("Commands:")[2], re.MULTILINE)
        for name in listed:
            yield from walk((*path, name))
        if not listed:
            yield path

    commands = list(walk(()))
    assert len(commands) == 43
    for path in commands:
        text = CliRunner().invoke(program, [*path, "--help"]).stdout
        undescribed = re.findall(r"^  (--?\S+)(?:,? (?:--\S+|/|<[^>]*>))*$(?!\n {10})", text, re.MULTILINE)
        assert not undescribed, (path, undescribed)
        if path[0] not in offline:
            assert "--json" in text, path
            assert "--address" in text or path[0] in on_files, path


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


def test_dev_tells_where_to_answer_and_refuses_a_folder_that_cannot_be_made() -> None:
    command = [*PERDURE, "dev", "--listen", "127.0.0.1:0", "--store"]
    process = subprocess.Popen(
        [*command, "memory:"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        address = re.search(r"serving on (\S+),", process.stderr.readline())
        assert address
        assert f"perdure inbox --address {address[1]} " in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    refused = subprocess.run(
        [*command, "sqlite:////proc/nowhere/x.db"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
