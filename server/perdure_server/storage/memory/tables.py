"""What the memory store holds, and how one Commit changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from perdure_server.storage.memory.constraints import broken_rule
from perdure_server.storage.port import (
    Commit,
    EventRow,
    NewRecord,
    ObligationChange,
    RequestRow,
    RunHead,
    RunIdentity,
    RunKey,
    SlotKind,
    SlotRow,
    StoredEvent,
    StoredRecord,
    TaskRow,
    Verdict,
    VerdictKind,
    WorkflowRow,
)
from perdure_server.storage.rules import DEFAULT_NAMESPACE, Genesis, contradiction

_Row = TypeVar("_Row")

EventKey: TypeAlias = tuple[str, int, str, str, str]
"""(namespace, scope, scope_id, name, event_id)"""

MailKey: TypeAlias = tuple[str, str, str, str]
"""(namespace, to_run_id, kind, from_run_id)"""


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
    records = [*commit.records, *(record for new in commit.new_runs for record in new.records)]
    return (
        sum(len(record.record) for record in records)
        + sum(len(payload.data or b"") for record in records for payload in record.payloads)
        + sum(len(event.payload) for event in commit.events)
        + len(commit.keyframe or b"")
        + len(commit.request.reply if commit.request else b"")
    )


class Tables:
    """Dicts by key. Rows are never changed once they are made, so handing them out shares nothing."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self.position = 0
        self.bytes_held = 0
        self.runs: dict[RunKey, Run] = {}
        self.ledger: list[StoredRecord] = []
        self.tasks: dict[RunKey, TaskRow] = {}
        self.turns: dict[RunKey, Turn] = {}
        self.timers: dict[tuple[RunKey, int], int] = {}
        self.slots: dict[RunKey, tuple[SlotRow, int]] = {}
        self.mail: dict[MailKey, int] = {}
        self.events: dict[EventKey, StoredEvent] = {}
        self.requests: dict[tuple[str, str, str], RequestRow] = {}
        self.namespaces: dict[str, tuple[str, int]] = {DEFAULT_NAMESPACE: ("", 0)}
        self.workflows: dict[tuple[str, str, str], WorkflowRow] = {}

    def commit(self, commit: Commit) -> Verdict:
        """Decides about one Commit and, if it wins, applies all of it."""
        refusal = self._refusal(commit)
        if refusal is not None:
            return refusal
        positions: list[int] = []
        if commit.key is not None and commit.head is not None:
            run = self.runs[commit.key]
            run.head = commit.head
            if commit.identity is not None:
                version, deadline_at = commit.identity.workflow_version, commit.identity.deadline_at
                run.identity = replace(run.identity, workflow_version=version, deadline_at=deadline_at)
            positions += self._append(run, commit.records)
            if commit.keyframe is not None:
                run.keyframe_seq, run.keyframe = commit.head.seq, commit.keyframe
            self.change(commit.key, commit.change)
        for new in commit.new_runs:
            labels = MappingProxyType(dict(new.identity.labels))
            run = Run(replace(new.identity, labels=labels), new.head)
            key = RunKey(commit.namespace, new.identity.run_id)
            self.runs[key] = run
            positions += self._append(run, new.records)
            self.change(key, new.change)
        events = [self._add_event(commit.namespace, event) for event in commit.events]
        self._exchange_mail(commit)
        if commit.request:
            self.put_request(commit.namespace, commit.request)
        self.bytes_held += commit_bytes(commit)
        return Verdict(
            VerdictKind.COMMITTED,
            positions=tuple(positions),
            event_positions=tuple(position for position, _ in events),
            events_known=tuple(known for _, known in events),
        )

    def _refusal(self, commit: Commit) -> Verdict | None:
        request = commit.request
        if request:
            known = self.requests.get((commit.namespace, request.method, request.request_id))
            if known:
                return Verdict(VerdictKind.REQUEST_KNOWN, request=known)
        last_hash = b""
        if commit.key is not None:
            run = self.runs.get(commit.key)
            if run is None or run.head.seq != commit.expected_seq:
                return Verdict(VerdictKind.CONFLICT)
            last_hash = run.records[-1].record_hash
        for new in commit.new_runs:
            if RunKey(new.identity.namespace, new.identity.run_id) in self.runs:
                return Verdict(VerdictKind.RUN_EXISTS, taken_run_id=new.identity.run_id)
        if not self._slots_free(commit):
            return Verdict(VerdictKind.NO_SLOT)
        problem = contradiction(commit, last_hash) or broken_rule(commit)
        return Verdict(VerdictKind.FAILED, error=problem) if problem else None

    def _slots_free(self, commit: Commit) -> bool:
        """Whether every run that would come to hold a slot may have it."""
        wanted = [(commit.key, commit.change.slot)] if commit.key else []
        wanted += [(RunKey(commit.namespace, new.identity.run_id), new.change.slot) for new in commit.new_runs]
        return all(self._slot_free(key, row) for key, row in wanted if row and row.kind is SlotKind.HELD)

    def _slot_free(self, key: RunKey, row: SlotRow) -> bool:
        own, rank = self.slots.get(key, (None, self.position + 1))
        if own is not None and own.kind is SlotKind.HELD:
            return True
        others = [
            (place.kind, at)
            for (namespace, _), (place, at) in self.slots.items()
            if namespace == key.namespace and place.key == row.key
        ]
        holding = sum(kind is SlotKind.HELD for kind, _ in others)
        return holding < row.limit and all(at >= rank for kind, at in others if kind is SlotKind.IN_LINE)

    def _append(self, run: Run, records: Sequence[NewRecord]) -> list[int]:
        identity = run.identity
        for new in records:
            self.position += 1
            if run.records:
                prev_hash = run.records[-1].record_hash
            else:
                prev_hash = self._genesis(identity.namespace, identity.run_id)
            stored = StoredRecord(
                namespace=identity.namespace,
                run_id=identity.run_id,
                seq=new.seq,
                position=self.position,
                kind=new.kind,
                status=new.status,
                node_id=new.node_id,
                at=new.at,
                workflow_id=identity.workflow_id,
                session_id=identity.session_id,
                root_run_id=identity.root_run_id,
                record=new.record,
                prev_hash=prev_hash,
                record_hash=new.record_hash,
                payloads=tuple(sorted(new.payloads, key=lambda payload: payload.index)),
            )
            run.records.append(stored)
            self.ledger.append(stored)
        return list(range(self.position - len(records) + 1, self.position + 1))

    def change(self, key: RunKey, change: ObligationChange) -> None:
        """Applies a difference to the rows of a run."""
        if change.task_set:
            self._put(self.tasks, key, change.task)
        if change.turn_set:
            turn = None if change.turn is None else Turn(change.turn, self.position)
            self._put(self.turns, key, turn)
        for kind in change.timers_dropped:
            self.timers.pop((key, kind), None)
        for timer in change.timers_put:
            self.timers[key, timer.kind] = timer.due_at
        if change.slot_set:
            _, rank = self.slots.get(key, (None, self.position))
            self._put(self.slots, key, change.slot and (change.slot, rank))

    @staticmethod
    def _put(table: dict[RunKey, _Row], key: RunKey, row: _Row | None) -> None:
        if row is None:
            table.pop(key, None)
        else:
            table[key] = row

    def _add_event(self, namespace: str, event: EventRow) -> tuple[int, bool]:
        key = event_key(namespace, event)
        known = key in self.events
        if not known:
            self.position += 1
            self.events[key] = StoredEvent(self.position, event)
        return self.events[key].position, known

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
