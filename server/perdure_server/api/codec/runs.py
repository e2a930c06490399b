"""Runs and waits as their readers see them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.v1 import model_pb2, run_service_pb2
from perdure_server.api.codec import shapes
from perdure_server.api.codec.shapes import Shape, build
from perdure_server.api.codec.task_vars import vars_text
from perdure_server.kernel.model import OnLimit, RunState, SlotState, Step, Wait
from perdure_server.storage.port import RunSummary, SlotKind, SlotRow, StoredEvent, TaskRow

NO_WORKER: Final = "NO_WORKER"
"""StepState.blocked of a task that nobody connected can take."""


class InLine(NamedTuple):
    """How many are in line before a run, and who has held a slot for the longest time."""

    ahead: int
    holder_run_id: str


NOT_IN_LINE: Final = InLine(0, "")


def run_state(
    run: RunState, head_hash: bytes, *, full: bool, blocked: bool, line: InLine = NOT_IN_LINE
) -> model_pb2.RunState:
    """A run as it stands.

    Args:
        line: of a run in line for a slot, who is before it.
        full: with vars and output.
        blocked: nobody connected can take its task.
    """
    fields: dict[str, Any] = {
        "namespace": run.namespace,
        "run_id": run.run_id,
        "root_run_id": run.root_run_id,
        "parent_run_id": run.parent_run_id,
        "depth": run.depth,
        "workflow_id": run.workflow_id,
        "workflow_version": run.workflow_version,
        "status": run.status,
        "activity": run.activity,
        "paused": run.paused,
        "current_node": run.current_node,
        "entry_node": run.entry_node,
        "branch": run.branch,
        "vars_json": vars_text(run.vars) if full else "",
        "waiting": wait_shape(run.waiting) if run.waiting else None,
        "output_json": run.output.text if run.output and full else None,
        "error": shapes.failure(run.error),
        "actor_id": run.actor_id,
        "session_id": run.session_id,
        "labels": dict(run.labels),
        "drive": run.drive,
        "created_at": shapes.instant(run.created_at),
        "updated_at": shapes.instant(run.updated_at),
        "ended_at": shapes.instant(run.ended_at),
        "seq": run.seq,
        "head_hash": head_hash,
        "step": _step(run.step, blocked=blocked) if run.step else None,
        "step_budget": run.step_budget,
        "visits": dict(run.visits),
        "consumed": [
            {"scope": scope, "scope_id": scope_id, "name": name, "position": position}
            for (scope, scope_id, name), position in run.consumed.items()
        ],
        "event_floor": run.event_floor,
        "deadline": shapes.instant(run.deadline_at),
        "children": [
            {
                "run_id": child.run_id,
                "step_id": child.step_id,
                "awaited": child.awaited,
                "on_parent_cancel": child.on_parent_cancel,
            }
            for child in run.children.values()
        ],
        "trace_context": shapes.trace(run.trace_context),
        "cancelling": run.cancelling,
        "concurrency": _concurrency(run, line) if run.concurrency else None,
        "failed_step": _step(run.failed_step, blocked=False) if run.failed_step else None,
        "reopened": run.reopened,
    }
    return model_pb2.RunState(**fields)


def listed_run(row: RunSummary, wait: Wait | None, *, blocked: bool) -> model_pb2.RunState:
    """A run in a list: without vars, output, error details and the wait's texts."""
    identity, head = row.identity, row.head
    fields: dict[str, Any] = {
        "namespace": identity.namespace,
        "run_id": identity.run_id,
        "root_run_id": identity.root_run_id,
        "parent_run_id": identity.parent_run_id,
        "depth": identity.depth,
        "workflow_id": identity.workflow_id,
        "workflow_version": identity.workflow_version,
        "status": head.status,
        "activity": head.activity,
        "paused": head.paused,
        "current_node": head.current_node,
        "entry_node": identity.entry_node,
        "branch": identity.branch,
        "waiting": wait_shape(wait, texts=False) if wait else None,
        "error": {"type": head.error_type} if head.error_type else None,
        "actor_id": identity.actor_id,
        "session_id": identity.session_id,
        "labels": dict(identity.labels),
        "drive": identity.drive,
        "created_at": shapes.instant(identity.created_at),
        "updated_at": shapes.instant(head.updated_at),
        "ended_at": shapes.instant(head.ended_at),
        "seq": head.seq,
        "head_hash": head.head_hash,
        "step": _listed_step(row.task, blocked=blocked) if row.task else None,
        "step_budget": head.step_budget,
        "deadline": shapes.instant(identity.deadline_at),
        "concurrency": _listed_slot(row.slot) if row.slot else None,
    }
    return model_pb2.RunState(**fields)


def _concurrency(run: RunState, line: InLine) -> Shape:
    return {
        "concurrency": shapes.concurrency(run.concurrency),
        "state": run.slot,
        "ahead": line.ahead,
        "holder_run_id": line.holder_run_id,
    }


def _listed_slot(row: SlotRow) -> Shape:
    on_limit = OnLimit.CANCEL_OLDEST if row.newest_wins else 0
    return {
        "concurrency": {"key": row.key, "limit": row.limit, "on_limit": on_limit},
        "state": SlotState.HELD if row.kind is SlotKind.HELD else SlotState.IN_LINE,
    }


def wait_shape(wait: Wait, *, texts: bool = True) -> Shape:
    """Shape of a WaitState; without `texts`, the question and what belongs to it is left out."""
    words: dict[str, Any] = {}
    if texts:
        words = {
            "prompt": wait.prompt,
            "choices": wait.choices,
            "details_json": wait.details.text if wait.details else None,
            "answer_schema_json": wait.answer_schema.text if wait.answer_schema else None,
        }
    return {
        "wait_id": wait.wait_id,
        "reason": wait.reason,
        "wait_key": wait.wait_key,
        "until": shapes.instant(wait.until_at),
        "resume_to_node": wait.resume_to_node,
        "result_key": wait.result_key,
        "allow_free_text": wait.allow_free_text,
        "assignee": wait.assignee,
        "deadline": shapes.instant(wait.deadline_at),
        "on_deadline_node": wait.on_deadline_node,
        "missed_events": wait.missed_events,
        "event_name": wait.event_name,
        "event_scope": wait.event_scope if wait.event_name else None,
        "event_scope_id": wait.event_scope_id,
        "child_run_id": wait.child_run_id,
        "needed": wait.needed,
        "joined": wait.joined,
        "node_id": wait.node_id,
        "since": shapes.instant(wait.since_at),
        **words,
    }


def run_wait(row: RunSummary, wait: Wait) -> run_service_pb2.RunWait:
    """A wait in the inbox."""
    identity = row.identity
    fields = {
        "run_id": identity.run_id,
        "workflow_id": identity.workflow_id,
        "session_id": identity.session_id,
        "actor_id": identity.actor_id,
        "wait": wait_shape(wait),
        "paused": row.head.paused,
    }
    return build(run_service_pb2.RunWait, fields)


def listed_event(stored: StoredEvent) -> run_service_pb2.Event:
    """An event of the log."""
    event = stored.event
    fields = {
        "event_id": event.event_id,
        "name": event.name,
        "scope": event.scope,
        "scope_id": event.scope_id,
        "position": stored.position,
        "payload_json": event.payload.decode(),
        "emitted_at": shapes.instant(event.at),
        "emitter_run_id": event.run_id,
        "emitter_workflow_id": event.workflow_id,
        "emitter_node_id": event.node_id,
        "emitted_by": event.emitted_by,
    }
    return build(run_service_pb2.Event, fields)


def _step(step: Step, *, blocked: bool) -> Shape:
    effect = step.effect
    return {
        "step_id": step.step_id,
        "node_id": step.node_id,
        "visit": step.visit,
        "effect_type": effect.type if effect else "",
        "attempt": step.attempt,
        "failures": step.failures,
        "lapses": step.lapses,
        "begun": step.begun,
        "retry_at": shapes.instant(step.retry_at),
        "idempotency_key": effect.idempotency_key if effect else "",
        "park_reason": step.park_reason.name if step.park_reason else "",
        "blocked": NO_WORKER if blocked else "",
        "last_failure": shapes.failure(step.last_failure),
        "queue": effect.queue if effect else step.queue,
    }


def _listed_step(task: TaskRow, *, blocked: bool) -> Shape:
    return {
        "step_id": task.step_id,
        "node_id": task.node_id,
        "effect_type": task.effect_type,
        "attempt": task.attempt,
        "blocked": NO_WORKER if blocked else "",
        "queue": task.queue,
    }
