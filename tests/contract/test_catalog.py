"""Namespaces and workflow versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdure_server.storage.port import CatalogChange, CatalogVerdict, Store, WorkflowRow
from tests.contract.bindings import NOW
from tests.contract.builders import DEFAULT, request, workflow


def put(store: Store, row: WorkflowRow, make_default: bool = False, namespace: str = DEFAULT) -> CatalogVerdict:
    """Registers a version."""
    return store.change_catalog(CatalogChange(namespace, put_workflow=row, make_default=make_default))


def set_default(store: Store, workflow_id: str, version: str, namespace: str = DEFAULT) -> CatalogVerdict:
    """Moves the default."""
    return store.change_catalog(CatalogChange(namespace, set_default=(workflow_id, version)))


def versions(store: Store, workflow_id: str = "", *, defaults: bool = False) -> list[tuple[str, str, bool]]:
    """(workflow_id, version, is_default) of all."""
    rows = store.list_workflows(DEFAULT, workflow_id, defaults, None, 100)
    assert all(row.spec == b"" for row in rows)
    return [(row.workflow_id, row.version, row.is_default) for row in rows]


def test_the_default_namespace_always_exists(store: Store) -> None:
    assert store.list_namespaces() == ["default"]
    taken = store.change_catalog(CatalogChange(DEFAULT, create_namespace=(DEFAULT, "mine", NOW)))
    assert taken == CatalogVerdict(changed=False)


def test_a_namespace_is_created_once(store: Store) -> None:
    change = CatalogChange("team", create_namespace=("team", "the team's", NOW))
    assert store.change_catalog(change) == CatalogVerdict(changed=True)
    assert store.change_catalog(change) == CatalogVerdict(changed=False)
    assert store.change_catalog(CatalogChange("", create_namespace=("Team", "", NOW))).changed
    assert store.list_namespaces() == ["Team", "default", "team"]


def test_the_first_version_becomes_the_default_and_later_ones_only_if_asked(store: Store) -> None:
    assert put(store, workflow(version="v1")) == CatalogVerdict(True, is_default=True, previous_version="")
    assert put(store, workflow(version="v2")) == CatalogVerdict(True, is_default=False, previous_version="v1")
    third = put(store, workflow(version="v3"), make_default=True)
    assert third == CatalogVerdict(True, is_default=True, previous_version="v1")
    assert versions(store, "order") == [("order", "v3", True), ("order", "v2", False), ("order", "v1", False)]


def test_a_known_version_changes_nothing(store: Store) -> None:
    put(store, workflow(version="v1"))
    put(store, workflow(version="v2"))
    again = put(store, workflow(version="v2", spec=b"other", registered_at=NOW + 5), make_default=True)
    assert again == CatalogVerdict(False, is_default=False, previous_version="v1")
    assert put(store, workflow(version="v1")) == CatalogVerdict(False, is_default=True, previous_version="v1")
    found = store.find_workflow(DEFAULT, "order", "v2")
    assert found == workflow(version="v2")


def test_the_flag_of_a_given_row_is_not_taken_for_the_default(store: Store) -> None:
    put(store, workflow(version="v1"))
    put(store, workflow(version="v2", is_default=True))
    assert versions(store) == [("order", "v2", False), ("order", "v1", True)]


def test_moving_the_default(store: Store) -> None:
    for version in ("v1", "v2"):
        put(store, workflow(version=version))
    put(store, workflow("other", "v1"))
    assert set_default(store, "order", "v2") == CatalogVerdict(True, is_default=True, previous_version="v1")
    assert set_default(store, "order", "v2") == CatalogVerdict(False, is_default=True, previous_version="v2")
    assert set_default(store, "order", "v9") == CatalogVerdict(False, found=False)
    assert set_default(store, "nothing", "v1") == CatalogVerdict(False, found=False)
    assert set_default(store, "order", "") == CatalogVerdict(False, found=False)
    assert set_default(store, "order", "v1", "elsewhere") == CatalogVerdict(False, found=False)
    assert versions(store, defaults=True) == [("other", "v1", True), ("order", "v2", True)]


def test_finding_a_version_or_the_default(store: Store) -> None:
    given = workflow(version="v1", spec=b"\0spec", entry_node="ø", node_count=7, registered_at=NOW + 3)
    put(store, given)
    put(store, workflow(version="v2"))
    assert store.find_workflow(DEFAULT, "order", "v1") == replace(given, is_default=True)
    assert store.find_workflow(DEFAULT, "order", "") == replace(given, is_default=True)
    assert store.find_workflow(DEFAULT, "order", "v2") == workflow(version="v2")
    for absent in ((DEFAULT, "order", "V1"), (DEFAULT, "Order", ""), ("other", "order", ""), (DEFAULT, "", "")):
        assert store.find_workflow(*absent) is None


def test_the_same_workflow_in_two_namespaces(store: Store) -> None:
    put(store, workflow(version="v1"))
    assert put(store, workflow(version="v2"), namespace="other").is_default
    found = store.find_workflow("other", "order", "")
    assert found is not None
    assert found.version == "v2"


def test_versions_are_listed_newest_first_and_paged(store: Store) -> None:
    for number in range(12):
        put(store, workflow(f"w{number % 3}", f"v{number}", registered_at=NOW + number // 4))
    rows = store.list_workflows(DEFAULT, "", False, None, 100)
    places = [(row.registered_at, row.workflow_id, row.version) for row in rows]
    assert places == sorted(places, reverse=True)
    assert len(places) == 12
    for workflow_id, defaults in (("", False), ("w1", False), ("", True), ("w2", True)):
        whole = store.list_workflows(DEFAULT, workflow_id, defaults, None, 100)
        paged: list[WorkflowRow] = []
        after = None
        while page := store.list_workflows(DEFAULT, workflow_id, defaults, after, 2):
            paged += page
            after = (page[-1].registered_at, page[-1].workflow_id, page[-1].version)
        assert paged == whole
        assert whole


@pytest.mark.promise("P5")
def test_a_known_request_changes_nothing(store: Store) -> None:
    change = CatalogChange(DEFAULT, put_workflow=workflow(version="v1"), request=request("q1"))
    assert store.change_catalog(change).changed
    other = replace(change, put_workflow=workflow(version="v2"), request=request("q1", reply=b"other"))
    assert store.change_catalog(other) == CatalogVerdict(False, request=request("q1"))
    assert versions(store) == [("order", "v1", True)]


def test_only_requests_that_succeeded_are_kept(store: Store) -> None:
    def kept(request_id: str, **change: Any) -> bool:
        asked = replace(CatalogChange(DEFAULT, request=request(request_id)), **change)
        store.change_catalog(asked)
        return store.find_request(DEFAULT, "StartRun", request_id) is not None

    assert kept("q1", put_workflow=workflow(version="v1"))
    assert kept("q2", put_workflow=workflow(version="v1"))
    assert kept("q3", set_default=("order", "v1"))
    assert not kept("q4", set_default=("order", "v9"))
    assert kept("q5", create_namespace=("team", "", NOW))
    assert not kept("q6", create_namespace=("team", "", NOW))


def test_requests_of_commits_and_of_the_catalogue_are_one_kind(store: Store) -> None:
    change = CatalogChange(DEFAULT, create_namespace=("team", "", NOW), request=request("q1"))
    store.change_catalog(change)
    assert store.find_request(DEFAULT, "StartRun", "q1") == request("q1")
    assert store.trim(NOW + 1, 0, 100, 10) == 1
    assert store.find_request(DEFAULT, "StartRun", "q1") is None
