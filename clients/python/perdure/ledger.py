"""Entries of the ledger as they are read: pages and subscriptions give the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, Self, TypeAlias

from perdure.instants import from_timestamp
from perdure.json_text import Json, decode
from perdure.v1 import ledger_service_pb2, records_pb2
from perdure.values import RecordKind, RunStatus, StepStatus

RecordView: TypeAlias = Literal["record", "record_bytes"]
"""Form of entries; "record_bytes" is what verification needs."""

RECORD_VIEWS: Mapping[RecordView, ledger_service_pb2.RecordView.ValueType] = {
    "record": ledger_service_pb2.RECORD_VIEW_RECORD,
    "record_bytes": ledger_service_pb2.RECORD_VIEW_RECORD_BYTES,
}


@dataclass(frozen=True, slots=True)
class PayloadBytes:
    """A payload of a record with the salt of its commitment."""

    salt: bytes
    data: bytes


@dataclass(frozen=True)
class LedgerEntry:
    """A record, its place and its payloads.

    Attributes:
        record: the contract's StepRecord; do not change it.
        record_bytes: as stored, in view "record_bytes"; else empty. Hash over these only.
        payloads: by slot index; a payload that was left out or erased is None.
        position: place in the store's one order; increasing, not dense.
        prev_hash: hash of the record before.
        record_hash: SHA-256("perdure/record/v1" || prev_hash || record_bytes).
    """

    record: records_pb2.StepRecord
    record_bytes: bytes
    payloads: Mapping[int, PayloadBytes | None]
    position: int
    prev_hash: bytes
    record_hash: bytes

    @classmethod
    def from_wire(cls, message: records_pb2.LedgerEntry) -> Self:
        """From the contract's LedgerEntry; nothing of the message is kept alive."""
        record = records_pb2.StepRecord()
        data = b""
        if message.HasField("record_bytes"):
            data = message.record_bytes
            record.ParseFromString(data)
        else:
            record.CopyFrom(message.record)
        return cls(
            record=record,
            record_bytes=data,
            payloads={
                payload.index: PayloadBytes(payload.inline.salt, payload.inline.data)
                if payload.HasField("inline")
                else None
                for payload in message.payloads
            },
            position=message.position,
            prev_hash=message.prev_hash,
            record_hash=message.record_hash,
        )

    @property
    def run_id(self) -> str:
        """Run."""
        return self.record.run_id

    @property
    def seq(self) -> int:
        """1, 2, 3 ... within the run."""
        return self.record.seq

    @cached_property
    def kind(self) -> RecordKind:
        """What it tells; UNSPECIFIED for a kind this version does not know."""
        return RecordKind.from_wire(self.record.kind)

    @property
    def node_id(self) -> str:
        """Node it speaks of."""
        return self.record.node_id

    @property
    def status(self) -> StepStatus:
        """Status of the step it speaks of."""
        return StepStatus.from_wire(self.record.status)

    @property
    def attempt(self) -> int:
        """Attempt it speaks of; 0 for none."""
        return self.record.attempt

    @property
    def at(self) -> datetime:
        """When it was decided."""
        return from_timestamp(self.record.at)

    def payload(self, ref: records_pb2.PayloadRef) -> bytes | None:
        """The bytes of a slot of the record's body; None if they were left out or erased."""
        payload = self.payloads.get(ref.index)
        return payload.data if payload is not None else None

    def payload_json(self, ref: records_pb2.PayloadRef) -> Json:
        """The value of a slot that holds JSON; None also if it was left out or erased."""
        data = self.payload(ref)
        return decode(data.decode()) if data is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFilter:
    """Which records of a scope. Conditions are ANDed; unset keeps all."""

    kinds: Sequence[RecordKind | str] = ()
    statuses: Sequence[StepStatus | str] = ()
    node_ids: Sequence[str] = ()

    def to_wire(self) -> ledger_service_pb2.LedgerFilter:
        """As the contract's LedgerFilter."""
        return ledger_service_pb2.LedgerFilter(
            kinds=[RecordKind(kind).wire for kind in self.kinds],
            statuses=[StepStatus(status).wire for status in self.statuses],
            node_ids=self.node_ids,
        )

    @property
    def keeps_all(self) -> bool:
        """It leaves nothing out."""
        return not (self.kinds or self.statuses or self.node_ids)


@dataclass(frozen=True, slots=True)
class LedgerScope:
    """Whose records. Make it with one of the class methods."""

    message: ledger_service_pb2.LedgerScope

    @classmethod
    def run(cls, run_id: str) -> Self:
        """One run."""
        return cls(ledger_service_pb2.LedgerScope(run_id=run_id))

    @classmethod
    def tree(cls, root_run_id: str) -> Self:
        """A root run and all runs below it."""
        return cls(ledger_service_pb2.LedgerScope(root_run_id=root_run_id))

    @classmethod
    def session(cls, session_id: str) -> Self:
        """All runs of a session."""
        return cls(ledger_service_pb2.LedgerScope(session_id=session_id))

    @classmethod
    def workflow(cls, workflow_id: str) -> Self:
        """All runs of a workflow."""
        return cls(ledger_service_pb2.LedgerScope(workflow_id=workflow_id))

    @classmethod
    def all(cls) -> Self:
        """All runs of the namespace."""
        return cls(ledger_service_pb2.LedgerScope(all=True))

    @classmethod
    def of(cls, scope: LedgerScope | str) -> LedgerScope:
        """A scope as given; a string is a run id."""
        return cls.run(scope) if isinstance(scope, str) else scope


@dataclass(frozen=True, slots=True)
class LedgerBatch:
    """Entries that came together; `cursor` covers them and everything before them."""

    entries: Sequence[LedgerEntry]
    cursor: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What VerifyRun found. `first_bad_seq` is 0 when nothing is wrong."""

    intact: bool
    seq: int
    head_hash: bytes
    first_bad_seq: int
    problem: str
    status: RunStatus
