"""The fold: a run after one more record (P3). Pure; nothing here decides, evaluates or looks anything up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from perdure_server.kernel import records as r
from perdure_server.kernel.joins import fanout_of, joined_result
from perdure_server.kernel.model import (
    Activity,
    Child,
    ChildPolicy,
    Drive,
    Failure,
    Join,
    NodeEntry,
    ParkReason,
    RunState,
    RunStatus,
    SlotState,
    Step,
    VarsOp,
    Wait,
    WaitReason,
)
from perdure_server.kernel.persistent import empty_map
from perdure_server.kernel.renaming import renamed_step, renamed_visits, renamed_wait
from perdure_server.kernel.values import Json, Leaf
from perdure_server.kernel.vars import (
    apply_ops,
    as_object,
    grown_size,
    key_size,
    key_tokens,
    ops_size,
    set_at,
)


def evolve(run: RunState | None, record: r.Record) -> RunState:
    """The run after `record`.

    Args:
        run: the run after the record before; None for the first.
        record: the next one; its seq is run.seq + 1.

    Raises: ValueError if the record does not follow the run.
    """
    if run is None:
        if record.seq != 1 or not isinstance(record.body, r.RunStarted):
            raise ValueError(f"a ledger starts with run_started at seq 1, not {record.kind.name} at {record.seq}")
        return _started(record, record.body)
    twin = run.copy()
    advance(twin, record)
    return twin


def advance(run: RunState, record: r.Record) -> None:
    """Takes a state that nobody else has seen one record further, in place.

    Raises: ValueError if the record does not follow the run.
    """
    if record.seq != run.seq + 1:
        raise ValueError(f"record {record.seq} does not follow {run.seq}")
    apply = _APPLY.get(type(record.body))
    if apply is None:
        raise ValueError(f"{record.kind.name} cannot stand at seq {record.seq}")
    run.seq = record.seq
    run.updated_at = record.at
    apply(run, record, record.body)


def error_object(failure: Failure) -> dict[str, Json]:
    """A failure as a JSON value: {type, message, retryable, details}."""
    return {
        "type": failure.type,
        "message": failure.message,
        "retryable": failure.retryable,
        "details": failure.details.value if failure.details else None,
    }


def _started(record: r.Record, body: r.RunStarted) -> RunState:
    run = RunState(
        namespace=body.namespace,
        run_id=body.run_id,
        root_run_id=body.root_run_id,
        workflow_id=body.workflow_id,
        workflow_version=body.workflow_version,
        entry_node=body.entry.node_id,
        parent_run_id=body.parent_run_id,
        parent_step_id=body.parent_step_id,
        depth=body.depth,
        branch=body.branch,
        session_id=body.session_id,
        actor_id=body.actor_id,
        labels=body.labels,
        drive=body.drive,
        trace_context=body.trace_context,
        created_at=record.at,
        updated_at=record.at,
        deadline_at=body.deadline_at,
        event_floor=body.event_floor,
        concurrency=body.concurrency,
        vars=as_object(body.vars.value),
        vars_bytes=body.vars.stored_size,
        seq=1,
    )
    _stand_at(run, record, body.entry)
    if body.start_at:
        run.activity = Activity.BACKOFF
        run.step = replace(_step(run), retry_at=body.start_at)
    elif body.in_line:
        _get_in_line(run)
    else:
        run.slot = SlotState.HELD if body.concurrency else SlotState.NONE
        _make_due(run)
    return run


def _get_in_line(run: RunState) -> None:
    """The step is due once the run has its slot."""
    run.slot = SlotState.IN_LINE
    run.activity = Activity.BACKOFF


def _step(run: RunState) -> Step:
    if run.step is None:
        raise ValueError(f"run {run.run_id} has no open step at seq {run.seq}")
    return run.step


def _wait(run: RunState, wait_id: int) -> Wait:
    if run.waiting is None or run.waiting.wait_id != wait_id:
        raise ValueError(f"run {run.run_id} has no wait {wait_id} at seq {run.seq}")
    return run.waiting


def _stand_at(run: RunState, record: r.Record, entry: NodeEntry) -> None:
    run.status = RunStatus.RUNNING
    run.waiting = None
    run.current_node = entry.node_id
    run.visits = {**run.visits, entry.node_id: entry.visit}
    run.step = Step(
        step_id=record.seq,
        node_id=entry.node_id,
        visit=entry.visit,
        queued_at=record.at,
        server_side=entry.server_side,
        queue=entry.queue,
        priority=entry.priority,
        timeouts=entry.timeouts,
    )


def _make_due(run: RunState) -> None:
    """The node that the run stands at is due, once it has its slot: a manual run pays for it, or is idle."""
    if run.slot is SlotState.IN_LINE:
        run.activity = Activity.BACKOFF
    elif run.drive is not Drive.MANUAL or run.cancelling:
        run.activity = Activity.QUEUED
    elif run.step_budget > 0:
        run.step_budget -= 1
        run.activity = Activity.QUEUED
    else:
        run.activity = Activity.IDLE


def _go_on(run: RunState, record: r.Record, entry: NodeEntry | None) -> None:
    """Enters `entry`; without one the run's end is the next record."""
    run.join = None
    if entry is None:
        run.status = RunStatus.RUNNING
        run.activity = Activity.QUEUED
        run.failed_step = run.step
        run.step = None
        run.waiting = None
        return
    left = run.step
    is_turn = left is not None and left.server_side and left.effect is None
    run.turns = run.turns + 1 if is_turn else 0
    _stand_at(run, record, entry)
    _make_due(run)


def _store(run: RunState, key: str, value: Leaf | None) -> None:
    if not key or value is None or value.value is None:
        return
    run.vars = as_object(set_at(run.vars, key_tokens(key), value.value))
    run.vars_bytes = grown_size(run.vars_bytes, key_size(key, value), run.vars)


def _queued(run: RunState, record: r.Record, **changes: Any) -> None:
    run.step = replace(_step(run), queued_at=record.at, retry_at=0, worker_id="", begun=False, **changes)
    run.activity = Activity.QUEUED


def _step_started(run: RunState, record: r.Record, _body: r.StepStarted) -> None:
    step = _step(run)
    run.step = Step(
        step.step_id,
        step.node_id,
        step.visit,
        step.queued_at,
        server_side=step.server_side,
        effect=step.effect,
        queue=step.queue,
        priority=step.priority,
        timeouts=step.timeouts,
        attempt=record.attempt,
        failures=step.failures,
        lapses=step.lapses,
        started_at=record.at,
        worker_id=record.worker_id,
        last_failure=step.last_failure,
        effect_attempts=step.effect_attempts,
    )
    run.activity = Activity.LEASED


def _step_begun(run: RunState, _record: r.Record, _body: r.StepBegun) -> None:
    run.step = replace(_step(run), begun=True)


def _step_completed(run: RunState, record: r.Record, body: r.StepCompleted) -> None:
    if body.failure is not None:
        _step_failed(run, record, body, body.failure)
        return
    if body.vars_ops:
        _apply_ops(run, body.vars_ops)
    if body.child is not None:
        _link(run, record, body.child)
    if body.effect is not None:
        opener, effect = _step(run), body.effect
        run.step = Step(
            step_id=record.seq,
            node_id=opener.node_id,
            visit=opener.visit,
            queued_at=record.at,
            server_side=effect.server_side,
            effect=effect,
            queue=effect.queue,
            priority=effect.priority,
            timeouts=effect.timeouts,
            attempt=opener.effect_attempts,
        )
        run.activity = Activity.QUEUED
        return
    _store(run, body.result_key, body.result)
    _go_on(run, record, body.next)


def _apply_ops(run: RunState, ops: tuple[VarsOp, ...]) -> None:
    run.vars = apply_ops(run.vars, ops)
    run.vars_bytes = grown_size(run.vars_bytes, ops_size(ops), run.vars)


def _step_failed(run: RunState, record: r.Record, body: r.StepCompleted, failure: Failure) -> None:
    if body.retry_at:
        step = _step(run)
        run.step = replace(
            step,
            failures=step.failures + 1,
            retry_at=body.retry_at,
            last_failure=failure,
            worker_id="",
            begun=False,
        )
        run.activity = Activity.BACKOFF
        return
    if body.error_key:
        _store(run, body.error_key, Leaf.of(error_object(failure)))
    if body.next is None:
        run.step = replace(_step(run), last_failure=failure)
    _go_on(run, record, body.next)


def _requeued(run: RunState, record: r.Record, body: r.Requeued) -> None:
    if body.cause is r.RequeueCause.LAPSED:
        _queued(run, record, lapses=_step(run).lapses + 1)
    elif body.not_before:
        run.step = replace(_step(run), retry_at=body.not_before, worker_id="", begun=False)
        run.activity = Activity.BACKOFF
    else:
        _queued(run, record)
        if body.cause is r.RequeueCause.START_DUE:
            _start_due(run)
        elif body.cause is r.RequeueCause.SLOT_GRANTED:
            _slot_granted(run)


def _start_due(run: RunState) -> None:
    if run.concurrency is None:
        _make_due(run)
    else:
        _get_in_line(run)


def _slot_granted(run: RunState) -> None:
    run.slot = SlotState.HELD
    if _is_new(_step(run)):
        _make_due(run)


def _is_new(step: Step) -> bool:
    """Whether a node has just been entered, as far as the step tells."""
    return step.effect is None and step.attempt == step.failures == 0


def _waiting(run: RunState, record: r.Record, body: r.Waiting) -> None:
    run.status = RunStatus.WAITING
    run.activity = Activity.WAITING
    run.step = replace(_step(run), worker_id="")
    if body.child is not None:
        _link(run, record, body.child)
    run.waiting = Wait(
        wait_id=record.seq,
        reason=body.reason,
        node_id=record.node_id,
        since_at=record.at,
        wait_key=body.wait_key,
        event_name=body.event_name,
        event_scope=body.event_scope,
        event_scope_id=body.event_scope_id,
        event_floor=body.event_floor,
        until_at=body.until_at,
        deadline_at=body.deadline_at,
        on_deadline_node=body.on_deadline_node,
        resume_to_node=body.resume_to_node,
        result_key=body.result_key,
        prompt=body.prompt,
        choices=body.choices,
        allow_free_text=body.allow_free_text,
        details=body.details,
        answer_schema=body.answer_schema,
        assignee=body.assignee,
        child_run_id=body.child.run_id if body.child else "",
        needed=body.needed,
        missed_events=body.missed_events,
    )
    if body.reason is WaitReason.JOIN:
        run.join = Join(record.seq)


def _link(run: RunState, record: r.Record, link: r.ChildLink) -> None:
    child = Child(link.run_id, record.step_id, link.awaited, link.on_parent_cancel)
    run.children = run.children.put(link.run_id, child)


def _resumed(run: RunState, record: r.Record, body: r.Resumed) -> None:
    wait = _wait(run, body.wait_id)
    _store(run, wait.result_key, body.payload)
    _go_on(run, record, body.next)


def _event_consumed(run: RunState, record: r.Record, body: r.EventConsumed) -> None:
    wait = _wait(run, body.wait_id)
    key = (int(wait.event_scope), wait.event_scope_id, wait.event_name)
    run.consumed = {**run.consumed, key: body.position}
    _store(run, wait.result_key, body.payload)
    _go_on(run, record, body.next)


def _child_ended(run: RunState, record: r.Record, body: r.ChildEnded) -> None:
    run.children = run.children.without(body.child_run_id)
    if body.place:
        _branch_ended(run, body)
        return
    if body.wait_id == 0 or body.child_status is not RunStatus.COMPLETED:
        return
    wait = _wait(run, body.wait_id)
    _store(run, wait.result_key, body.result)
    _go_on(run, record, body.next)


def _branches_started(run: RunState, record: r.Record, body: r.BranchesStarted) -> None:
    join = _join(run, body.wait_id)
    places = enumerate(body.run_ids, start=body.first)
    begun = [(run_id, Child(run_id, record.step_id, True, ChildPolicy.CANCEL, place)) for place, run_id in places]
    run.children = run.children.put_all(begun)
    run.join = replace(join, started=join.started + len(begun), open=join.open + len(begun))


def _branch_ended(run: RunState, body: r.ChildEnded) -> None:
    if run.join is None or run.waiting is None:
        raise ValueError(f"run {run.run_id} joins nothing at seq {run.seq}")
    join = run.join
    if body.result is None:
        run.join = replace(join, open=join.open - 1, failed=join.failed + 1)
        return
    results = join.results.put(body.place, body.result)
    run.join = replace(join, open=join.open - 1, results=results, size=join.size + body.result.size)
    run.waiting = replace(run.waiting, joined=len(results))


def _joined(run: RunState, record: r.Record, body: r.Joined) -> None:
    wait, join = _wait(run, body.wait_id), _join(run, body.wait_id)
    _store(run, wait.result_key, joined_result(fanout_of(run), join.results))
    _go_on(run, record, body.next)


def _join(run: RunState, wait_id: int) -> Join:
    if run.join is None or run.join.wait_id != wait_id:
        raise ValueError(f"run {run.run_id} joins nothing with wait {wait_id} at seq {run.seq}")
    return run.join


def _parked(run: RunState, _record: r.Record, body: r.Parked) -> None:
    run.step = replace(_step(run), park_reason=body.reason, lapses=body.lapses, worker_id="")
    run.activity = Activity.PARKED


def _unparked(run: RunState, record: r.Record, body: r.Unparked) -> None:
    has_no_slot = run.concurrency is not None and run.slot is SlotState.NONE and not run.cancelling
    if body.resolution is r.Resolution.RERUN:
        _queued(run, record, lapses=0, park_reason=None)
        if has_no_slot:
            _get_in_line(run)
        return
    run.step = replace(_step(run), park_reason=None)
    run.activity = Activity.QUEUED
    if has_no_slot:
        run.slot = SlotState.IN_LINE


def _paused(run: RunState, _record: r.Record, _body: r.Paused) -> None:
    run.paused = True


def _unpaused(run: RunState, record: r.Record, _body: r.Unpaused) -> None:
    run.paused = False
    if run.activity is Activity.QUEUED and run.step is not None:
        run.step = replace(run.step, queued_at=record.at)


def _budget_added(run: RunState, record: r.Record, body: r.BudgetAdded) -> None:
    run.step_budget += body.steps
    if run.activity is Activity.IDLE:
        run.step = replace(_step(run), queued_at=record.at)
        _make_due(run)


def _cancel_requested(run: RunState, record: r.Record, body: r.CancelRequested) -> None:
    _abandon(run)
    run.cancelling = True
    run.cancel_reason = body.reason
    run.paused = False
    if run.slot is SlotState.IN_LINE:
        run.slot = SlotState.NONE
    _go_on(run, record, body.next)


def _abandon(run: RunState) -> None:
    if run.activity is Activity.LEASED and run.step is not None:
        run.abandoned = (run.step.step_id, run.step.attempt)


def _end(run: RunState, record: r.Record, status: RunStatus) -> None:
    _abandon(run)
    run.status = status
    run.activity = Activity.NONE
    run.paused = False
    run.cancelling = False
    run.step = None
    run.waiting = None
    run.children = empty_map()
    run.join = None
    run.step_budget = 0
    run.ended_at = record.at
    run.slot = SlotState.NONE


def _completed(run: RunState, record: r.Record, body: r.Completed) -> None:
    run.output = body.output
    run.failed_step = None
    _end(run, record, RunStatus.COMPLETED)


def _failed(run: RunState, record: r.Record, body: r.Failed) -> None:
    run.error = body.failure
    run.failed_step = run.step or run.failed_step
    _end(run, record, RunStatus.FAILED)


def _cancelled(run: RunState, record: r.Record, body: r.Cancelled) -> None:
    run.output = body.output
    run.error = body.failure or Failure("CANCELLED", body.reason)
    run.cancel_reason = body.reason
    run.failed_step = None
    _end(run, record, RunStatus.CANCELLED)


def _late_result(run: RunState, _record: r.Record, _body: r.LateResult) -> None:
    """Changes nothing but the place in the ledger (seq, updated_at); a second report is no longer expected."""
    run.abandoned = None


def _reopened(run: RunState, record: r.Record, body: r.Reopened) -> None:
    """The failed step is due again: counted from nothing, but its attempts go on.

    What may have been executed is parked, and has no place in the line of the run's key before it is resolved.
    """
    failed = run.failed_step
    if failed is None:
        raise ValueError(f"run {run.run_id} has no failed step at seq {run.seq}")
    if body.vars_ops:
        _apply_ops(run, body.vars_ops)
    if body.entry is not None:
        _stand_at(run, record, body.entry)
        before = failed.attempt if failed.effect is not None else failed.effect_attempts
        attempt = 0 if failed.effect is not None else failed.attempt
        run.step = replace(_step(run), attempt=attempt, effect_attempts=before, last_failure=failed.last_failure)
    else:
        run.status = RunStatus.RUNNING
        run.step = replace(failed, step_id=record.seq, failures=0)
        _queued(run, record, lapses=0, park_reason=None, started_at=0)
    run.activity = Activity.QUEUED
    if body.in_doubt:
        run.step = replace(_step(run), begun=True, park_reason=ParkReason.IN_DOUBT)
        run.activity = Activity.PARKED
    elif run.concurrency is not None:
        _get_in_line(run)
        if run.drive is Drive.MANUAL and _is_new(_step(run)):
            run.step_budget += 1  # the grant takes it: the node was paid for when it was entered
    run.failed_step = run.error = None
    run.ended_at = run.turns = 0
    run.deadline_at = body.deadline_at
    run.paused = body.paused
    run.reopened += 1


def _migrated(run: RunState, record: r.Record, body: r.Migrated) -> None:
    names = dict(body.node_map)
    run.workflow_version = body.to_version
    run.current_node = body.entry.node_id
    run.visits = renamed_visits(run.visits, names, body.entry)
    run.step = renamed_step(_step(run), names, body.entry)
    if run.waiting is not None:
        run.waiting = renamed_wait(run.waiting, names)
    if body.requeued:
        _queued(run, record)


_APPLY: dict[type, Callable[[RunState, r.Record, Any], None]] = {
    r.StepStarted: _step_started,
    r.StepBegun: _step_begun,
    r.StepCompleted: _step_completed,
    r.Requeued: _requeued,
    r.Waiting: _waiting,
    r.Resumed: _resumed,
    r.EventConsumed: _event_consumed,
    r.ChildEnded: _child_ended,
    r.Parked: _parked,
    r.Unparked: _unparked,
    r.Paused: _paused,
    r.Unpaused: _unpaused,
    r.BudgetAdded: _budget_added,
    r.CancelRequested: _cancel_requested,
    r.Completed: _completed,
    r.Failed: _failed,
    r.Cancelled: _cancelled,
    r.LateResult: _late_result,
    r.BranchesStarted: _branches_started,
    r.Joined: _joined,
    r.Reopened: _reopened,
    r.Migrated: _migrated,
}
