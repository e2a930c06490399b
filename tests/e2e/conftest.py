"""A server that lasts for all tests of the command, and a namespace of it for each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.shell import ASKING, HEARING, WORKING, Shell, serve


@pytest.fixture(scope="session")
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
