"""CreateNamespace."""

from __future__ import annotations

from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import NamespaceExistsError
from perdure_server.engine.requests import check_request
from perdure_server.storage.port import CatalogChange, RequestRow


async def create_namespace(engine: Engine, namespace: str, description: str, request: RequestId | None = None) -> None:
    """Creates a namespace. Raises: NamespaceExistsError, RequestIdReusedError, StoreUnavailableError."""
    now = engine.clock.now()
    row = None
    if request is not None:
        row = RequestRow(request.method, request.request_id, request.body_hash, b"{}", now)
    change = CatalogChange(namespace, create_namespace=(namespace, description, now), request=row)
    verdict = await engine.write(engine.store.change_catalog, change)
    if verdict.request is not None and request is not None:
        check_request(verdict.request, request)
        return
    if not verdict.changed:
        raise NamespaceExistsError(f"namespace {namespace!r} exists", field="namespace", namespace=namespace)
