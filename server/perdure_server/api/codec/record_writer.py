"""Records to bytes: a StepRecord message without user payloads, and the payloads beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from perdure.v1 import records_pb2
from perdure_server.api.codec import effects, plans, shapes
from perdure_server.api.codec.shapes import Shape
from perdure_server.api.codec.slots import SlotWriter
from perdure_server.kernel import records as r
from perdure_server.kernel.model import Failure, OpenEffect, RemoteRequest, RunState
from perdure_server.storage.port import StoredPayload

_WITH_MAPS: Final = frozenset({"run_started", "migrated"})


def encode_any(
    run: RunState, record: r.Record, new_salts: Callable[[int], list[bytes]]
) -> tuple[bytes, tuple[StoredPayload, ...]]:
    """Bytes of any record, through the generated types, and its payloads; `run` gives the header's ids."""
    slots = SlotWriter()
    name, shape = _WRITERS[type(record.body)]
    body = shape(record.body, slots)
    payloads = slots.seal(new_salts)
    seconds, rest = divmod(record.at, 1_000_000)
    fields: dict[str, Any] = {
        "run_id": run.run_id,
        "seq": record.seq,
        "kind": record.kind,
        "node_id": record.node_id,
        "visit": record.visit,
        "step_id": record.step_id,
        "status": record.status,
        "attempt": record.attempt,
        "idempotency_key": record.idempotency_key,
        "at": {"seconds": seconds, "nanos": rest * 1_000},
        "actor_id": run.actor_id,
        "session_id": run.session_id,
        "root_run_id": run.root_run_id,
        "worker_id": record.worker_id,
        name: body,
    }
    message = records_pb2.StepRecord(**fields)
    if name in _WITH_MAPS:
        # Labels and node maps are maps, which would else be written in any order.
        return message.SerializeToString(deterministic=True), payloads
    return message.SerializeToString(), payloads


def _failure(failure: Failure | None, slots: SlotWriter) -> Shape | None:
    if failure is None:
        return None
    text = None
    if failure.message or failure.details:
        words = records_pb2.FailureText(
            message=failure.message, details_json=failure.details.text if failure.details else ""
        )
        text = slots.data(words.SerializeToString())
    return {"type": failure.type, "retryable": failure.retryable, "text": text}


def _child(link: r.ChildLink | None) -> Shape | None:
    return link and {
        "run_id": link.run_id,
        "awaited": link.awaited,
        "on_parent_cancel": link.on_parent_cancel,
    }


def _open_effect(effect: OpenEffect | None, slots: SlotWriter) -> Shape | None:
    if effect is None:
        return None
    request = effect.request
    if isinstance(request, RemoteRequest):
        payload = slots.leaf(request.payload)
    else:
        payload = slots.data(effects.request_bytes(request))
    return {
        "type": effect.type,
        "server_side": effect.server_side,
        "result_key": effect.result_key,
        "next_node": effect.next_node,
        "idempotency_key": effect.idempotency_key,
        "retry": shapes.retry(effect.retry),
        "timeouts": shapes.timeouts(effect.timeouts),
        "queue": effect.queue,
        "priority": effect.priority,
        "on_error_node": effect.on_error_node,
        "risk": effect.risk,
        "payload": payload,
    }


def _run_started(body: r.RunStarted, slots: SlotWriter) -> Shape:
    return {
        "namespace": body.namespace,
        "workflow_id": body.workflow_id,
        "workflow_version": body.workflow_version,
        "entry": shapes.node_entry(body.entry),
        "parent_run_id": body.parent_run_id,
        "parent_step_id": body.parent_step_id,
        "depth": body.depth,
        "branch": body.branch,
        "drive": body.drive,
        "start_at": shapes.instant(body.start_at),
        "deadline": shapes.instant(body.deadline_at),
        "labels": dict(body.labels),
        "event_floor": body.event_floor,
        "trace_context": shapes.trace(body.trace_context),
        "concurrency": shapes.concurrency(body.concurrency),
        "in_line": body.in_line,
        "vars": slots.leaf(body.vars),
    }


def _step_started(body: r.StepStarted | r.StepBegun, _slots: SlotWriter) -> Shape:
    return {"effect_type": body.effect_type}


def _step_completed(body: r.StepCompleted, slots: SlotWriter) -> Shape:
    return {
        "effect_type": body.effect_type,
        "vars_ops": slots.data(plans.ops_bytes(body.vars_ops)) if body.vars_ops else None,
        "effect": _open_effect(body.effect, slots),
        "next": shapes.node_entry(body.next),
        "result": slots.leaf(body.result),
        "result_key": body.result_key,
        "failure": _failure(body.failure, slots),
        "retry_at": shapes.instant(body.retry_at),
        "error_key": body.error_key,
        "child": _child(body.child),
    }


def _requeued(body: r.Requeued, _slots: SlotWriter) -> Shape:
    return {"cause": body.cause, "not_before": shapes.instant(body.not_before)}


def _waiting(body: r.Waiting, slots: SlotWriter) -> Shape:
    text = None
    if body.prompt or body.choices or body.details or body.answer_schema:
        words = records_pb2.WaitText(
            prompt=body.prompt,
            choices=body.choices,
            details_json=body.details.text if body.details else "",
            answer_schema_json=body.answer_schema.text if body.answer_schema else "",
        )
        text = slots.data(words.SerializeToString())
    return {
        "reason": body.reason,
        "wait_key": body.wait_key,
        "event_name": body.event_name,
        "event_scope": body.event_scope,
        "event_scope_id": body.event_scope_id,
        "event_floor": body.event_floor,
        "until": shapes.instant(body.until_at),
        "deadline": shapes.instant(body.deadline_at),
        "on_deadline_node": body.on_deadline_node,
        "resume_to_node": body.resume_to_node,
        "result_key": body.result_key,
        "assignee": body.assignee,
        "allow_free_text": body.allow_free_text,
        "child": _child(body.child),
        "needed": body.needed,
        "text": text,
        "missed_events": body.missed_events,
    }


def _resumed(body: r.Resumed, slots: SlotWriter) -> Shape:
    return {
        "wait_id": body.wait_id,
        "cause": body.cause,
        "payload": slots.leaf(body.payload),
        "next": shapes.node_entry(body.next),
        "resumed_by": body.resumed_by,
    }


def _event_consumed(body: r.EventConsumed, slots: SlotWriter) -> Shape:
    return {
        "wait_id": body.wait_id,
        "position": body.position,
        "event_id": body.event_id,
        "name": body.name,
        "payload": slots.leaf(body.payload),
        "next": shapes.node_entry(body.next),
    }


def _child_ended(body: r.ChildEnded, slots: SlotWriter) -> Shape:
    return {
        "child_run_id": body.child_run_id,
        "child_status": body.child_status,
        "wait_id": body.wait_id,
        "result": slots.leaf(body.result),
        "next": shapes.node_entry(body.next),
        "place": body.place,
    }


def _branches_started(body: r.BranchesStarted, _slots: SlotWriter) -> Shape:
    return {"wait_id": body.wait_id, "first": body.first, "run_ids": body.run_ids}


def _joined(body: r.Joined, _slots: SlotWriter) -> Shape:
    return {"wait_id": body.wait_id, "next": shapes.node_entry(body.next)}


def _parked(body: r.Parked, _slots: SlotWriter) -> Shape:
    return {"reason": body.reason, "lapses": body.lapses}


def _unparked(body: r.Unparked, _slots: SlotWriter) -> Shape:
    return {"resolution": body.resolution, "resolved_by": body.resolved_by}


def _paused(body: r.Paused, slots: SlotWriter) -> Shape:
    return {"reason": slots.text(body.reason), "paused_by": body.paused_by}


def _unpaused(body: r.Unpaused, _slots: SlotWriter) -> Shape:
    return {"unpaused_by": body.unpaused_by}


def _budget_added(body: r.BudgetAdded, _slots: SlotWriter) -> Shape:
    return {"steps": body.steps}


def _cancel_requested(body: r.CancelRequested, slots: SlotWriter) -> Shape:
    return {
        "reason": slots.text(body.reason),
        "next": shapes.node_entry(body.next),
        "cancelled_by": body.cancelled_by,
    }


def _completed(body: r.Completed, slots: SlotWriter) -> Shape:
    return {"output": slots.leaf(body.output)}


def _failed(body: r.Failed, slots: SlotWriter) -> Shape:
    return {"failure": _failure(body.failure, slots)}


def _cancelled(body: r.Cancelled, slots: SlotWriter) -> Shape:
    return {
        "reason": slots.text(body.reason),
        "output": slots.leaf(body.output),
        "failure": _failure(body.failure, slots),
        "cancelled_by": body.cancelled_by,
    }


def _late_result(body: r.LateResult, slots: SlotWriter) -> Shape:
    return {"report": slots.data(body.report)}


def _reopened(body: r.Reopened, slots: SlotWriter) -> Shape:
    return {
        "entry": shapes.node_entry(body.entry),
        "vars_ops": slots.data(plans.ops_bytes(body.vars_ops)) if body.vars_ops else None,
        "deadline": shapes.instant(body.deadline_at),
        "paused": body.paused,
        "in_doubt": body.in_doubt,
        "retried_by": body.retried_by,
    }


def _migrated(body: r.Migrated, _slots: SlotWriter) -> Shape:
    return {
        "from_version": body.from_version,
        "to_version": body.to_version,
        "entry": shapes.node_entry(body.entry),
        "node_map": dict(body.node_map),
        "requeued": body.requeued,
        "migrated_by": body.migrated_by,
    }


_WRITERS: Final[dict[type[r.Body], tuple[str, Callable[..., Shape]]]] = {
    r.RunStarted: ("run_started", _run_started),
    r.StepStarted: ("step_started", _step_started),
    r.StepBegun: ("step_begun", _step_started),
    r.StepCompleted: ("step_completed", _step_completed),
    r.Requeued: ("requeued", _requeued),
    r.Waiting: ("waiting", _waiting),
    r.Resumed: ("resumed", _resumed),
    r.EventConsumed: ("event_consumed", _event_consumed),
    r.ChildEnded: ("child_ended", _child_ended),
    r.Parked: ("parked", _parked),
    r.Unparked: ("unparked", _unparked),
    r.Paused: ("paused", _paused),
    r.Unpaused: ("unpaused", _unpaused),
    r.BudgetAdded: ("budget_added", _budget_added),
    r.CancelRequested: ("cancel_requested", _cancel_requested),
    r.Completed: ("completed", _completed),
    r.Failed: ("failed", _failed),
    r.Cancelled: ("cancelled", _cancelled),
    r.LateResult: ("late_result", _late_result),
    r.BranchesStarted: ("branches_started", _branches_started),
    r.Joined: ("joined", _joined),
    r.Reopened: ("reopened", _reopened),
    r.Migrated: ("migrated", _migrated),
}
