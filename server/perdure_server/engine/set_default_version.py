"""SetDefaultVersion: which version StartRun takes when it names none."""

from __future__ import annotations

import json

from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import WorkflowNotFoundError
from perdure_server.engine.requests import check_request
from perdure_server.storage.port import CatalogChange, CatalogVerdict, RequestRow, Store


async def set_default_version(
    engine: Engine, namespace: str, workflow_id: str, version: str, request: RequestId | None = None
) -> str:
    """Moves the default; returns the version that was the default before.

    Raises: NamespaceNotFoundError, WorkflowNotFoundError, RequestIdReusedError, StoreUnavailableError.
    """
    await engine.catalog.require_namespace(namespace)
    now = engine.clock.now()
    verdict = await engine.write(_set_default, engine.store, namespace, (workflow_id, version), request, now)
    engine.catalog.forget_default(namespace, workflow_id)
    if verdict.request is not None and request is not None:
        return json.loads(check_request(verdict.request, request))["previous_version"]
    if not verdict.found:
        raise WorkflowNotFoundError(
            f"version {version!r} of workflow {workflow_id!r} is not registered; register it first",
            field="version",
            workflow_id=workflow_id,
        )
    return verdict.previous_version


def _set_default(
    store: Store, namespace: str, target: tuple[str, str], request: RequestId | None, now: int
) -> CatalogVerdict:
    """On the writing thread, where nothing comes between the look and the change: the kept reply is the first one."""
    row = None
    if request is not None:
        before = store.find_workflow(namespace, target[0], "")
        reply = json.dumps({"previous_version": before.version if before else ""}).encode()
        row = RequestRow(request.method, request.request_id, request.body_hash, reply, now)
    return store.change_catalog(CatalogChange(namespace, set_default=target, request=row))
