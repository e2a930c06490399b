"""Servers of a test."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.robustness.server_process import Nursery, Servers


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Generator[Nursery]:
    """Where all servers come from."""
    started = Nursery(tmp_path_factory.mktemp("nursery"))
    yield started
    started.close()


@pytest.fixture
async def servers(nursery: Nursery, tmp_path: Path) -> AsyncGenerator[Servers]:
    """Starts server processes in the test's own directory."""
    async with Servers(nursery, tmp_path) as started:
        yield started
