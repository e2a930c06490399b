"""Start, pause, unpause, cancel and the step budget of a run."""

from __future__ import annotations

from perdure_server.kernel.decision import Decision, Env, EventAppend, NewRun, Reason, Rejection, SlotsTaken
from perdure_server.kernel.draft import Draft, node_entry, not_due
from perdure_server.kernel.endings import deadline_passed, end_failed
from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.inputs import Cancel, EventOffered, Pause, SlotGranted, StartRun, TickBudget, Unpause
from perdure_server.kernel.model import Concurrency, Drive, EventScope, OnLimit, RunState, RunStatus, SlotState
from perdure_server.kernel.records import (
    BudgetAdded,
    Cancelled,
    CancelRequested,
    Paused,
    Record,
    RequeueCause,
    Requeued,
    RunStarted,
    Unpaused,
)
from perdure_server.kernel.values import Leaf

DEFAULT_CANCEL_REASON = "Cancelled"


def begin_run(start: StartRun, env: Env, at: int) -> NewRun:
    """A new run, standing at its first node.

    Raises: Rejection NODE_NOT_FOUND if the workflow has no such entry node.
    """
    spec = env.spec
    node = spec.nodes.get(start.entry_node or spec.entry_node)
    if node is None:
        raise Rejection(
            Reason.NODE_NOT_FOUND,
            f"workflow {spec.workflow_id!r} has no node {start.entry_node!r}",
            field="entry_node",
        )
    body = RunStarted(
        namespace=start.namespace,
        run_id=start.run_id,
        root_run_id=start.root_run_id or start.run_id,
        session_id=start.session_id or start.root_run_id or start.run_id,
        actor_id=start.actor_id,
        workflow_id=spec.workflow_id,
        workflow_version=spec.version,
        entry=node_entry(node, 1),
        vars=start.vars,
        parent_run_id=start.parent_run_id,
        parent_step_id=start.parent_step_id,
        depth=start.depth,
        branch=start.branch,
        drive=start.drive,
        start_at=start.start_at if start.start_at > at else 0,
        deadline_at=start.deadline_at,
        labels=start.labels,
        event_floor=env.horizon,
        trace_context=start.trace_context,
        concurrency=start.concurrency,
        in_line=env.line is not None and start.start_at <= at,
    )
    record = Record(1, at, body, node.node_id, 1, step_id=1)
    return NewRun(evolve(None, record), (record,))


def start_run(start: StartRun, env: Env) -> Decision:
    """StartRun on NONE: the run exists and its first step is due; one whose deadline has passed has failed.

    Raises: Rejection NODE_NOT_FOUND; VARS_TOO_LARGE if the vars grow past their limit when re-serialised.
    """
    limit = env.limits.vars_bytes
    if start.vars.stored_size > limit:
        raise Rejection(Reason.VARS_TOO_LARGE, f"the vars take more than {limit} bytes", field="vars_json")
    if start.concurrency is not None and env.line is not None:
        _check_line(start.concurrency, env.line, env)
    new = begin_run(start, env, env.now)
    decision = Decision(new.run, list(new.records))
    if start.event is not None:
        decision.events.append(_own_event(new.run, start.event, env.now))
    if 0 < start.deadline_at <= env.now:
        draft = Draft(new.run, env, decision)
        end_failed(draft, deadline_passed())
        decision.run = draft.run
    return decision


def _check_line(wanted: Concurrency, line: SlotsTaken, env: Env) -> None:
    if wanted.on_limit is OnLimit.REJECT:
        raise Rejection(
            Reason.CONCURRENCY_LIMIT,
            f"{wanted.limit} runs or more hold or await a slot of key {wanted.key!r}; try again when one has ended",
            field="concurrency.key",
            holder_run_id=line.holder_run_id,
        )
    if line.waiting >= env.limits.runs_in_line:
        raise Rejection(
            Reason.LIMIT_REACHED,
            f"{line.waiting} runs are in line for key {wanted.key!r}; at most {env.limits.runs_in_line} may be",
            field="concurrency.key",
        )


def slot_granted(draft: Draft, _event: SlotGranted) -> None:
    """It is the run's turn: its step is due."""
    if draft.run.slot is not SlotState.IN_LINE:
        raise not_due("the slot")
    draft.add(Requeued(RequeueCause.SLOT_GRANTED))


def take_event(draft: Draft, event: EventOffered) -> None:
    """An event for the run's own scope: appended while the run can still take it, in a commit that its end refuses."""
    draft.events.append(_own_event(draft.run, event, draft.env.now))


def event_payload(payload: Leaf | None) -> Leaf:
    """An event's payload as it is delivered: an object."""
    if payload is None or payload.value is None:
        return Leaf(b"{}")
    if isinstance(payload.value, dict):
        return payload
    return Leaf(b'{"value":' + payload.data + b"}")


def _own_event(run: RunState, event: EventOffered, now: int) -> EventAppend:
    return EventAppend(
        scope=EventScope.RUN,
        scope_id=run.run_id,
        name=event.name,
        event_id=event.event_id,
        payload=event_payload(event.payload),
        at=now,
        emitted_by=event.emitted_by,
    )


def pause(draft: Draft, event: Pause) -> None:
    """Nothing new starts; pausing again changes nothing."""
    if not draft.run.paused:
        draft.add(Paused(event.reason, event.paused_by))


def unpause(draft: Draft, event: Unpause) -> None:
    """Undoes a pause; without one it changes nothing."""
    if draft.run.paused:
        draft.add(Unpaused(event.unpaused_by))


def tick_budget(draft: Draft, event: TickBudget) -> None:
    """Adds node entries to a manual run."""
    if draft.run.drive is not Drive.MANUAL:
        raise Rejection(
            Reason.RUN_NOT_MANUAL,
            "the run drives itself; only runs started with manual drive take TickRun",
        )
    if event.steps:
        draft.add(BudgetAdded(event.steps))


def cancel(draft: Draft, event: Cancel) -> None:
    """Ends the run at once, or enters on_cancel_node; a second cancel ends that path at once.

    A branch just ends: undoing things is the business of the run that it belongs to.
    """
    run = draft.run
    draft.cancel_children()
    if run.cancelling:
        draft.add(Cancelled(run.cancel_reason, cancelled_by=event.cancelled_by))
        draft.tell_parent()
        return
    reason = event.reason or DEFAULT_CANCEL_REASON
    on_cancel = draft.env.spec.on_cancel_node
    if on_cancel and not run.branch:
        draft.add(CancelRequested(reason, draft.entry(on_cancel), event.cancelled_by))
        return
    draft.add(Cancelled(reason, cancelled_by=event.cancelled_by))
    draft.tell_parent()


def ended(_draft: Draft, _event: object) -> None:
    """A changing input on a run that has ended."""
    raise run_ended(_draft.run)


def run_ended(run: RunState) -> Rejection:
    """Of a changing input on a run that has ended."""
    way_on = "retry it" if run.status is RunStatus.FAILED else "start another one"
    return Rejection(
        Reason.RUN_ENDED,
        f"the run has ended ({run.status.name.lower()}); {way_on}",
        status=run.status.name,
    )


def nothing(_draft: Draft, _event: object) -> None:
    """Accepted, and changes nothing."""
