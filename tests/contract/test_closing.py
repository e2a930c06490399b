"""A closed store answers nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perdure_server.storage.port import (
    CatalogChange,
    ObligationRows,
    RecordQuery,
    RunQuery,
    Store,
    StoreError,
    StoreReader,
    StoreWriter,
    TaskQuery,
    WaitQuery,
)
from tests.contract.bindings import NOW, Binding
from tests.contract.builders import DEFAULT, committed, key, start, step

CALLS: dict[str, Callable[[Store], object]] = {
    "commit": lambda store: store.commit([step("r1", 1)]),
    "renew_leases": lambda store: store.renew_leases([]),
    "reset_leases": lambda store: store.reset_leases(NOW),
    "change_catalog": lambda store: store.change_catalog(CatalogChange(DEFAULT, create_namespace=("x", "", NOW))),
    "install": lambda store: store.install(key("r1"), 1, ObligationRows(None, None, ()), None),
    "trim": lambda store: store.trim(0, 0, 1, 1),
    "info": lambda store: store.info(),
    "load_run": lambda store: store.load_run(key("r1")),
    "read_records": lambda store: store.read_records(RecordQuery(DEFAULT)),
    "horizon": lambda store: store.horizon(),
    "read_changes": lambda store: store.read_changes(0, 1, 1),
    "lease_offset": lambda store: store.lease_offset(),
    "wait_for_change": lambda store: store.wait_for_change(0),
    "list_runs": lambda store: store.list_runs(RunQuery(DEFAULT), None, 1),
    "count_runs": lambda store: store.count_runs(RunQuery(DEFAULT), 1),
    "list_waits": lambda store: store.list_waits(WaitQuery(DEFAULT), None, 1),
    "due_work": lambda store: store.due_work(NOW, NOW, 1),
    "ready_tasks": lambda store: store.ready_tasks(TaskQuery(DEFAULT, ("q",), (), (), 1)),
    "waits_for_event": lambda store: store.waits_for_event(DEFAULT, 1, "s", "n", "", 1),
    "read_events": lambda store: store.read_events(DEFAULT, 1, "s", "n", 0, 0, 1),
    "find_request": lambda store: store.find_request(DEFAULT, "m", "q"),
    "find_workflow": lambda store: store.find_workflow(DEFAULT, "w", ""),
    "list_workflows": lambda store: store.list_workflows(DEFAULT, "", False, None, 1),
    "list_namespaces": lambda store: store.list_namespaces(),
    "slot_line": lambda store: store.slot_line(DEFAULT, "k", 1),
    "due_slots": lambda store: store.due_slots(1),
    "find_schedule": lambda store: store.find_schedule(DEFAULT, "s"),
    "list_schedules": lambda store: store.list_schedules(DEFAULT, "", 1),
    "due_schedules": lambda store: store.due_schedules(NOW, 1),
    "read_obligations": lambda store: store.read_obligations(key("r1")),
}


def test_every_method_of_the_port_is_among_the_calls() -> None:
    methods = {name for side in (StoreWriter, StoreReader) for name in vars(side) if not name.startswith("_")}
    assert methods - {"close"} == CALLS.keys()


def test_every_call_answers_while_the_store_is_open_and_none_after(store: Store) -> None:
    committed(store, start("r1"))
    for call in CALLS.values():
        call(store)
    store.close()
    for call in CALLS.values():
        with pytest.raises(StoreError, match="closed"):
            call(store)


def test_who_waits_for_a_change_is_let_go_when_the_store_closes(store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked, beginning = 3_600 * 1_000_000, threading.Event()

        def wait() -> bool:
            beginning.set()
            return store.wait_for_change(asked)

        waiting = pool.submit(wait)
        assert beginning.wait(20)
        store.close()
        error = waiting.exception(20)
    # The store may have been closed before the call or during it.
    assert isinstance(error, StoreError) if error else waiting.result() is False


def test_closing_twice_is_closing_once(store: Store) -> None:
    store.close()
    store.close()


def test_what_was_committed_before_closing_is_kept(store: Store, reopen: Callable[[], Store]) -> None:
    committed(store, start("r1"))
    again = reopen()
    with pytest.raises(StoreError):
        store.horizon()
    snapshot = again.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.head.seq == 1


def test_a_second_store_on_the_same_data_is_refused(binding: Binding, store: Store, tmp_path: Path) -> None:
    if "owner" in binding.excluded:
        pytest.skip(f"{binding.name}: {binding.excluded['owner']}")
    committed(store, start("r1"))
    with pytest.raises(StoreError):
        binding.open(tmp_path)
    committed(store, step("r1", 1))
