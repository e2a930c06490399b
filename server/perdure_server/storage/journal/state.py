"""The state of a journal: the memory store's tables, with the indexes that a hundred thousand open runs need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol, cast

from perdure_server.storage.journal.ordered import Ordered, Shelves
from perdure_server.storage.memory.tables import EventKey, Run, Tables
from perdure_server.storage.port import (
    NewRecord,
    RunHead,
    RunIdentity,
    RunKey,
    ScheduleRow,
    SlotRow,
    StoredEvent,
    StoredRecord,
    TaskRow,
    WaitRow,
)
from perdure_server.storage.rules import Genesis

RUN_BYTES: Final = 1_500
RECORD_BYTES: Final = 640
EVENT_BYTES: Final = 900
REQUEST_BYTES: Final = 560
"""What a run, a record, an event and a kept reply take in memory beside their bytes: measured, rounded up."""


class Watcher(Protocol):
    """Wants to know of a run before it changes."""

    def before_change(self, key: RunKey, run: Run) -> None:
        """The run is about to get another head, or more records."""
        ...


class State(Tables):
    """Tables that keep their rows in the orders in which they are asked for."""

    def __init__(self, genesis: Genesis) -> None:
        super().__init__(genesis)
        self.watcher: Watcher | None = None
        """A snapshot that is being written."""
        self.created = Shelves()
        """namespace -> (created_at, run_id)"""
        self.open = Shelves()
        """The same of runs that have not ended."""
        self.waiting = Shelves()
        """namespace -> (since_at, run_id)"""
        self.listeners = Shelves()
        """(namespace, scope, scope_id, name) -> run_id of the runs that wait for the event"""
        self.due: Ordered[tuple[int, str, str, int]] = Ordered()
        """(due_at, namespace, run_id, kind) of all timers"""
        self.ready = Shelves()
        """(namespace, queue) -> (-priority, queued_at, run_id) of tasks that are neither held nor leased"""
        self.leased: dict[RunKey, None] = {}
        self.lines = Shelves()
        """(namespace, concurrency key) -> (rank, run_id)"""
        self.schedule_ids = Shelves()
        """namespace -> schedule_id"""
        self.scheduled: Ordered[tuple[int, str, str]] = Ordered()
        """(next_at, namespace, schedule_id) of the schedules that have an instant to come"""
        self.logs = Shelves()
        """(namespace, scope, scope_id) -> (position, event key)"""
        self._relatives: dict[tuple[str, str, str], list[RunKey]] = {}
        """(what, namespace, run or session id) -> runs that name it and do not bear it as their own id"""

    @property
    def memory_bytes(self) -> int:
        """What the state takes in memory, as an estimate."""
        return (
            self.bytes_held
            + RUN_BYTES * len(self.runs)
            + RECORD_BYTES * len(self.ledger)
            + EVENT_BYTES * len(self.events)
            + REQUEST_BYTES * len(self.requests)
        )

    # Rows and their orders.

    def add_run(self, key: RunKey, run: Run) -> None:
        """See Tables."""
        super().add_run(key, run)
        identity = run.identity
        place = (identity.created_at, key.run_id)
        self.created.put(key.namespace, place)
        if not run.head.ended_at:
            self.open.put(key.namespace, place)
        if run.head.wait is not None:
            self._register(key, run.head.wait)
        for what, name in _relations(identity):
            self._relatives.setdefault((what, key.namespace, name), []).append(key)

    def set_head(self, key: RunKey, run: Run, head: RunHead) -> None:
        """See Tables."""
        if self.watcher is not None:
            self.watcher.before_change(key, run)
        before = run.head
        if before.wait is not head.wait:
            if before.wait is not None:
                self._forget(key, before.wait)
            if head.wait is not None:
                self._register(key, head.wait)
        if bool(before.ended_at) != bool(head.ended_at):
            change = self.open.take if head.ended_at else self.open.put
            change(key.namespace, (run.identity.created_at, key.run_id))
        super().set_head(key, run, head)

    def _register(self, key: RunKey, wait: WaitRow) -> None:
        self.waiting.put(key.namespace, (wait.since_at, key.run_id))
        if wait.event_name:
            self.listeners.put((key.namespace, wait.event_scope, wait.event_scope_id, wait.event_name), key.run_id)

    def _forget(self, key: RunKey, wait: WaitRow) -> None:
        self.waiting.take(key.namespace, (wait.since_at, key.run_id))
        if wait.event_name:
            self.listeners.take((key.namespace, wait.event_scope, wait.event_scope_id, wait.event_name), key.run_id)

    def put_task(self, key: RunKey, task: TaskRow | None) -> None:
        """See Tables."""
        before = self.tasks.get(key)
        if before is not None and not before.leased and not before.held:
            self.ready.take((key.namespace, before.queue), (-before.priority, before.queued_at, key.run_id))
        if task is not None and task.leased:
            self.leased[key] = None
        else:
            self.leased.pop(key, None)
            if task is not None and not task.held:
                self.ready.put((key.namespace, task.queue), (-task.priority, task.queued_at, key.run_id))
        super().put_task(key, task)

    def put_timers(self, key: RunKey, due: dict[int, int]) -> None:
        """See Tables."""
        before = self.timers.get(key, {})
        for kind, due_at in before.items():
            if due.get(kind) != due_at:
                self.due.discard((due_at, key.namespace, key.run_id, kind))
        for kind, due_at in due.items():
            if before.get(kind) != due_at:
                self.due.add((due_at, key.namespace, key.run_id, kind))
        super().put_timers(key, due)

    def put_slot(self, key: RunKey, slot: SlotRow | None, rank: int) -> None:
        """See Tables."""
        if key in self.slots:
            before, before_rank = self.slots[key]
            self.lines.take((key.namespace, before.key), (before_rank, key.run_id))
        if slot is not None:
            self.lines.put((key.namespace, slot.key), (rank, key.run_id))
        super().put_slot(key, slot, rank)

    def slots_of(self, namespace: str, key: str) -> Iterator[tuple[RunKey, SlotRow, int]]:
        """See Tables."""
        for rank, run_id in self.lines.after((namespace, key), None):
            owner = RunKey(namespace, run_id)
            yield owner, self.slots[owner][0], rank

    def put_event(self, key: EventKey, event: StoredEvent) -> None:
        """See Tables."""
        super().put_event(key, event)
        self.logs.put(key[:3], (event.position, key))

    def drop_event(self, key: EventKey) -> None:
        """See Tables."""
        self.logs.take(key[:3], (self.events[key].position, key))
        super().drop_event(key)

    def put_schedule(self, namespace: str, schedule_id: str, row: ScheduleRow | None) -> None:
        """See Tables."""
        before = self.schedules.get((namespace, schedule_id))
        if before is not None:
            self.schedule_ids.take(namespace, schedule_id)
            self.scheduled.discard((before.next_at, namespace, schedule_id))
        if row is not None:
            self.schedule_ids.put(namespace, schedule_id)
            if row.next_at:
                self.scheduled.add((row.next_at, namespace, schedule_id))
        super().put_schedule(namespace, schedule_id, row)

    # Finding.

    def relatives(self, what: str, namespace: str, name: str) -> list[RunKey]:
        """Runs whose root, session or parent (`what`) has this id."""
        found = list(self._relatives.get((what, namespace, name), ()))
        own = self.runs.get(RunKey(namespace, name))
        if own is not None and what != "parent" and getattr(own.identity, f"{what}_id") == name:
            found.append(RunKey(namespace, name))
        return found

    # Loading.

    def append(self, run: Run, records: Sequence[NewRecord]) -> list[int]:
        """See Tables. Records from a journal's line are kept as they are."""
        kept = cast("Sequence[NewRecord | StoredRecord]", records)
        position = self.position
        if not kept or not isinstance(kept[0], StoredRecord):
            return super().append(run, records)
        for stored in cast("Sequence[StoredRecord]", kept):
            position += 1
            stored.position = position
            self._keep(run, stored)
        return self._moved_to(position)

    def _keep(self, run: Run, stored: StoredRecord) -> None:
        identity, ledger = run.identity, run.records
        stored.namespace = identity.namespace
        stored.run_id = identity.run_id
        stored.workflow_id = identity.workflow_id
        stored.session_id = identity.session_id
        stored.root_run_id = identity.root_run_id
        stored.prev_hash = ledger[-1].record_hash if ledger else self._genesis(identity.namespace, identity.run_id)
        ledger.append(stored)
        self.ledger.append(stored)

    def restore_records(self, run: Run, records: Iterable[StoredRecord]) -> None:
        """Records of a run with the positions that they had; the ledger is put in order by `restored`."""
        for stored in records:
            self._keep(run, stored)
            self.bytes_held += len(stored.record)
            for payload in stored.payloads:
                self.bytes_held += len(payload.data or b"")

    def restored(self, position: int) -> None:
        """Everything was restored; `position` is the last one that was ever given."""
        self.ledger.sort(key=lambda record: record.position)
        self.position = position


def _relations(identity: RunIdentity) -> Iterator[tuple[str, str]]:
    if identity.root_run_id != identity.run_id:
        yield "root_run", identity.root_run_id
    if identity.session_id != identity.run_id:
        yield "session", identity.session_id
    if identity.parent_run_id:
        yield "parent", identity.parent_run_id
