"""Makes small ledgers by hand, sealed as a server seals them, for tests of the checker."""

from __future__ import annotations

import hashlib
from typing import Any

from google.protobuf.message import Message

from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.sealed import genesis_hash, next_hash

NAMESPACE = "default"
SALT = bytes(16)


class LedgerMaker:
    """One run's ledger; `positions` is shared by the runs of a store."""

    def __init__(self, run_id: str, positions: list[int] | None = None) -> None:
        self.run_id = run_id
        self.entries: list[pb.LedgerEntry] = []
        self._positions = positions if positions is not None else [0]

    def add(self, kind: int, step_id: int = 0, attempt: int = 0, status: int = 0, **body: Any) -> pb.LedgerEntry:
        """Appends a record of a kind; `body` are fields of its body, bytes among them become payloads."""
        seq = len(self.entries) + 1
        record = pb.StepRecord(
            run_id=self.run_id,
            seq=seq,
            node_id="node",
            visit=1,
            step_id=step_id,
            attempt=attempt,
        )
        record.kind = pb.RecordKind.ValueType(kind)
        record.status = pb.StepStatus.ValueType(status)
        record.at.FromMicroseconds(1_000_000 * seq)
        entry = pb.LedgerEntry()
        name = pb.StepRecord.DESCRIPTOR.fields_by_number[20 + kind].name
        _fill(getattr(record, name), body, entry)
        entry.record_bytes = record.SerializeToString()
        entry.prev_hash = self.entries[-1].record_hash if self.entries else genesis_hash(NAMESPACE, self.run_id)
        entry.record_hash = next_hash(entry.prev_hash, entry.record_bytes)
        self._positions[0] += 1
        entry.position = self._positions[0]
        self.entries.append(entry)
        return entry


def _fill(body: Message, fields: dict[str, Any], entry: pb.LedgerEntry) -> None:
    body.SetInParent()
    for name, value in fields.items():
        if isinstance(value, bytes):
            index = len(entry.payloads)
            commitment = hashlib.sha256(SALT + value).digest()
            getattr(body, name).CopyFrom(pb.PayloadRef(index=index, size=len(value), commitment=commitment))
            entry.payloads.add(index=index, inline=pb.InlinePayload(salt=SALT, data=value))
        elif isinstance(value, Message):
            getattr(body, name).CopyFrom(value)
        elif isinstance(value, dict):
            getattr(body, name).update(value)
        else:
            setattr(body, name, value)
