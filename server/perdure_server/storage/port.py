"""The storage port: what the engine needs of a store, and nothing of how it is kept.

A store is synchronous. The engine calls the writing side from one thread (the committer) and the
reading side from others; both sides may be used at the same time. Instants are Unix microseconds.
Rows are plain data: a store never decodes a record, a state or a payload.

`commit` is atomic for each Commit and indifferent between them: a stale Commit is answered CONFLICT
and does not hurt its neighbours. When `commit` returns, everything it accepted is on disk (P2). A
position is given to each record and event; they grow in commit order, and inside one run in seq order.

A commit that gives a run a slot of its concurrency key (`slot_asked`, or `slot` HELD where it was not) is accepted
only while fewer runs than `limit` hold one and nobody of a lower rank is in line: NO_SLOT otherwise. The store
decides that inside the transaction, so no two writers give the same slot. It may refuse one that a commit of the same
batch has just made possible, never accept one too many. A run's rank is the position at which it came to have a row,
and is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perdure_server.storage.rows import (
    NO_CHANGE,
    NO_LIMIT,
    CatalogChange,
    CatalogVerdict,
    Commit,
    DueLease,
    DueMail,
    DueTimer,
    DueWork,
    EventRow,
    Feature,
    IdentityChange,
    LeaseRenewal,
    MailRow,
    NewRecord,
    ObligationChange,
    ObligationRows,
    ReadyTask,
    RecordQuery,
    RequestRow,
    RunChange,
    RunCreate,
    RunHead,
    RunIdentity,
    RunKey,
    RunQuery,
    RunSnapshot,
    RunSummary,
    StoreDamagedError,
    StoredEvent,
    StoredPayload,
    StoredRecord,
    StoreError,
    StoreInfo,
    TaskQuery,
    TaskRow,
    TimerRow,
    Verdict,
    VerdictKind,
    WaitQuery,
    WaitRow,
    WorkflowRow,
)
from perdure_server.storage.slot_rows import (
    DueSchedules,
    ScheduleRow,
    ScheduleWrite,
    SlotKind,
    SlotLine,
    SlotPlace,
    SlotRow,
)

__all__ = [
    "NO_CHANGE",
    "NO_LIMIT",
    "CatalogChange",
    "CatalogVerdict",
    "Commit",
    "DueLease",
    "DueMail",
    "DueSchedules",
    "DueTimer",
    "DueWork",
    "EventRow",
    "Feature",
    "IdentityChange",
    "LeaseRenewal",
    "MailRow",
    "NewRecord",
    "ObligationChange",
    "ObligationRows",
    "ReadyTask",
    "RecordQuery",
    "RequestRow",
    "RunChange",
    "RunCreate",
    "RunHead",
    "RunIdentity",
    "RunKey",
    "RunQuery",
    "RunSnapshot",
    "RunSummary",
    "ScheduleRow",
    "ScheduleWrite",
    "SlotKind",
    "SlotLine",
    "SlotPlace",
    "SlotRow",
    "Store",
    "StoreDamagedError",
    "StoreError",
    "StoreInfo",
    "StoreReader",
    "StoreWriter",
    "StoredEvent",
    "StoredPayload",
    "StoredRecord",
    "TaskQuery",
    "TaskRow",
    "TimerRow",
    "Verdict",
    "VerdictKind",
    "WaitQuery",
    "WaitRow",
    "WorkflowRow",
]


class StoreWriter(Protocol):
    """The writing side; one caller at a time."""

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """Commits each of the batch by itself, all durable on return; verdicts in order.

        Raises: StoreError if the store failed as a whole; then none of the batch is kept.
        """
        ...

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """Renews leases; False where step and attempt no longer hold one."""
        ...

    def reset_leases(self, expires_at: int) -> int:
        """Gives every lease this end (start of a store that only one process uses); returns how many."""
        ...

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """Changes namespaces and workflows. Creating a namespace that exists: changed False."""
        ...

    def install(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
        """Repairs: makes the run's rows exactly these, if its seq still is the expected one."""
        ...

    def trim(self, requests_before: int, events_before: int, events_per_key: int, limit: int) -> int:
        """Deletes at most `limit` rows, and returns how many: request rows older than `requests_before`, then
        events older than `events_before`, then those beyond the newest `events_per_key` of their key (namespace,
        scope, scope_id, name). The oldest go first.
        """
        ...

    def close(self) -> None:
        """Ends the store; later calls raise StoreError. Idempotent."""
        ...


class StoreReader(Protocol):
    """The reading side; any thread. Every read sees whole commits only."""

    def info(self) -> StoreInfo:
        """Identity and abilities."""
        ...

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """All that the state of a run needs; None if there is no such run."""
        ...

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """One page of the ledger. `until_position` 0: up to `horizon()`; of one run to its end, because the order
        inside a run is that of its commits."""
        ...

    def horizon(self) -> int:
        """Highest position at or below which nothing can still appear."""
        ...

    def read_changes(self, after_position: int, until_position: int, limit: int) -> list[RunChange]:
        """Records of all namespaces at positions in (after, until], in position order, without what is in them:
        for processes that follow each other's commits."""
        ...

    def lease_offset(self) -> int:
        """Microseconds from this machine's monotonic clock to the store's lease clock: 0 where one process owns the
        store. Measured in the background every few seconds; the call itself asks nobody and never blocks."""
        ...

    def wait_for_change(self, timeout_us: int) -> bool:
        """Blocks its thread until another process has committed something, the time is over, or the store closes.
        True: something was committed since the last call that said so. A hint for whoever polls anyway: it may come
        late, for nothing, or never. One caller at a time."""
        ...

    def list_runs(self, query: RunQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """Runs by (created_at, run_id) descending, after that pair."""
        ...

    def count_runs(self, query: RunQuery, limit: int) -> int:
        """How many match, counting no further than `limit`."""
        ...

    def list_waits(self, query: WaitQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """Waiting runs by (since_at, run_id) ascending, after that pair."""
        ...

    def due_work(self, now: int, lease_now: int, limit: int) -> DueWork:
        """Due timers by due_at, unheld turns, mail, lapsed leases."""
        ...

    def ready_tasks(self, query: TaskQuery) -> list[ReadyTask]:
        """Tasks without lease that are not held."""
        ...

    def waits_for_event(
        self, namespace: str, scope: int, scope_id: str, name: str, after_run_id: str, limit: int
    ) -> list[RunKey]:
        """Runs with a wait for this event name or "*", by run_id, after that id."""
        ...

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
        """Events of a scope in position order; `name` empty or "*": any."""
        ...

    def find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        """The kept reply of a request id."""
        ...

    def find_workflow(self, namespace: str, workflow_id: str, version: str) -> WorkflowRow | None:
        """A version; `version` empty: the default."""
        ...

    def list_workflows(
        self,
        namespace: str,
        workflow_id: str,
        defaults_only: bool,
        after: tuple[int, str, str] | None,
        limit: int,
    ) -> list[WorkflowRow]:
        """Versions by (registered_at, workflow_id, version) descending, after that triple; `spec` empty."""
        ...

    def list_namespaces(self) -> list[str]:
        """All namespaces; "default" always exists."""
        ...

    def slot_line(self, namespace: str, key: str, limit: int) -> SlotLine:
        """A concurrency key, with at most `limit` holders and as many in line."""
        ...

    def due_slots(self, limit: int) -> list[tuple[str, str]]:
        """(namespace, key) of lines whose first run may have a slot, or in which one is that `newest_wins`."""
        ...

    def find_schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """A schedule."""
        ...

    def list_schedules(self, namespace: str, after: str, limit: int) -> list[ScheduleRow]:
        """Schedules by id, after that id."""
        ...

    def due_schedules(self, now: int, limit: int) -> DueSchedules:
        """At most `limit` schedules with 0 < next_at <= now, by (next_at, namespace, schedule_id)."""
        ...

    def read_obligations(self, key: RunKey) -> ObligationRows | None:
        """The rows of a run, for audits and the sweeper; None if there is no such run."""
        ...


class Store(StoreWriter, StoreReader, Protocol):
    """A backend: both sides."""
