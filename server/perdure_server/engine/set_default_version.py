"""SetDefaultVersion: which version StartRun takes when it names none."""

from __future__ import annotations

import json

from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import WorkflowNotFoundError
from perdure_server.engine.requests import check_request
from perdure_server.storage.port import CatalogChange, RequestRow


async def set_default_version(
    engine: Engine, namespace: str, workflow_id: str, version: str, request: RequestId | None = None
) -> str:
    """Moves the default; returns the version that was the default before.

    Raises: NamespaceNotFoundError, WorkflowNotFoundError, RequestIdReusedError, StoreUnavailableError.
    """
    await engine.catalog.require_namespace(namespace)
    before = await engine.read(engine.store.find_workflow, namespace, workflow_id, "")
    previous = before.version if before else ""
    row = None
    if request is not None:
        reply = json.dumps({"previous_version": previous}).encode()
        row = RequestRow(request.method, request.request_id, request.body_hash, reply, engine.clock.now())
    change = CatalogChange(namespace, set_default=(workflow_id, version), request=row)
    verdict = await engine.write(engine.store.change_catalog, change)
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
