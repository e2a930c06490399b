"""Bytes to records: the inverse of `record_writer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from perdure.v1 import common_pb2, records_pb2
from perdure_server.api.codec import effects, plans, terms
from perdure_server.api.codec.shapes import micros
from perdure_server.api.codec.slots import SlotReader
from perdure_server.api.fields import STORED
from perdure_server.kernel import model as m
from perdure_server.kernel import records as r
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import StoredPayload


def decode_record(data: bytes, payloads: Sequence[StoredPayload]) -> r.Record:
    """The record that `encode_record` was given.

    Raises: PayloadMissingError; ValueError for a kind that this version does not know.
    """
    header = records_pb2.StepRecord.FromString(data)
    name = header.WhichOneof("body")
    if name is None:
        raise ValueError(f"record {header.seq} of run {header.run_id} is of kind {header.kind}, unknown here")
    return r.Record(
        seq=header.seq,
        at=micros(header.at),
        body=_READERS[name](getattr(header, name), SlotReader(payloads), header),
        node_id=header.node_id,
        visit=header.visit,
        step_id=header.step_id,
        status=r.StepStatus(header.status),
        attempt=header.attempt,
        idempotency_key=header.idempotency_key,
        worker_id=header.worker_id,
    )


def _timeouts(message: common_pb2.TaskTimeouts) -> m.Timeouts:
    return m.Timeouts(micros(message.schedule_to_start), micros(message.start_to_close), micros(message.heartbeat))


def _entry(message: records_pb2.NodeEntry) -> m.NodeEntry:
    return m.NodeEntry(
        node_id=message.node_id,
        visit=message.visit,
        server_side=message.server_side,
        queue=message.queue,
        priority=message.priority,
        timeouts=_timeouts(message.timeouts) if message.HasField("timeouts") else m.NO_TIMEOUTS,
    )


def _next(owner: Any) -> m.NodeEntry | None:
    return _entry(owner.next) if owner.HasField("next") else None


def _failure(message: records_pb2.FailureRef, slots: SlotReader) -> m.Failure:
    words = records_pb2.FailureText.FromString(slots.data(message.text))
    details = Leaf(words.details_json.encode()) if words.details_json else None
    return m.Failure(message.type, words.message, message.retryable, details)


def _child(owner: records_pb2.StepCompleted | records_pb2.Waiting) -> r.ChildLink | None:
    if not owner.HasField("child"):
        return None
    link = owner.child
    return r.ChildLink(link.run_id, link.awaited, m.ChildPolicy(link.on_parent_cancel))


def _open_effect(message: records_pb2.OpenEffect, slots: SlotReader) -> m.OpenEffect:
    request: m.EffectRequest
    if message.server_side:
        request = effects.stored_request(message.type, slots.data(message.payload))
    else:
        request = m.RemoteRequest(slots.leaf(message.payload))
    return m.OpenEffect(
        type=message.type,
        request=request,
        server_side=message.server_side,
        result_key=message.result_key,
        next_node=message.next_node,
        idempotency_key=message.idempotency_key,
        retry=terms.retry(message, message.retry, STORED, "") or m.NO_RETRY,
        timeouts=_timeouts(message.timeouts) if message.HasField("timeouts") else m.NO_TIMEOUTS,
        queue=message.queue,
        priority=message.priority,
        on_error_node=message.on_error_node,
        risk=m.Risk(message.risk),
    )


def _run_started(body: records_pb2.RunStarted, slots: SlotReader, header: records_pb2.StepRecord) -> r.RunStarted:
    return r.RunStarted(
        namespace=body.namespace,
        run_id=header.run_id,
        root_run_id=header.root_run_id,
        session_id=header.session_id,
        actor_id=header.actor_id,
        workflow_id=body.workflow_id,
        workflow_version=body.workflow_version,
        entry=_entry(body.entry),
        vars=slots.leaf(body.vars),
        parent_run_id=body.parent_run_id,
        parent_step_id=body.parent_step_id,
        depth=body.depth,
        branch=body.branch,
        drive=m.Drive(body.drive),
        start_at=micros(body.start_at),
        deadline_at=micros(body.deadline),
        labels=dict(body.labels),
        event_floor=body.event_floor,
        trace_context=terms.trace_context(body, body.trace_context, STORED),
        concurrency=_concurrency(body.concurrency) if body.HasField("concurrency") else None,
        in_line=body.in_line,
    )


def _concurrency(message: common_pb2.Concurrency) -> m.Concurrency:
    return m.Concurrency(message.key, message.limit, m.OnLimit(message.on_limit))


def _step_started(body: records_pb2.StepStarted, *_: object) -> r.StepStarted:
    return r.StepStarted(body.effect_type)


def _step_begun(body: records_pb2.StepBegun, *_: object) -> r.StepBegun:
    return r.StepBegun(body.effect_type)


def _step_completed(body: records_pb2.StepCompleted, slots: SlotReader, _: object) -> r.StepCompleted:
    return r.StepCompleted(
        effect_type=body.effect_type,
        vars_ops=plans.stored_ops(slots.data(body.vars_ops)) if body.HasField("vars_ops") else (),
        effect=_open_effect(body.effect, slots) if body.HasField("effect") else None,
        next=_next(body),
        result=slots.optional_leaf(body.result),
        result_key=body.result_key,
        failure=_failure(body.failure, slots) if body.HasField("failure") else None,
        retry_at=micros(body.retry_at),
        error_key=body.error_key,
        child=_child(body),
    )


def _requeued(body: records_pb2.Requeued, *_: object) -> r.Requeued:
    return r.Requeued(r.RequeueCause(body.cause), micros(body.not_before))


def _waiting(body: records_pb2.Waiting, slots: SlotReader, _: object) -> r.Waiting:
    words = records_pb2.WaitText.FromString(slots.data(body.text))
    return r.Waiting(
        reason=m.WaitReason(body.reason),
        wait_key=body.wait_key,
        event_name=body.event_name,
        event_scope=m.EventScope(body.event_scope),
        event_scope_id=body.event_scope_id,
        event_floor=body.event_floor,
        until_at=micros(body.until),
        deadline_at=micros(body.deadline),
        on_deadline_node=body.on_deadline_node,
        resume_to_node=body.resume_to_node,
        result_key=body.result_key,
        prompt=words.prompt,
        choices=tuple(words.choices),
        allow_free_text=body.allow_free_text,
        details=Leaf(words.details_json.encode()) if words.details_json else None,
        answer_schema=Leaf(words.answer_schema_json.encode()) if words.answer_schema_json else None,
        assignee=body.assignee,
        child=_child(body),
        needed=body.needed,
        missed_events=body.missed_events,
    )


def _resumed(body: records_pb2.Resumed, slots: SlotReader, _: object) -> r.Resumed:
    return r.Resumed(
        wait_id=body.wait_id,
        cause=r.ResumeCause(body.cause),
        payload=slots.optional_leaf(body.payload),
        next=_next(body),
        resumed_by=body.resumed_by,
    )


def _event_consumed(body: records_pb2.EventConsumed, slots: SlotReader, _: object) -> r.EventConsumed:
    return r.EventConsumed(
        wait_id=body.wait_id,
        position=body.position,
        event_id=body.event_id,
        name=body.name,
        payload=slots.leaf(body.payload),
        next=_next(body),
    )


def _child_ended(body: records_pb2.ChildEnded, slots: SlotReader, _: object) -> r.ChildEnded:
    return r.ChildEnded(
        child_run_id=body.child_run_id,
        child_status=m.RunStatus(body.child_status),
        wait_id=body.wait_id,
        result=slots.optional_leaf(body.result),
        next=_next(body),
        place=body.place,
    )


def _branches_started(body: records_pb2.BranchesStarted, *_: object) -> r.BranchesStarted:
    return r.BranchesStarted(body.wait_id, body.first, tuple(body.run_ids))


def _joined(body: records_pb2.Joined, *_: object) -> r.Joined:
    return r.Joined(body.wait_id, _next(body))


def _parked(body: records_pb2.Parked, *_: object) -> r.Parked:
    return r.Parked(m.ParkReason(body.reason), body.lapses)


def _unparked(body: records_pb2.Unparked, *_: object) -> r.Unparked:
    return r.Unparked(r.Resolution(body.resolution), body.resolved_by)


def _paused(body: records_pb2.Paused, slots: SlotReader, _: object) -> r.Paused:
    return r.Paused(slots.text(body.reason), body.paused_by)


def _unpaused(body: records_pb2.Unpaused, *_: object) -> r.Unpaused:
    return r.Unpaused(body.unpaused_by)


def _budget_added(body: records_pb2.BudgetAdded, *_: object) -> r.BudgetAdded:
    return r.BudgetAdded(body.steps)


def _cancel_requested(body: records_pb2.CancelRequested, slots: SlotReader, _: object) -> r.CancelRequested:
    return r.CancelRequested(slots.text(body.reason), _entry(body.next), body.cancelled_by)


def _completed(body: records_pb2.Completed, slots: SlotReader, _: object) -> r.Completed:
    return r.Completed(slots.leaf(body.output))


def _failed(body: records_pb2.Failed, slots: SlotReader, _: object) -> r.Failed:
    return r.Failed(_failure(body.failure, slots))


def _cancelled(body: records_pb2.Cancelled, slots: SlotReader, _: object) -> r.Cancelled:
    return r.Cancelled(
        reason=slots.text(body.reason),
        output=slots.optional_leaf(body.output),
        failure=_failure(body.failure, slots) if body.HasField("failure") else None,
        cancelled_by=body.cancelled_by,
    )


def _late_result(body: records_pb2.LateResult, slots: SlotReader, _: object) -> r.LateResult:
    return r.LateResult(slots.data(body.report))


def _reopened(body: records_pb2.Reopened, slots: SlotReader, _: object) -> r.Reopened:
    return r.Reopened(
        entry=_entry(body.entry) if body.HasField("entry") else None,
        vars_ops=plans.stored_ops(slots.data(body.vars_ops)) if body.HasField("vars_ops") else (),
        deadline_at=micros(body.deadline),
        paused=body.paused,
        in_doubt=body.in_doubt,
        retried_by=body.retried_by,
    )


def _migrated(body: records_pb2.Migrated, *_: object) -> r.Migrated:
    return r.Migrated(
        from_version=body.from_version,
        to_version=body.to_version,
        entry=_entry(body.entry),
        node_map=tuple(sorted(body.node_map.items())),
        requeued=body.requeued,
        migrated_by=body.migrated_by,
    )


_READERS: Final[dict[str, Callable[..., r.Body]]] = {
    "run_started": _run_started,
    "step_started": _step_started,
    "step_begun": _step_begun,
    "step_completed": _step_completed,
    "requeued": _requeued,
    "waiting": _waiting,
    "resumed": _resumed,
    "event_consumed": _event_consumed,
    "child_ended": _child_ended,
    "parked": _parked,
    "unparked": _unparked,
    "paused": _paused,
    "unpaused": _unpaused,
    "budget_added": _budget_added,
    "cancel_requested": _cancel_requested,
    "completed": _completed,
    "failed": _failed,
    "cancelled": _cancelled,
    "late_result": _late_result,
    "branches_started": _branches_started,
    "joined": _joined,
    "reopened": _reopened,
    "migrated": _migrated,
}
