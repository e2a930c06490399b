"""Verifies a run's ledger: its hash chain, its payload commitments, its numbering and its head (P9).

Pure: what a record's bytes say comes from an inspector, because the protobuf types live above this layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from perdure_server.engine.sealing import commitment, genesis_hash, record_hash
from perdure_server.storage.port import RunKey, StoredRecord


@dataclass(frozen=True, slots=True)
class CommittedSlot:
    """A payload slot as the record's bytes commit to it; `size` in bytes."""

    index: int
    size: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """What a record's bytes say of themselves; `at` in Unix microseconds."""

    run_id: str
    seq: int
    kind: int
    status: int
    node_id: str
    at: int
    session_id: str
    root_run_id: str
    slots: tuple[CommittedSlot, ...]


RecordInspector: TypeAlias = Callable[[bytes], SealedHeader]
"""Reads stored record bytes. Raises ValueError if they are no record."""


@dataclass(frozen=True, slots=True)
class RunHeadClaim:
    """What the store says of a run's newest record."""

    seq: int
    head_hash: bytes


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verification found.

    Args:
        seq: records that were checked and fit.
        head_hash: hash of the last of them; the genesis hash if there is none.
        first_bad_seq: the first record (from 1) that does not fit, or is missing; 0: none.
        problem: what is wrong there; empty: nothing.
    """

    seq: int
    head_hash: bytes
    first_bad_seq: int = 0
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Nothing is wrong."""
        return self.first_bad_seq == 0


class ChainVerifier:
    """Checks the records of one run as they come, in the order in which the ledger shows them.

    Args:
        claim: the head to arrive at; records above it were committed later and are left out. A text: why
            the head cannot be read; then every record is checked, and what follows the last is at fault.
    """

    def __init__(self, key: RunKey, claim: RunHeadClaim | str, inspect: RecordInspector) -> None:
        self._key = key
        self._claim = claim
        self._inspect = inspect
        self._seq = 0
        self._hash = genesis_hash(key.namespace, key.run_id)
        self._problem = ""

    @property
    def seq(self) -> int:
        """The last record that was checked and fits; 0: none."""
        return self._seq

    @property
    def done(self) -> bool:
        """No further record is needed."""
        return bool(self._problem) or (not isinstance(self._claim, str) and self._seq >= self._claim.seq)

    def add(self, records: Iterable[StoredRecord]) -> None:
        """Checks the next records, until one does not fit or the head is reached."""
        for record in records:
            if self.done:
                return
            self._problem = self._problem_of(record)
            if not self._problem:
                self._seq = record.seq
                self._hash = record.record_hash

    def report(self) -> ChainReport:
        """The finding, once `done` or when there are no more records."""
        problem = self._problem or self._missing()
        if problem:
            return ChainReport(self._seq, self._hash, self._seq + 1, problem)
        if isinstance(self._claim, RunHeadClaim) and self._hash != self._claim.head_hash:
            problem = "the run's head names another hash than this record's"
            return ChainReport(self._seq, self._hash, max(self._seq, 1), problem)
        return ChainReport(self._seq, self._hash)

    def _missing(self) -> str:
        """What is wrong behind the last record."""
        if isinstance(self._claim, str):
            return f"missing, or beyond the run's head, which cannot be read: {self._claim}"
        if self._seq < self._claim.seq:
            return f"missing: the run's head is at seq {self._claim.seq}"
        return ""

    def _problem_of(self, record: StoredRecord) -> str:
        expected = self._seq + 1
        if record.seq != expected:
            return f"seq {record.seq} stands in the place of seq {expected}"
        if record.prev_hash != self._hash:
            return "prev_hash is not the hash of the record before"
        if record.record_hash != record_hash(self._hash, record.record):
            return "record_hash is not the hash of prev_hash and the record's bytes"
        try:
            header = self._inspect(record.record)
        except ValueError as error:
            return f"the record's bytes cannot be read: {error}"
        return self._header_problem(record, header) or _payload_problem(record, header)

    def _header_problem(self, record: StoredRecord, header: SealedHeader) -> str:
        """The columns that filters use must say what the sealed bytes say."""
        pairs = {
            "run_id": (header.run_id, self._key.run_id),
            "seq": (header.seq, record.seq),
            "kind": (header.kind, record.kind),
            "status": (header.status, record.status),
            "node_id": (header.node_id, record.node_id),
            "at": (header.at, record.at),
            "session_id": (header.session_id, record.session_id),
            "root_run_id": (header.root_run_id, record.root_run_id),
        }
        for name, (sealed, stored) in pairs.items():
            if sealed != stored:
                return f"{name} beside the record differs from {name} in its bytes"
        return ""


def verify_records(
    key: RunKey, records: Iterable[StoredRecord], claim: RunHeadClaim, inspect: RecordInspector
) -> ChainReport:
    """Checks all records of a run at once."""
    verifier = ChainVerifier(key, claim, inspect)
    verifier.add(records)
    return verifier.report()


def _payload_problem(record: StoredRecord, header: SealedHeader) -> str:
    """Every slot has its payload, every payload its slot, and they fit. An erased one fits any slot."""
    payloads = {payload.index: payload for payload in record.payloads}
    if len(payloads) != len(record.payloads):
        return "two payloads have the same index"
    for slot in header.slots:
        payload = payloads.pop(slot.index, None)
        if payload is None:
            return f"payload {slot.index} is missing"
        if payload.data is None:
            continue
        if len(payload.data) != slot.size:
            return f"payload {slot.index} has {len(payload.data)} bytes, the record commits to {slot.size}"
        if commitment(payload.salt, payload.data) != slot.commitment:
            return f"payload {slot.index} is not what the record commits to"
    for index in payloads:
        return f"the record commits to no payload {index}"
    return ""
