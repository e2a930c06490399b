"""Decides about the Commits of a batch and gathers the rows of the winners, one list per statement.

What is stored comes in as `Found`. An accepted Commit adds its request and its events there, so that a repeat in
the same batch is seen; no run may be named by two Commits of one plan. Knows no SQL dialect: rows are tuples in
the order of the schema's columns.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from perdure_server.storage.port import (
    Commit,
    EventRow,
    MailRow,
    NewRecord,
    ObligationChange,
    RequestRow,
    RunCreate,
    RunHead,
    RunIdentity,
    RunKey,
    ScheduleWrite,
    SlotKind,
    SlotRow,
    TaskRow,
    Verdict,
    VerdictKind,
    WaitRow,
)
from perdure_server.storage.rules import SLOTS, Genesis, contradiction
from perdure_server.storage.sql.grouped import Row

EventKey: TypeAlias = tuple[str, int, str, str, str]
"""(namespace, scope, scope_id, name, event_id)"""

EventLogKey: TypeAlias = tuple[str, int, str, str]
"""(namespace, scope, scope_id, name)"""

MailKey: TypeAlias = tuple[str, str, str, str]
"""(namespace, to_run_id, kind, from_run_id)"""

HeadShape: TypeAlias = tuple[int, int, bool, int, int]
"""(status, activity, paused, ended_at, wait_id): the part of a head that indexes hold."""


@dataclass(slots=True)
class KnownRun:
    """A run before the Commit that names it. `shape` is None for a run that the Commit creates."""

    key: RunKey
    run_no: int
    namespace_no: int
    root_no: int
    session_no: int
    workflow_no: int
    seq: int
    head_hash: bytes
    shape: HeadShape | None
    wait_id: int

    @property
    def has_ended(self) -> bool:
        """No further commit is to be expected."""
        return self.shape is not None and self.shape[3] != 0

    def moved(self, head: RunHead) -> KnownRun:
        """The run after a Commit that gave it this head."""
        shape = head_shape(head)
        numbers = self.namespace_no, self.root_no, self.session_no, self.workflow_no
        return KnownRun(self.key, self.run_no, *numbers, head.seq, head.head_hash, shape, shape[4])


@dataclass(frozen=True, slots=True)
class NewRun:
    """What the row of a new run needs beside KnownRun and its head."""

    identity: RunIdentity
    parent_no: int
    version_no: int


@dataclass(slots=True)
class KnownLine:
    """A concurrency key: how many hold a slot, and who is first in line (empty: nobody; None: no longer known)."""

    holding: int = 0
    first: str | None = ""


class Found:
    """What the tables hold of what a batch names. Made for every batch, so not a dataclass: those cost more."""

    __slots__ = ("events", "holders", "lines", "numbers", "requests", "runs", "schedules")

    def __init__(self) -> None:
        self.runs: dict[RunKey, KnownRun] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        """Of identifiers, by (namespace, identifier)."""
        self.requests: dict[tuple[str, str, str], RequestRow] = {}
        self.events: dict[EventKey, int] = {}
        self.lines: dict[tuple[str, str], KnownLine] = {}
        """By (namespace, key), of the keys that a Commit would give a slot of."""
        self.schedules: dict[tuple[str, str], int] = {}
        """Versions, by (namespace, schedule_id)."""
        self.holders: set[RunKey] = set()
        """Of the runs that Commits would give a slot, those that hold one already."""


class Writes:
    """Rows to write; None deletes."""

    def __init__(self) -> None:
        self.identifiers: list[Row] = []
        self.new_runs: dict[int, NewRun] = {}
        self.heads: dict[int, tuple[KnownRun, RunHead]] = {}
        self.identities: dict[int, Row] = {}
        """(run_no, version_no, workflow_version, deadline_at) of runs whose identity changes."""
        self.labels: list[Row] = []
        self.records: list[Row] = []
        self.payloads: list[Row] = []
        self.keyframes: dict[int, Row] = {}
        self.waits: dict[int, Row | None] = {}
        self.tasks: dict[int, Row | None] = {}
        self.turns: dict[int, Row | None] = {}
        self.timers: dict[tuple[int, int], Row | None] = {}
        self.slots: dict[int, Row | None] = {}
        self.mail_out: dict[MailKey, None] = {}
        self.mail_in: dict[MailKey, int] = {}
        self.events: list[Row] = []
        self.event_keys: set[EventLogKey] = set()
        self.requests: list[Row] = []
        self.schedules: dict[tuple[str, str], Row | None] = {}


def event_key(namespace: str, event: EventRow) -> EventKey:
    """What an event is unique by."""
    return (namespace, event.scope, event.scope_id, event.name, event.event_id)


def head_shape(head: RunHead) -> HeadShape:
    """The part of a head that indexes hold."""
    wait_id = head.wait.wait_id if head.wait else 0
    return (head.status, head.activity, head.paused, head.ended_at, wait_id)


def task_row(run: KnownRun, task: TaskRow) -> Row:
    """A row of `tasks`."""
    return (
        run.run_no,
        run.namespace_no,
        task.step_id,
        task.attempt,
        task.priority,
        task.queued_at,
        task.held,
        task.leased,
        task.lease_expires_at,
        task.heartbeat_due_at,
        task.node_id,
        task.effect_type,
        task.workflow_id,
        task.workflow_version,
        task.queue,
        task.worker_id,
    )


def wait_row(run: KnownRun, run_id: str, wait: WaitRow) -> Row:
    """A row of `waits`."""
    return (
        run.run_no,
        run.namespace_no,
        run.session_no,
        run.workflow_no,
        wait.wait_id,
        wait.reason,
        wait.event_scope,
        wait.since_at,
        run_id,
        wait.wait_key,
        wait.assignee,
        wait.event_name,
        wait.event_scope_id,
        wait.detail,
    )


def slot_row(run: KnownRun, run_id: str, slot: SlotRow, rank: int) -> Row:
    """A row of `slots`."""
    return (run.run_no, rank, slot.limit, slot.kind, slot.newest_wins, run.key.namespace, slot.key, run_id)


def slots_wanted(commit: Commit) -> list[tuple[RunKey, SlotRow]]:
    """Slots that a Commit's runs would come to hold by it, or hold already and say so again."""
    changes = [(commit.key, commit.change)] if commit.key is not None else []
    changes += [(RunKey(commit.namespace, new.identity.run_id), new.change) for new in commit.new_runs]
    wanted = [(key, change.slot_asked or change.slot) for key, change in changes]
    return [(key, row) for key, row in wanted if row is not None and row.kind is SlotKind.HELD]


def identifiers_named(commit: Commit, known: Container[RunKey]) -> Iterator[tuple[str, str]]:
    """(namespace, identifier) of all that a Commit needs a number of, but for the runs that are known."""
    namespace = commit.namespace
    if commit.key is not None and commit.key not in known:
        yield commit.key
    if commit.identity is not None:
        yield namespace, commit.identity.workflow_version
    if commit.new_runs:
        yield namespace, ""
    for new in commit.new_runs:
        identity = new.identity
        yield identity.namespace, identity.run_id
        yield identity.namespace, identity.root_run_id
        yield identity.namespace, identity.session_id
        yield identity.namespace, identity.workflow_id
        yield identity.namespace, identity.workflow_version
        yield identity.namespace, identity.parent_run_id


def has_sequels(batch: Sequence[Commit]) -> bool:
    """Whether two Commits of the batch name the same run or schedule."""
    if len(batch) < 2:
        return False
    named = [commit.key for commit in batch if commit.key is not None]
    named += [RunKey(commit.namespace, new.identity.run_id) for commit in batch for new in commit.new_runs]
    schedules = [(commit.namespace, commit.schedule.schedule_id) for commit in batch if commit.schedule is not None]
    return len(set(named)) < len(named) or len(set(schedules)) < len(schedules)


class BatchPlan:
    """Commits that are written together, decided in order. Each names runs and a schedule that no other one names.

    Args:
        found: what is stored.
        genesis: gives the `prev_hash` of a run's first record.
        position: the last one given before.
        positions: those to give, in order; enough of them.
        identifier_nos: as positions.
    """

    def __init__(
        self,
        found: Found,
        genesis: Genesis,
        position: int,
        positions: Sequence[int],
        identifier_nos: Iterator[int],
    ) -> None:
        self._found = found
        self._genesis = genesis
        self._positions = positions
        self._given = 0
        self._identifier_nos = identifier_nos
        self.position = position
        """The last one given."""
        self.writes = Writes()

    def add(self, commit: Commit) -> Verdict:
        """Decides about one Commit and gathers its rows if it is accepted."""
        refusal = self._refusal(commit)
        if refusal is not None:
            return refusal
        positions: list[int] = []
        key, head = commit.key, commit.head
        if key is not None and head is not None:
            run = self._found.runs[key]
            positions += self._append(run, commit.records)
            self._set_head(run, key.run_id, head)
            if commit.identity is not None:
                version, deadline_at = commit.identity.workflow_version, commit.identity.deadline_at
                version_no = self._number(commit.namespace, version)
                self.writes.identities[run.run_no] = (run.run_no, version_no, version, deadline_at)
            if commit.keyframe is not None:
                self.writes.keyframes[run.run_no] = (run.run_no, head.seq, commit.keyframe)
            self._change(run, commit.change)
            for kind, from_run_id in commit.mail_consumed:
                self._take_mail((commit.namespace, key.run_id, kind, from_run_id))
        for new in commit.new_runs:
            positions += self._create(new)
        events = [self._add_event(commit.namespace, event) for event in commit.events]
        for mail in commit.mail:
            self._put_mail(commit.namespace, mail)
        if commit.request is not None:
            self._add_request(commit.namespace, commit.request)
        if commit.schedule is not None:
            self._put_schedule(commit.namespace, commit.schedule)
        return Verdict(
            VerdictKind.COMMITTED,
            positions=tuple(positions),
            event_positions=tuple(position for position, _ in events),
            events_known=tuple(known for _, known in events),
        )

    def _refusal(self, commit: Commit) -> Verdict | None:
        request = commit.request
        if request is not None:
            known = self._found.requests.get((commit.namespace, request.method, request.request_id))
            if known is not None:
                return Verdict(VerdictKind.REQUEST_KNOWN, request=known)
        runs = self._found.runs
        last_hash = b""
        if commit.key is not None:
            run = runs.get(commit.key)
            if run is None or run.seq != commit.expected_seq:
                return Verdict(VerdictKind.CONFLICT)
            last_hash = run.head_hash
        change = commit.schedule
        if change is not None:
            version = self._found.schedules.get((commit.namespace, change.schedule_id), 0)
            if version != change.expected_version:
                return Verdict(VerdictKind.SCHEDULE_CHANGED)
        for new in commit.new_runs:
            if RunKey(new.identity.namespace, new.identity.run_id) in runs:
                return Verdict(VerdictKind.RUN_EXISTS, taken_run_id=new.identity.run_id)
        if not self._slots_free(commit):
            return Verdict(VerdictKind.NO_SLOT)
        problem = contradiction(commit, last_hash)
        return Verdict(VerdictKind.FAILED, error=problem) if problem else None

    def _slots_free(self, commit: Commit) -> bool:
        """Whether every run that would come to hold a slot may have it."""
        for key, row in slots_wanted(commit):
            line = self._found.lines[key.namespace, row.key]
            if key not in self._found.holders and (line.holding >= row.limit or line.first not in ("", key.run_id)):
                return False
        return True

    def _note_slot(self, run: KnownRun, slot: SlotRow) -> None:
        """What later Commits of the batch have to know: too careful where it is not known for sure."""
        line = self._found.lines.get((run.key.namespace, slot.key))
        if line is None:
            return
        if slot.kind is SlotKind.HELD and run.key not in self._found.holders:
            self._found.holders.add(run.key)
            line.holding += 1
            line.first = None if line.first else line.first
        elif slot.kind is SlotKind.IN_LINE:
            line.first = None if line.first is None else line.first or run.key.run_id

    def _append(self, run: KnownRun, records: Sequence[NewRecord]) -> Sequence[int]:
        places = self._take(len(records))
        prev_hash, writes = run.head_hash, self.writes
        for new, position in zip(records, places, strict=True):
            payload_bytes = 0
            for payload in new.payloads:
                number = position * SLOTS + payload.index
                writes.payloads.append((number, payload.salt, payload.data))
                if payload.data is not None:
                    payload_bytes += len(payload.data)
            writes.records.append(
                (
                    position,
                    run.run_no,
                    new.seq,
                    run.namespace_no,
                    run.root_no,
                    run.session_no,
                    run.workflow_no,
                    new.kind,
                    new.status,
                    new.at,
                    payload_bytes,
                    new.node_id,
                    prev_hash,
                    new.record_hash,
                    new.record,
                )
            )
            prev_hash = new.record_hash
        return places

    def _take(self, count: int) -> Sequence[int]:
        """The next positions."""
        places = self._positions[self._given : self._given + count]
        if places:
            self._given += count
            self.position = places[-1]
        return places

    def _set_head(self, run: KnownRun, run_id: str, head: RunHead) -> None:
        self.writes.heads[run.run_no] = (run, head)
        if head.wait is not None:
            self.writes.waits[run.run_no] = wait_row(run, run_id, head.wait)
        elif run.wait_id:
            self.writes.waits[run.run_no] = None

    def _create(self, new: RunCreate) -> Sequence[int]:
        identity = new.identity
        namespace = identity.namespace
        run = KnownRun(
            key=RunKey(namespace, identity.run_id),
            run_no=self._number(namespace, identity.run_id),
            namespace_no=self._number(namespace, ""),
            root_no=self._number(namespace, identity.root_run_id),
            session_no=self._number(namespace, identity.session_id),
            workflow_no=self._number(namespace, identity.workflow_id),
            seq=0,
            head_hash=self._genesis(namespace, identity.run_id),
            shape=None,
            wait_id=0,
        )
        self.writes.new_runs[run.run_no] = NewRun(
            identity,
            parent_no=self._number(namespace, identity.parent_run_id) if identity.parent_run_id else 0,
            version_no=self._number(namespace, identity.workflow_version),
        )
        for name, value in identity.labels.items():
            self.writes.labels.append((run.run_no, name, value, run.namespace_no, identity.created_at))
        positions = self._append(run, new.records)
        self._set_head(run, identity.run_id, new.head)
        self._change(run, new.change)
        return positions

    def _number(self, namespace: str, identifier: str) -> int:
        number = self._found.numbers.get((namespace, identifier))
        if number is None:
            number = next(self._identifier_nos)
            self._found.numbers[namespace, identifier] = number
            self.writes.identifiers.append((number, namespace, identifier))
        return number

    def _change(self, run: KnownRun, change: ObligationChange) -> None:
        writes, run_no = self.writes, run.run_no
        if change.task_set:
            writes.tasks[run_no] = None if change.task is None else task_row(run, change.task)
        if change.turn_set:
            writes.turns[run_no] = None if change.turn is None else (run_no, change.turn, self.position)
        for kind in change.timers_dropped:
            writes.timers[run_no, kind] = None
        for timer in change.timers_put:
            writes.timers[run_no, timer.kind] = (run_no, timer.kind, timer.due_at)
        if change.slot_set:
            slot = change.slot
            writes.slots[run_no] = None if slot is None else slot_row(run, run.key.run_id, slot, self.position)
            if slot is not None:
                self._note_slot(run, slot)

    def _add_event(self, namespace: str, event: EventRow) -> tuple[int, bool]:
        key = event_key(namespace, event)
        known = self._found.events.get(key)
        if known is not None:
            return known, True
        self._take(1)
        self._found.events[key] = self.position
        self.writes.event_keys.add(key[:4])
        self.writes.events.append(
            (
                self.position,
                namespace,
                event.scope,
                event.scope_id,
                event.name,
                event.event_id,
                event.at,
                event.run_id,
                event.workflow_id,
                event.node_id,
                event.session_id,
                event.emitted_by,
                event.payload,
            )
        )
        return self.position, False

    def _put_mail(self, namespace: str, mail: MailRow) -> None:
        self.writes.mail_in.setdefault((namespace, mail.to_run_id, mail.kind, mail.from_run_id), self.position)

    def _take_mail(self, key: MailKey) -> None:
        self.writes.mail_in.pop(key, None)
        self.writes.mail_out[key] = None

    def _put_schedule(self, namespace: str, change: ScheduleWrite) -> None:
        key, row = (namespace, change.schedule_id), change.row
        self._found.schedules[key] = row.version if row else 0
        self.writes.schedules[key] = (*key, row.version, row.next_at, row.created_at, row.detail) if row else None

    def _add_request(self, namespace: str, request: RequestRow) -> None:
        self._found.requests[namespace, request.method, request.request_id] = request
        self.writes.requests.append(
            (namespace, request.method, request.request_id, request.at, request.body_hash, request.reply)
        )


def new_run_row(run: KnownRun, new: NewRun, head: RunHead) -> Row:
    """A row of `runs`."""
    identity = new.identity
    return (
        run.run_no,
        run.namespace_no,
        run.root_no,
        new.parent_no,
        run.session_no,
        run.workflow_no,
        new.version_no,
        identity.namespace,
        identity.run_id,
        identity.root_run_id,
        identity.parent_run_id,
        identity.workflow_id,
        identity.workflow_version,
        identity.entry_node,
        identity.branch,
        identity.session_id,
        identity.actor_id,
        identity.depth,
        identity.drive,
        identity.created_at,
        identity.deadline_at,
        *head_shape(head),
        head.seq,
        head.updated_at,
        head.step_budget,
        head.current_node,
        head.error_type,
        head.head_hash,
    )
