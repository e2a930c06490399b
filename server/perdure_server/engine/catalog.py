"""Workflow versions and namespaces, kept decoded and bounded in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from perdure_server.engine.errors import NamespaceNotFoundError, WorkflowNotFoundError
from perdure_server.engine.ports import Codec
from perdure_server.kernel.model import WorkflowSpec
from perdure_server.storage.port import Store

CAPACITY = 2_000


class UnknownWorkflowError(LookupError):
    """A decision needs a workflow that is not in memory; the engine loads it and decides again."""

    def __init__(self, workflow_id: str, version: str) -> None:
        super().__init__(workflow_id)
        self.workflow_id = workflow_id
        self.version = version


class Catalog:
    """Read-through cache of specs. A version is immutable; defaults are forgotten when one moves.

    Args:
        store: read through `read`.
        codec: decodes specs.
        read: runs a reading method of the store off the event loop.
        shared: other processes may move defaults, so these are read every time.
    """

    def __init__(self, store: Store, codec: Codec, read: Callable[..., Awaitable[Any]], *, shared: bool) -> None:
        self._store = store
        self._codec = codec
        self._read = read
        self._shared = shared
        self._specs: OrderedDict[tuple[str, str, str], WorkflowSpec] = OrderedDict()
        self._defaults: dict[tuple[str, str], str] = {}
        self._namespaces: set[str] = {"default"}

    def peek(self, namespace: str, workflow_id: str, version: str) -> WorkflowSpec | None:
        """The spec if it is in memory. `version` empty: the default."""
        wanted = version or self._defaults.get((namespace, workflow_id), "")
        return self._specs.get((namespace, workflow_id, wanted)) if wanted else None

    async def find(self, namespace: str, workflow_id: str, version: str) -> WorkflowSpec | None:
        """The spec, or None if it is not registered."""
        spec = None if self._shared and not version else self.peek(namespace, workflow_id, version)
        if spec is not None:
            return spec
        row = await self._read(self._store.find_workflow, namespace, workflow_id, version)
        if row is None:
            return None
        spec = self._codec.decode_workflow(row.spec)
        self._specs[namespace, workflow_id, row.version] = spec
        if row.is_default:
            self._defaults[namespace, workflow_id] = row.version
        while len(self._specs) > CAPACITY:
            self._specs.popitem(last=False)
        return spec

    async def get(self, namespace: str, workflow_id: str, version: str) -> WorkflowSpec:
        """The spec. Raises: NamespaceNotFoundError, WorkflowNotFoundError."""
        await self.require_namespace(namespace)
        spec = await self.find(namespace, workflow_id, version)
        if spec is None:
            what = f"version {version!r} of workflow {workflow_id!r}" if version else f"workflow {workflow_id!r}"
            raise WorkflowNotFoundError(
                f"{what} is not registered in namespace {namespace!r}; register it first",
                field="workflow_version" if version else "workflow_id",
            )
        return spec

    def forget_default(self, namespace: str, workflow_id: str) -> None:
        """A default may have moved."""
        self._defaults.pop((namespace, workflow_id), None)

    async def require_namespace(self, namespace: str, field: str = "namespace") -> None:
        """Raises: NamespaceNotFoundError if there is no such namespace; `field` is the request's that names it."""
        if namespace in self._namespaces:
            return
        self._namespaces.update(await self._read(self._store.list_namespaces))
        if namespace not in self._namespaces:
            raise NamespaceNotFoundError(
                f"there is no namespace {namespace!r}; create it with CreateNamespace", field=field
            )
