"""Namespaces and workflows of the memory store."""

from __future__ import annotations

from dataclasses import replace

from perdure_server.storage.memory.tables import Tables
from perdure_server.storage.port import CatalogChange, CatalogVerdict, WorkflowRow


class Catalog:
    """The catalogue's half of the tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def change(self, change: CatalogChange) -> CatalogVerdict:
        """Makes the one change; a refused one (found False, or a namespace that exists) keeps no request."""
        request = change.request
        if request:
            known = self._tables.requests.get((change.namespace, request.method, request.request_id))
            if known:
                return CatalogVerdict(changed=False, request=known)
        if change.create_namespace:
            verdict = self._create_namespace(change.create_namespace)
            keep = verdict.changed
        elif change.put_workflow:
            verdict = self._put(change.namespace, change.put_workflow, change.make_default)
            keep = True
        else:
            workflow_id, version = change.set_default or ("", "")
            verdict = self._set_default(change.namespace, workflow_id, version)
            keep = verdict.found
        if request and keep:
            self._tables.put_request(change.namespace, request)
        return verdict

    def _create_namespace(self, row: tuple[str, str, int]) -> CatalogVerdict:
        name, description, at = row
        if name in self._tables.namespaces:
            return CatalogVerdict(changed=False)
        self._tables.namespaces[name] = (description, at)
        return CatalogVerdict(changed=True)

    def _put(self, namespace: str, row: WorkflowRow, make_default: bool) -> CatalogVerdict:
        previous = self.find(namespace, row.workflow_id, "")
        before = previous.version if previous else ""
        known = self.find(namespace, row.workflow_id, row.version)
        if known:
            return CatalogVerdict(changed=False, is_default=known.is_default, previous_version=before)
        self._tables.workflows[namespace, row.workflow_id, row.version] = replace(row, is_default=False)
        default = make_default or previous is None
        if default:
            self._move_default(namespace, row.workflow_id, row.version)
        return CatalogVerdict(changed=True, is_default=default, previous_version=before)

    def _set_default(self, namespace: str, workflow_id: str, version: str) -> CatalogVerdict:
        found = self.find(namespace, workflow_id, version) if version else None
        if found is None:
            return CatalogVerdict(changed=False, found=False)
        previous = self.find(namespace, workflow_id, "")
        before = previous.version if previous else ""
        self._move_default(namespace, workflow_id, version)
        return CatalogVerdict(changed=before != version, is_default=True, previous_version=before)

    def _move_default(self, namespace: str, workflow_id: str, version: str) -> None:
        rows = self._tables.workflows
        for key, row in rows.items():
            if key[:2] == (namespace, workflow_id):
                rows[key] = replace(row, is_default=key[2] == version)

    def find(self, namespace: str, workflow_id: str, version: str) -> WorkflowRow | None:
        """A version; `version` empty: the default."""
        if version:
            return self._tables.workflows.get((namespace, workflow_id, version))
        return next(
            (
                row
                for key, row in self._tables.workflows.items()
                if key[:2] == (namespace, workflow_id) and row.is_default
            ),
            None,
        )

    def page(
        self, namespace: str, workflow_id: str, defaults_only: bool, after: tuple[int, str, str] | None
    ) -> list[WorkflowRow]:
        """All versions that match, newest first, after that triple, without their specs."""
        found = [
            replace(row, spec=b"")
            for key, row in self._tables.workflows.items()
            if key[0] == namespace
            and workflow_id in {"", row.workflow_id}
            and (row.is_default or not defaults_only)
            and (after is None or (row.registered_at, row.workflow_id, row.version) < after)
        ]
        found.sort(key=lambda row: (row.registered_at, row.workflow_id, row.version), reverse=True)
        return found
