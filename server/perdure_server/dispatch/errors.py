"""Domain errors of dispatch."""

from __future__ import annotations

from perdure_server.engine.errors import EngineError


class WorkerSupersededError(EngineError):
    """Another stream of the same worker has a higher or equal epoch."""

    reason = "WORKER_SUPERSEDED"
