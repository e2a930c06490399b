"""The typed filters of the port, as plain predicates."""

from __future__ import annotations

from perdure_server.storage.memory.tables import Run
from perdure_server.storage.port import (
    RecordQuery,
    RunQuery,
    SlotKind,
    SlotLine,
    SlotPlace,
    StoredRecord,
    TaskQuery,
    TaskRow,
    WaitQuery,
)


def run_matches(run: Run, query: RunQuery) -> bool:
    """Whether a run meets every condition of a RunQuery."""
    identity, head = run.identity, run.head
    wait = head.wait
    return (
        identity.namespace == query.namespace
        and (not query.statuses or head.status in query.statuses)
        and (not query.activities or head.activity in query.activities)
        and (not query.workflow_id or identity.workflow_id == query.workflow_id)
        and (not query.workflow_version or identity.workflow_version == query.workflow_version)
        and (not query.session_id or identity.session_id == query.session_id)
        and (not query.root_run_id or identity.root_run_id == query.root_run_id)
        and (not query.parent_run_id or identity.parent_run_id == query.parent_run_id)
        and (not query.roots_only or not identity.parent_run_id)
        and (not query.paused_only or head.paused)
        and all(identity.labels.get(name) == value for name, value in query.labels.items())
        and (not query.wait_reason or (wait is not None and wait.reason == query.wait_reason))
        and (not query.wait_key or (wait is not None and wait.wait_key == query.wait_key))
        and (not query.assignee or (wait is not None and wait.assignee == query.assignee))
        and (not query.created_from or identity.created_at >= query.created_from)
        and (not query.created_before or identity.created_at < query.created_before)
        and (not query.ended_from or head.ended_at >= query.ended_from)
        and (not query.ended_before or 0 < head.ended_at < query.ended_before)
    )


def wait_matches(run: Run, query: WaitQuery) -> bool:
    """Whether a run waits, and for what a WaitQuery asks."""
    wait = run.head.wait
    return (
        wait is not None
        and run.identity.namespace == query.namespace
        and (not query.reasons or wait.reason in query.reasons)
        and (not query.wait_key or wait.wait_key == query.wait_key)
        and (not query.assignee or wait.assignee == query.assignee)
        and (not query.workflow_id or run.identity.workflow_id == query.workflow_id)
        and (not query.session_id or run.identity.session_id == query.session_id)
    )


def record_matches(record: StoredRecord, query: RecordQuery) -> bool:
    """Whether a record is of a RecordQuery's scope and filter; positions are the caller's."""
    return (
        record.namespace == query.namespace
        and (not query.run_id or record.run_id == query.run_id)
        and (not query.root_run_id or record.root_run_id == query.root_run_id)
        and (not query.session_id or record.session_id == query.session_id)
        and (not query.workflow_id or record.workflow_id == query.workflow_id)
        and (not query.kinds or record.kind in query.kinds)
        and (not query.statuses or record.status in query.statuses)
        and (not query.node_ids or record.node_id in query.node_ids)
        and (not query.run_id or record.seq > query.after_seq)
    )


def slot_line(places: list[SlotPlace], limit: int) -> SlotLine:
    """A concurrency key from the places of all its runs."""
    places.sort(key=lambda place: place.rank)
    holders = [place for place in places if place.row.kind is SlotKind.HELD]
    line = [place for place in places if place.row.kind is SlotKind.IN_LINE]
    return SlotLine(len(holders), len(places) - len(holders), tuple(holders[:limit]), tuple(line[:limit]))


def may_move(line: SlotLine) -> bool:
    """Whether the first in line may have a slot, or one in line makes the oldest give way."""
    if not line.line:
        return False
    return line.holding < line.line[0].row.limit or any(place.row.newest_wins for place in line.line)


def task_matches(task: TaskRow, query: TaskQuery) -> bool:
    """Whether a ready task is one that a TaskQuery's worker serves."""
    if task.held or task.leased or task.queue not in query.queues:
        return False
    if task.effect_type:
        return "*" in query.effect_types or task.effect_type in query.effect_types
    return task.workflow_id in query.workflow_ids
