"""The rules of the rows, in Python: what the CHECK constraints of the SQL schema refuse, this refuses too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, cast

from perdure_server.storage.port import (
    Commit,
    EventRow,
    NewRecord,
    ObligationChange,
    RunHead,
    RunIdentity,
    ScheduleRow,
    SlotRow,
    TaskRow,
    TimerRow,
    WaitRow,
)
from perdure_server.storage.rules import HASH_BYTES, SALT_BYTES

_ACTIVITY_NONE: Final = 0
_ACTIVITY_WAITING: Final = 4
_ENDED: Final = frozenset({3, 4, 5})


def broken_rule(commit: Commit) -> str:
    """The first rule of the rows that a Commit breaks, for the FAILED verdict; empty if none."""
    problem = ""
    if commit.head:
        problem = _head(commit.head) or _records(commit.records) or _change(commit.change)
        if commit.identity and not commit.identity.workflow_version:
            problem = problem or "a run without a version of its workflow"
    for new in commit.new_runs:
        problem = problem or _identity(new.identity) or _head(new.head) or _records(new.records) or _change(new.change)
    for event in commit.events:
        problem = problem or _event(event)
    if commit.schedule and commit.schedule.row:
        problem = problem or _schedule(commit.schedule.row)
    return problem


def unstorable(commit: Commit) -> str:
    """Why a Commit holds text or numbers that no store can keep; empty if it does not."""
    return next(_unstorable(commit), "")


def broken_rows(head: RunHead, change: ObligationChange) -> str:
    """The first rule that a head and the rows beside it break; empty if none."""
    return _head(head) or _change(change)


def _unstorable(value: object) -> Iterator[str]:
    """Text that is not Unicode (lone surrogates) and numbers beyond 64 bits."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            yield f"text that cannot be stored: {error}"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            yield f"a number beyond 64 bits: {value}"
    elif isinstance(value, Mapping):
        for pair in cast("Mapping[object, object]", value).items():
            yield from _unstorable(pair)
    elif isinstance(value, tuple):
        for item in cast("tuple[object, ...]", value):
            yield from _unstorable(item)
    elif is_dataclass(value):
        for field in fields(cast(Any, value)):
            yield from _unstorable(getattr(value, field.name))


def _identity(row: RunIdentity) -> str:
    if not row.run_id or not row.root_run_id or not row.session_id:
        return "a run without an id, a root or a session"
    if not row.workflow_id or not row.workflow_version:
        return "a run without a workflow or its version"
    if row.depth < 0 or row.drive not in {1, 2}:
        return f"depth {row.depth}, drive {row.drive}"
    return ""


def _head(row: RunHead) -> str:
    ended = row.status in _ENDED
    if not 1 <= row.status <= 5 or not 0 <= row.activity <= 6 or row.seq < 1:
        return f"status {row.status}, activity {row.activity}, seq {row.seq}"
    if ended != (row.activity == _ACTIVITY_NONE) or ended != (row.ended_at != 0) or (ended and row.paused):
        return f"status {row.status} with activity {row.activity}, ended_at {row.ended_at}, paused {row.paused}"
    if (row.wait is not None) != (row.activity == _ACTIVITY_WAITING):
        return f"activity {row.activity} {'without a' if row.wait is None else 'with a'} wait"
    if len(row.head_hash) != HASH_BYTES:
        return f"a hash of {len(row.head_hash)} bytes"
    return _wait(row.wait) if row.wait else ""


def _wait(row: WaitRow) -> str:
    if row.wait_id < 1 or not 1 <= row.reason <= 6:
        return f"wait {row.wait_id} for reason {row.reason}"
    if row.event_name and not 1 <= row.event_scope <= 4:
        return f"a wait for an event of scope {row.event_scope}"
    return ""


def _records(rows: tuple[NewRecord, ...]) -> str:
    for row in rows:
        if row.kind < 1 or row.status < 0 or len(row.record_hash) != HASH_BYTES:
            return f"record kind {row.kind}, status {row.status}, a hash of {len(row.record_hash)} bytes"
        slots: list[int] = []
        for payload in row.payloads:
            if payload.index in slots:
                return f"payload slot {payload.index} twice"
            if len(payload.salt) != SALT_BYTES:
                return "a salt of another length"
            slots.append(payload.index)
    return ""


def _change(change: ObligationChange) -> str:
    problem = _task(change.task) if change.task else ""
    for timer in change.timers_put:
        problem = problem or _timer(timer)
    if change.slot:
        problem = problem or _slot(change.slot)
    return problem


def _task(row: TaskRow) -> str:
    if row.step_id < 1 or row.attempt < 0:
        return f"task of step {row.step_id}, attempt {row.attempt}"
    if row.held and row.leased:
        return "a task both held and leased"
    if row.leased != bool(row.worker_id) or row.leased != (row.lease_expires_at > 0):
        return f"leased {row.leased} by {row.worker_id!r} until {row.lease_expires_at}"
    if row.heartbeat_due_at < 0 or (row.heartbeat_due_at and not row.leased):
        return "a heartbeat due without a lease"
    return ""


def _slot(row: SlotRow) -> str:
    return "" if row.key and row.limit >= 1 else f"a slot of key {row.key!r}, limit {row.limit}"


def _schedule(row: ScheduleRow) -> str:
    right = row.schedule_id and row.version >= 1 and row.next_at >= 0
    return "" if right else f"schedule {row.schedule_id!r} of version {row.version}, next at {row.next_at}"


def _timer(row: TimerRow) -> str:
    return "" if row.kind >= 1 and row.due_at > 0 else f"timer {row.kind} at {row.due_at}"


def _event(row: EventRow) -> str:
    return "" if 1 <= row.scope <= 4 and row.name else f"event {row.name!r} of scope {row.scope}"
