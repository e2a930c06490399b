"""What sealed record bytes say of themselves, for verification. Knows no kind of record: whatever refers to a
payload, anywhere in a record, is found by its type."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from perdure.v1.records_pb2 import PayloadRef, StepRecord
from perdure_server.api.codec.shapes import micros
from perdure_server.ledger.chain import CommittedSlot, SealedHeader


def inspect_record(record: bytes) -> SealedHeader:
    """The header of a record and every payload it commits to.

    Raises: ValueError if the bytes are no record.
    """
    try:
        message = StepRecord.FromString(record)
    except DecodeError as error:
        raise ValueError("they are not a StepRecord") from error
    return SealedHeader(
        run_id=message.run_id,
        seq=message.seq,
        kind=message.kind,
        status=message.status,
        node_id=message.node_id,
        at=micros(message.at),
        session_id=message.session_id,
        root_run_id=message.root_run_id,
        slots=tuple(
            CommittedSlot(ref.index, ref.size, ref.commitment) for ref in _payload_refs(message) if ref.commitment
        ),
    )


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _payload_refs(message: Message) -> Iterator[PayloadRef]:
    """Every PayloadRef below a message."""
    if isinstance(message, PayloadRef):
        yield message
        return
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE or _is_map(field):
            continue
        for item in value if field.is_repeated else (value,):
            yield from _payload_refs(item)
