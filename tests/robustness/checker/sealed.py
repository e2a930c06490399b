"""A run's exported ledger: its chain, commitments and order (DESIGN 4 and 7), checked over the stored bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from perdure.v1.records_pb2 import LedgerEntry, PayloadRef, RecordKind, StepRecord
from tests.robustness.checker.finding import Finding


def length_prefixed(text: str) -> bytes:
    """uint32 big-endian length, then the UTF-8 bytes."""
    data = text.encode()
    return len(data).to_bytes(4, "big") + data


def genesis_hash(namespace: str, run_id: str) -> bytes:
    """`prev_hash` of a run's first record."""
    return hashlib.sha256(b"".join(map(length_prefixed, ("perdure/run/v1", namespace, run_id)))).digest()


def next_hash(prev_hash: bytes, record_bytes: bytes) -> bytes:
    """`record_hash` of a record."""
    return hashlib.sha256(b"perdure/record/v1" + prev_hash + record_bytes).digest()


@dataclass(frozen=True, slots=True)
class Sealed:
    """One record of an export.

    Args:
        record: decoded from `record_bytes`.
        payloads: bytes by slot.
    """

    record: StepRecord
    record_hash: bytes
    position: int
    payloads: dict[int, bytes]

    @property
    def kind(self) -> RecordKind.ValueType:
        """What it tells."""
        return self.record.kind

    def payload(self, ref: PayloadRef) -> bytes:
        """The bytes of a slot; empty for none."""
        return self.payloads.get(ref.index, b"") if ref.commitment else b""


def payload_refs(message: Message) -> Iterator[PayloadRef]:
    """Every reference to a payload, anywhere below a message."""
    if isinstance(message, PayloadRef):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else (value,):
            yield from payload_refs(item)


def open_run(namespace: str, run_id: str, entries: Sequence[LedgerEntry]) -> tuple[list[Sealed], list[Finding]]:
    """Decodes a run's records and checks that nobody edited, dropped, doubled or moved one.

    Args:
        entries: the run's, in the order in which they were exported, with `record_bytes`.
    """
    findings: list[Finding] = []
    records: list[Sealed] = []
    prev_hash = genesis_hash(namespace, run_id)
    position = at = 0
    for number, entry in enumerate(entries, start=1):
        try:
            record = StepRecord.FromString(entry.record_bytes)
        except DecodeError:
            findings.append(Finding("NOT_A_RECORD", run_id, number, "the bytes are no StepRecord"))
            continue
        findings += _header_problems(record, run_id, number)
        findings += _hash_problems(entry, run_id, number, prev_hash)
        findings += _payload_problems(entry, record, number)
        prev_hash = entry.record_hash
        if entry.position <= position:
            findings.append(Finding("POSITION_DISORDER", run_id, number, f"{entry.position} after {position}"))
        now = record.at.ToMicroseconds()
        if now < at:
            findings.append(Finding("TIME_BACKWARDS", run_id, number, f"{now} after {at}"))
        position, at = max(position, entry.position), max(at, now)
        payloads = {payload.index: payload.inline.data for payload in entry.payloads}
        records.append(Sealed(record, entry.record_hash, entry.position, payloads))
    return records, findings


def _header_problems(record: StepRecord, run_id: str, number: int) -> Iterator[Finding]:
    if record.seq != number:
        yield Finding("SEQ_GAP", run_id, number, f"the record says seq {record.seq}")
    if record.run_id != run_id:
        yield Finding("FOREIGN_RECORD", run_id, number, f"the record is of run {record.run_id}")
    body = record.WhichOneof("body")
    if body is None or StepRecord.DESCRIPTOR.fields_by_name[body].number != 20 + record.kind:
        yield Finding("KIND_DIFFERS", run_id, number, f"kind {record.kind} with body {body}")
    if (number == 1) != (body == "run_started"):
        yield Finding("BAD_START", run_id, number, f"{body} at seq {number}")


def _hash_problems(entry: LedgerEntry, run_id: str, number: int, prev_hash: bytes) -> Iterator[Finding]:
    if entry.prev_hash != prev_hash:
        yield Finding("CHAIN_BROKEN", run_id, number, "prev_hash is not the hash of the record before")
    if entry.record_hash != next_hash(entry.prev_hash, entry.record_bytes):
        yield Finding("RECORD_EDITED", run_id, number, "record_hash does not fit the bytes")


def _payload_problems(entry: LedgerEntry, record: StepRecord, number: int) -> Iterator[Finding]:
    refs = {ref.index: ref for ref in payload_refs(record) if ref.commitment}
    given = {payload.index: payload for payload in entry.payloads}
    if sorted(refs) != sorted(given) or len(given) != len(entry.payloads):
        detail = f"slots {sorted(refs)} committed, {sorted(given)} exported"
        yield Finding("PAYLOADS_DIFFER", record.run_id, number, detail)
    for index in sorted(refs.keys() & given.keys()):
        inline, ref = given[index].inline, refs[index]
        if hashlib.sha256(inline.salt + inline.data).digest() != ref.commitment or len(inline.data) != ref.size:
            yield Finding("PAYLOAD_EDITED", record.run_id, number, f"slot {index} does not fit its commitment")
