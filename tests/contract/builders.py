"""Makes rows and Commits with few words. A made run is in namespace "default" unless it says otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from perdure_server.storage.port import (
    NO_CHANGE,
    Commit,
    EventRow,
    NewRecord,
    ObligationChange,
    RequestRow,
    RunCreate,
    RunHead,
    RunIdentity,
    RunKey,
    Store,
    StoredPayload,
    TaskRow,
    TimerRow,
    Verdict,
    VerdictKind,
    WaitRow,
    WorkflowRow,
)
from tests.contract.bindings import NOW

DEFAULT = "default"
RUNNING, WAITING_STATUS, COMPLETED = 1, 2, 3
ENDED, QUEUED, LEASED, WAITING = 0, 1, 2, 4
SESSION_SCOPE, GLOBAL_SCOPE = 1, 4


def key(run_id: str, namespace: str = DEFAULT) -> RunKey:
    """The key of a run."""
    return RunKey(namespace, run_id)


def digest(*parts: object) -> bytes:
    """32 bytes that depend on the parts."""
    return hashlib.sha256(repr(parts).encode()).digest()


def identity(run_id: str, **changes: Any) -> RunIdentity:
    """A root run in a session of its own, with changes."""
    row = RunIdentity(
        namespace=DEFAULT,
        run_id=run_id,
        root_run_id=run_id,
        parent_run_id="",
        depth=0,
        workflow_id="order",
        workflow_version="v1",
        entry_node="start",
        branch="",
        session_id=run_id,
        actor_id="actor",
        labels={},
        drive=1,
        created_at=NOW,
        deadline_at=0,
    )
    return replace(row, **changes)


def head(seq: int, **changes: Any) -> RunHead:
    """The head of a running, queued run."""
    row = RunHead(
        status=RUNNING,
        activity=QUEUED,
        paused=False,
        current_node="start",
        seq=seq,
        head_hash=digest("record", seq),
        updated_at=NOW + seq,
        ended_at=0,
        step_budget=0,
        error_type="",
        wait=None,
    )
    return replace(row, **changes)


def waiting_head(seq: int, wait: WaitRow, **changes: Any) -> RunHead:
    """The head of a run that waits."""
    return head(seq, status=WAITING_STATUS, activity=WAITING, wait=wait, **changes)


def ended_head(seq: int, status: int = COMPLETED, **changes: Any) -> RunHead:
    """The head of a run that has ended."""
    return head(seq, **{"status": status, "activity": ENDED, "ended_at": NOW + seq, **changes})


def payload(index: int, data: bytes = b"{}") -> StoredPayload:
    """A payload slot."""
    return StoredPayload(index, digest("salt", index)[:16], data)


def record(seq: int, **changes: Any) -> NewRecord:
    """A record with one payload."""
    row = NewRecord(
        seq=seq,
        kind=2,
        status=1,
        node_id="start",
        at=NOW + seq,
        record=f"record {seq}".encode(),
        record_hash=digest("record", seq),
        payloads=(payload(0),),
    )
    return replace(row, **changes)


def records(first: int, last: int) -> tuple[NewRecord, ...]:
    """Records of these seqs, both included."""
    return tuple(record(seq) for seq in range(first, last + 1))


def task(step_id: int = 1, **changes: Any) -> TaskRow:
    """A ready task of an effect."""
    row = TaskRow(
        step_id=step_id,
        attempt=0,
        node_id="start",
        effect_type="llm_call",
        workflow_id="order",
        workflow_version="v1",
        queue="default",
        priority=0,
        queued_at=NOW,
        held=False,
        leased=False,
        worker_id="",
        lease_expires_at=0,
        heartbeat_due_at=0,
    )
    return replace(row, **changes)


def leased_task(step_id: int = 1, expires_at: int = NOW + 30, **changes: Any) -> TaskRow:
    """A task in a worker's hands."""
    lease = {"attempt": 1, "leased": True, "worker_id": "w1", "lease_expires_at": expires_at}
    return task(step_id, **{**lease, **changes})


def put_task(row: TaskRow | None) -> ObligationChange:
    """Sets or drops the task."""
    return ObligationChange(task_set=True, task=row)


def put_turn(held: bool | None) -> ObligationChange:
    """Sets or drops the turn."""
    return ObligationChange(turn_set=True, turn=held)


def put_timers(*timers: tuple[int, int]) -> ObligationChange:
    """Sets timers (kind, due_at)."""
    return ObligationChange(timers_put=tuple(TimerRow(*timer) for timer in timers))


def wait(wait_id: int = 1, **changes: Any) -> WaitRow:
    """A wait for a person."""
    row = WaitRow(
        wait_id=wait_id,
        reason=3,
        wait_key="key",
        assignee="ann",
        event_name="",
        event_scope=SESSION_SCOPE,
        event_scope_id="",
        since_at=NOW,
        detail=b"wait",
    )
    return replace(row, **changes)


def event_wait(name: str, scope_id: str = "s1", scope: int = SESSION_SCOPE, **changes: Any) -> WaitRow:
    """A wait for an event."""
    row = wait(reason=1, event_name=name, event_scope=scope, event_scope_id=scope_id)
    return replace(row, **changes)


def event(event_id: str, **changes: Any) -> EventRow:
    """An event of session s1."""
    row = EventRow(
        scope=SESSION_SCOPE,
        scope_id="s1",
        name="paid",
        event_id=event_id,
        payload=b'{"n":1}',
        at=NOW,
        run_id="",
        workflow_id="",
        node_id="",
        session_id="",
        emitted_by="tests",
    )
    return replace(row, **changes)


def request(request_id: str, **changes: Any) -> RequestRow:
    """A kept reply."""
    row = RequestRow("StartRun", request_id, digest(request_id), b"reply to " + request_id.encode(), NOW)
    return replace(row, **changes)


def workflow(workflow_id: str = "order", version: str = "v1", **changes: Any) -> WorkflowRow:
    """A registered version."""
    row = WorkflowRow(workflow_id, version, b"spec " + version.encode(), "start", 3, NOW, False)
    return replace(row, **changes)


def create(
    run_id: str,
    *,
    last: int = 1,
    change: ObligationChange = NO_CHANGE,
    run_head: RunHead | None = None,
    **changes: Any,
) -> RunCreate:
    """A new run with records 1 to `last`. `changes` are those of its identity."""
    return RunCreate(identity(run_id, **changes), run_head or head(last), records(1, last), change)


def start(run_id: str, *, namespace: str = DEFAULT, **how: Any) -> Commit:
    """The Commit that creates a run; `how` as in `create`."""
    return Commit(namespace, new_runs=(create(run_id, namespace=namespace, **how),))


def step(
    run_id: str,
    expected_seq: int,
    *,
    count: int = 1,
    run_head: RunHead | None = None,
    namespace: str = DEFAULT,
    **changes: Any,
) -> Commit:
    """The Commit that adds `count` records to a run. `changes` are those of the Commit."""
    last = expected_seq + count
    commit = Commit(
        namespace,
        key=key(run_id, namespace),
        expected_seq=expected_seq,
        head=run_head or head(last),
        records=records(expected_seq + 1, last),
    )
    return replace(commit, **changes)


def committed(store: Store, *batch: Commit) -> list[Verdict]:
    """Commits a batch, all of which must be accepted."""
    verdicts = store.commit(batch)
    assert [verdict.kind for verdict in verdicts] == [VerdictKind.COMMITTED] * len(batch), verdicts
    return verdicts


def kinds(verdicts: Sequence[Verdict]) -> list[VerdictKind]:
    """Kinds of verdicts."""
    return [verdict.kind for verdict in verdicts]
