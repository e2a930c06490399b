"""Namespaces, workflows and kept replies."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perdure_server.storage.port import CatalogChange, CatalogVerdict, RequestRow, WorkflowRow
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.rows import DbRow

_workflows: Final = schema.workflows.c
_requests: Final = schema.requests.c
_namespaces: Final = schema.namespaces.c


def change_catalog(connection: sa.Connection, change: CatalogChange) -> CatalogVerdict:
    """Makes the one change; a refused one (found False, or a namespace that exists) keeps no request."""
    request = change.request
    if request:
        known = find_request(connection, change.namespace, request.method, request.request_id)
        if known:
            return CatalogVerdict(changed=False, request=known)
    if change.create_namespace:
        verdict = _create_namespace(connection, change.create_namespace)
        keep = verdict.changed
    elif change.put_workflow:
        verdict = _put_workflow(connection, change.namespace, change.put_workflow, change.make_default)
        keep = True
    else:
        workflow_id, version = change.set_default or ("", "")
        verdict = _set_default(connection, change.namespace, workflow_id, version)
        keep = verdict.found
    if request and keep:
        row = {
            "namespace": change.namespace,
            "method": request.method,
            "request_id": request.request_id,
            "body_hash": request.body_hash,
            "reply": request.reply,
            "at": request.at,
        }
        connection.execute(sa.insert(schema.requests), row)
    return verdict


def _create_namespace(connection: sa.Connection, row: tuple[str, str, int]) -> CatalogVerdict:
    name, description, at = row
    if name in list_namespaces(connection):
        return CatalogVerdict(changed=False)
    values = {"namespace": name, "description": description, "created_at": at}
    connection.execute(sa.insert(schema.namespaces), values)
    return CatalogVerdict(changed=True)


def _put_workflow(connection: sa.Connection, namespace: str, row: WorkflowRow, make_default: bool) -> CatalogVerdict:
    before = _default_version(connection, namespace, row.workflow_id)
    known = find_workflow(connection, namespace, row.workflow_id, row.version)
    if known:
        return CatalogVerdict(changed=False, is_default=known.is_default, previous_version=before)
    values = {
        "namespace": namespace,
        "workflow_id": row.workflow_id,
        "version": row.version,
        "entry_node": row.entry_node,
        "node_count": row.node_count,
        "registered_at": row.registered_at,
        "is_default": 0,
        "spec": row.spec,
    }
    connection.execute(sa.insert(schema.workflows), values)
    default = make_default or not before
    if default:
        _move_default(connection, namespace, row.workflow_id, row.version)
    return CatalogVerdict(changed=True, is_default=default, previous_version=before)


def _set_default(connection: sa.Connection, namespace: str, workflow_id: str, version: str) -> CatalogVerdict:
    if not version or find_workflow(connection, namespace, workflow_id, version) is None:
        return CatalogVerdict(changed=False, found=False)
    before = _default_version(connection, namespace, workflow_id)
    _move_default(connection, namespace, workflow_id, version)
    return CatalogVerdict(changed=before != version, is_default=True, previous_version=before)


def _move_default(connection: sa.Connection, namespace: str, workflow_id: str, version: str) -> None:
    one = (_workflows.namespace == namespace, _workflows.workflow_id == workflow_id)
    update = sa.update(schema.workflows)
    connection.execute(update.where(*one, _workflows.is_default == 1).values(is_default=0))
    connection.execute(update.where(*one, _workflows.version == version).values(is_default=1))


def _default_version(connection: sa.Connection, namespace: str, workflow_id: str) -> str:
    statement = sa.select(_workflows.version).where(
        _workflows.namespace == namespace,
        _workflows.workflow_id == workflow_id,
        _workflows.is_default == sa.literal_column("1"),
    )
    return connection.execute(statement).scalar() or ""


def _to_workflow(row: DbRow, spec: bytes) -> WorkflowRow:
    return WorkflowRow(
        workflow_id=row.workflow_id,
        version=row.version,
        spec=spec,
        entry_node=row.entry_node,
        node_count=row.node_count,
        registered_at=row.registered_at,
        is_default=bool(row.is_default),
    )


def find_workflow(connection: sa.Connection, namespace: str, workflow_id: str, version: str) -> WorkflowRow | None:
    """A version; `version` empty: the default."""
    statement = sa.select(schema.workflows).where(
        _workflows.namespace == namespace,
        _workflows.workflow_id == workflow_id,
        _workflows.version == version if version else _workflows.is_default == sa.literal_column("1"),
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else _to_workflow(row, row.spec)


def list_workflows(
    connection: sa.Connection,
    namespace: str,
    workflow_id: str,
    defaults_only: bool,
    after: tuple[int, str, str] | None,
    limit: int,
) -> list[WorkflowRow]:
    """Versions by (registered_at, workflow_id, version) descending, after that triple, without their specs."""
    place = (_workflows.registered_at, _workflows.workflow_id, _workflows.version)
    statement = sa.select(*(column for column in _workflows if column.name != "spec")).where(
        _workflows.namespace == namespace
    )
    if workflow_id:
        statement = statement.where(_workflows.workflow_id == workflow_id)
    if defaults_only:
        statement = statement.where(_workflows.is_default == sa.literal_column("1"))
    if after is not None:
        statement = statement.where(sa.tuple_(*place) < after)
    statement = statement.order_by(*(column.desc() for column in place)).limit(limit)
    return [_to_workflow(row, b"") for row in connection.execute(statement)]


def list_namespaces(connection: sa.Connection) -> list[str]:
    """All names, sorted."""
    return list(connection.execute(sa.select(_namespaces.namespace).order_by(_namespaces.namespace)).scalars())


def find_request(connection: sa.Connection, namespace: str, method: str, request_id: str) -> RequestRow | None:
    """The kept reply of a request id."""
    statement = sa.select(schema.requests).where(
        _requests.namespace == namespace, _requests.method == method, _requests.request_id == request_id
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return RequestRow(row.method, row.request_id, row.body_hash, row.reply, row.at)
