"""What the typed methods of all services share."""

from __future__ import annotations

import uuid

from perdure.connection import Connection
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub


class Calls:
    """A connection and the stubs over it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._runs = RunServiceStub(connection.channel)
        self._ledger = LedgerServiceStub(connection.channel)
        self._workflows = WorkflowServiceStub(connection.channel)
        self._admin = AdminServiceStub(connection.channel)
        self._schedules = ScheduleServiceStub(connection.channel)

    @property
    def connection(self) -> Connection:
        """The connection that the calls go over."""
        return self._connection


def new_request_id() -> str:
    """An id under which a repeat of a call is recognised."""
    return uuid.uuid4().hex
