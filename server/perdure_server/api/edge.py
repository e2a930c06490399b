"""The whole edge of a server: every service of the contract, plugged to engine, dispatch and ledger."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from perdure.v1.admin_service_pb2_grpc import add_AdminServiceServicer_to_server
from perdure.v1.run_service_pb2_grpc import add_RunServiceServicer_to_server
from perdure.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server
from perdure.v1.workflow_service_pb2_grpc import add_WorkflowServiceServicer_to_server
from perdure_server.api.admin_service import AdminService
from perdure_server.api.auth import Anybody, Authenticator
from perdure_server.api.guard import Guard, current_caller
from perdure_server.api.health import Health
from perdure_server.api.ledger_service import LedgerService, add_ledger_service
from perdure_server.api.run_service import RunService
from perdure_server.api.schedule_service import ScheduleService
from perdure_server.api.server import ApiServer, Transport
from perdure_server.api.worker_service import WorkerService, add_worker_service
from perdure_server.api.workflow_service import WorkflowService
from perdure_server.dispatch.dispatcher import Dispatcher
from perdure_server.engine.core import Engine
from perdure_server.ledger.service import Ledger

SERVICES: Final = (
    "perdure.v1.RunService",
    "perdure.v1.WorkflowService",
    "perdure.v1.WorkerService",
    "perdure.v1.LedgerService",
    "perdure.v1.AdminService",
    "perdure.v1.ScheduleService",
)


class Edge:
    """Serves a runtime over gRPC.

    Args:
        transport: where and how it listens.
        version: of the server, told to clients and workers.
        authenticator: finds out who calls; by default anybody may.
        with_reflection: serve grpc.reflection.
    """

    def __init__(
        self,
        engine: Engine,
        dispatcher: Dispatcher,
        ledger: Ledger,
        transport: Transport,
        version: str,
        *,
        authenticator: Authenticator | None = None,
        with_reflection: bool = True,
    ) -> None:
        limits = engine.limits
        self.guard = Guard(authenticator or Anybody(), limits, engine.new_id, engine.clock.monotonic)
        self._runs = RunService(engine, dispatcher.blocked_run, dispatcher.blocked_task)
        workers = WorkerService(dispatcher, limits, current_caller, version)
        records = LedgerService(ledger, limits, current_caller, engine.catalog.require_namespace)
        self.server = ApiServer(
            transport,
            self.guard,
            Health(SERVICES, engine.probe, engine.clock),
            [
                partial(add_RunServiceServicer_to_server, self._runs),
                partial(add_WorkflowServiceServicer_to_server, WorkflowService(engine)),
                partial(add_ScheduleServiceServicer_to_server, ScheduleService(engine)),
                partial(add_worker_service, workers),
                partial(add_ledger_service, records),
                partial(
                    add_AdminServiceServicer_to_server,
                    AdminService(engine, dispatcher.workers, self.counters, version),
                ),
            ],
            SERVICES,
            limits,
            with_reflection=with_reflection,
        )

    def counters(self) -> Mapping[str, int]:
        """What the edge has counted since its start."""
        return {
            "calls_under_way": self.guard.calls_under_way,
            "calls_refused": self.guard.refused_calls,
            "defects": self.guard.defects,
        }

    async def start(self) -> int:
        """Listens; returns the port. Raises: BindError."""
        await self.server.start()
        return self.server.port

    async def drain(self, grace_us: int) -> None:
        """Takes no new calls, ends watches, and returns when the calls under way have ended or the grace is
        over. The streams of dispatch and ledger are told by their own `drain`, before. Idempotent."""
        self._runs.drain()
        await self.server.drain(grace_us)
