"""Hand-joined bytes are what the generated types would write."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1 import records_pb2
from perdure_server.ledger.selection import View
from perdure_server.ledger.wire import batch_response, frame, page_response, varint
from perdure_server.storage.port import StoredPayload, StoredRecord
from tests.ledger.writer import STARTED, RunLedger, stored

sizes = st.sampled_from([0, 1, 127, 128, 300, 16_383, 16_384, 70_000])


@st.composite
def payloads(draw: st.DrawFn) -> StoredPayload:
    """A payload, perhaps erased."""
    data = None if draw(st.booleans()) else b"x" * draw(sizes)
    return StoredPayload(draw(st.integers(0, 5_000)), draw(st.binary(min_size=16, max_size=16)), data)


@st.composite
def stored_records(draw: st.DrawFn) -> StoredRecord:
    """A record with its bytes left as some are, and payloads of many sizes."""
    ledger = RunLedger("r")
    ledger.commit(STARTED)
    position = draw(st.one_of(st.integers(1, 2**63 - 1), st.sampled_from([127, 128, 4_095, 4_096])))
    node_id = draw(st.text(max_size=200))
    message = records_pb2.StepRecord(run_id="r", seq=1, node_id=node_id)
    return replace(
        stored(ledger, [position])[0],
        record=message.SerializeToString(),
        payloads=tuple(draw(st.lists(payloads(), max_size=4))),
    )


def generated_entry(record: StoredRecord, view: View) -> records_pb2.LedgerEntry:
    """The entry made of generated messages."""
    entry = records_pb2.LedgerEntry(
        position=record.position, prev_hash=record.prev_hash, record_hash=record.record_hash
    )
    if view is View.RECORD:
        entry.record.MergeFromString(record.record)
    else:
        entry.record_bytes = record.record
    for payload in record.payloads:
        item = entry.payloads.add(index=payload.index)
        if payload.data is None:
            item.erased.SetInParent()
        else:
            item.inline.salt, item.inline.data = payload.salt, payload.data
    return entry


@given(st.lists(stored_records(), min_size=1, max_size=3), st.sampled_from(View), st.text(max_size=200))
def test_a_batch_has_the_bytes_of_the_generated_types(records: list[StoredRecord], view: View, cursor: str) -> None:
    expected = pb.SubscribeLedgerResponse(cursor=cursor)
    expected.batch.entries.extend(generated_entry(record, view) for record in records)
    joined = batch_response(cursor, b"".join(frame(record, view) for record in records))
    assert pb.SubscribeLedgerResponse.FromString(joined) == expected
    if cursor:
        assert joined == expected.SerializeToString(deterministic=True)


@given(st.lists(stored_records(), max_size=3), st.sampled_from(View), st.text(max_size=9), st.text(min_size=1))
def test_a_page_has_the_bytes_of_the_generated_types(
    records: list[StoredRecord], view: View, token: str, cursor: str
) -> None:
    expected = pb.ListRecordsResponse(next_page_token=token, cursor=cursor)
    expected.entries.extend(generated_entry(record, view) for record in records)
    joined = page_response(b"".join(frame(record, view) for record in records), token, cursor)
    assert joined == expected.SerializeToString(deterministic=True)


@given(stored_records())
def test_both_views_are_the_same_stored_bytes(record: StoredRecord) -> None:
    in_bytes = pb.ListRecordsResponse.FromString(frame(record, View.RECORD_BYTES)).entries[0]
    decoded = pb.ListRecordsResponse.FromString(frame(record, View.RECORD)).entries[0]
    assert in_bytes.record_bytes == record.record
    assert decoded.record.SerializeToString() == record.record


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_one_of_protobuf(number: int) -> None:
    entry = records_pb2.LedgerEntry.FromString(b"\x20" + varint(number))
    assert entry.position == number
