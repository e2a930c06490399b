"""Workflow versions and namespaces, kept decoded and bounded in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from perdure_server.clock import Clock
from perdure_server.engine.errors import NamespaceNotFoundError, WorkflowNotFoundError
from perdure_server.engine.ports import Codec
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import WorkflowSpec
from perdure_server.storage.port import Store

CAPACITY = 2_000

BELIEVED_US = SECOND_US
"""How long a default version that was read counts for the children of runs, where others may move it."""


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
        shared_clock: set where other processes may move defaults: a start reads these every time, and a child of a
            run believes one for BELIEVED_US.
    """

    def __init__(
        self, store: Store, codec: Codec, read: Callable[..., Awaitable[Any]], shared_clock: Clock | None
    ) -> None:
        self._store = store
        self._codec = codec
        self._read = read
        self._shared_clock = shared_clock
        self._specs: OrderedDict[tuple[str, str, str], WorkflowSpec] = OrderedDict()
        self._defaults: dict[tuple[str, str], str] = {}
        self._read_at: dict[tuple[str, str], int] = {}
        self._namespaces: set[str] = {"default"}

    def peek(self, namespace: str, workflow_id: str, version: str) -> WorkflowSpec | None:
        """The spec if it is in memory. `version` empty: the default."""
        wanted = version or self._default_of(namespace, workflow_id)
        return self._specs.get((namespace, workflow_id, wanted)) if wanted else None

    async def find(self, namespace: str, workflow_id: str, version: str) -> WorkflowSpec | None:
        """The spec, or None if it is not registered."""
        spec = None if self._shared_clock and not version else self.peek(namespace, workflow_id, version)
        if spec is not None:
            return spec
        row = await self._read(self._store.find_workflow, namespace, workflow_id, version)
        if row is None:
            return None
        spec = self._codec.decode_workflow(row.spec)
        self._specs[namespace, workflow_id, row.version] = spec
        if row.is_default:
            self._defaults[namespace, workflow_id] = row.version
            if self._shared_clock is not None:
                self._read_at[namespace, workflow_id] = self._shared_clock.monotonic()
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

    def _default_of(self, namespace: str, workflow_id: str) -> str:
        key = namespace, workflow_id
        clock = self._shared_clock
        if clock is not None and clock.monotonic() - self._read_at.get(key, -BELIEVED_US) >= BELIEVED_US:
            return ""
        return self._defaults.get(key, "")

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
