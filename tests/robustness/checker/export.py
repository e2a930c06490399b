"""An export of one namespace: every record and every event that clients can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc.aio

from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import run_service_pb2 as runs
from perdure.v1.common_pb2 import EventScope
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.records_pb2 import LedgerEntry, StepRecord
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed, open_run

EventScopeKey = tuple[int, str]
"""Scope and scope id."""


@dataclass(frozen=True, slots=True)
class Export:
    """What a namespace holds.

    Args:
        at: when it was made, Unix microseconds of the machine's clock.
        entries: by run, in the order in which ListRecords gave them.
        events: by scope, in log order. A scope that is missing was not exported.
    """

    namespace: str
    at: int
    entries: dict[str, list[LedgerEntry]]
    events: dict[EventScopeKey, list[runs.Event]] = field(default_factory=dict[EventScopeKey, list[runs.Event]])

    def opened(self) -> tuple[dict[str, list[Sealed]], list[Finding]]:
        """Every run's records, and what is wrong with their chains."""
        records: dict[str, list[Sealed]] = {}
        findings: list[Finding] = []
        for run_id, entries in self.entries.items():
            records[run_id], problems = open_run(self.namespace, run_id, entries)
            findings += problems
        return records, findings


async def take_export(channel: grpc.aio.Channel, namespace: str, scopes: Iterable[EventScopeKey], at: int) -> Export:
    """Reads every record, page by page, and the events of these scopes."""
    entries: dict[str, list[LedgerEntry]] = {}
    for entry in await _all_entries(channel, namespace):
        run_id = StepRecord.FromString(entry.record_bytes).run_id
        entries.setdefault(run_id, []).append(entry)
    events = {(scope, scope_id): await _events(channel, namespace, scope, scope_id) for scope, scope_id in scopes}
    return Export(namespace, at, entries, events)


async def _all_entries(channel: grpc.aio.Channel, namespace: str) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    request = ledger.ListRecordsRequest(
        namespace=namespace,
        scope=ledger.LedgerScope(all=True),
        view=ledger.RECORD_VIEW_RECORD_BYTES,
        page_size=1_000,
    )
    stub = LedgerServiceStub(channel)
    while True:
        page = await stub.ListRecords(request)
        entries += page.entries
        if not page.next_page_token:
            return entries
        request.page_token = page.next_page_token


async def _events(channel: grpc.aio.Channel, namespace: str, scope: int, scope_id: str) -> list[runs.Event]:
    events: list[runs.Event] = []
    request = runs.ListEventsRequest(
        namespace=namespace, scope=EventScope.ValueType(scope), scope_id=scope_id, page_size=1_000
    )
    stub = RunServiceStub(channel)
    while True:
        page = await stub.ListEvents(request)
        events += page.events
        if not page.next_page_token:
            return events
        request.page_token = page.next_page_token
