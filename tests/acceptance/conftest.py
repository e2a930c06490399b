"""One server for all tests that kill none, a namespace of it for each test; and how many differences there are."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from perdure import Client
from tests.acceptance.differences import PAGE, listed_differences
from tests.acceptance.lives import Lives
from tests.acceptance.scene import NO_WORKER_US, Scene
from tests.e2e.shell import serve
from tests.robustness.server_process import Nursery, Servers

STOP_WITHIN_S = 30.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many differences from AbstractRuntime are listed."""
    count = len(listed_differences(PAGE.read_text(encoding="utf-8")))
    terminalreporter.write_line(
        f"{count} differences from AbstractRuntime, each with its reason in docs/differences.md"
    )


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A server process on SQLite."""
    store = tmp_path_factory.mktemp("acceptance") / "perdure.db"
    flags = ("--drain-seconds", "1", "--limit", f"no_worker_us={NO_WORKER_US}")
    process, listening = serve("--store", f"sqlite:///{store}", *flags)
    assert process.stderr is not None
    with process, ThreadPoolExecutor(1) as reader:
        log = reader.submit(process.stderr.read)
        yield listening
        process.terminate()
        try:
            code = process.wait(STOP_WITHIN_S)
        except TimeoutExpired:
            process.kill()
            raise AssertionError(f"the server ignores SIGTERM:\n{log.result()}") from None
        assert code == 0, log.result()


@pytest.fixture
async def scene(address: str, request: pytest.FixtureRequest) -> AsyncGenerator[Scene]:
    """The server, in a namespace of the test's own."""
    namespace = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)[:128]
    async with Client.connect(address) as client:
        await client.create_namespace(namespace)
    async with Client.connect(address, namespace=namespace) as client, Scene.of(client) as scene:
        yield scene


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Generator[Nursery]:
    """Where servers that are killed come from."""
    started = Nursery(tmp_path_factory.mktemp("nursery"))
    yield started
    started.close()


@pytest.fixture
async def lives(nursery: Nursery, tmp_path: Path) -> AsyncGenerator[Lives]:
    """A store of the test's own, and its servers one after the other."""
    async with Servers(nursery, tmp_path) as servers, Lives(servers) as lives:
        yield lives
