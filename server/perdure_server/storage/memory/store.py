"""The memory store: one lock, plain dicts, every answer computed from them in the shortest way."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from perdure_server.storage.memory import schedules
from perdure_server.storage.memory.catalog import Catalog
from perdure_server.storage.memory.matching import (
    may_move,
    record_matches,
    run_matches,
    slot_line,
    task_matches,
    wait_matches,
)
from perdure_server.storage.memory.tables import Run, Tables, commit_bytes
from perdure_server.storage.port import (
    CatalogChange,
    CatalogVerdict,
    Commit,
    DueLease,
    DueMail,
    DueSchedules,
    DueTimer,
    DueWork,
    Feature,
    LeaseRenewal,
    ObligationRows,
    ReadyTask,
    RecordQuery,
    RequestRow,
    RunChange,
    RunKey,
    RunQuery,
    RunSnapshot,
    RunSummary,
    ScheduleRow,
    SlotLine,
    SlotPlace,
    StoredEvent,
    StoredRecord,
    StoreError,
    StoreInfo,
    TaskQuery,
    TimerRow,
    Verdict,
    WaitQuery,
    WaitRow,
    WorkflowRow,
)
from perdure_server.storage.rules import Genesis

_ANY: Final = ("", "*")

_FEATURES: Final = {
    "durable": Feature(False, "kept in memory: everything ends with the process"),
    "replicas": Feature(False, "the data is this process's own"),
}


class MemoryStore:
    """A store whose data lives and dies with the process.

    Args:
        genesis: gives the `prev_hash` of a run's first record.
        epoch: identity of the data.
        max_bytes: cap on records, payloads, keyframes, events and kept replies; a commit beyond it
            raises StoreError and keeps nothing.
    """

    def __init__(self, *, genesis: Genesis, epoch: str, max_bytes: int = 1 << 30) -> None:
        self._lock = threading.RLock()
        self._tables = Tables(genesis)
        self._catalog = Catalog(self._tables)
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._closed = threading.Event()

    def _open_tables(self) -> Tables:
        if self._closed.is_set():
            raise StoreError("the store is closed")
        return self._tables

    # The writing side.

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        with self._lock:
            tables = self._open_tables()
            if tables.bytes_held + sum(map(commit_bytes, batch)) > self._max_bytes:
                raise StoreError(f"the memory store is full ({self._max_bytes} bytes); use a store on disk")
            return [tables.commit(commit) for commit in batch]

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """See StoreWriter."""
        with self._lock:
            self._open_tables()
            return [self._tables.renew(renewal) for renewal in renewals]

    def reset_leases(self, expires_at: int) -> int:
        """See StoreWriter. A heartbeat that was due gets the same instant."""
        with self._lock:
            return self._open_tables().reset_leases(expires_at)

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """See StoreWriter."""
        with self._lock:
            self._open_tables()
            return self._catalog.change(change)

    def install(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
        """See StoreWriter."""
        with self._lock:
            tables = self._open_tables()
            if problem := tables.why_not_installed(key, expected_seq, rows, wait):
                raise StoreError(problem)
            return tables.install(key, expected_seq, rows, wait)

    def trim(self, requests_before: int, events_before: int, events_per_key: int, limit: int) -> int:
        """See StoreWriter."""
        with self._lock:
            tables = self._open_tables()
            requests, events = tables.trimmable(requests_before, events_before, events_per_key, limit)
            tables.drop(requests, events)
            return len(requests) + len(events)

    def close(self) -> None:
        """See StoreWriter."""
        with self._lock:
            self._closed.set()

    # The reading side.

    def info(self) -> StoreInfo:
        """See StoreReader."""
        with self._lock:
            self._open_tables()
            return StoreInfo("memory", self._epoch, shared=False, features=_FEATURES)

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """See StoreReader."""
        with self._lock:
            run = self._open_tables().runs.get(key)
            if run is None:
                return None
            tail = tuple(run.records[run.keyframe_seq :])
            return RunSnapshot(run.identity, run.head, run.keyframe_seq, run.keyframe, tail)

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """See StoreReader. A record that would go beyond `byte_limit` begins the next page."""
        with self._lock:
            tables = self._open_tables()
            until = query.until_position or tables.position
            page: list[StoredRecord] = []
            size = 0
            start = bisect_right(tables.ledger, query.after_position, key=lambda record: record.position)
            for record in tables.ledger[start:]:
                if record.position > until or len(page) >= query.limit:
                    break
                if not record_matches(record, query):
                    continue
                size += len(record.record) + sum(len(payload.data or b"") for payload in record.payloads)
                if page and size > query.byte_limit:
                    break
                page.append(record)
            return page

    def horizon(self) -> int:
        """See StoreReader."""
        with self._lock:
            return self._open_tables().position

    def read_changes(self, after_position: int, until_position: int, limit: int) -> list[RunChange]:
        """See StoreReader."""
        with self._lock:
            ledger = self._open_tables().ledger
            start = bisect_right(ledger, after_position, key=lambda record: record.position)
            return [
                RunChange(record.position, record.namespace, record.run_id, record.seq, record.kind)
                for record in ledger[start : start + limit]
                if record.position <= until_position
            ]

    def _summary(self, run: Run) -> RunSummary:
        identity = run.identity
        key = RunKey(identity.namespace, identity.run_id)
        slot, _ = self._tables.slots.get(key, (None, 0))
        return RunSummary(identity, run.head, self._tables.tasks.get(key), slot)

    def lease_offset(self) -> int:
        """See StoreReader. Leases are in the monotonic clock itself."""
        self._open_tables()
        return 0

    def wait_for_change(self, timeout_us: int) -> bool:
        """See StoreReader. There are no other processes: ends with the time or the store."""
        self._open_tables()
        self._closed.wait(timeout_us / 1_000_000)
        return False

    def list_runs(self, query: RunQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """See StoreReader."""
        with self._lock:
            found = [run for run in self._open_tables().runs.values() if run_matches(run, query)]
            return self._page(found, lambda run: (run.identity.created_at, run.identity.run_id), after, limit, True)

    def count_runs(self, query: RunQuery, limit: int) -> int:
        """See StoreReader."""
        with self._lock:
            return min(sum(run_matches(run, query) for run in self._open_tables().runs.values()), limit)

    def list_waits(self, query: WaitQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """See StoreReader."""
        with self._lock:
            found = [run for run in self._open_tables().runs.values() if wait_matches(run, query)]
            return self._page(found, _waiting_since, after, limit, False)

    def _page(
        self,
        runs: list[Run],
        place: Callable[[Run], tuple[int, str]],
        after: tuple[int, str] | None,
        limit: int,
        descending: bool,
    ) -> list[RunSummary]:
        if after is not None:
            runs = [run for run in runs if (place(run) < after if descending else place(run) > after)]
        runs.sort(key=place, reverse=descending)
        return [self._summary(run) for run in runs[:limit]]

    def due_work(self, now: int, lease_now: int, limit: int) -> DueWork:
        """See StoreReader. Turns and mail in the order in which they came."""
        with self._lock:
            tables = self._open_tables()
            timers = sorted(
                (due_at, key.namespace, key.run_id, kind)
                for key, due in tables.timers.items()
                for kind, due_at in due.items()
            )
            due = [row for row in timers if row[0] <= now][:limit]
            turns = sorted(
                (turn.position, key.namespace, key.run_id) for key, turn in tables.turns.items() if not turn.held
            )
            mail = sorted((position, *key) for key, position in tables.mail.items())
            leases = sorted(
                _lease_ends(tables), key=lambda lease: (lease.due_at, lease.key.namespace, lease.key.run_id)
            )
            lapsed = [lease for lease in leases if lease.due_at <= lease_now][:limit]
            return DueWork(
                timers=tuple(DueTimer(RunKey(row[1], row[2]), row[3], row[0]) for row in due),
                turns=tuple(RunKey(namespace, run_id) for _, namespace, run_id in turns[:limit]),
                mail=tuple(DueMail(RunKey(row[1], row[2]), row[3], row[4]) for row in mail[:limit]),
                leases=tuple(lapsed),
                next_timer_at=timers[len(due)][0] if len(due) < len(timers) else 0,
                next_lease_at=leases[len(lapsed)].due_at if len(lapsed) < len(leases) else 0,
            )

    def ready_tasks(self, query: TaskQuery) -> list[ReadyTask]:
        """See StoreReader."""
        with self._lock:
            found = [
                ReadyTask(key, task)
                for key, task in self._open_tables().tasks.items()
                if key.namespace == query.namespace and task_matches(task, query)
            ]
            found.sort(key=lambda ready: (-ready.task.priority, ready.task.queued_at, ready.key.run_id))
            return found[: query.limit]

    def waits_for_event(
        self, namespace: str, scope: int, scope_id: str, name: str, after_run_id: str, limit: int
    ) -> list[RunKey]:
        """See StoreReader."""
        with self._lock:
            found = [
                key
                for key, run in self._open_tables().runs.items()
                if (wait := run.head.wait) is not None
                and wait.event_name in {name, "*"}
                and (key.namespace, wait.event_scope, wait.event_scope_id) == (namespace, scope, scope_id)
                and key.run_id > after_run_id
            ]
            return sorted(found, key=lambda key: key.run_id)[:limit]

    def read_events(
        self,
        namespace: str,
        scope: int,
        scope_id: str,
        name: str,
        after_position: int,
        until_position: int,
        limit: int,
    ) -> list[StoredEvent]:
        """See StoreReader. `until_position` 0: up to the horizon."""
        with self._lock:
            tables = self._open_tables()
            until = until_position or tables.position
            found = [
                kept
                for key, kept in tables.events.items()
                if key[:3] == (namespace, scope, scope_id)
                and (name in _ANY or key[3] == name)
                and after_position < kept.position <= until
            ]
            return sorted(found, key=lambda kept: kept.position)[:limit]

    def find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        """See StoreReader."""
        with self._lock:
            return self._open_tables().requests.get((namespace, method, request_id))

    def find_workflow(self, namespace: str, workflow_id: str, version: str) -> WorkflowRow | None:
        """See StoreReader."""
        with self._lock:
            self._open_tables()
            return self._catalog.find(namespace, workflow_id, version)

    def list_workflows(
        self,
        namespace: str,
        workflow_id: str,
        defaults_only: bool,
        after: tuple[int, str, str] | None,
        limit: int,
    ) -> list[WorkflowRow]:
        """See StoreReader."""
        with self._lock:
            self._open_tables()
            return self._catalog.page(namespace, workflow_id, defaults_only, after)[:limit]

    def list_namespaces(self) -> list[str]:
        """See StoreReader. Sorted."""
        with self._lock:
            return sorted(self._open_tables().namespaces)

    def read_obligations(self, key: RunKey) -> ObligationRows | None:
        """See StoreReader."""
        with self._lock:
            tables = self._open_tables()
            if key not in tables.runs:
                return None
            turn = tables.turns.get(key)
            timers = sorted(tables.timers.get(key, {}).items())
            return ObligationRows(
                tables.tasks.get(key),
                turn.held if turn else None,
                tuple(TimerRow(kind, due_at) for kind, due_at in timers),
                tables.slots[key][0] if key in tables.slots else None,
            )

    def find_schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """See StoreReader."""
        with self._lock:
            return self._open_tables().schedules.get((namespace, schedule_id))

    def list_schedules(self, namespace: str, after: str, limit: int) -> list[ScheduleRow]:
        """See StoreReader."""
        with self._lock:
            return schedules.list_schedules(self._open_tables().schedules, namespace, after, limit)

    def due_schedules(self, now: int, limit: int) -> DueSchedules:
        """See StoreReader."""
        with self._lock:
            return schedules.due_schedules(self._open_tables().schedules, now, limit)

    def slot_line(self, namespace: str, key: str, limit: int) -> SlotLine:
        """See StoreReader."""
        with self._lock:
            places = [
                SlotPlace(owner.run_id, rank, row) for owner, row, rank in self._open_tables().slots_of(namespace, key)
            ]
            return slot_line(places, limit)

    def due_slots(self, limit: int) -> list[tuple[str, str]]:
        """See StoreReader."""
        with self._lock:
            keys = sorted({(owner.namespace, row.key) for owner, (row, _) in self._open_tables().slots.items()})
            return [key for key in keys if may_move(self.slot_line(*key, len(self._tables.slots)))][:limit]


def _waiting_since(run: Run) -> tuple[int, str]:
    return (run.head.wait.since_at if run.head.wait else 0, run.identity.run_id)


def _lease_ends(tables: Tables) -> list[DueLease]:
    """For each lease the instant it ends by: its expiry, or an earlier heartbeat."""
    ends: list[DueLease] = []
    for key, task in tables.tasks.items():
        if task.leased:
            silent = 0 < task.heartbeat_due_at < task.lease_expires_at
            due_at = task.heartbeat_due_at if silent else task.lease_expires_at
            ends.append(DueLease(key, task.step_id, task.attempt, due_at, silent))
    return ends
