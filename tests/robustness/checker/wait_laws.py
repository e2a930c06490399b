"""Laws of waits (P6): each is ended once, by what it waits for, and what should have ended it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from perdure.v1 import records_pb2 as pb
from perdure.v1.run_service_pb2 import Event
from tests.robustness.checker.export import EventScopeKey
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed
from tests.robustness.checker.step_laws import TERMINAL

GRACE_US = 5_000_000
"""How late a timer may be before it counts as lost."""

ConsumedKey = tuple[int, str, str]
"""Scope, scope id, and the name that the wait asks for."""


@dataclass(slots=True)
class Waits:
    """The waits of one ledger, as read so far."""

    open: Sealed | None = None
    ended: dict[int, int] = field(default_factory=dict[int, int])
    by_id: dict[int, pb.StepRecord] = field(default_factory=dict[int, pb.StepRecord])
    marks: dict[ConsumedKey, int] = field(default_factory=dict[ConsumedKey, int])
    retry_at: int = 0
    deadline: int = 0
    is_over: bool = False


def wait_findings(
    run_id: str, records: Sequence[Sealed], events: Mapping[EventScopeKey, list[Event]], at: int
) -> Iterator[Finding]:
    """Everything that breaks a law of waits.

    Args:
        records: the run's.
        events: the event log by scope; a scope that is missing is not judged.
        at: when the export was made, Unix microseconds.
    """
    waits = Waits()
    for sealed in records:
        yield from _read(run_id, sealed, waits, events)
    if not waits.is_over:
        yield from _lost(run_id, records, waits, events, at)


def _read(run_id: str, sealed: Sealed, waits: Waits, events: Mapping[EventScopeKey, list[Event]]) -> Iterator[Finding]:
    record = sealed.record
    if sealed.kind == pb.RECORD_KIND_WAITING:
        if waits.open is not None:
            yield Finding("WAIT_IN_WAIT", run_id, record.seq, f"wait {waits.open.record.seq} is open")
        waits.open, waits.by_id[record.seq] = sealed, record
        return
    wait_id = _ended_wait(record)
    if wait_id:
        if wait_id in waits.ended:
            yield Finding("WAIT_DOUBLED", run_id, record.seq, f"wait {wait_id} ended at {waits.ended[wait_id]}")
        elif waits.open is None or waits.open.record.seq != wait_id:
            yield Finding("WAIT_UNKNOWN", run_id, record.seq, f"no wait {wait_id} is open")
        waits.ended[wait_id] = record.seq
        waits.open = None
    if sealed.kind == pb.RECORD_KIND_EVENT_CONSUMED:
        yield from _consumed(run_id, sealed, waits, events)
    if sealed.kind in (pb.RECORD_KIND_STEP_COMPLETED, pb.RECORD_KIND_CANCEL_REQUESTED, *TERMINAL):
        waits.open = None
    waits.is_over = (waits.is_over or sealed.kind in TERMINAL) and sealed.kind != pb.RECORD_KIND_REOPENED
    if sealed.kind == pb.RECORD_KIND_RUN_STARTED:
        waits.deadline = record.run_started.deadline.ToMicroseconds()
    elif sealed.kind == pb.RECORD_KIND_REOPENED:
        waits.deadline = record.reopened.deadline.ToMicroseconds()
    completed = record.step_completed
    waits.retry_at = completed.retry_at.ToMicroseconds() if completed.HasField("retry_at") else 0


def _ended_wait(record: pb.StepRecord) -> int:
    name = record.WhichOneof("body")
    body: Message | None = getattr(record, name) if name else None
    if isinstance(body, pb.Resumed | pb.EventConsumed | pb.ChildEnded | pb.Joined):
        return body.wait_id
    return 0


def _consumed(
    run_id: str, sealed: Sealed, waits: Waits, events: Mapping[EventScopeKey, list[Event]]
) -> Iterator[Finding]:
    body, seq = sealed.record.event_consumed, sealed.record.seq
    wait = waits.by_id.get(body.wait_id)
    if wait is None:
        return
    scope, scope_id, name = _asked(wait.waiting)
    mark = waits.marks.get((scope, scope_id, name), 0)
    if body.position <= max(mark, wait.waiting.event_floor):
        yield Finding("EVENT_DOUBLED", run_id, seq, f"position {body.position}, consumed up to {mark}")
    waits.marks[scope, scope_id, name] = body.position
    if (scope, scope_id) not in events:
        return
    logged = [event for event in events[scope, scope_id] if event.position == body.position]
    if not logged:
        yield Finding("EVENT_INVENTED", run_id, seq, f"the log has no event at {body.position}")
    elif (logged[0].event_id, logged[0].name) != (body.event_id, body.name) or name not in ("*", body.name):
        yield Finding("EVENT_DIFFERS", run_id, seq, f"the log has {logged[0].name} at {body.position}")
    elif logged[0].payload_json.encode() not in sealed.payload(body.payload):
        yield Finding("EVENT_DIFFERS", run_id, seq, f"another payload than the log's at {body.position}")
    else:
        passed = _unconsumed(events[scope, scope_id], name, max(mark, wait.waiting.event_floor), body.position)
        if passed:
            yield Finding("EVENT_LOST", run_id, seq, f"event {passed[0].event_id} at {passed[0].position} was passed")


def _unconsumed(events: Sequence[Event], name: str, above: int, below: int) -> list[Event]:
    """Events that a wait for this name hears, between two positions."""
    return [event for event in events if above < event.position < below and name in ("*", event.name)]


def _asked(wait: pb.Waiting) -> ConsumedKey:
    return wait.event_scope, wait.event_scope_id, wait.event_name


def _lost(
    run_id: str,
    records: Sequence[Sealed],
    waits: Waits,
    events: Mapping[EventScopeKey, list[Event]],
    at: int,
) -> Iterator[Finding]:
    """What the run still waits for although it has come."""
    late = at - GRACE_US
    if 0 < waits.deadline < late:
        yield Finding("TIMER_LOST", run_id, records[-1].record.seq, "the run's deadline has passed")
    if waits.retry_at and waits.retry_at < late:
        yield Finding("TIMER_LOST", run_id, records[-1].record.seq, "the retry was due")
    if waits.open is None:
        return
    wait, seq = waits.open.record.waiting, waits.open.record.seq
    for name, instant in (("until", wait.until), ("deadline", wait.deadline)):
        if instant.seconds and instant.ToMicroseconds() < late:
            yield Finding("TIMER_LOST", run_id, seq, f"{name} has passed")
    key = _asked(wait)
    if wait.event_name and key[:2] in events:
        floor = max(wait.event_floor, waits.marks.get(key, 0))
        missed = _unconsumed(events[key[:2]], wait.event_name, floor, 1 << 62)
        if missed:
            yield Finding("EVENT_LOST", run_id, seq, f"event {missed[0].event_id} at {missed[0].position} did not come")
