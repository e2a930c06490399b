"""LedgerService as typed methods."""

from __future__ import annotations

from perdure.connection import Connection
from perdure.ledger import RECORD_VIEWS, LedgerEntry, LedgerFilter, LedgerScope, RecordView, Verification
from perdure.pages import Page, Pages
from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1 import ledger_service_pb2_grpc
from perdure.values import RunStatus


class LedgerCalls:
    """LedgerService without its stream, which is `Client.subscribe`. Reading never changes a run."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection
        self._ledger = ledger_service_pb2_grpc.LedgerServiceStub(connection.channel)
