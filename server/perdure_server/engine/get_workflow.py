"""GetWorkflow."""

from __future__ import annotations

from perdure_server.engine.core import Engine
from perdure_server.engine.errors import WorkflowNotFoundError
from perdure_server.storage.port import WorkflowRow


async def get_workflow(engine: Engine, namespace: str, workflow_id: str, version: str) -> WorkflowRow:
    """A registered version; `version` empty: the default.

    Raises: NamespaceNotFoundError, WorkflowNotFoundError.
    """
    await engine.catalog.require_namespace(namespace)
    row = await engine.read(engine.store.find_workflow, namespace, workflow_id, version)
    if row is None:
        what = f"version {version!r} of workflow {workflow_id!r}" if version else f"workflow {workflow_id!r}"
        raise WorkflowNotFoundError(
            f"{what} is not registered in namespace {namespace!r}",
            field="version" if version else "workflow_id",
            workflow_id=workflow_id,
        )
    return row
