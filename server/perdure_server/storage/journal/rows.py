"""Rows as JSON objects, both ways. Fields that are empty, zero or false are left out.

Bytes are base64, but hashes, which are hexadecimal as everywhere that people see them. Instants are Unix
microseconds. The names are part of the file format.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from sys import intern
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from perdure_server.storage.journal.words import (
    ACTIVITY,
    DRIVE,
    REASON,
    RECORD_KIND,
    RUN_STATUS,
    SCOPE,
    SLOT,
    STEP_STATUS,
    TIMER,
)
from perdure_server.storage.port import (
    EventRow,
    IdentityChange,
    MailRow,
    NewRecord,
    ObligationChange,
    RequestRow,
    RunHead,
    RunIdentity,
    ScheduleRow,
    ScheduleWrite,
    SlotKind,
    SlotRow,
    StoredPayload,
    StoredRecord,
    TaskRow,
    TimerRow,
    WaitRow,
    WorkflowRow,
)

Json: TypeAlias = dict[str, Any]

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


def text_of(data: bytes) -> str:
    """Bytes as base64."""
    return b2a_base64(data, newline=False).decode()


bytes_of = a2b_base64
"""The bytes of a base64 text."""

_unhex = bytes.fromhex


def _kept(row: Json) -> Json:
    return {name: value for name, value in row.items() if value}


# --- runs ------------------------------------------------------------------------------------------


def write_identity(row: RunIdentity) -> Json:
    """A run's identity; the namespace is its surroundings'."""
    return _kept(
        {
            "run_id": row.run_id,
            "root_run_id": row.root_run_id,
            "parent_run_id": row.parent_run_id,
            "depth": row.depth,
            "workflow_id": row.workflow_id,
            "workflow_version": row.workflow_version,
            "entry_node": row.entry_node,
            "branch": row.branch,
            "session_id": row.session_id,
            "actor_id": row.actor_id,
            "labels": dict(row.labels),
            "drive": DRIVE.word[row.drive],
            "created_at": row.created_at,
            "deadline_at": row.deadline_at,
        }
    )


def read_identity(namespace: str, row: Json) -> RunIdentity:
    """See `write_identity`. Ids that are equal become one object, and so do names that repeat."""
    run_id, get = row["run_id"], row.get
    root_run_id, session_id = row["root_run_id"], row["session_id"]
    labels = get("labels")
    return RunIdentity(
        namespace=intern(namespace),
        run_id=run_id,
        root_run_id=run_id if root_run_id == run_id else root_run_id,
        parent_run_id=get("parent_run_id", ""),
        depth=get("depth", 0),
        workflow_id=intern(row["workflow_id"]),
        workflow_version=intern(row["workflow_version"]),
        entry_node=intern(get("entry_node", "")),
        branch=get("branch", ""),
        session_id=run_id if session_id == run_id else session_id,
        actor_id=intern(get("actor_id", "")),
        labels=MappingProxyType(labels) if labels else _NO_LABELS,
        drive=DRIVE.number[row["drive"]],
        created_at=get("created_at", 0),
        deadline_at=get("deadline_at", 0),
    )


def write_identity_change(row: IdentityChange) -> Json:
    """What a commit changes of a run's identity."""
    return {"workflow_version": row.workflow_version, "deadline_at": row.deadline_at}


def read_identity_change(row: Json) -> IdentityChange:
    """See `write_identity_change`."""
    return IdentityChange(intern(row["workflow_version"]), row["deadline_at"])


def write_head(row: RunHead) -> Json:
    """A run's head."""
    head: Json = {
        "status": RUN_STATUS.word[row.status],
        "activity": ACTIVITY.word[row.activity],
        "seq": row.seq,
        "hash": row.head_hash.hex(),
        "updated_at": row.updated_at,
    }
    if row.paused:
        head["paused"] = True
    if row.current_node:
        head["node"] = row.current_node
    if row.ended_at:
        head["ended_at"] = row.ended_at
    if row.step_budget:
        head["step_budget"] = row.step_budget
    if row.error_type:
        head["error_type"] = row.error_type
    if row.wait is not None:
        head["wait"] = write_wait(row.wait)
    return head


def read_head(row: Json) -> RunHead:
    """See `write_head`."""
    get = row.get
    wait = get("wait")
    return RunHead(
        status=RUN_STATUS.number[row["status"]],
        activity=ACTIVITY.number[row["activity"]],
        paused=get("paused", False),
        current_node=intern(get("node", "")),
        seq=row["seq"],
        head_hash=_unhex(row["hash"]),
        updated_at=row["updated_at"],
        ended_at=get("ended_at", 0),
        step_budget=get("step_budget", 0),
        error_type=get("error_type", ""),
        wait=read_wait(wait) if wait else None,
    )


def write_wait(row: WaitRow) -> Json:
    """A registered wait."""
    return _kept(
        {
            "wait_id": row.wait_id,
            "reason": REASON.word[row.reason],
            "wait_key": row.wait_key,
            "assignee": row.assignee,
            "event_name": row.event_name,
            "event_scope": SCOPE.word[row.event_scope],
            "event_scope_id": row.event_scope_id,
            "since_at": row.since_at,
            "detail": text_of(row.detail),
        }
    )


def read_wait(row: Json) -> WaitRow:
    """See `write_wait`."""
    get = row.get
    return WaitRow(
        wait_id=row["wait_id"],
        reason=REASON.number[row["reason"]],
        wait_key=get("wait_key", ""),
        assignee=get("assignee", ""),
        event_name=get("event_name", ""),
        event_scope=SCOPE.number[get("event_scope", 0)],
        event_scope_id=get("event_scope_id", ""),
        since_at=get("since_at", 0),
        detail=bytes_of(get("detail", "")),
    )


# --- the ledger ------------------------------------------------------------------------------------


def write_record(row: NewRecord | StoredRecord) -> Json:
    """A record. Its run, its position and the hash before it follow from where it stands."""
    record: Json = {
        "seq": row.seq,
        "kind": RECORD_KIND.word[row.kind],
        "at": row.at,
        "hash": row.record_hash.hex(),
        "record": text_of(row.record),
    }
    if row.status:
        record["status"] = STEP_STATUS.word[row.status]
    if row.node_id:
        record["node"] = row.node_id
    if row.payloads:
        record["payloads"] = [
            [each.index, text_of(each.salt), None if each.data is None else text_of(each.data)] for each in row.payloads
        ]
    return record


def read_record(row: Json) -> StoredRecord:
    """See `write_record`. What follows from where it stands is filled in when it gets there."""
    get = row.get
    payloads = get("payloads")
    return StoredRecord(
        "",
        "",
        row["seq"],
        get("position", 0),
        RECORD_KIND.number[row["kind"]],
        STEP_STATUS.number[get("status", 0)],
        intern(get("node", "")),
        row["at"],
        "",
        "",
        "",
        bytes_of(row["record"]),
        b"",
        _unhex(row["hash"]),
        read_payloads(payloads) if payloads else (),
    )


def read_payloads(rows: Sequence[Any]) -> tuple[StoredPayload, ...]:
    """The payload slots of a record."""
    if len(rows) == 1:
        ((index, salt, data),) = rows
        return (StoredPayload(index, bytes_of(salt), None if data is None else bytes_of(data)),)
    return tuple(
        StoredPayload(index, bytes_of(salt), None if data is None else bytes_of(data)) for index, salt, data in rows
    )


# --- obligations -----------------------------------------------------------------------------------


def write_task(row: TaskRow) -> Json:
    """A task."""
    task: Json = {
        "step_id": row.step_id,
        "attempt": row.attempt,
        "node": row.node_id,
        "workflow_id": row.workflow_id,
        "workflow_version": row.workflow_version,
        "queue": row.queue,
        "queued_at": row.queued_at,
    }
    if row.effect_type:
        task["effect_type"] = row.effect_type
    if row.priority:
        task["priority"] = row.priority
    if row.held:
        task["held"] = True
    if row.leased:
        task["leased"] = True
        task["worker_id"] = row.worker_id
        task["lease_expires_at"] = row.lease_expires_at
    if row.heartbeat_due_at:
        task["heartbeat_due_at"] = row.heartbeat_due_at
    return task


def read_task(row: Json) -> TaskRow:
    """See `write_task`."""
    get = row.get
    return TaskRow(
        step_id=row["step_id"],
        attempt=get("attempt", 0),
        node_id=intern(get("node", "")),
        effect_type=intern(get("effect_type", "")),
        workflow_id=intern(get("workflow_id", "")),
        workflow_version=intern(get("workflow_version", "")),
        queue=intern(get("queue", "")),
        priority=get("priority", 0),
        queued_at=get("queued_at", 0),
        held=get("held", False),
        leased=get("leased", False),
        worker_id=intern(get("worker_id", "")),
        lease_expires_at=get("lease_expires_at", 0),
        heartbeat_due_at=get("heartbeat_due_at", 0),
    )


def write_timers(rows: Iterable[TimerRow]) -> Json:
    """Timers as kind -> instant."""
    return {str(TIMER.word[row.kind]): row.due_at for row in rows}


def read_timers(rows: Json) -> tuple[TimerRow, ...]:
    """See `write_timers`."""
    return tuple(TimerRow(_timer_kind(word), due_at) for word, due_at in rows.items())


def _timer_kind(word: str) -> int:
    return int(word) if word.isdecimal() else TIMER.number[word]


def write_slot(row: SlotRow) -> Json:
    """A run's place with its concurrency key."""
    return {"key": row.key, "limit": row.limit, "kind": SLOT.word[row.kind], "newest_wins": row.newest_wins}


def read_slot(row: Json) -> SlotRow:
    """See `write_slot`."""
    return SlotRow(row["key"], row["limit"], SlotKind(SLOT.number[row["kind"]]), row["newest_wins"])


def write_change(row: ObligationChange) -> Json:
    """The difference that a commit makes; null where it takes something away."""
    change: Json = {}
    if row.task_set:
        change["task"] = write_task(row.task) if row.task else None
    if row.turn_set:
        change["turn"] = row.turn if row.turn is None else "held" if row.turn else "due"
    if row.timers_put:
        change["timers"] = write_timers(row.timers_put)
    if row.timers_dropped:
        change["timers_dropped"] = [TIMER.word[kind] for kind in row.timers_dropped]
    if row.slot_set:
        change["slot"] = write_slot(row.slot) if row.slot else None
    return change


def read_change(row: Json) -> ObligationChange:
    """See `write_change`."""
    task, turn, slot = row.get("task"), row.get("turn"), row.get("slot")
    return ObligationChange(
        task_set="task" in row,
        task=read_task(task) if task else None,
        turn_set="turn" in row,
        turn=None if turn is None else turn == "held",
        timers_put=read_timers(row.get("timers", {})),
        timers_dropped=tuple(TIMER.number[word] for word in row.get("timers_dropped", ())),
        slot_set="slot" in row,
        slot=read_slot(slot) if slot else None,
    )


# --- what lies beside the runs ---------------------------------------------------------------------


def write_event(row: EventRow) -> Json:
    """An event."""
    return _kept(
        {
            "scope": SCOPE.word[row.scope],
            "scope_id": row.scope_id,
            "name": row.name,
            "event_id": row.event_id,
            "payload": text_of(row.payload),
            "at": row.at,
            "run_id": row.run_id,
            "workflow_id": row.workflow_id,
            "node": row.node_id,
            "session_id": row.session_id,
            "emitted_by": row.emitted_by,
        }
    )


def read_event(row: Json) -> EventRow:
    """See `write_event`."""
    get = row.get
    return EventRow(
        scope=SCOPE.number[row["scope"]],
        scope_id=get("scope_id", ""),
        name=row["name"],
        event_id=get("event_id", ""),
        payload=bytes_of(get("payload", "")),
        at=get("at", 0),
        run_id=get("run_id", ""),
        workflow_id=get("workflow_id", ""),
        node_id=get("node", ""),
        session_id=get("session_id", ""),
        emitted_by=get("emitted_by", ""),
    )


def write_request(row: RequestRow) -> Json:
    """A kept reply."""
    return {
        "method": row.method,
        "request_id": row.request_id,
        "body_hash": row.body_hash.hex(),
        "reply": text_of(row.reply),
        "at": row.at,
    }


def read_request(row: Json) -> RequestRow:
    """See `write_request`."""
    return RequestRow(
        intern(row["method"]), row["request_id"], _unhex(row["body_hash"]), bytes_of(row["reply"]), row["at"]
    )


def write_workflow(row: WorkflowRow) -> Json:
    """A registered version."""
    return {
        "workflow_id": row.workflow_id,
        "version": row.version,
        "spec": text_of(row.spec),
        "entry_node": row.entry_node,
        "node_count": row.node_count,
        "registered_at": row.registered_at,
        "is_default": row.is_default,
    }


def read_workflow(row: Json) -> WorkflowRow:
    """See `write_workflow`."""
    return WorkflowRow(
        row["workflow_id"],
        row["version"],
        bytes_of(row["spec"]),
        row["entry_node"],
        row["node_count"],
        row["registered_at"],
        row["is_default"],
    )


def write_mail(row: MailRow) -> list[str]:
    """A message: receiver, kind, sender."""
    return [row.to_run_id, row.kind, row.from_run_id]


def write_schedule(row: ScheduleRow) -> Json:
    """A schedule."""
    return {
        "schedule_id": row.schedule_id,
        "version": row.version,
        "next_at": row.next_at,
        "created_at": row.created_at,
        "detail": text_of(row.detail),
    }


def read_schedule(row: Json) -> ScheduleRow:
    """See `write_schedule`."""
    return ScheduleRow(row["schedule_id"], row["version"], row["next_at"], row["created_at"], bytes_of(row["detail"]))


def write_schedule_change(change: ScheduleWrite) -> Json:
    """A schedule as it is after a commit; null where it is deleted."""
    return {
        "schedule_id": change.schedule_id,
        "expected_version": change.expected_version,
        "row": write_schedule(change.row) if change.row else None,
    }


def read_schedule_change(row: Json) -> ScheduleWrite:
    """See `write_schedule_change`."""
    kept = row["row"]
    return ScheduleWrite(row["schedule_id"], row["expected_version"], read_schedule(kept) if kept else None)
