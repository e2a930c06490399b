"""Waits end: by an answer, an event, an instant, a deadline, a child. And the other timers."""

from __future__ import annotations

from perdure_server.kernel import model as m
from perdure_server.kernel.branches import branch_ended
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.draft import Draft, not_due
from perdure_server.kernel.effects import ready_result, refuse_effect
from perdure_server.kernel.endings import (
    VARS_TOO_LARGE,
    deadline_passed,
    end_completed,
    end_failed,
    fail_attempt,
    fits,
    success_output,
)
from perdure_server.kernel.evolve import error_object
from perdure_server.kernel.inputs import ChildEndSeen, EventMatched, Resume, TimerFired, TimerKind
from perdure_server.kernel.obligations import timers
from perdure_server.kernel.records import (
    ChildEnded,
    EventConsumed,
    NodeEntry,
    RequeueCause,
    Requeued,
    ResumeCause,
    Resumed,
    StepStatus,
)
from perdure_server.kernel.steps import time_out
from perdure_server.kernel.values import Leaf


def resume(draft: Draft, event: Resume) -> None:
    """An answer ends the wait that it names."""
    wait = _registered(draft)
    _check_answerable(wait, event)
    _check_answer(wait, event.payload)
    if not fits(draft, wait.result_key, event.payload):
        limit = draft.env.limits.vars_bytes
        raise Rejection(
            Reason.VARS_TOO_LARGE, f"the answer would make vars larger than {limit} bytes", field="payload_json"
        )
    entry = _way_on(draft, wait)
    body = Resumed(wait.wait_id, ResumeCause.ANSWER, event.payload, entry, event.resumed_by)
    draft.add(body, StepStatus.COMPLETED)
    _end_without(draft, entry, event.payload)


def event_matched(draft: Draft, event: EventMatched) -> None:
    """An event of the log ends the wait that asks for it."""
    run, wait = draft.run, _registered(draft)
    key = (int(wait.event_scope), wait.event_scope_id, wait.event_name)
    floor = max(wait.event_floor, run.consumed.get(key, 0))
    if (
        not wait.event_name
        or wait.wait_id != event.wait_id
        or (event.scope, event.scope_id) != (wait.event_scope, wait.event_scope_id)
        or wait.event_name not in ("*", event.name)
        or event.position <= floor
    ):
        raise not_due("the event")
    if not fits(draft, wait.result_key, event.envelope):
        refuse_effect(draft, VARS_TOO_LARGE, f"event {event.event_id!r} would make vars too large")
        return
    entry = _way_on(draft, wait)
    body = EventConsumed(wait.wait_id, event.position, event.event_id, event.name, event.envelope, entry)
    draft.add(body, StepStatus.COMPLETED)
    _end_without(draft, entry, event.envelope)


def child_ended(draft: Draft, event: ChildEndSeen) -> None:
    """A child has ended: it leaves the open children, and ends the wait for it."""
    run, wait = draft.run, draft.run.waiting
    child = run.children.get(event.child_run_id)
    if child is None:
        raise not_due("the child's end")
    if run.join is not None and child.place and child.step_id == draft.step.step_id:
        branch_ended(draft, event, child)
        return
    if wait is None or wait.child_run_id != event.child_run_id:
        draft.add(ChildEnded(event.child_run_id, event.status))
        return
    if event.status is not m.RunStatus.COMPLETED:
        draft.add(ChildEnded(event.child_run_id, event.status, wait.wait_id))
        _fail_for_child(draft, event)
        return
    output = event.output.data if event.output is not None else b"null"
    head = Leaf.of({"sub_run_id": event.child_run_id}).data
    result = Leaf(head[:-1] + b',"output":' + output + b"}")
    if not fits(draft, wait.result_key, result):
        draft.add(ChildEnded(event.child_run_id, event.status))
        refuse_effect(draft, VARS_TOO_LARGE, f"the output of {event.child_run_id!r} would make vars too large")
        return
    entry = _way_on(draft, wait)
    draft.add(ChildEnded(event.child_run_id, event.status, wait.wait_id, result, entry), StepStatus.COMPLETED)
    _end_without(draft, entry, result)


def timer_fired(draft: Draft, event: TimerFired) -> None:
    """An instant has come; one that the run no longer depends on is not due."""
    if event.timer is TimerKind.HEARTBEAT:
        _heartbeat_missed(draft, event)
        return
    due_at = timers(draft.run).get(event.timer)
    if due_at is None or draft.env.now < due_at:
        raise not_due(f"the {event.timer.name} timer")
    match event.timer:
        case TimerKind.START:
            draft.add(Requeued(RequeueCause.START_DUE))
        case TimerKind.RETRY:
            draft.add(Requeued(RequeueCause.RETRY_DUE))
        case TimerKind.UNTIL:
            _until_came(draft)
        case TimerKind.WAIT_DEADLINE:
            _deadline_came(draft)
        case TimerKind.RUN_DEADLINE:
            draft.cancel_children()
            end_failed(draft, deadline_passed())
        case TimerKind.SCHEDULE_TO_START:
            time_out(draft, "schedule_to_start")
        case TimerKind.START_TO_CLOSE:
            time_out(draft, "start_to_close")


def _heartbeat_missed(draft: Draft, event: TimerFired) -> None:
    run, step = draft.run, draft.run.step
    if (
        step is None
        or run.activity is not m.Activity.LEASED
        or (step.step_id, step.attempt) != (event.step_id, event.attempt)
        or not step.timeouts.heartbeat_us
    ):
        raise not_due("the heartbeat timer")
    time_out(draft, "heartbeat")


def _until_came(draft: Draft) -> None:
    wait = _registered(draft)
    result = ready_result(wait.until_at)
    if not fits(draft, wait.result_key, result):
        refuse_effect(draft, VARS_TOO_LARGE, "the timer's result would make vars too large")
        return
    entry = _way_on(draft, wait)
    draft.add(Resumed(wait.wait_id, ResumeCause.TIMER, result, entry), StepStatus.COMPLETED)
    _end_without(draft, entry, result)


def _deadline_came(draft: Draft) -> None:
    wait = _registered(draft)
    if wait.child_run_id:
        draft.cancel_children(wait.child_run_id)
    if wait.on_deadline_node:
        entry = draft.entry(wait.on_deadline_node)
        draft.add(Resumed(wait.wait_id, ResumeCause.DEADLINE, None, entry), StepStatus.FAILED)
        return
    failure = m.Failure("DEADLINE", f"nothing ended wait {wait.wait_id} before its deadline")
    fail_attempt(draft, m.StepFailure(failure), final=True)


def _registered(draft: Draft) -> m.Wait:
    if draft.run.waiting is None:
        raise ValueError(f"run {draft.run.run_id} does not wait at seq {draft.run.seq}")
    return draft.run.waiting


def _way_on(draft: Draft, wait: m.Wait) -> NodeEntry | None:
    return draft.entry(wait.resume_to_node) if wait.resume_to_node else None


def _end_without(draft: Draft, entry: NodeEntry | None, result: Leaf) -> None:
    if entry is None:
        end_completed(draft, success_output(result))


def _check_answerable(wait: m.Wait, event: Resume) -> None:
    if not event.wait_id and not event.any_wait:
        raise Rejection(
            Reason.WAIT_ID_REQUIRED,
            "name the wait with wait_id, or set any_wait to answer whatever wait there is",
            field="wait_id",
        )
    if event.wait_id and event.wait_id != wait.wait_id:
        raise Rejection(
            Reason.WAIT_ENDED,
            f"wait {event.wait_id} has ended; the run now waits with wait {wait.wait_id}",
            wait_id=str(event.wait_id),
            current_wait_id=str(wait.wait_id),
        )
    if wait.reason is m.WaitReason.JOIN:
        raise Rejection(
            Reason.WAIT_NOT_RESUMABLE, f"the wait ends when {wait.needed} of the run's branches have completed"
        )
    if wait.reason is m.WaitReason.SUBWORKFLOW:
        raise Rejection(
            Reason.WAIT_NOT_RESUMABLE,
            f"the wait ends when child run {wait.child_run_id!r} ends",
            child_run_id=wait.child_run_id,
        )
    if wait.reason is m.WaitReason.UNTIL and not event.wait_id:
        raise Rejection(Reason.WAIT_NOT_RESUMABLE, "a wait for an instant is ended early only by its wait_id")
    if event.wait_key and event.wait_key != wait.wait_key:
        raise Rejection(Reason.WAIT_KEY_MISMATCH, "the wait has another key", field="wait_key", wait_key=wait.wait_key)


def _check_answer(wait: m.Wait, payload: Leaf) -> None:
    if not wait.choices or wait.allow_free_text:
        return
    value = payload.value
    answer = value.get("response") if isinstance(value, dict) else value
    if answer not in wait.choices:
        raise Rejection(
            Reason.ANSWER_NOT_ALLOWED,
            f"the answer must be one of: {', '.join(wait.choices)}"[:1_000],
            field="payload_json",
        )


def _fail_for_child(draft: Draft, event: ChildEndSeen) -> None:
    cancelled = event.status is m.RunStatus.CANCELLED
    error = event.failure or m.Failure("CANCELLED" if cancelled else "FAILED")
    what = "was cancelled" if cancelled else "failed"
    message = f"Subworkflow '{event.child_run_id}' {what}: {error.message or error.type}"
    details = Leaf.of({"sub_run_id": event.child_run_id, "error": error_object(error)})
    if details.size > draft.env.limits.payload_bytes:
        details = Leaf.of({"sub_run_id": event.child_run_id})
    kind = "CHILD_CANCELLED" if cancelled else "CHILD_FAILED"
    refuse_effect(draft, kind, message[: draft.env.limits.message_chars], details)
