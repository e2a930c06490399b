"""Verification finds what was done to a ledger, and names the first record at fault, from 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.api.sealed_header import inspect_record
from perdure_server.engine.sealing import genesis_hash, record_hash
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.chain import ChainReport, RunHeadClaim, verify_records
from perdure_server.storage.port import StoredPayload, StoredRecord
from tests.ledger.writer import COMPLETED, ENDS, STARTED, RunLedger, Step, stored

pytestmark = pytest.mark.promise("P9")

STEPS = (STARTED, COMPLETED, Step(RecordKind.STEP_STARTED), COMPLETED, ENDS)
Records = list[StoredRecord]


def a_ledger(run_id: str = "r") -> tuple[RunLedger, Records]:
    """A run of five records at positions with gaps."""
    ledger = RunLedger(run_id)
    ledger.commit(*STEPS)
    return ledger, stored(ledger, [3, 4, 9, 10, 20])


def verify(ledger: RunLedger, records: Records) -> ChainReport:
    """Against the head that the run had when it was written."""
    claim = RunHeadClaim(ledger.seq, ledger.head_hash)
    return verify_records(ledger.key, records, claim, inspect_record)


def change(records: Records, seq: int, **fields: Any) -> Records:
    """The records with other fields in one of them."""
    return [replace(record, **fields) if record.seq == seq else record for record in records]


def test_an_untouched_ledger_is_intact() -> None:
    ledger, records = a_ledger()
    assert verify(ledger, records) == ChainReport(5, ledger.head_hash)
    assert verify(ledger, records).intact


def test_records_above_the_head_that_was_read_are_left_out() -> None:
    ledger, records = a_ledger()
    claim = RunHeadClaim(3, records[2].record_hash)
    assert verify_records(ledger.key, records, claim, inspect_record) == ChainReport(3, records[2].record_hash)


def test_an_erased_payload_leaves_the_ledger_intact() -> None:
    ledger, records = a_ledger()
    erased = tuple(StoredPayload(0, b"", None) for _ in records[1].payloads)
    assert verify(ledger, change(records, 2, payloads=erased)).intact


def resealed(records: Records, seq: int, data: bytes) -> Records:
    """A forger who also rewrites the record's own hash, but not those after it."""
    return change(records, seq, record=data, record_hash=record_hash(records[seq - 1].prev_hash, data))


def swap_payloads(records: Records, one: int, other: int) -> Records:
    """The payloads of two records changed places."""
    return [
        replace(record, payloads=records[{one: other, other: one}.get(record.seq, record.seq) - 1].payloads)
        for record in records
    ]


# What is done to the five records, the seq that verification names, and a word of what it says.
TAMPERINGS: dict[str, tuple[Callable[[Records], Records], int, str]] = {
    "the first record edited": (lambda r: change(r, 1, record=r[0].record + b"\x1a\x00"), 1, "record_hash"),
    "a record edited": (lambda r: change(r, 3, record=r[2].record + b"\x1a\x00"), 3, "record_hash"),
    "the last record edited": (lambda r: change(r, 5, record=b""), 5, "record_hash"),
    "a record edited and its hash too": (lambda r: resealed(r, 3, r[2].record + b"\x22\x01x"), 3, "node_id"),
    "a record replaced by garbage": (lambda r: resealed(r, 4, b"\xff\xff"), 4, "cannot be read"),
    "the first record dropped": (lambda r: r[1:], 1, "place of seq 1"),
    "a record dropped": (lambda r: r[:2] + r[3:], 3, "place of seq 3"),
    "the tail cut off": (lambda r: r[:3], 4, "missing"),
    "everything cut off": (lambda r: [], 1, "missing"),
    "two records reordered": (lambda r: [r[0], r[2], r[1], *r[3:]], 2, "place of seq 2"),
    "a record twice": (lambda r: [*r[:2], r[1], *r[2:]], 3, "place of seq 3"),
    "a record of another run": (lambda r: [*r[:2], a_ledger("q")[1][2], *r[3:]], 3, "prev_hash"),
    "the ledger of another run": (lambda r: a_ledger("q")[1], 1, "prev_hash"),
    "a prev_hash edited": (lambda r: change(r, 2, prev_hash=bytes(32)), 2, "prev_hash"),
    "a record_hash edited": (lambda r: change(r, 2, record_hash=bytes(32)), 2, "record_hash"),
    "a payload edited": (
        lambda r: change(r, 2, payloads=(StoredPayload(0, r[1].payloads[0].salt, b'{"result":9}'),)),
        2,
        "not what the record commits to",
    ),
    "a payload shortened": (
        lambda r: change(r, 2, payloads=(StoredPayload(0, r[1].payloads[0].salt, b"{}"),)),
        2,
        "2 bytes",
    ),
    "a salt edited": (
        lambda r: change(r, 2, payloads=(replace(r[1].payloads[0], salt=bytes(16)),)),
        2,
        "not what the record commits to",
    ),
    "a payload dropped": (lambda r: change(r, 2, payloads=()), 2, "missing"),
    "a payload too many": (
        lambda r: change(r, 3, payloads=(StoredPayload(0, bytes(16), b"1"),)),
        3,
        "no payload 0",
    ),
    "a payload twice": (lambda r: change(r, 2, payloads=r[1].payloads * 2), 2, "same index"),
    "payloads of two records swapped": (lambda r: swap_payloads(r, 2, 4), 2, "not what the record"),
    "a kind edited beside the record": (lambda r: change(r, 2, kind=RecordKind.FAILED), 2, "kind beside"),
    "a status edited beside the record": (lambda r: change(r, 2, status=4), 2, "status beside"),
    "a node edited beside the record": (lambda r: change(r, 2, node_id="x"), 2, "node_id beside"),
    "a session edited beside the record": (lambda r: change(r, 2, session_id="x"), 2, "session_id beside"),
    "a root edited beside the record": (lambda r: change(r, 2, root_run_id="x"), 2, "root_run_id beside"),
    "an instant edited beside the record": (lambda r: change(r, 2, at=1), 2, "at beside"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_done_is_found_and_named(name: str) -> None:
    tamper, bad_seq, words = TAMPERINGS[name]
    ledger, records = a_ledger()
    report = verify(ledger, tamper(records))
    assert not report.intact
    assert report.first_bad_seq == bad_seq
    assert words in report.problem
    assert report.seq == bad_seq - 1


def test_a_rolled_back_head_is_found() -> None:
    ledger, records = a_ledger()
    report = verify_records(ledger.key, records, RunHeadClaim(5, bytes(32)), inspect_record)
    assert (report.intact, report.first_bad_seq) == (False, 5)
    assert "head" in report.problem


def test_a_head_of_a_run_without_records_is_found() -> None:
    key = RunLedger("r").key
    assert verify_records(key, [], RunHeadClaim(0, bytes(32)), inspect_record).first_bad_seq == 1


def test_the_first_of_two_faults_is_named() -> None:
    ledger, records = a_ledger()
    broken = change(change(records, 1, record=b"\x22\x01x"), 4, record=b"\x22\x01x")
    assert verify(ledger, broken).first_bad_seq == 1


@given(st.data())
def test_any_changed_byte_of_any_record_is_found(data: st.DataObject) -> None:
    ledger, records = a_ledger()
    seq = data.draw(st.integers(1, 5))
    edited = bytearray(records[seq - 1].record)
    at = data.draw(st.integers(0, len(edited) - 1))
    edited[at] ^= data.draw(st.integers(1, 255))
    assert verify(ledger, change(records, seq, record=bytes(edited))).first_bad_seq == seq


def test_a_run_begins_at_its_genesis_hash() -> None:
    ledger, records = a_ledger()
    assert records[0].prev_hash == genesis_hash("default", "r")
    assert not verify_records(
        ledger.key._replace(namespace="other"), records, RunHeadClaim(5, ledger.head_hash), inspect_record
    ).intact
