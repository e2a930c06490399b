"""Writes ledgers without an engine: commits whose records have real bytes, hashes and payloads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from perdure.v1 import records_pb2
from perdure_server.api.codec.shapes import instant
from perdure_server.engine.sealing import commitment, genesis_hash, record_hash
from perdure_server.kernel.model import Activity, Drive, RunStatus
from perdure_server.kernel.records import RecordKind, StepStatus
from perdure_server.storage.port import (
    NO_CHANGE,
    Commit,
    EventRow,
    NewRecord,
    RunCreate,
    RunHead,
    RunIdentity,
    RunKey,
    StoredPayload,
    StoredRecord,
)

START_AT = 1_767_225_600_000_000
ENDED = {
    RecordKind.COMPLETED: RunStatus.COMPLETED,
    RecordKind.FAILED: RunStatus.FAILED,
    RecordKind.CANCELLED: RunStatus.CANCELLED,
}
# The field of the record's body that holds its payload, for the kinds that tests give one.
PAYLOAD_FIELDS = {
    RecordKind.RUN_STARTED: ("run_started", "vars"),
    RecordKind.STEP_COMPLETED: ("step_completed", "result"),
    RecordKind.RESUMED: ("resumed", "payload"),
    RecordKind.COMPLETED: ("completed", "output"),
    RecordKind.LATE_RESULT: ("late_result", "report"),
}


@dataclass(frozen=True)
class Step:
    """One record to write: its kind, node, status and payload bytes (empty: none)."""

    kind: RecordKind
    node_id: str = "n"
    status: StepStatus = StepStatus.NONE
    payload: bytes = b""


STARTED = Step(RecordKind.RUN_STARTED, "first", payload=b'{"order":1}')
COMPLETED = Step(RecordKind.STEP_COMPLETED, "work", StepStatus.COMPLETED, b'{"result":2}')
ENDS = Step(RecordKind.COMPLETED, "last", payload=b'{"output":3}')


@dataclass
class RunLedger:
    """The ledger of one run on its way into a store.

    Args:
        payload_bytes: payloads are padded to at least this size.
    """

    run_id: str
    namespace: str = "default"
    session_id: str = ""
    root_run_id: str = ""
    workflow_id: str = "orders"
    seq: int = 0
    head_hash: bytes = b""
    status: RunStatus = RunStatus.RUNNING
    at: int = START_AT
    records: list[NewRecord] = field(default_factory=list[NewRecord])

    def __post_init__(self) -> None:
        self.root_run_id = self.root_run_id or self.run_id
        self.session_id = self.session_id or self.root_run_id
        self.head_hash = genesis_hash(self.namespace, self.run_id)

    @property
    def key(self) -> RunKey:
        """Its key."""
        return RunKey(self.namespace, self.run_id)

    def commit(self, *steps: Step) -> Commit:
        """A commit of these records: the first creates the run."""
        expected_seq = self.seq
        records = tuple(self._seal(step) for step in steps)
        self.records.extend(records)
        if expected_seq == 0:
            create = RunCreate(self._identity(), self.head(), records, NO_CHANGE)
            return Commit(self.namespace, new_runs=(create,))
        return Commit(self.namespace, key=self.key, expected_seq=expected_seq, head=self.head(), records=records)

    def head(self) -> RunHead:
        """The run's head after what was committed."""
        ended = self.status is not RunStatus.RUNNING
        return RunHead(
            status=self.status,
            activity=Activity.NONE if ended else Activity.QUEUED,
            paused=False,
            current_node="n",
            seq=self.seq,
            head_hash=self.head_hash,
            updated_at=self.at,
            ended_at=self.at if ended else 0,
            step_budget=0,
            error_type="",
            wait=None,
        )

    def _seal(self, step: Step) -> NewRecord:
        self.seq += 1
        self.at += 1_000
        self.status = ENDED.get(step.kind, self.status)
        message = records_pb2.StepRecord(
            run_id=self.run_id,
            seq=self.seq,
            kind=records_pb2.RecordKind.ValueType(step.kind),
            node_id=step.node_id,
            status=records_pb2.StepStatus.ValueType(step.status),
            session_id=self.session_id,
            root_run_id=self.root_run_id,
        )
        moment = instant(self.at)
        assert moment is not None
        message.at.seconds, message.at.nanos = moment["seconds"], moment["nanos"]
        payloads: tuple[StoredPayload, ...] = ()
        if step.payload:
            salt = hashlib.sha256(f"{self.run_id}/{self.seq}".encode()).digest()[:16]
            payloads = (StoredPayload(0, salt, step.payload),)
            body, slot = PAYLOAD_FIELDS[step.kind]
            reference = getattr(getattr(message, body), slot)
            reference.size = len(step.payload)
            reference.commitment = commitment(salt, step.payload)
        data = message.SerializeToString()
        self.head_hash = record_hash(self.head_hash, data)
        return NewRecord(self.seq, step.kind, step.status, step.node_id, self.at, data, self.head_hash, payloads)

    def _identity(self) -> RunIdentity:
        return RunIdentity(
            namespace=self.namespace,
            run_id=self.run_id,
            root_run_id=self.root_run_id,
            parent_run_id="" if self.root_run_id == self.run_id else self.root_run_id,
            depth=0 if self.root_run_id == self.run_id else 1,
            workflow_id=self.workflow_id,
            workflow_version="0" * 64,
            entry_node="first",
            branch="",
            session_id=self.session_id,
            actor_id="",
            labels={},
            drive=Drive.AUTO,
            created_at=START_AT,
            deadline_at=0,
        )


def stored(ledger: RunLedger, positions: list[int]) -> list[StoredRecord]:
    """A run's records as a store would hold them at these positions."""
    prev_hash = genesis_hash(ledger.namespace, ledger.run_id)
    held: list[StoredRecord] = []
    for record, position in zip(ledger.records, positions, strict=True):
        held.append(hold(ledger, record, position, prev_hash))
        prev_hash = record.record_hash
    return held


def hold(ledger: RunLedger, record: NewRecord, position: int, prev_hash: bytes) -> StoredRecord:
    """One record as a store holds it."""
    return StoredRecord(
        namespace=ledger.namespace,
        run_id=ledger.run_id,
        seq=record.seq,
        position=position,
        kind=record.kind,
        status=record.status,
        node_id=record.node_id,
        at=record.at,
        workflow_id=ledger.workflow_id,
        session_id=ledger.session_id,
        root_run_id=ledger.root_run_id,
        record=record.record,
        prev_hash=prev_hash,
        record_hash=record.record_hash,
        payloads=record.payloads,
    )


def an_event(event_id: str) -> EventRow:
    """An event, which takes a position and writes no record."""
    return EventRow(
        scope=1,
        scope_id="s",
        name="e",
        event_id=event_id,
        payload=b"{}",
        at=START_AT,
        run_id="",
        workflow_id="",
        node_id="",
        session_id="",
        emitted_by="",
    )
