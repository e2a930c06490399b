"""From states to rows: sealed records, the run's head, and the difference between obligations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure_server.engine.ports import Codec
from perdure_server.engine.sealing import genesis_hash, record_hash
from perdure_server.ids import new_salts
from perdure_server.kernel.decision import Obligations, SlotDue, TaskDue
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.model import OnLimit, RunState, Step, Wait
from perdure_server.kernel.records import Record, RequeueCause, Requeued, RunStarted
from perdure_server.storage.port import (
    NewRecord,
    ObligationChange,
    ObligationRows,
    RunHead,
    RunIdentity,
    SlotKind,
    SlotRow,
    StoredRecord,
    TaskRow,
    TimerRow,
    WaitRow,
)


@dataclass(slots=True, unsafe_hash=True)
class Sealed:
    """Records with their place in the hash chain."""

    rows: tuple[NewRecord, ...]
    prev_hash: bytes
    head_hash: bytes
    size: int


def seal(codec: Codec, run: RunState, records: Sequence[Record], prev_hash: bytes) -> Sealed:
    """Encodes records, commits to their payloads and chains them.

    Args:
        run: any state of the run; gives the ids of the headers.
        prev_hash: hash of the record before; empty for a new run.
    """
    first = prev_hash or genesis_hash(run.namespace, run.run_id)
    head, size = first, 0
    rows: list[NewRecord] = []
    for record in records:
        data, payloads = codec.encode_record(run, record, new_salts)
        head = record_hash(head, data)
        size += len(data)
        for payload in payloads:
            size += len(payload.data or b"")
        rows.append(
            NewRecord(record.seq, int(record.kind), int(record.status), record.node_id, record.at, data, head, payloads)
        )
    return Sealed(tuple(rows), first, head, size)


def stored_records(run: RunState, sealed: Sealed, positions: Sequence[int]) -> list[StoredRecord]:
    """Sealed records as the ledger now holds them."""
    stored: list[StoredRecord] = []
    prev = sealed.prev_hash
    for row, position in zip(sealed.rows, positions, strict=True):
        stored.append(
            StoredRecord(
                run.namespace,
                run.run_id,
                row.seq,
                position,
                row.kind,
                row.status,
                row.node_id,
                row.at,
                run.workflow_id,
                run.session_id,
                run.root_run_id,
                row.record,
                prev,
                row.record_hash,
                row.payloads,
            )
        )
        prev = row.record_hash
    return stored


def identity_row(run: RunState) -> RunIdentity:
    """What names and describes a run."""
    return RunIdentity(
        namespace=run.namespace,
        run_id=run.run_id,
        root_run_id=run.root_run_id,
        parent_run_id=run.parent_run_id,
        depth=run.depth,
        workflow_id=run.workflow_id,
        workflow_version=run.workflow_version,
        entry_node=run.entry_node,
        branch=run.branch,
        session_id=run.session_id,
        actor_id=run.actor_id,
        labels=run.labels,
        drive=int(run.drive),
        created_at=run.created_at,
        deadline_at=run.deadline_at,
    )


def head_row(run: RunState, head_hash: bytes, wait: WaitRow | None) -> RunHead:
    """The run's small head."""
    return RunHead(
        status=int(run.status),
        activity=int(run.activity),
        paused=run.paused,
        current_node=run.current_node,
        seq=run.seq,
        head_hash=head_hash,
        updated_at=run.updated_at,
        ended_at=run.ended_at,
        step_budget=run.step_budget,
        error_type=run.error.type if run.error else "",
        wait=wait,
    )


def wait_row(codec: Codec, wait: Wait | None) -> WaitRow | None:
    """The row of a wait."""
    if wait is None:
        return None
    return WaitRow(
        wait_id=wait.wait_id,
        reason=int(wait.reason),
        wait_key=wait.wait_key,
        assignee=wait.assignee,
        event_name=wait.event_name,
        event_scope=int(wait.event_scope),
        event_scope_id=wait.event_scope_id,
        since_at=wait.since_at,
        detail=codec.encode_wait(wait),
    )


def task_row(run: RunState, task: TaskDue, lease_now: int, lease_us: int) -> TaskRow:
    """The row of a task; a leased one gets a fresh lease.

    Args:
        lease_now: now, in the store's lease clock.
        lease_us: how long a lease lasts.
    """
    heartbeat_us = run.step.timeouts.heartbeat_us if run.step else 0
    return TaskRow(
        step_id=task.step_id,
        attempt=task.attempt,
        node_id=task.node_id,
        effect_type=task.effect_type,
        workflow_id=run.workflow_id,
        workflow_version=run.workflow_version,
        queue=task.queue,
        priority=task.priority,
        queued_at=task.queued_at,
        held=task.held,
        leased=task.leased,
        worker_id=task.worker_id if task.leased else "",
        lease_expires_at=lease_now + lease_us if task.leased else 0,
        heartbeat_due_at=lease_now + heartbeat_us if task.leased and heartbeat_us else 0,
    )


def slot_row(slot: SlotDue | None) -> SlotRow | None:
    """The row of a place with a concurrency key."""
    if slot is None:
        return None
    kind = SlotKind.HELD if slot.held else SlotKind.ASIDE if slot.aside else SlotKind.IN_LINE
    wanted = slot.concurrency
    return SlotRow(wanted.key, wanted.limit, kind, wanted.on_limit is OnLimit.CANCEL_OLDEST)


def slot_asked(run: RunState, records: Sequence[Record]) -> SlotRow | None:
    """The slot that the run came to hold with these records, also if they end it."""
    if run.concurrency is None:
        return None
    for record in records:
        body = record.body
        starts = isinstance(body, RunStarted) and not body.in_line and not body.start_at
        if starts or (isinstance(body, Requeued) and body.cause is RequeueCause.SLOT_GRANTED):
            return slot_row(SlotDue(run.concurrency, held=True, aside=False))
    return None


def change_rows(
    run: RunState, before: Obligations, after: Obligations, lease_now: int, lease_us: int
) -> ObligationChange:
    """What a commit must change in the rows of a run. `lease_now` and `lease_us` as in `task_row`."""
    task_set = _differ(before.task, after.task)
    task = task_row(run, after.task, lease_now, lease_us) if task_set and after.task else None
    puts: tuple[TimerRow, ...] = ()
    drops: tuple[int, ...] = ()
    if before.timers or after.timers:
        old, new = before.timers, after.timers
        puts = tuple(TimerRow(int(kind), due) for kind, due in new.items() if old.get(kind) != due)
        drops = tuple(int(kind) for kind in old if kind not in new)
    return ObligationChange(
        task_set=task_set,
        task=task,
        turn_set=before.turn != after.turn,
        turn=after.turn,
        timers_put=puts,
        timers_dropped=drops,
        slot_set=before.slot is not after.slot and before.slot != after.slot,
        slot=slot_row(after.slot),
    )


def _differ(before: TaskDue | None, after: TaskDue | None) -> bool:
    """Whether two tasks differ; nearly always the attempt tells, and comparing all of them costs ten times that."""
    if before is None or after is None:
        return before is not after
    return before.step_id != after.step_id or before.attempt != after.attempt or before != after


def obligation_rows(run: RunState, due: Obligations, lease_now: int, lease_us: int) -> ObligationRows:
    """All rows that a run obliges the store to hold, as repairs install them."""
    task = task_row(run, due.task, lease_now, lease_us) if due.task else None
    timers = tuple(TimerRow(int(kind), at) for kind, at in due.timers.items())
    return ObligationRows(task, due.turn, timers, slot_row(due.slot))


def rows_differ(due: Obligations, rows: ObligationRows) -> str:
    """How stored rows differ from obligations, for people; empty if they agree.

    Leases' owners and ends are not compared: they are not state.
    """
    problems: list[str] = []
    task, row = due.task, rows.task
    if (task is None) != (row is None):
        problems.append(f"task {'missing' if row is None else 'left over'}")
    elif task is not None and row is not None:
        wanted = (task.step_id, task.attempt, task.leased, task.held, task.queue, task.priority)
        found = (row.step_id, row.attempt, row.leased, row.held, row.queue, row.priority)
        if wanted != found:
            problems.append(f"task is {found}, should be {wanted}")
    if due.turn != rows.turn:
        problems.append(f"turn is {rows.turn}, should be {due.turn}")
    timers = {TimerKind(timer.kind): timer.due_at for timer in rows.timers}
    if timers != dict(due.timers):
        problems.append(f"timers are {timers}, should be {dict(due.timers)}")
    if (slot := slot_row(due.slot)) != rows.slot:
        problems.append(f"slot is {rows.slot}, should be {slot}")
    return "; ".join(problems)


def newly_leased(before: Step | None, run: RunState, due: Obligations) -> bool:
    """Whether the transition ended with an attempt that it handed out itself."""
    if due.task is None or not due.task.leased:
        return False
    step = run.step
    return before is None or step is None or (before.step_id, before.attempt) != (step.step_id, step.attempt)
