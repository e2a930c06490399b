"""What a run obliges the store to hold beside its state: task, turn, timers, wait, children (DESIGN 5)."""

from __future__ import annotations

from perdure_server.kernel.decision import NO_OBLIGATIONS, Obligations, TaskDue
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.model import Activity, RunState, Step


def obligations(run: RunState) -> Obligations:
    """Task, turn, timers, wait and children of a run as it stands; nothing for one that has ended."""
    if run.ended:
        return NO_OBLIGATIONS
    step = run.step
    turn: bool | None = None
    task: TaskDue | None = None
    if step is not None:
        if run.activity is Activity.LEASED:
            task = _task(run, step, leased=True)
        elif run.activity is Activity.QUEUED and step.server_side:
            turn = run.paused
        elif run.activity is Activity.QUEUED:
            task = _task(run, step, leased=False)
    return Obligations(
        task=task,
        turn=turn,
        timers=timers(run),
        wait=run.waiting,
        children=frozenset(run.children),
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


def _task(run: RunState, step: Step, *, leased: bool) -> TaskDue:
    return TaskDue(
        step_id=step.step_id,
        attempt=step.attempt,
        node_id=step.node_id,
        effect_type=step.effect.type if step.effect else "",
        queue=step.queue,
        priority=step.priority,
        leased=leased,
        held=run.paused and not leased,
        worker_id=step.worker_id,
        queued_at=step.queued_at,
    )
