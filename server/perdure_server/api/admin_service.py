"""AdminService at the edge: decode, one use case, encode."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import admin_service_pb2 as pb
from perdure.v1.admin_service_pb2_grpc import AdminServiceServicer
from perdure_server.api.codec import work
from perdure_server.api.fields import Check
from perdure_server.api.guard import Context
from perdure_server.api.page_tokens import Pages
from perdure_server.api.run_validation import request_id
from perdure_server.dispatch.messages import WorkerView
from perdure_server.engine.audit_runs import Finding, audit_run
from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import READERS, Engine
from perdure_server.engine.create_namespace import create_namespace
from perdure_server.kernel.bounds import DESCRIPTION_BYTES, PAGE_TOKEN_BYTES
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.storage.port import RunKey, RunQuery

CAPABILITIES: Final = (
    "runs",
    "manual-drive",
    "declarative-nodes",
    "worker-streams",
    "worker-polling",
    "events",
    "subworkflows",
    "ledger-subscriptions",
    "run-verification",
    "audit",
    "start-with-event",
    "concurrency-keys",
    "schedules",
)


AUDIT_US: Final = 5 * SECOND_US
"""A page of an audit ends after this time, however many runs were asked for: before callers lose patience."""


class AdminService(AdminServiceServicer):
    """For those who run the server.

    Args:
        workers: connected workers of a namespace (dispatch).
        counters: counters besides the engine's, by name.
        version: of the server.
    """

    def __init__(
        self,
        engine: Engine,
        workers: Callable[[str], list[WorkerView]],
        counters: Callable[[], Mapping[str, int]],
        version: str,
    ) -> None:
        self._engine = engine
        self._limits = engine.limits
        self._workers = workers
        self._counters = counters
        self._version = version
        self._started = engine.clock.monotonic()

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.GetServerInfoResponse:
        """Version, limits, store and counters of this process."""
        engine = self._engine
        now, uptime = Timestamp(), Duration()
        now.FromMicroseconds(engine.clock.now())
        uptime.FromMicroseconds(engine.clock.monotonic() - self._started)
        features = {
            name: f"{'yes' if feature.available else 'no'}: {feature.reason}"
            for name, feature in engine.info.features.items()
        }
        return pb.GetServerInfoResponse(
            server_version=self._version,
            capabilities=CAPABILITIES,
            store_epoch=engine.info.epoch,
            store_kind=engine.info.kind,
            store_features=features,
            limits=engine.limits.as_dict(),
            server_time=now,
            uptime=uptime,
            counters={**engine.counters, **self._counters()},
            process_id=os.getpid(),
            replica_id=engine.replica_id,
        )

    async def AuditRuns(self, request: pb.AuditRunsRequest, context: Context) -> pb.AuditRunsResponse:
        """Checks that runs are what their ledgers say."""
        namespace, run_id, page_size = audit_query(request, self._limits)
        await self._engine.catalog.require_namespace(namespace)
        if run_id:
            findings, records = await self._audit(RunKey(namespace, run_id))
            return pb.AuditRunsResponse(findings=findings, runs_checked=1, records_checked=records)
        pages = Pages(request, (int, str))
        after = pages.decode(request.page_token)
        store, now = self._engine.store, self._engine.clock.monotonic
        rows = await self._engine.read(store.list_runs, RunQuery(namespace), after, page_size + 1)
        page = pb.AuditRunsResponse()
        until = now() + AUDIT_US
        for first in range(0, min(len(rows), page_size), READERS):
            some = rows[first : min(first + READERS, page_size)]
            audits = [self._audit(RunKey(namespace, row.identity.run_id)) for row in some]
            for findings, records in await asyncio.gather(*audits):
                page.findings.extend(findings)
                page.runs_checked += 1
                page.records_checked += records
            if now() >= until:
                break
        if len(rows) > page.runs_checked:
            last = rows[page.runs_checked - 1].identity
            page.next_page_token = pages.encode((last.created_at, last.run_id))
        return page

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        """Workers connected to this process."""
        namespace = worker_namespace(request, self._limits)
        await self._engine.catalog.require_namespace(namespace)
        views = [work.worker_info(view) for view in self._workers(namespace)]
        return pb.ListWorkersResponse(workers=views, replica_id=self._engine.replica_id)

    async def CreateNamespace(self, request: pb.CreateNamespaceRequest, context: Context) -> pb.CreateNamespaceResponse:
        """Creates a namespace."""
        namespace, description, row = new_namespace(request, self._limits)
        await create_namespace(self._engine, namespace, description, row)
        return pb.CreateNamespaceResponse(namespace=namespace)

    async def _audit(self, key: RunKey) -> tuple[list[pb.AuditFinding], int]:
        """What is wrong with a run, and how many records it has."""
        audit = await audit_run(self._engine, key)
        return list(map(_finding, audit.findings)), audit.records


def audit_query(request: pb.AuditRunsRequest, limits: Limits) -> tuple[str, str, int]:
    """AuditRuns: namespace, run or "", page size. Raises: EdgeError."""
    check = Check(limits)
    found = (
        check.namespace("", request.namespace),
        check.id("", "run_id", request.run_id, optional=True),
        check.page_size(request.page_size),
    )
    check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    check.done()
    return found


def worker_namespace(request: pb.ListWorkersRequest, limits: Limits) -> str:
    """ListWorkers: the namespace. Raises: EdgeError."""
    check = Check(limits)
    namespace = check.namespace("", request.namespace)
    check.done()
    return namespace


def new_namespace(request: pb.CreateNamespaceRequest, limits: Limits) -> tuple[str, str, RequestId | None]:
    """CreateNamespace: namespace, description, request id. Raises: EdgeError."""
    check = Check(limits)
    found = (
        check.id("", "namespace", request.namespace),
        check.text("", "description", request.description, DESCRIPTION_BYTES),
        request_id(check, request, request.request_id),
    )
    check.done()
    return found


def _finding(found: Finding) -> pb.AuditFinding:
    return pb.AuditFinding(run_id=found.run_id, kind=found.kind, detail=found.detail, seq=found.seq)
