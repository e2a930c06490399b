"""What the memory store holds, and how one Commit changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from perdure_server.storage.memory.constraints import broken_rows, broken_rule, unstorable
from perdure_server.storage.port import (
    Commit,
    EventRow,
    LeaseRenewal,
    NewRecord,
    ObligationChange,
    ObligationRows,
    RequestRow,
    RunHead,
    RunIdentity,
    RunKey,
    ScheduleRow,
    SlotKind,
    SlotRow,
    StoredEvent,
    StoredPayload,
    StoredRecord,
    TaskRow,
    Verdict,
    VerdictKind,
    WaitRow,
    WorkflowRow,
)
from perdure_server.storage.rules import DEFAULT_NAMESPACE, Genesis, contradiction

EventKey: TypeAlias = tuple[str, int, str, str, str]
"""(namespace, scope, scope_id, name, event_id)"""

MailKey: TypeAlias = tuple[str, str, str, str]
"""(namespace, to_run_id, kind, from_run_id)"""

RequestKey: TypeAlias = tuple[str, str, str]
"""(namespace, method, request_id)"""


@dataclass(slots=True)
class Run:
    """One run: its identity, the head, its ledger, its newest keyframe."""

    identity: RunIdentity
    head: RunHead
    records: list[StoredRecord] = field(default_factory=list[StoredRecord])
    keyframe_seq: int = 0
    keyframe: bytes | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A further turn of the server's own, in line since `position`."""

    held: bool
    position: int


def event_key(namespace: str, event: EventRow) -> EventKey:
    """What an event is unique by."""
    return (namespace, event.scope, event.scope_id, event.name, event.event_id)


def commit_bytes(commit: Commit) -> int:
    """Bytes that a Commit adds: records, payloads, keyframe, events and the kept reply."""
    size = _record_bytes(commit.records)
    for new in commit.new_runs:
        size += _record_bytes(new.records)
    for event in commit.events:
        size += len(event.payload)
    if commit.keyframe is not None:
        size += len(commit.keyframe)
    if commit.request is not None:
        size += len(commit.request.reply)
    return size


def _record_bytes(records: Sequence[NewRecord]) -> int:
    size = 0
    for record in records:
        size += len(record.record)
        for payload in record.payloads:
            if payload.data is not None:
                size += len(payload.data)
    return size


class Chain(NamedTuple):
    """Where a run's ledger ends: the seq and the hash of its last record."""

    seq: int
    last_hash: bytes


def refusal(
    commit: Commit,
    find_request: Callable[[str, str, str], RequestRow | None],
    find_chain: Callable[[RunKey], Chain | None],
    find_schedule: Callable[[str, str], ScheduleRow | None],
    slots_free: Callable[[Commit], bool],
) -> Verdict | None:
    """Why a Commit is not kept, given what it meets; None if nothing speaks against it.

    Args:
        find_request: (namespace, method, request_id) -> the kept reply.
        find_chain: where a run's ledger ends; None for a run that is not there.
        find_schedule: (namespace, schedule_id) -> the schedule.
        slots_free: whether every run that would come to hold a slot may have it.
    """
    request = commit.request
    if request:
        known = find_request(commit.namespace, request.method, request.request_id)
        if known:
            return Verdict(VerdictKind.REQUEST_KNOWN, request=known)
    last_hash = b""
    if commit.key is not None:
        chain = find_chain(commit.key)
        if chain is None or chain.seq != commit.expected_seq:
            return Verdict(VerdictKind.CONFLICT)
        last_hash = chain.last_hash
    change = commit.schedule
    if change is not None:
        row = find_schedule(commit.namespace, change.schedule_id)
        if (row.version if row else 0) != change.expected_version:
            return Verdict(VerdictKind.SCHEDULE_CHANGED)
    for new in commit.new_runs:
        if find_chain(RunKey(new.identity.namespace, new.identity.run_id)):
            return Verdict(VerdictKind.RUN_EXISTS, taken_run_id=new.identity.run_id)
    if not slots_free(commit):
        return Verdict(VerdictKind.NO_SLOT)
    problem = contradiction(commit, last_hash) or broken_rule(commit)
    return Verdict(VerdictKind.FAILED, error=problem) if problem else None


def slots_wanted(commit: Commit) -> Iterator[tuple[RunKey, SlotRow]]:
    """Slots that a Commit's runs would come to hold by it, or hold already and say so again."""
    changes = [(commit.key, commit.change)] if commit.key is not None else []
    changes += [(RunKey(commit.namespace, new.identity.run_id), new.change) for new in commit.new_runs]
    wanted = [(key, change.slot_asked or change.slot) for key, change in changes]
    yield from ((key, row) for key, row in wanted if row is not None and row.kind is SlotKind.HELD)


def slot_free(row: SlotRow, own: tuple[SlotRow | None, int], places: Iterable[tuple[RunKey, SlotRow, int]]) -> bool:
    """Whether a run may hold a slot: it does already, or there is one and nobody of a lower rank is in line.

    Args:
        own: its place and rank so far.
        places: all runs of the key.
    """
    before, rank = own
    if before is not None and before.kind is SlotKind.HELD:
        return True
    others = [(place.kind, at) for _, place, at in places]
    holding = sum(kind is SlotKind.HELD for kind, _ in others)
    return holding < row.limit and all(at >= rank for kind, at in others if kind is SlotKind.IN_LINE)


class Tables:
    """Dicts by key. Rows are never changed once they are made, so handing them out shares nothing."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self.position = 0
        self.bytes_held: int = 0
        self.runs: dict[RunKey, Run] = {}
        self.ledger: list[StoredRecord] = []
        self.tasks: dict[RunKey, TaskRow] = {}
        self.turns: dict[RunKey, Turn] = {}
        self.timers: dict[RunKey, dict[int, int]] = {}
        """By kind; a run without timers is not in it."""
        self.schedules: dict[tuple[str, str], ScheduleRow] = {}
        self.slots: dict[RunKey, tuple[SlotRow, int]] = {}
        self.mail: dict[MailKey, int] = {}
        self.events: dict[EventKey, StoredEvent] = {}
        self.requests: dict[RequestKey, RequestRow] = {}
        self.namespaces: dict[str, tuple[str, int]] = {DEFAULT_NAMESPACE: ("", 0)}
        self.workflows: dict[tuple[str, str, str], WorkflowRow] = {}

    def commit(self, commit: Commit) -> Verdict:
        """Decides about one Commit and, if it wins, applies all of it."""
        refusal = self.refusal(commit)
        if refusal is None and (problem := unstorable(commit)):
            refusal = Verdict(VerdictKind.FAILED, error=problem)
        return refusal or self.apply(commit)

    def apply(self, commit: Commit) -> Verdict:
        """Applies a Commit that nothing speaks against."""
        positions: list[int] = []
        if commit.key is not None and commit.head is not None:
            run = self.runs[commit.key]
            self.set_head(commit.key, run, commit.head)
            if commit.identity is not None:
                version, deadline_at = commit.identity.workflow_version, commit.identity.deadline_at
                run.identity = replace(run.identity, workflow_version=version, deadline_at=deadline_at)
            positions += self.append(run, commit.records)
            if commit.keyframe is not None:
                self.bytes_held -= len(run.keyframe or b"")
                run.keyframe_seq, run.keyframe = commit.head.seq, commit.keyframe
            self.change(commit.key, commit.change)
        for new in commit.new_runs:
            run = Run(_own(new.identity), new.head)
            key = RunKey(commit.namespace, new.identity.run_id)
            self.add_run(key, run)
            positions += self.append(run, new.records)
            self.change(key, new.change)
        events = [self._add_event(commit.namespace, event) for event in commit.events]
        if commit.mail or commit.mail_consumed:
            self._exchange_mail(commit)
        if commit.schedule:
            self.put_schedule(commit.namespace, commit.schedule.schedule_id, commit.schedule.row)
        if commit.request:
            self.put_request(commit.namespace, commit.request)
        self.bytes_held += commit_bytes(commit)
        return Verdict(
            VerdictKind.COMMITTED,
            positions=tuple(positions),
            event_positions=tuple(position for position, _ in events),
            events_known=tuple(known for _, known in events),
        )

    def refusal(self, commit: Commit) -> Verdict | None:
        """Why a Commit is not kept; None if nothing speaks against it. Whether its text and numbers can be stored
        is not looked at: see `unstorable`.
        """
        return refusal(commit, self.find_request, self.find_chain, self.find_schedule, self.slots_free)

    def find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        """The kept reply of a request id."""
        return self.requests.get((namespace, method, request_id))

    def find_chain(self, key: RunKey) -> Chain | None:
        """Where a run's ledger ends; None if there is no such run."""
        run = self.runs.get(key)
        return Chain(run.head.seq, run.records[-1].record_hash) if run else None

    def find_schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """A schedule."""
        return self.schedules.get((namespace, schedule_id))

    def slots_free(self, commit: Commit) -> bool:
        """Whether every run that would come to hold a slot may have it."""
        return all(
            slot_free(row, self.slots.get(key, (None, self.position + 1)), self.slots_of(key.namespace, row.key))
            for key, row in slots_wanted(commit)
        )

    def slots_of(self, namespace: str, key: str) -> Iterator[tuple[RunKey, SlotRow, int]]:
        """The runs of a concurrency key, their places and ranks."""
        for owner, (row, rank) in self.slots.items():
            if owner.namespace == namespace and row.key == key:
                yield owner, row, rank

    def append(self, run: Run, records: Sequence[NewRecord]) -> list[int]:
        """Adds records to a run's ledger; returns their positions."""
        identity, ledger, position = run.identity, run.records, self.position
        prev_hash = ledger[-1].record_hash if ledger else self._genesis(identity.namespace, identity.run_id)
        for new in records:
            position += 1
            payloads = new.payloads
            stored = StoredRecord(
                identity.namespace,
                identity.run_id,
                new.seq,
                position,
                new.kind,
                new.status,
                new.node_id,
                new.at,
                identity.workflow_id,
                identity.session_id,
                identity.root_run_id,
                new.record,
                prev_hash,
                new.record_hash,
                payloads if len(payloads) < 2 else tuple(sorted(payloads, key=_index)),
            )
            prev_hash = new.record_hash
            ledger.append(stored)
            self.ledger.append(stored)
        return self._moved_to(position)

    def _moved_to(self, position: int) -> list[int]:
        first, self.position = self.position + 1, position
        return list(range(first, position + 1))

    def add_run(self, key: RunKey, run: Run) -> None:
        """Keeps a new run."""
        self.runs[key] = run

    def set_head(self, key: RunKey, run: Run, head: RunHead) -> None:
        """Moves a run on."""
        run.head = head

    def change(self, key: RunKey, change: ObligationChange) -> None:
        """Applies a difference to the rows of a run."""
        if change.task_set:
            self.put_task(key, change.task)
        if change.turn_set:
            self.put_turn(key, None if change.turn is None else Turn(change.turn, self.position))
        if change.timers_dropped or change.timers_put:
            due = {kind: at for kind, at in self.timers.get(key, {}).items() if kind not in change.timers_dropped}
            due |= {timer.kind: timer.due_at for timer in change.timers_put}
            self.put_timers(key, due)
        if change.slot_set:
            _, rank = self.slots.get(key, (None, self.position))
            self.put_slot(key, change.slot, rank)

    def put_task(self, key: RunKey, task: TaskRow | None) -> None:
        """Makes this the run's task; None: it has none."""
        if task is None:
            self.tasks.pop(key, None)
        else:
            self.tasks[key] = task

    def put_turn(self, key: RunKey, turn: Turn | None) -> None:
        """Makes this the run's turn; None: it has none."""
        if turn is None:
            self.turns.pop(key, None)
        else:
            self.turns[key] = turn

    def put_timers(self, key: RunKey, due: dict[int, int]) -> None:
        """Makes these the run's timers, by kind."""
        if due:
            self.timers[key] = due
        else:
            self.timers.pop(key, None)

    def put_slot(self, key: RunKey, slot: SlotRow | None, rank: int) -> None:
        """Makes this the run's place with its concurrency key; None: it has none."""
        if slot is None:
            self.slots.pop(key, None)
        else:
            self.slots[key] = (slot, rank)

    def _add_event(self, namespace: str, event: EventRow) -> tuple[int, bool]:
        key = event_key(namespace, event)
        known = key in self.events
        if not known:
            self.position += 1
            self.put_event(key, StoredEvent(self.position, event))
        return self.events[key].position, known

    def put_event(self, key: EventKey, event: StoredEvent) -> None:
        """Keeps a new event."""
        self.events[key] = event

    def _exchange_mail(self, commit: Commit) -> None:
        if commit.key is not None:
            for kind, from_run_id in commit.mail_consumed:
                self.mail.pop((commit.namespace, commit.key.run_id, kind, from_run_id), None)
        for mail in commit.mail:
            key = (commit.namespace, mail.to_run_id, mail.kind, mail.from_run_id)
            self.mail.setdefault(key, self.position)

    def put_request(self, namespace: str, request: RequestRow) -> None:
        """Keeps a reply."""
        self.requests[namespace, request.method, request.request_id] = request

    def put_schedule(self, namespace: str, schedule_id: str, row: ScheduleRow | None) -> None:
        """Keeps a schedule as it is now; None: it is deleted."""
        before = self.schedules.pop((namespace, schedule_id), None)
        self.bytes_held -= len(before.detail) if before else 0
        if row is not None:
            self.schedules[namespace, schedule_id] = row
            self.bytes_held += len(row.detail)

    # What other writes than commits do.

    def renew(self, renewal: LeaseRenewal) -> bool:
        """Renews a lease; False if step and attempt hold none."""
        task = self.tasks.get(renewal.key)
        if task is None or not task.leased or (task.step_id, task.attempt) != (renewal.step_id, renewal.attempt):
            return False
        heartbeat = task.heartbeat_due_at if renewal.heartbeat_due_at is None else renewal.heartbeat_due_at
        task = replace(task, lease_expires_at=renewal.lease_expires_at, heartbeat_due_at=heartbeat)
        self.put_task(renewal.key, task)
        return True

    def reset_leases(self, expires_at: int) -> int:
        """Gives all leases this end, and heartbeats that were due too."""
        leased = [(key, task) for key, task in self.tasks.items() if task.leased]
        for key, task in leased:
            heartbeat = expires_at if task.heartbeat_due_at else 0
            self.put_task(key, replace(task, lease_expires_at=expires_at, heartbeat_due_at=heartbeat))
        return len(leased)

    def why_not_installed(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> str:
        """Why a run may not have these rows; empty if it may, or is not at the expected seq."""
        run = self.runs.get(key)
        if run is None or run.head.seq != expected_seq:
            return ""
        whole = ObligationChange(True, rows.task, True, rows.turn, rows.timers, (), True, rows.slot)
        problem = broken_rows(replace(run.head, wait=wait), whole)
        return f"run {key.run_id!r} may not have these rows: {problem}" if problem else ""

    def install(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
        """Makes the run's rows exactly these, if it is at the expected seq."""
        run = self.runs.get(key)
        if run is None or run.head.seq != expected_seq:
            return False
        had = tuple(self.timers.get(key, ()))
        self.change(key, ObligationChange(True, rows.task, True, rows.turn, rows.timers, had, True, rows.slot))
        self.set_head(key, run, replace(run.head, wait=wait))
        return True

    def trimmable(
        self, requests_before: int, events_before: int, events_per_key: int, limit: int
    ) -> tuple[list[RequestKey], list[EventKey]]:
        """What a trimming within these bounds takes away; see `StoreWriter.trim`."""
        requests = sorted((row.at, key) for key, row in self.requests.items() if row.at < requests_before)[:limit]
        left = limit - len(requests)
        aged = sorted(
            (kept.event.at, kept.position, key) for key, kept in self.events.items() if kept.event.at < events_before
        )[:left]
        gone = {key for _, _, key in aged}
        surplus = _surplus(self.events, gone, events_per_key)[: left - len(aged)]
        return [key for _, key in requests], [*(key for _, _, key in aged), *surplus]

    def drop(self, requests: Iterable[RequestKey], events: Iterable[EventKey]) -> None:
        """Takes them away."""
        for key in requests:
            self.bytes_held -= len(self.requests.pop(key).reply)
        for key in events:
            self.drop_event(key)

    def drop_event(self, key: EventKey) -> None:
        """Takes an event away."""
        self.bytes_held -= len(self.events.pop(key).event.payload)


def _own(identity: RunIdentity) -> RunIdentity:
    """An identity whose labels nobody can change."""
    if type(identity.labels) is MappingProxyType:
        return identity
    return replace(identity, labels=MappingProxyType(dict(identity.labels)))


def _index(payload: StoredPayload) -> int:
    return payload.index


def _surplus(events: Mapping[EventKey, StoredEvent], gone: Set[EventKey], keep: int) -> list[EventKey]:
    """Keys of the events beyond the newest `keep` of their (namespace, scope, scope_id, name), by position."""
    logs: dict[tuple[str, int, str, str], list[tuple[int, EventKey]]] = {}
    for key, kept in events.items():
        if key not in gone:
            logs.setdefault(key[:4], []).append((kept.position, key))
    surplus = [entry for log in logs.values() for entry in sorted(log)[: max(len(log) - keep, 0)]]
    return [key for _, key in sorted(surplus)]
