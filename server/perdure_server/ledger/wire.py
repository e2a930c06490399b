"""LedgerEntry and its batches as protobuf bytes, joined by hand from bytes that are there already.

A record is encoded once, when it is made, and sent many times; building message objects for it costs four
times as much as joining bytes. Only length-delimited fields and varints occur
(protobuf.dev/programming-guides/encoding). Field numbers are those of perdure/v1/records.proto and
ledger_service.proto; the tests compare every shape with the generated types.

A *frame* is one element of `repeated LedgerEntry entries = 1`: tag, length, entry. Batches and pages are
frames, one after the other; both RecordBatch and ListRecordsResponse keep them in field 1.
"""

from __future__ import annotations

from perdure_server.ledger.selection import View
from perdure_server.storage.port import StoredPayload, StoredRecord

# tag = field number << 3 | wire type (0 varint, 2 length-delimited)
_ENTRIES = b"\x0a"
_RECORD = b"\x0a"
_RECORD_BYTES = b"\x12"
_PAYLOADS = b"\x1a"
_POSITION = b"\x20"
_PREV_HASH = b"\x2a"
_RECORD_HASH = b"\x32"
_PAYLOAD_INDEX = b"\x08"
_PAYLOAD_INLINE = b"\x12"
_PAYLOAD_ERASED = b"\x22\x00"
_INLINE_SALT = b"\x0a"
_INLINE_DATA = b"\x12"
_CURSOR = b"\x0a"
_BATCH = b"\x1a"
_NEXT_PAGE_TOKEN = b"\x12"
_PAGE_CURSOR = b"\x1a"


def _encode_varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


_SHORT = tuple(_encode_varint(number) for number in range(4096))


def varint(number: int) -> bytes:
    """A non-negative int64 as base-128 varint."""
    return _SHORT[number] if number < 4096 else _encode_varint(number)


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data


def _payload(payload: StoredPayload) -> bytes:
    index = _PAYLOAD_INDEX + varint(payload.index) if payload.index else b""
    if payload.data is None:
        return _field(_PAYLOADS, index + _PAYLOAD_ERASED)
    inline = _field(_INLINE_SALT, payload.salt)
    if payload.data:
        inline += _field(_INLINE_DATA, payload.data)
    return _field(_PAYLOADS, index + _field(_PAYLOAD_INLINE, inline))


def frame(record: StoredRecord, view: View) -> bytes:
    """The record as one entry of a batch or page, with its payloads."""
    entry = b"".join(
        (
            _RECORD if view is View.RECORD else _RECORD_BYTES,
            varint(len(record.record)),
            record.record,
            *map(_payload, record.payloads),
            _POSITION,
            varint(record.position),
            _PREV_HASH,
            varint(len(record.prev_hash)),
            record.prev_hash,
            _RECORD_HASH,
            varint(len(record.record_hash)),
            record.record_hash,
        )
    )
    return b"".join((_ENTRIES, varint(len(entry)), entry))


def batch_response(cursor: str, frames: bytes) -> bytes:
    """SubscribeLedgerResponse {cursor, batch {entries}}."""
    text = cursor.encode()
    return b"".join((_CURSOR, varint(len(text)), text, _BATCH, varint(len(frames)), frames))


def page_response(frames: bytes, next_page_token: str, cursor: str) -> bytes:
    """ListRecordsResponse {entries, next_page_token, cursor}."""
    token = _field(_NEXT_PAGE_TOKEN, next_page_token.encode()) if next_page_token else b""
    return b"".join((frames, token, _field(_PAGE_CURSOR, cursor.encode())))
