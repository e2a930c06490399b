"""What a run obliges the store to hold beside its state: task, turn, timers, wait, children (DESIGN 5)."""

from __future__ import annotations

from perdure_server.kernel.decision import NO_OBLIGATIONS, Obligations, SlotDue, TaskDue
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.joins import room
from perdure_server.kernel.model import Activity, RunState, SlotState, Step


def obligations(run: RunState) -> Obligations:
    """Task, turn, timers, wait and children of a run as it stands; nothing for one that has ended."""
    if run.ended:
        return NO_OBLIGATIONS
    step = run.step
    has_turn = (step is not None and step.server_side and run.activity is Activity.QUEUED) or room(run) > 0
    turn = run.paused if has_turn else None
    slot = slot_due(run) if run.concurrency else None
    return Obligations(task_due(run), turn, timers(run), run.waiting, run.children.keys(), slot)


def slot_due(run: RunState) -> SlotDue | None:
    """The place of a run in the line of its concurrency key, if it has one."""
    if run.concurrency is None or run.slot is SlotState.NONE:
        return None
    held = run.slot is SlotState.HELD
    return SlotDue(run.concurrency, held, run.paused and not held)


def task_due(run: RunState) -> TaskDue | None:
    """The task of a run, if a worker's step is due or handed out."""
    step = run.step
    if step is None:
        return None
    if run.activity is Activity.LEASED:
        leased = True
    elif run.activity is Activity.QUEUED and not step.server_side:
        leased = False
    else:
        return None
    return TaskDue(
        step.step_id,
        step.attempt,
        step.node_id,
        step.effect.type if step.effect else "",
        step.queue,
        step.priority,
        leased,
        run.paused and not leased,
        step.worker_id,
        step.queued_at,
    )


def timers(run: RunState) -> dict[TimerKind, int]:
    """The instants a run depends on, by kind. HEARTBEAT is the lease's, not the run's."""
    due: dict[TimerKind, int] = {}
    if run.deadline_at:
        due[TimerKind.RUN_DEADLINE] = run.deadline_at
    step, wait = run.step, run.waiting
    if wait is not None:
        if wait.until_at:
            due[TimerKind.UNTIL] = wait.until_at
        if wait.deadline_at:
            due[TimerKind.WAIT_DEADLINE] = wait.deadline_at
    elif step is not None:
        _step_timers(run, step, due)
    return due


def _step_timers(run: RunState, step: Step, due: dict[TimerKind, int]) -> None:
    limits = step.timeouts
    if run.slot is SlotState.IN_LINE:
        return
    if run.activity is Activity.BACKOFF:
        first = step.attempt == 0 and step.failures == 0
        due[TimerKind.START if first else TimerKind.RETRY] = step.retry_at
    elif run.activity is Activity.LEASED:
        if limits.start_to_close_us:
            due[TimerKind.START_TO_CLOSE] = step.started_at + limits.start_to_close_us
    elif run.activity is Activity.QUEUED and _claimable(run, step) and limits.schedule_to_start_us:
        due[TimerKind.SCHEDULE_TO_START] = step.queued_at + limits.schedule_to_start_us


def _claimable(run: RunState, step: Step) -> bool:
    return not step.server_side and not run.paused
