"""AdminService as typed methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from perdure.calls import Calls, new_request_id
from perdure.instants import duration_seconds, from_timestamp
from perdure.v1 import admin_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server: `limits` and `counters` by name, `uptime` in seconds."""

    server_version: str
    capabilities: tuple[str, ...]
    store_epoch: str
    store_kind: str
    store_features: Mapping[str, str]
    limits: Mapping[str, int]
    server_time: datetime
    uptime: float
    counters: Mapping[str, int]
    process_id: int
    replica_id: str = ""
    """Names the process among those that share its store."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that is not what the ledger says; `kind` is the contract's word for it."""

    run_id: str
    kind: str
    detail: str
    seq: int


@dataclass(frozen=True, slots=True)
class Audit:
    """One page of an audit; no findings is good. `next_page_token` is "" after the last run."""

    findings: Sequence[AuditFinding]
    runs_checked: int
    records_checked: int
    next_page_token: str


@dataclass(frozen=True, slots=True)
class ServedNodes:
    """Nodes of a workflow that a worker serves; empty versions or nodes mean any."""

    workflow_id: str
    versions: tuple[str, ...]
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker. `stream_epoch` is 0 for one that polls."""

    worker_id: str
    identity: str
    sdk: str
    queues: tuple[str, ...]
    workflows: tuple[ServedNodes, ...]
    effect_types: tuple[str, ...]
    stream_epoch: int
    credit: int
    held_tasks: int
    connected_at: datetime
    draining: bool


class AdminCalls(Calls):
    """AdminService."""

    async def get_server_info(self) -> ServerInfo:
        """Version, limits, store and counters of the server's process."""
        reply = await self._connection.unary(self._admin.GetServerInfo, pb.GetServerInfoRequest())
        return ServerInfo(
            server_version=reply.server_version,
            capabilities=tuple(reply.capabilities),
            store_epoch=reply.store_epoch,
            store_kind=reply.store_kind,
            store_features=dict(reply.store_features),
            limits=dict(reply.limits),
            server_time=from_timestamp(reply.server_time),
            uptime=duration_seconds(reply.uptime),
            counters=dict(reply.counters),
            process_id=reply.process_id,
            replica_id=reply.replica_id,
        )

    async def audit_runs(self, run_id: str = "", *, page_size: int = 0, page_token: str = "") -> Audit:
        """Checks one page of runs (or one run) against their ledgers; reads only."""
        request = pb.AuditRunsRequest(
            namespace=self._connection.namespace, run_id=run_id, page_size=page_size, page_token=page_token
        )
        reply = await self._connection.unary(self._admin.AuditRuns, request)
        return Audit(
            findings=[AuditFinding(each.run_id, each.kind, each.detail, each.seq) for each in reply.findings],
            runs_checked=reply.runs_checked,
            records_checked=reply.records_checked,
            next_page_token=reply.next_page_token,
        )

    async def audit_all_runs(self) -> Audit:
        """Checks every run of the namespace, page by page."""
        findings: list[AuditFinding] = []
        runs = records = 0
        token = ""
        while True:
            page = await self.audit_runs(page_token=token)
            findings.extend(page.findings)
            runs += page.runs_checked
            records += page.records_checked
            token = page.next_page_token
            if not token:
                return Audit(findings, runs, records, "")

    async def list_workers(self) -> list[WorkerInfo]:
        """Workers connected to the server's process, and those who polled within the last minute."""
        request = pb.ListWorkersRequest(namespace=self._connection.namespace)
        reply = await self._connection.unary(self._admin.ListWorkers, request)
        return [
            WorkerInfo(
                worker_id=worker.worker_id,
                identity=worker.identity,
                sdk=worker.sdk,
                queues=tuple(worker.queues),
                workflows=tuple(
                    ServedNodes(served.workflow_id, tuple(served.versions), tuple(served.node_ids))
                    for served in worker.workflows
                ),
                effect_types=tuple(worker.effect_types),
                stream_epoch=worker.stream_epoch,
                credit=worker.credit,
                held_tasks=worker.held_tasks,
                connected_at=from_timestamp(worker.connected_at),
                draining=worker.draining,
            )
            for worker in reply.workers
        ]

    async def create_namespace(self, namespace: str, description: str = "", *, request_id: str | None = None) -> str:
        """Creates a namespace; returns its name.

        Raises:
            AlreadyExists: NAMESPACE_EXISTS.
        """
        request = pb.CreateNamespaceRequest(
            namespace=namespace, request_id=request_id or new_request_id(), description=description
        )
        return (await self._connection.unary(self._admin.CreateNamespace, request)).namespace
