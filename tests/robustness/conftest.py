"""Servers of a test."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.robustness.server_process import Servers


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncGenerator[Servers]:
    """Starts server processes in the test's own directory."""
    async with Servers(tmp_path) as started:
        yield started
