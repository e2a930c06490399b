"""What holds for every ledger and every run, whatever happened: the promises as checks.

Each law is written from the promises alone. `check_ledger` reads a whole ledger, `check_run` the state that
stands at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.model import (
    Activity,
    Drive,
    Fanout,
    Join,
    NodeEntry,
    RunState,
    RunStatus,
    SlotState,
    WaitReason,
)
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import (
    BranchesStarted,
    CancelRequested,
    ChildEnded,
    EventConsumed,
    Joined,
    Migrated,
    Record,
    RecordKind,
    Reopened,
    RequeueCause,
    Requeued,
    Resolution,
    Resumed,
    RunStarted,
    StepCompleted,
    Unparked,
    Waiting,
)
from perdure_server.kernel.values import dump_json

ENDS = frozenset({RecordKind.COMPLETED, RecordKind.FAILED, RecordKind.CANCELLED})
BY_PERSON = frozenset({WaitReason.EVENT, WaitReason.USER, WaitReason.JOB})


def entry_of(record: Record) -> NodeEntry | None:
    """The node that a record enters, if any."""
    body = record.body
    if isinstance(body, RunStarted):
        return body.entry
    if isinstance(body, StepCompleted | Resumed | EventConsumed | ChildEnded | Joined | CancelRequested):
        return body.next
    return None


def settles(record: Record) -> bool:
    """Whether a record is the one outcome of its step."""
    body = record.body
    if isinstance(body, StepCompleted):
        return not body.retry_at
    if isinstance(body, ChildEnded):
        return body.wait_id != 0 and body.child_status is RunStatus.COMPLETED
    return isinstance(body, Resumed | EventConsumed | Joined)


def check_ledger(records: Sequence[Record]) -> None:
    """Order, numbering, fencing and one outcome a step."""
    assert [record.seq for record in records] == list(range(1, len(records) + 1)), "seq is dense from 1"
    times = [record.at for record in records]
    assert times == sorted(times), "record times never decrease"
    _check_ends(records)
    _check_visits(records)
    _check_steps(records)
    _check_begun(records)


def _check_ends(records: Sequence[Record]) -> None:
    end: RecordKind | None = None
    for record in records:
        if record.kind is RecordKind.REOPENED:
            assert end is RecordKind.FAILED, "only a failed run is opened again"
            end = None
        elif end is not None:
            assert record.kind is RecordKind.LATE_RESULT, f"after the end only late results, not {record.kind.name}"
        elif record.kind in ENDS:
            end = record.kind


def _check_visits(records: Sequence[Record]) -> None:
    visits: Counter[str] = Counter()
    for record in records:
        entry = entry_of(record)
        if entry is not None:
            visits[entry.node_id] += 1
            assert entry.visit == visits[entry.node_id], f"seq {record.seq}: every entry of a node is one visit"
        if isinstance(record.body, Reopened) and record.body.entry is not None:
            again = record.body.entry
            assert again.visit == visits[again.node_id], f"seq {record.seq}: a retry is no visit"
        if isinstance(record.body, Migrated):
            _check_moved_visits(record, record.body, visits)


def _check_moved_visits(record: Record, body: Migrated, visits: Counter[str]) -> None:
    """Where a node has another name, its visits are counted on, and no visit that was there before comes again."""
    node_id, there = body.entry.node_id, visits[body.entry.node_id]
    stays = node_id == record.node_id or there < record.visit
    assert body.entry.visit == (record.visit if stays else there + 1), f"seq {record.seq}: {body}"
    before = Counter(visits)
    for old, new in body.node_map:
        if old in before:
            visits[new] = max(visits[new], before[old])
    visits[node_id] = max(visits[node_id], body.entry.visit)


def _check_steps(records: Sequence[Record]) -> None:
    attempts: Counter[str] = Counter()
    outcomes: Counter[int] = Counter()
    at_effect = False
    for record in records:
        body = record.body
        if entry_of(record) is not None:
            attempts.clear()
        if isinstance(body, Reopened) and body.entry is not None and at_effect:
            attempts["node"] = 0  # back from the effect: a step of its own
        at_effect = (at_effect or (isinstance(body, StepCompleted) and body.effect is not None)) and not (
            entry_of(record) is not None or (isinstance(body, Reopened) and body.entry is not None)
        )
        if record.kind is RecordKind.STEP_STARTED:
            what = "effect" if record.idempotency_key else "node"
            attempts[what] += 1
            assert record.attempt == attempts[what], f"seq {record.seq}: every hand-out of a visit is attempt + 1"
            assert record.worker_id, f"seq {record.seq}: an attempt has a worker"
        if settles(record):
            outcomes[record.step_id] += 1
            assert outcomes[record.step_id] == 1, f"seq {record.seq}: step {record.step_id} has a second outcome"


def _check_begun(records: Sequence[Record]) -> None:
    """Once begun, an attempt is not repeated by itself: it was reported, given back, or somebody decided."""
    begun: set[int] = set()
    doubtful = False
    for record in records:
        body = record.body
        doubtful = record.kind is RecordKind.STEP_BEGUN or (doubtful and not _clears_doubt(record))
        if isinstance(body, Reopened):
            assert body.in_doubt == doubtful, f"seq {record.seq}: only what had not begun is executed again unasked"
        if record.kind is RecordKind.STEP_BEGUN:
            begun.add(record.step_id)
        elif isinstance(body, Requeued) and body.cause is RequeueCause.RELEASED:
            begun.discard(record.step_id)
        elif isinstance(body, StepCompleted | Unparked):
            timed_out = isinstance(body, StepCompleted) and body.failure and body.failure.type == "TIMEOUT"
            assert not (timed_out and record.step_id in begun), f"seq {record.seq}: a begun step is in doubt"
            begun.discard(record.step_id)
        elif record.kind is RecordKind.STEP_STARTED:
            assert record.step_id not in begun, f"seq {record.seq}: a begun step was handed out again"


def _clears_doubt(record: Record) -> bool:
    """Whether a begun effect is not, or no longer, one that may have been executed by the present attempt."""
    body = record.body
    if isinstance(body, Requeued):
        return body.cause is RequeueCause.RELEASED
    if isinstance(body, StepCompleted) and body.failure is not None and body.next is None:
        return bool(body.retry_at)
    if isinstance(body, Unparked):
        return body.resolution is Resolution.RERUN
    return entry_of(record) is not None or isinstance(body, StepCompleted)


def check_children(records: Sequence[Record], run: RunState) -> None:
    """A run's children are those that it has started since it was last opened, and whose end it has not seen.

    Args:
        records: the run's.
        run: the state at their end.
    """
    children: set[str] = set()
    for record in records:
        body = record.body
        if isinstance(body, Reopened) or record.kind in ENDS:
            children.clear()
        elif isinstance(body, StepCompleted | Waiting) and body.child is not None:
            children.add(body.child.run_id)
        elif isinstance(body, BranchesStarted):
            children.update(body.run_ids)
        elif isinstance(body, ChildEnded):
            children.discard(body.child_run_id)
    assert run.children.keys() == children


def check_run(run: RunState, vars_limit: int) -> None:
    """Exactly one activity, something that can move the run, and true sizes.

    Args:
        run: a state between commits.
        vars_limit: what the vars may take, in bytes.
    """
    due = obligations(run)
    assert run.ended == (run.activity is Activity.NONE)
    assert (run.status is RunStatus.WAITING) == (run.activity is Activity.WAITING)
    assert (run.waiting is not None) == (run.activity is Activity.WAITING)
    size = len(dump_json(run.vars))
    assert size <= run.vars_bytes, "the known size of vars is an upper bound"
    assert size <= vars_limit
    assert (run.failed_step is not None) == (run.status is RunStatus.FAILED), "what failed can be retried"
    assert run.ended == bool(run.ended_at)
    if run.ended:
        assert due == type(due)(), "an ended run obliges to nothing"
        assert run.ended_at
        assert not run.paused
        assert not run.cancelling
        return
    assert due.children == frozenset(run.children)
    assert due.timers.get(TimerKind.RUN_DEADLINE, 0) == run.deadline_at
    _check_activity(run)


def _check_activity(run: RunState) -> None:
    due, step = obligations(run), run.step
    assert step is not None, "a run that has not ended has a step"
    tasks = due.task is not None
    turns = due.turn is not None
    assert tasks == (run.activity is Activity.LEASED or (run.activity is Activity.QUEUED and not step.server_side))
    assert turns == ((run.activity is Activity.QUEUED and step.server_side) or may_start(run))
    if due.task is not None:
        assert (due.task.step_id, due.task.attempt) == (step.step_id, step.attempt)
        assert due.task.leased == (run.activity is Activity.LEASED) == bool(due.task.worker_id)
        assert due.task.held == (run.paused and run.activity is Activity.QUEUED)
    if due.turn is not None:
        assert due.turn == run.paused
    assert (step.park_reason is not None) == (run.activity is Activity.PARKED)
    backoff = due.timers.keys() & {TimerKind.START, TimerKind.RETRY}
    in_line = run.slot is SlotState.IN_LINE
    assert bool(backoff) + in_line == (run.activity is Activity.BACKOFF), "a retry, a start in the future, or a line"
    assert (due.slot is not None) == (run.slot is not SlotState.NONE)
    if run.concurrency is not None and run.activity not in {Activity.PARKED, Activity.BACKOFF}:
        assert run.cancelling or run.slot is SlotState.HELD, "nothing of a run with a key moves without a slot"
    if due.slot is not None:
        assert (due.slot.concurrency, due.slot.held) == (run.concurrency, not in_line)
        assert due.slot.aside == (run.paused and in_line)
    if run.activity is Activity.IDLE:
        assert run.drive is Drive.MANUAL
        assert run.step_budget == 0
        assert not run.cancelling, "the budget does not apply on the way of a cancel"
    if run.waiting is not None:
        _check_wait(run)


def may_start(run: RunState) -> bool:
    """Whether a branch or item of a join is to be started."""
    effect = run.step.effect if run.step is not None else None
    if run.join is None or effect is None or not isinstance(effect.request, Fanout):
        return False
    return run.join.started < effect.request.total and run.join.open < effect.request.max_concurrency


def _check_join(run: RunState, join: Join) -> None:
    """What is under way is an open child, and what it needs can still come."""
    assert run.step is not None
    assert run.step.effect is not None
    request, wait = run.step.effect.request, run.waiting
    assert isinstance(request, Fanout)
    assert wait is not None
    places = [child.place for child in run.children.values() if child.place and child.step_id == run.step.step_id]
    assert len(places) == len(set(places)) == join.open <= request.max_concurrency
    assert join.started == join.open + join.failed + len(join.results) <= request.total
    assert (wait.needed, wait.joined) == (request.needed, len(join.results))
    assert len(join.results) < request.needed <= request.total - join.failed, "else the wait would have ended"
    assert join.open or may_start(run), "something can end the wait"


def _check_wait(run: RunState) -> None:
    due, wait = obligations(run), run.waiting
    assert wait is not None
    assert due.wait == wait
    by_child = wait.reason is WaitReason.SUBWORKFLOW
    assert by_child == bool(wait.child_run_id)
    assert (wait.reason is WaitReason.JOIN) == (run.join is not None)
    if run.join is not None:
        _check_join(run, run.join)
    elif by_child:
        assert wait.child_run_id in due.children, "the end of an open child ends the wait"
    elif wait.reason is WaitReason.UNTIL:
        assert due.timers[TimerKind.UNTIL] == wait.until_at
    else:
        assert wait.reason in BY_PERSON, "a resume can end the wait"
    assert due.timers.get(TimerKind.WAIT_DEADLINE, 0) == wait.deadline_at
