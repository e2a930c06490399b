"""Whether the ledger holds what clients were told: replies, acks, streamed records (P2, P5, P6, P8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from perdure.v1 import records_pb2 as pb
from perdure.v1 import run_service_pb2 as runs
from perdure.v1.model_pb2 import VarsOp
from perdure.v1.worker_service_pb2 import ACK_STATUS_ACCEPTED, ACK_STATUS_DUPLICATE, ACK_STATUS_STALE
from tests.robustness.checker.export import EventScopeKey
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed
from tests.robustness.checker.step_laws import is_final
from tests.robustness.checker.stream_laws import stream_findings
from tests.robustness.checker.testimony import AckedReport, Answered, Testimony

Runs = Mapping[str, Sequence[Sealed]]

MERGED = (ACK_STATUS_ACCEPTED, ACK_STATUS_DUPLICATE)
DEFAULT_SCOPE = 1
"""EVENT_SCOPE_SESSION, which an unset scope means."""


def told_findings(
    testimony: Testimony, ledger: Runs, events: Mapping[EventScopeKey, list[runs.Event]]
) -> Iterator[Finding]:
    """Everything a client was told that the export does not bear out."""
    yield from stream_findings(testimony, ledger)
    for answered in _distinct(testimony.answered):
        yield from _answer(answered, ledger, events)
    yield from _budgets(testimony.answered, ledger)
    for report in testimony.reports:
        yield from _report(report, ledger)
    for begin in testimony.begins:
        task = begin.task
        if begin.status in MERGED and not _of_attempt(ledger, task, pb.RECORD_KIND_STEP_BEGUN):
            yield Finding("BEGIN_LOST", task.run.run_id, 0, f"attempt {task.attempt} of step {task.step_id}")


def _distinct(answers: Sequence[Answered]) -> Iterator[Answered]:
    """Each answer once, although a call may have been repeated under its request id."""
    seen: set[tuple[str, str]] = set()
    for answered in answers:
        request_id = getattr(answered.request, "request_id", "")
        key = (answered.request.DESCRIPTOR.name, request_id)
        if not request_id or key not in seen:
            seen.add(key)
            yield answered


def _answer(answered: Answered, ledger: Runs, events: Mapping[EventScopeKey, list[runs.Event]]) -> Iterator[Finding]:
    request: Any = answered.request
    reply: Any = answered.reply
    if isinstance(request, runs.EmitEventRequest):
        yield from _emitted(request, reply, events)
        return
    if not isinstance(request, tuple(_CAUSED)):
        return
    run_id: str = reply.run_id
    records = ledger.get(run_id, ())
    if reply.seq > len(records):
        yield Finding("REPLY_LOST", run_id, reply.seq, f"{request.DESCRIPTOR.name} was answered as of this seq")
    found = [sealed for sealed in records if sealed.record.seq <= reply.seq and _CAUSED[type(request)](request, sealed)]
    if not found:
        yield Finding("REPLY_LOST", run_id, reply.seq, f"nothing that {request.DESCRIPTOR.name} did is in the ledger")
    elif isinstance(request, runs.ResumeRunRequest) and len(found) > 1:
        yield Finding("RESUME_DOUBLED", run_id, found[1].record.seq, f"also at {found[0].record.seq}")


def _started(request: runs.StartRunRequest, sealed: Sealed) -> bool:
    body = sealed.record.run_started
    return (
        sealed.kind == pb.RECORD_KIND_RUN_STARTED
        and body.workflow_id == request.workflow_id
        and sealed.payload(body.vars) == (request.vars_json or "{}").encode()
    )


def _resumed(request: runs.ResumeRunRequest, sealed: Sealed) -> bool:
    body = sealed.record.resumed
    return (
        sealed.kind == pb.RECORD_KIND_RESUMED
        and body.cause == pb.Resumed.CAUSE_ANSWER
        and (request.any_wait or body.wait_id == request.wait_id)
        and body.resumed_by == request.resumed_by
        and sealed.payload(body.payload) == (request.payload_json or "null").encode()
    )


def _cancelled(_request: runs.CancelRunRequest, sealed: Sealed) -> bool:
    ends = (pb.RECORD_KIND_COMPLETED, pb.RECORD_KIND_FAILED, pb.RECORD_KIND_CANCELLED)
    return sealed.kind in (pb.RECORD_KIND_CANCEL_REQUESTED, *ends)


def _paused(_request: runs.PauseRunRequest, sealed: Sealed) -> bool:
    return sealed.kind == pb.RECORD_KIND_PAUSED


def _unpaused(_request: runs.UnpauseRunRequest, sealed: Sealed) -> bool:
    return sealed.kind == pb.RECORD_KIND_UNPAUSED


def _resolved(request: runs.ResolveStepRequest, sealed: Sealed) -> bool:
    wanted = {
        "rerun": pb.Unparked.RESOLUTION_RERUN,
        "completed": pb.Unparked.RESOLUTION_COMPLETED,
        "failed": pb.Unparked.RESOLUTION_FAILED,
    }[request.WhichOneof("resolution") or "rerun"]
    record = sealed.record
    return record.step_id == request.step_id and record.unparked.resolution == wanted


def _retried(request: runs.RetryRunRequest, sealed: Sealed) -> bool:
    body = sealed.record.reopened
    return (
        sealed.kind == pb.RECORD_KIND_REOPENED
        and (body.HasField("entry") or not request.from_node)
        and body.retried_by == request.retried_by
        and _ops_in(sealed, body.vars_ops) == list(request.vars_ops)
    )


def _migrated(request: runs.MigrateRunRequest, sealed: Sealed) -> bool:
    body = sealed.record.migrated
    return (
        sealed.kind == pb.RECORD_KIND_MIGRATED
        and request.workflow_version in ("", body.to_version)
        and (body.node_map, body.migrated_by) == (request.node_map, request.migrated_by)
    )


_CAUSED: dict[type[Any], Callable[[Any, Sealed], bool]] = {
    runs.StartRunRequest: _started,
    runs.ResumeRunRequest: _resumed,
    runs.CancelRunRequest: _cancelled,
    runs.PauseRunRequest: _paused,
    runs.UnpauseRunRequest: _unpaused,
    runs.ResolveStepRequest: _resolved,
    runs.RetryRunRequest: _retried,
    runs.MigrateRunRequest: _migrated,
}
"""Request -> whether a record is what it caused."""


def _emitted(
    request: runs.EmitEventRequest, reply: runs.EmitEventResponse, events: Mapping[EventScopeKey, list[runs.Event]]
) -> Iterator[Finding]:
    key = (request.scope or DEFAULT_SCOPE, request.scope_id)
    if key not in events:
        return
    found = [event for event in events[key] if (event.event_id, event.name) == (reply.event_id, request.name)]
    if not found:
        yield Finding("EVENT_LOST", "", 0, f"acknowledged event {request.name} {reply.event_id} is not in the log")
    elif len(found) > 1:
        yield Finding("EVENT_DOUBLED", "", 0, f"event {request.name} {reply.event_id} is in the log {len(found)} times")
    elif reply.position and found[0].position != reply.position:
        yield Finding("EVENT_DIFFERS", "", 0, f"event {reply.event_id} is at {found[0].position}, not {reply.position}")


def _budgets(answers: Sequence[Answered], ledger: Runs) -> Iterator[Finding]:
    """What the ticks of a run gave is what its ledger has: no tick is lost or counted twice."""
    given: dict[str, dict[str, int]] = {}
    for answered in answers:
        request = answered.request
        if isinstance(request, runs.TickRunRequest):
            given.setdefault(request.run_id, {})[request.request_id] = request.max_steps
    for run_id, ticks in given.items():
        added = sum(sealed.record.budget_added.steps for sealed in ledger.get(run_id, ()))
        if added != sum(ticks.values()):
            yield Finding("BUDGET_DIFFERS", run_id, 0, f"{added} entries added, {sum(ticks.values())} acknowledged")


def _report(acked: AckedReport, ledger: Runs) -> Iterator[Finding]:
    task, run_id = acked.task, acked.task.run.run_id
    name = f"attempt {task.attempt} of step {task.step_id} at {task.node_id}"
    settled = _of_attempt(ledger, task, pb.RECORD_KIND_STEP_COMPLETED, pb.RECORD_KIND_WAITING)
    released = _of_attempt(ledger, task, pb.RECORD_KIND_REQUEUED)
    if acked.status == ACK_STATUS_STALE and settled and _says(acked, settled[0]):
        yield Finding("STALE_MERGED", run_id, settled[0].record.seq, f"{name} was told STALE")
    if acked.status not in MERGED:
        return
    if acked.report.HasField("release"):
        if not released:
            yield Finding("REPORT_LOST", run_id, 0, f"the release of {name} was accepted")
        return
    if not settled:
        yield Finding("REPORT_LOST", run_id, 0, f"the report of {name} was accepted")
    elif not _says(acked, settled[0]):
        yield Finding("REPORT_DIFFERS", run_id, settled[0].record.seq, f"not what {name} reported")
    elif len(settled) > 1 and not _is_deadline(settled):
        yield Finding("EFFECT_DOUBLED", run_id, settled[1].record.seq, f"{name} was settled before")


def _of_attempt(ledger: Runs, task: Any, *kinds: int) -> list[Sealed]:
    wanted = (task.step_id, task.attempt)
    return [
        sealed
        for sealed in ledger.get(task.run.run_id, ())
        if sealed.kind in kinds and (sealed.record.step_id, sealed.record.attempt) == wanted
    ]


def _is_deadline(settled: Sequence[Sealed]) -> bool:
    """A wait, and the failure that ended it."""
    first, *rest = settled
    return first.kind == pb.RECORD_KIND_WAITING and len(rest) == 1 and rest[0].record.status == pb.STEP_STATUS_FAILED


def _says(acked: AckedReport, sealed: Sealed) -> bool:
    """Whether the record holds what the worker reported."""
    report, body = acked.report, sealed.record.step_completed
    outcome = report.WhichOneof("outcome")
    failure = report.failed if outcome == "failed" else report.effect.failed
    if outcome == "failed" or (outcome == "effect" and report.effect.HasField("failed")):
        return body.failure.type == failure.failure.type
    if outcome == "effect" and report.effect.HasField("waiting"):
        return sealed.kind == pb.RECORD_KIND_WAITING
    if outcome == "effect":
        return is_final(sealed.record) and sealed.payload(body.result) == report.effect.result_json.encode()
    return body.HasField("failure") or _ops_in(sealed, body.vars_ops) == list(report.node.plan.vars_ops)


def _ops_in(sealed: Sealed, slot: pb.PayloadRef) -> list[VarsOp] | None:
    try:
        return list(pb.VarsOps.FromString(sealed.payload(slot)).ops)
    except DecodeError:
        return None
