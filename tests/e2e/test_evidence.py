"""The demo's checks find what they are there for: a lost, changed, repeated or missing record, a second charge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure import LedgerEntry
from perdure.v1 import records_pb2
from perdure.values import RecordKind
from tests.e2e.evidence import Evidence, statement_problems


def entry(seq: int, record_hash: bytes | None = None) -> LedgerEntry:
    record = records_pb2.StepRecord(run_id="r", seq=seq, kind=RecordKind.UNPAUSED.wire)
    return LedgerEntry.from_wire(records_pb2.LedgerEntry(record=record, record_hash=record_hash or bytes([seq])))


def evidence(*streamed: LedgerEntry) -> Evidence:
    made = Evidence()
    for each in streamed:
        made.streamed(each)
    return made


def test_a_whole_ledger_has_no_problems() -> None:
    made = evidence(entry(1), entry(2), entry(3))
    made.replied("start", "r", 1)
    made.replied("resume", "r", 3)
    assert made.stream_problems() == []
    assert made.ledger_problems({"r": [entry(1), entry(2), entry(3)]}) == []
    assert made.record_count == 3


@pytest.mark.parametrize("streamed", [(1, 3), (1, 1, 2), (2, 1), (2, 3)])
def test_a_gap_a_repeat_and_a_disorder_are_found(streamed: tuple[int, ...]) -> None:
    assert evidence(*map(entry, streamed)).stream_problems() == [f"run r was streamed as {list(streamed)}"]


def test_a_lost_record_is_found() -> None:
    made = evidence(entry(1), entry(2))
    assert made.ledger_problems({"r": [entry(1)]}) == ["record 2 of run r was streamed and is not there"]
    assert len(made.ledger_problems({})) == 2


def test_a_changed_record_is_found() -> None:
    made = evidence(entry(1))
    problems = made.ledger_problems({"r": [entry(1, b"other")]})
    assert problems == ["record 1 of run r is another one than was streamed"]


def test_a_lost_reply_is_found() -> None:
    made = Evidence()
    made.replied("resume", "r", 2)
    problems = made.ledger_problems({"r": [entry(1)]})
    assert problems == ["resume of run r was acknowledged as record 2, which is not there"]


@pytest.mark.parametrize(
    ("lines", "ok"),
    [
        ([("K", "o")], True),
        ([("K", "o"), ("L", "another")], True),
        ([("K", "o"), ("K", "o")], False),
        ([("K", "o"), ("M", "o")], False),
        ([("M", "o")], False),
        ([], False),
    ],
)
def test_only_one_charge_under_the_ledgers_key_will_do(lines: list[tuple[str, str]], ok: bool, tmp_path: Path) -> None:
    statement = tmp_path / "statement.jsonl"
    statement.write_text("".join(json.dumps({"key": key, "order": order}) + "\n" for key, order in lines))
    assert (statement_problems(statement, ["o"], {"o": "K"}) == []) is ok
