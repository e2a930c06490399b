"""Journals for the file tests: opening with small files, and all that a store can be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.store import Bounds, JournalStore, open_journal
from perdure_server.storage.port import RecordQuery, RunQuery, Store, TaskQuery, WaitQuery
from tests.contract.bindings import EPOCH, NOW, genesis
from tests.contract.builders import key

SMALL = Bounds(segment_bytes=4_000, compact_bytes=8_000)
"""A new segment every few commits, and a snapshot every few segments."""

ONE_FILE = Bounds()


def opened(
    folder: Path, bounds: Bounds = ONE_FILE, disk: Callable[[Path], Disk] = Disk, epoch: str = EPOCH
) -> JournalStore:
    """The journal in a folder."""
    return open_journal(folder, genesis=genesis, epoch=epoch, bounds=bounds, disk=disk)


def everything(store: Store) -> dict[str, Any]:
    """All that a store holds, as its readers see it."""
    namespaces = store.list_namespaces()
    found: dict[str, Any] = {"namespaces": namespaces, "horizon": store.horizon()}
    for namespace in namespaces:
        runs = store.list_runs(RunQuery(namespace), None, 10_000)
        found[namespace] = {
            "runs": runs,
            "waits": store.list_waits(WaitQuery(namespace), None, 10_000),
            "records": store.read_records(RecordQuery(namespace, limit=1 << 30, byte_limit=1 << 40)),
            "ready": store.ready_tasks(TaskQuery(namespace, ("default", "q2"), ("*",), ("order",), 10_000)),
            "workflows": store.list_workflows(namespace, "", False, None, 10_000),
            "schedules": store.list_schedules(namespace, "", 10_000),
            "requests": [store.find_request(namespace, "StartRun", f"q{number}") for number in range(40)],
            "events": [
                store.read_events(namespace, 1, scope_id, "*", 0, 0, 10_000)
                for scope_id in ("", "a", "A", "b", "a:b", "ß", "s1")
            ],
            "snapshots": [store.load_run(key(run.identity.run_id, namespace)) for run in runs],
            "obligations": [store.read_obligations(key(run.identity.run_id, namespace)) for run in runs],
        }
    found["due_schedules"] = store.due_schedules(NOW + 20, 10_000)
    found["due"] = store.due_work(NOW + 1_000, NOW + 1_000, 10_000)
    return found
