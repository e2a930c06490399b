"""Monitoring of one process: its pages, and the loop that measures how late the event loop is."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from perdure_server.api.edge import Edge
from perdure_server.kernel.limits import SECOND_US
from perdure_server.loop import Loop
from perdure_server.measures import LATENCY_US, Distribution
from perdure_server.metrics.exposition import CONTENT_TYPE, exposition
from perdure_server.metrics.http_server import Answer, HttpServer
from perdure_server.metrics.readings import Observed
from perdure_server.metrics.store_counts import CachedCounts
from perdure_server.runtime import Runtime

LAG_SAMPLE_US: Final = SECOND_US // 4


class Monitor:
    """Serves /metrics, /healthz and /readyz. Starts before recovery and stops last, so that probes see both.

    Args:
        runtime, edge: what it tells of.
        version: of the server.
        host, port: where it listens; port 0 takes a free one.
    """

    def __init__(self, runtime: Runtime, edge: Edge, version: str, host: str, port: int) -> None:
        self._clock = runtime.engine.clock
        self._health = edge.server.health
        self._guard = edge.guard
        self._counts = CachedCounts(runtime.engine)
        self.lag = Distribution(LATENCY_US)
        self._asleep_until = 0
        self.loop = Loop("loop-lag", self._clock, self._measure_lag)
        self._observed = Observed(runtime, edge, version, self.lag, self._clock.monotonic())
        pages = {"/metrics": self.metrics, "/healthz": self.healthz, "/readyz": self.readyz}
        self.http = HttpServer(host, port, pages)

    async def start(self) -> None:
        """Listens. Raises: OSError if it cannot."""
        await self.http.start()
        self.loop.start()

    async def stop(self) -> None:
        """Ends. Idempotent."""
        await self.http.stop()
        await self.loop.stop()
        await self._counts.stop()

    async def metrics(self) -> Answer:
        """Everything that is counted. Only reading it happens on the event loop, writing it down does not."""
        readings = self._observed.readings(await self._counts.get())
        return Answer(await asyncio.to_thread(exposition, readings), content_type=CONTENT_TYPE)

    async def healthz(self) -> Answer:
        """Alive: the event loop turns. A store that is away makes nobody restart the server."""
        return Answer(b"alive\n")

    async def readyz(self) -> Answer:
        """Ready for calls: as grpc.health.v1 says."""
        if self._health.ready:
            return Answer(b"ready\n")
        why = "draining" if self._guard.draining else "not ready: it starts, or its store does not answer"
        return Answer(f"{why}\n".encode(), HTTPStatus.SERVICE_UNAVAILABLE)

    async def _measure_lag(self) -> int:
        now = self._clock.monotonic()
        if self._asleep_until:
            self.lag.add(now - self._asleep_until)
        self._asleep_until = now + LAG_SAMPLE_US
        return LAG_SAMPLE_US
