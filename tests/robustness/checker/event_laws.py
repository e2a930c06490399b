"""A law of events (P1, P6): what a run has emitted is in the log, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.message import DecodeError

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import records_pb2 as pb
from perdure.v1.run_service_pb2 import Event
from tests.robustness.checker.export import EventScopeKey
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed


def event_findings(
    run_id: str, records: Sequence[Sealed], events: Mapping[EventScopeKey, list[Event]]
) -> Iterator[Finding]:
    """Events of emit_event effects that the log has not, or more than once; scopes that are missing are not judged."""
    opened = {sealed.record.seq: sealed for sealed in records}
    for sealed in records:
        record = sealed.record
        completed = record.step_completed.effect_type == "emit_event" and record.status == pb.STEP_STATUS_COMPLETED
        if not completed or record.step_id not in opened:
            continue
        emitted = _emitted(opened[record.step_id])
        if emitted is None:
            continue
        scope = _scope(records[0].record, record, emitted)
        if scope not in events:
            continue
        wanted = (emitted.event_id or record.idempotency_key, emitted.name)
        count = sum((event.event_id, event.name) == wanted for event in events[scope])
        if count == 0:
            yield Finding("EVENT_LOST", run_id, record.seq, f"the log has no event {wanted[0]} {wanted[1]}")
        elif count > 1:
            yield Finding("EVENT_DOUBLED", run_id, record.seq, f"the log has event {wanted[0]} {count} times")


def _emitted(opened: Sealed) -> model_pb2.EmitEvent | None:
    """What a step's effect says; None if its payload was edited, which the commitment tells."""
    try:
        return model_pb2.Effect.FromString(opened.payload(opened.record.step_completed.effect.payload)).emit_event
    except DecodeError:
        return None


def _scope(first: pb.StepRecord, record: pb.StepRecord, emitted: model_pb2.EmitEvent) -> EventScopeKey:
    scope = emitted.scope or common_pb2.EVENT_SCOPE_SESSION
    own = {
        common_pb2.EVENT_SCOPE_SESSION: record.session_id,
        common_pb2.EVENT_SCOPE_WORKFLOW: first.run_started.workflow_id,
        common_pb2.EVENT_SCOPE_RUN: record.run_id,
    }
    return scope, emitted.scope_id or own.get(scope, "")
