"""GetRun."""

from __future__ import annotations

from perdure_server.engine.core import Engine
from perdure_server.kernel.model import RunState
from perdure_server.storage.port import RunKey


async def get_run(engine: Engine, key: RunKey) -> RunState:
    """The run as last committed. Raises: RunNotFoundError."""
    return await engine.load(key)
