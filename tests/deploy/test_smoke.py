"""What the files of deploy/ start runs, is healthy, and drains: with the image's own build, command and probes, but
without an engine. Addresses are the only thing that is changed, besides the folders."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import grpc.aio
import pytest

from perdure import Client
from perdure.v1.run_service_pb2 import WatchRunRequest
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from tests.deploy.dockerfile import Dockerfile
from tests.deploy.installation import Installation
from tests.deploy.test_manifests import ALL, FILES, container, service
from tests.deploy.test_systemd import UNIT, environment, values
from tests.e2e.processes import Server, running
from tests.metrics.http_client import fetch

pytestmark = pytest.mark.timeout(1_200)

LISTENING = re.compile(r"listening on ([^\s,\"]+)")
METRICS = re.compile(r"metrics and probes on http://([^\s\"]+)")
TOKEN = "a-token-for-the-smoke-run"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation.build(tmp_path_factory.mktemp("image"))
    for name in ("/etc/perdure/tokens", "/run/secrets/perdure_tokens"):
        path = made.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"smoke {TOKEN} *\n")
    made.path("/var/lib/perdure").mkdir(parents=True)
    return made


Command = tuple[list[str], dict[str, str]]


def image_command(arguments: Sequence[str], added: dict[str, str]) -> Command:
    image = Dockerfile.read()
    return [*image.only("ENTRYPOINT").exec_form, *arguments], image.environment() | added


def commands() -> dict[str, Command]:
    """Every command line that deploy/ starts a server with. Those on PostgreSQL get a file instead."""
    file = {"PERDURE_STORE": Dockerfile.read().environment()["PERDURE_STORE"]}
    text = UNIT.read_text(encoding="utf-8")
    found: dict[str, Command] = {
        "image": image_command(["--token-file", "/etc/perdure/tokens"], {}),
        "systemd": (shlex.split(values(text, "ExecStart")[0]), environment(text)),
    }
    for name in ("sqlite.yaml:StatefulSet", "postgresql.yaml:Deployment"):
        found[name] = image_command(container(ALL[name])["args"], file)
    for name in FILES:
        found[f"compose {name}"] = image_command(service(name)["command"], file)
    return found


COMMANDS = commands()


def start(installation: Installation, command: Sequence[str], settings: dict[str, str], store: Path) -> list[str]:
    """The command as it is started here: `env -i` with the container's variables, on free ports of loopback."""
    own = installation.environment(settings)
    own |= {"PERDURE_LISTEN": "127.0.0.1:0", "PERDURE_METRICS_LISTEN": "127.0.0.1:0", "PERDURE_LOG_FORMAT": "text"}
    own["PERDURE_STORE"] = f"sqlite:///{store}"
    return ["env", "-i", *(f"{name}={value}" for name, value in own.items()), *map(installation.here, command)]


def found(pattern: re.Pattern[str], line: str) -> str:
    match = pattern.search(line)
    assert match is not None, line
    return match.group(1)


@pytest.mark.parametrize("name", COMMANDS)
async def test_it_starts_is_healthy_and_drains(installation: Installation, name: str, tmp_path: Path) -> None:
    command, settings = COMMANDS[name]
    line = start(installation, command, settings, tmp_path / "perdure.db")
    async with running(await Server.start(name, *line)) as server:
        address = found(LISTENING, await server.line(lambda text: "listening on" in text, "line that it listens"))
        pages = found(METRICS, await server.line(lambda text: "metrics and probes" in text, "address of its metrics"))
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await fetch(pages, path)).status == 200
        check = [word.replace("127.0.0.1:9464", pages) for word in Dockerfile.read().healthcheck()]
        assert await health(installation, check) == 0
        token = TOKEN if "--token-file" in command else None
        async with Client.connect(address, token=token) as client:
            info = await client.get_server_info()
            assert (info.store_kind, info.process_id) == ("sqlite", server.pid)
        server.send(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await server.ended() == 0
        assert any("stopped" in text for text in server.lines)
        assert await health(installation, check) != 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "systemd"])
async def test_strangers_are_refused(installation: Installation, name: str, tmp_path: Path) -> None:
    command, settings = COMMANDS[name]
    line = start(installation, command, settings, tmp_path / "perdure.db")
    async with running(await Server.start(name, *line)) as server:
        address = found(LISTENING, await server.line(lambda text: "listening on" in text, "line that it listens"))
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in RunServiceStub(channel).WatchRun(WatchRunRequest(run_id="r")):
                    pass
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await server.stop() == 0


async def test_the_image_alone_does_not_start_open_to_all(installation: Installation, tmp_path: Path) -> None:
    """Without a word about who may call, the command ends with what to do."""
    image = Dockerfile.read()
    own = installation.environment(image.environment()) | {"PERDURE_STORE": f"sqlite:///{tmp_path / 'perdure.db'}"}
    line = ["env", "-i", *(f"{name}={value}" for name, value in own.items()), *image.only("ENTRYPOINT").exec_form]
    async with running(await Server.start("image", *line)) as server:
        assert await server.ended() == 2
        assert "--token-file" in " ".join(server.lines)


def test_the_installation_has_nothing_of_this_checkout(installation: Installation) -> None:
    python = installation.path("/opt/perdure/bin/python")
    code = "import perdure, perdure_server, psycopg; print(perdure_server.__file__)"
    result = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd=os.sep)
    assert Path(result.stdout.strip()).is_relative_to(installation.path("/opt/perdure"))


async def health(installation: Installation, command: Sequence[str]) -> int:
    """Exit code of the image's own health check."""
    program = str(installation.path(f"/opt/perdure/bin/{command[0]}"))
    process = await asyncio.create_subprocess_exec(program, *command[1:], stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
