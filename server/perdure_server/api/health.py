"""grpc.health.v1. "" and the services of `perdure.v1` are readiness: SERVING while the store answers, takes
writes, and the server is not draining. "liveness" is SERVING as long as the process answers at all, so that a
store that is away makes nobody restart the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perdure_server.api.guard import Context
from perdure_server.clock import Clock
from perdure_server.engine.errors import EngineError
from perdure_server.kernel.limits import SECOND_US
from perdure_server.loop import Loop

LIVENESS: Final = "liveness"
CHECK_US: Final = SECOND_US

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_NEWER: Final[Any] = health_pb2
"""The module, for what its type stubs do not have yet."""


class Health(health_pb2_grpc.HealthServicer):
    """Tells probes how the server is.

    Args:
        services: names that stand for readiness, besides "".
        probe: asks the store something; raises EngineError if it does not answer.
        clock: paces the probes.
    """

    def __init__(self, services: Iterable[str], probe: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._names = frozenset({"", *services})
        self._probe = probe
        self._ready = False
        self._draining = False
        self._changed = asyncio.Event()
        self.loop = Loop("health", clock, self._look)

    @property
    def ready(self) -> bool:
        """The store answered last time, and the server is not draining."""
        return self._ready and not self._draining

    def drain(self) -> None:
        """Not ready any more, for good; watches end. Idempotent."""
        self._draining = True
        self._tell()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        """The status of one service, NOT_FOUND for an unknown one."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: Any, context: Any) -> Any:
        """The status of all."""
        names = [*sorted(self._names), LIVENESS]
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in names}
        return _NEWER.HealthListResponse(statuses=statuses)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status of one service, then again after changes; ends when the server drains."""
        sent: int | None = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != sent:
                sent = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._draining:
                return
            await changed.wait()

    def _status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
        if service == LIVENESS:
            return _SERVING
        if service not in self._names:
            return _UNKNOWN
        return _SERVING if self.ready else _NOT_SERVING

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _look(self) -> int:
        try:
            await self._probe()
            ready = True
        except EngineError:
            ready = False
        if ready != self._ready:
            self._ready = ready
            self._tell()
        return CHECK_US
