"""What the typed methods of all services share."""

from __future__ import annotations

import uuid
from typing import Protocol, TypeVar

import grpc.aio

from perdure.connection import Connection
from perdure.told import ToldRuns
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub

_Request = TypeVar("_Request")


class _RunReply(Protocol):
    """What the replies of all calls that change a run have in common."""

    run_id: str
    seq: int


_Reply = TypeVar("_Reply", bound=_RunReply)


class Calls:
    """A connection and the stubs over it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._told = ToldRuns()
        self._runs = RunServiceStub(connection.channel)
        self._ledger = LedgerServiceStub(connection.channel)
        self._workflows = WorkflowServiceStub(connection.channel)
        self._admin = AdminServiceStub(connection.channel)
        self._schedules = ScheduleServiceStub(connection.channel)

    @property
    def connection(self) -> Connection:
        """The connection that the calls go over."""
        return self._connection

    async def _change(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Reply],
        request: _Request,
        *,
        timeout: float | None = None,
    ) -> _Reply:
        """Makes a call that changes a run, and remembers how far its reply says that the run is."""
        reply = await self._connection.unary(method, request, timeout=timeout)
        self._told.hear(reply.run_id, reply.seq)
        return reply


def new_request_id() -> str:
    """An id under which a repeat of a call is recognised."""
    return uuid.uuid4().hex
