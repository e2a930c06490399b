"""RegisterWorkflow: a version exists, named by the digest of its content."""

from __future__ import annotations

import json
from dataclasses import dataclass

from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import Engine
from perdure_server.engine.requests import check_request
from perdure_server.storage.port import CatalogChange, CatalogVerdict, RequestRow, Store, WorkflowRow


@dataclass(frozen=True, slots=True)
class RegisterWorkflowCommand:
    """A valid workflow; `spec` is the codec's encoding of it."""

    namespace: str
    workflow_id: str
    version: str
    spec: bytes
    entry_node: str
    node_count: int
    make_default: bool = False
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class RegisterReply:
    """`created` False: the version was known."""

    version: str
    created: bool
    is_default: bool


async def register_workflow(engine: Engine, command: RegisterWorkflowCommand) -> RegisterReply:
    """Keeps a version; the first of a workflow becomes its default.

    A repeat of the request gets the first reply, as far as it does not change: `created` as it was then.

    Raises: NamespaceNotFoundError, RequestIdReusedError, StoreUnavailableError.
    """
    await engine.catalog.require_namespace(command.namespace)
    row = WorkflowRow(
        workflow_id=command.workflow_id,
        version=command.version,
        spec=command.spec,
        entry_node=command.entry_node,
        node_count=command.node_count,
        registered_at=engine.clock.now(),
        is_default=False,
    )
    verdict = await engine.write(_register, engine.store, command, row)
    engine.catalog.forget_default(command.namespace, command.workflow_id)
    if verdict.request is not None and command.request is not None:
        kept = json.loads(check_request(verdict.request, command.request))
        stored = await engine.read(engine.store.find_workflow, command.namespace, command.workflow_id, command.version)
        is_default = stored is not None and stored.is_default
        return RegisterReply(command.version, created=kept["created"], is_default=is_default)
    return RegisterReply(command.version, created=verdict.changed, is_default=verdict.is_default)


def _register(store: Store, command: RegisterWorkflowCommand, row: WorkflowRow) -> CatalogVerdict:
    """On the writing thread, where nothing comes between the look and the change: the kept reply is the first one."""
    request = None
    if command.request is not None:
        known = store.find_workflow(command.namespace, command.workflow_id, command.version)
        reply = json.dumps({"created": known is None}).encode()
        kept = command.request
        request = RequestRow(kept.method, kept.request_id, kept.body_hash, reply, row.registered_at)
    change = CatalogChange(command.namespace, put_workflow=row, make_default=command.make_default, request=request)
    return store.change_catalog(change)
