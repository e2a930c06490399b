"""The reading side of a store on SQL: every method is one query of this package on a connection of the backend's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from perdure_server.storage.port import (
    DueSchedules,
    DueWork,
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
    StoredEvent,
    StoredRecord,
    TaskQuery,
    WaitQuery,
    WorkflowRow,
)
from perdure_server.storage.sql import catalog, ledger_reads, run_lists, run_reads, schedules, slots, work_reads

P = ParamSpec("P")
T = TypeVar("T")


class SqlReadingSide(ABC):
    """Reads that are the same on every SQL backend."""

    @abstractmethod
    def _query(self, read: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        """Gives `read` a connection within one transaction, so that it sees whole commits only.

        Raises: StoreError.
        """

    def _ask(self, read: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        """As `_query`, for a `read` of one statement, which sees whole commits only by itself."""
        return self._query(read, *args, **options)

    @abstractmethod
    def horizon(self) -> int:
        """See StoreReader."""

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """See StoreReader. A damaged run raises StoreError."""
        return self._query(run_reads.load_run, key)

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """See StoreReader. A record that would go beyond `byte_limit` begins the next page."""
        horizon = 0 if query.run_id or query.until_position else self.horizon()
        return self._query(ledger_reads.read_records, query, horizon)

    def read_changes(self, after_position: int, until_position: int, limit: int) -> list[RunChange]:
        """See StoreReader."""
        return self._ask(ledger_reads.read_changes, after_position, until_position, limit)

    def list_runs(self, query: RunQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """See StoreReader."""
        return self._query(run_lists.list_runs, query, after, limit)

    def count_runs(self, query: RunQuery, limit: int) -> int:
        """See StoreReader."""
        return self._query(run_lists.count_runs, query, limit)

    def list_waits(self, query: WaitQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """See StoreReader."""
        return self._query(run_lists.list_waits, query, after, limit)

    def due_work(self, now: int, lease_now: int, limit: int) -> DueWork:
        """See StoreReader. Turns and mail in the order in which they came."""
        return self._query(work_reads.due_work, now, lease_now, limit)

    def ready_tasks(self, query: TaskQuery) -> list[ReadyTask]:
        """See StoreReader."""
        return self._query(work_reads.ready_tasks, query)

    def waits_for_event(
        self, namespace: str, scope: int, scope_id: str, name: str, after_run_id: str, limit: int
    ) -> list[RunKey]:
        """See StoreReader."""
        return self._query(run_reads.waits_for_event, namespace, scope, scope_id, name, after_run_id, limit)

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
        positions = (after_position, until_position or self.horizon())
        return self._ask(ledger_reads.read_events, namespace, (scope, scope_id), name, positions, limit)

    def find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        """See StoreReader."""
        return self._ask(catalog.find_request, namespace, method, request_id)

    def find_workflow(self, namespace: str, workflow_id: str, version: str) -> WorkflowRow | None:
        """See StoreReader."""
        return self._ask(catalog.find_workflow, namespace, workflow_id, version)

    def list_workflows(
        self,
        namespace: str,
        workflow_id: str,
        defaults_only: bool,
        after: tuple[int, str, str] | None,
        limit: int,
    ) -> list[WorkflowRow]:
        """See StoreReader."""
        return self._ask(catalog.list_workflows, namespace, workflow_id, defaults_only, after, limit)

    def list_namespaces(self) -> list[str]:
        """See StoreReader. Sorted."""
        return self._ask(catalog.list_namespaces)

    def find_schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """See StoreReader."""
        return self._query(schedules.find_schedule, namespace, schedule_id)

    def list_schedules(self, namespace: str, after: str, limit: int) -> list[ScheduleRow]:
        """See StoreReader."""
        return self._query(schedules.list_schedules, namespace, after, limit)

    def due_schedules(self, now: int, limit: int) -> DueSchedules:
        """See StoreReader."""
        return self._query(schedules.due_schedules, now, limit)

    def slot_line(self, namespace: str, key: str, limit: int) -> SlotLine:
        """See StoreReader."""
        return self._query(slots.slot_line, namespace, key, limit)

    def due_slots(self, limit: int) -> list[tuple[str, str]]:
        """See StoreReader."""
        return self._query(slots.due_slots, limit)

    def read_obligations(self, key: RunKey) -> ObligationRows | None:
        """See StoreReader."""
        return self._query(run_reads.read_obligations, key)
