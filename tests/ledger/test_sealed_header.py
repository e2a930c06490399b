"""What verification reads from sealed bytes: every payload of every kind of record is found."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from perdure.v1 import records_pb2
from perdure_server.api.sealed_header import inspect_record

pytestmark = pytest.mark.promise("P9")

REF = records_pb2.PayloadRef.DESCRIPTOR


def paths_to_refs(descriptor: Descriptor, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every way from a message down to a payload slot."""
    found: list[tuple[str, ...]] = []
    for field in descriptor.fields:
        below = (*path, field.name)
        if field.type != FieldDescriptor.TYPE_MESSAGE or field.message_type is None:
            continue
        if field.message_type == REF:
            found.append(below)
        else:
            found += paths_to_refs(field.message_type, below)
    return found


PATHS = paths_to_refs(records_pb2.StepRecord.DESCRIPTOR)


def test_there_are_slots_to_be_found() -> None:
    assert len(PATHS) > 15
    assert ("step_completed", "effect", "payload") in PATHS


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_every_slot_of_every_record_is_found(path: tuple[str, ...]) -> None:
    record = records_pb2.StepRecord(run_id="r", seq=3)
    message: Message = record
    for name in path:
        message = getattr(message, name)
    assert isinstance(message, records_pb2.PayloadRef)
    message.index, message.size, message.commitment = 2, 7, b"c" * 32
    (slot,) = inspect_record(record.SerializeToString()).slots
    assert (slot.index, slot.size, slot.commitment) == (2, 7, b"c" * 32)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05a", b"\x0a\x01\xff"])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a StepRecord"):
        inspect_record(data)
