"""All that a store holds, as far as its port shows it, to be compared whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from perdure_server.storage.port import NO_LIMIT, RecordQuery, RunKey, RunQuery, Store
from tests.differential.knowledge import Knowledge

PAGE: Final = 1_000
OPEN: Final = (1, 2)


def contents(store: Store, known: Knowledge, now: int, *, ended_too: bool) -> Iterator[tuple[str, Any]]:
    """Name and value of each part, the same names for each store.

    Args:
        known: says which request ids and scopes there may be.
        ended_too: read the rows of ended runs too, which should have none.
    """
    namespaces = store.list_namespaces()
    yield "horizon", store.horizon()
    yield "namespaces", namespaces
    for namespace in namespaces:
        yield from _runs(store, namespace, ended_too=ended_too)
        yield from _records(store, namespace)
        yield f"workflows of {namespace}", _workflows(store, namespace)
    for namespace, scope, scope_id in known.scopes:
        where = f"events of {namespace} {scope} {scope_id}"
        yield where, store.read_events(namespace, scope, scope_id, "", 0, NO_LIMIT, PAGE)
    for namespace, method, request_id in known.requests:
        yield f"request {method} {request_id}", store.find_request(namespace, method, request_id)
    yield "due work", store.due_work(now, now, PAGE)
    yield "due slots", store.due_slots(PAGE)
    for name in ("k1", "k2"):
        yield f"line of {name}", store.slot_line("default", name, PAGE)


def _runs(store: Store, namespace: str, *, ended_too: bool) -> Iterator[tuple[str, Any]]:
    query, after = RunQuery(namespace), None
    while page := store.list_runs(query, after, PAGE):
        for run in page:
            yield f"run {run.identity.run_id}", run
            if ended_too or run.head.status in OPEN:
                key = RunKey(namespace, run.identity.run_id)
                yield f"rows of run {run.identity.run_id}", store.read_obligations(key)
        after = page[-1].identity.created_at, page[-1].identity.run_id
    yield f"runs of {namespace}", store.count_runs(query, 1_000_000)


def _records(store: Store, namespace: str) -> Iterator[tuple[str, Any]]:
    """Stored bytes, hashes and payloads: what is equal there is equal decoded."""
    position = 0
    while page := store.read_records(RecordQuery(namespace, after_position=position, limit=PAGE)):
        for record in page:
            yield f"record {record.seq} of run {record.run_id}", record
        position = page[-1].position


def _workflows(store: Store, namespace: str) -> Any:
    listed = store.list_workflows(namespace, "", False, None, PAGE)
    specs = [store.find_workflow(namespace, row.workflow_id, row.version) for row in listed]
    return listed, specs
