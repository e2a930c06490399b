"""Cursors: opaque texts that tell where a reader stands. Page tokens of ListRecords are cursors too.

A cursor is 45 bytes in base64url (RFC 4648, section 5), without padding:

    version 1 | store epoch 8 | selection 8 | position 8 | anchor position 8 | anchor hash 8 | CRC-32 4

Numbers are big-endian; the epoch is the start of SHA-256 of the store's epoch text. It covers every
matching record up to `position`. The anchor is the last record the reader was shown, by position and
the start of its hash: it finds a store that was rolled back and has given the position to another record.
A cursor holds no secret and grants nothing; the checksum is against truncation and typing.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass

from perdure_server.engine.errors import CursorExpiredError, CursorFromOtherStoreError, InvalidCursorError
from perdure_server.ids import epoch_tag
from perdure_server.ledger.selection import Selection
from perdure_server.storage.port import StoredRecord

ANCHOR_HASH_BYTES = 8
"""How much of the anchor's record hash a cursor carries."""

_VERSION = 1
_LAYOUT = struct.Struct(">B8s8sQQ8s")
_CHECKSUM = struct.Struct(">I")
_TEXT_CHARS = (_LAYOUT.size + _CHECKSUM.size) // 3 * 4
_MAX_POSITION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Anchor:
    """A record that the reader was shown; position 0: none yet.

    Args:
        head: the first ANCHOR_HASH_BYTES of its record hash.
    """

    position: int = 0
    head: bytes = bytes(ANCHOR_HASH_BYTES)

    @classmethod
    def at(cls, record: StoredRecord) -> Anchor:
        """This record as an anchor."""
        return cls(record.position, record.record_hash[:ANCHOR_HASH_BYTES])

    def fits(self, record: StoredRecord | None) -> bool:
        """Whether the store's record at this position (None: there is none) is the one that was shown."""
        return self.position == 0 or (record is not None and Anchor.at(record) == self)


NO_ANCHOR = Anchor()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Every matching record up to `position` (and including it) has been seen."""

    position: int
    anchor: Anchor = NO_ANCHOR


class CursorCodec:
    """Writes and reads the cursors of one store.

    Args:
        store_epoch: StoreInfo.epoch.
    """

    def __init__(self, store_epoch: str) -> None:
        self._epoch = epoch_tag(store_epoch)

    def encode(self, binding: bytes, cursor: Cursor) -> str:
        """The cursor's text. `binding`: Selection.binding()."""
        data = _LAYOUT.pack(_VERSION, self._epoch, binding, cursor.position, cursor.anchor.position, cursor.anchor.head)
        return base64.urlsafe_b64encode(data + _CHECKSUM.pack(zlib.crc32(data))).decode()

    def decode(self, selection: Selection, text: str, field: str) -> Cursor:
        """The cursor behind a text that a client sent in `field`. `check_cursor` comes next.

        Raises:
            InvalidCursorError: not a cursor, or one of another scope, filter or namespace.
            CursorFromOtherStoreError: a cursor of a store with another epoch.
        """
        version, epoch, binding, position, anchor_position, head = _LAYOUT.unpack(_unwrap(text, field))
        if version != _VERSION:
            raise InvalidCursorError("The cursor was made by another version of the server.", field)
        if binding != selection.binding():
            raise InvalidCursorError(
                "The cursor belongs to another scope, filter or namespace; send those it was made with.",
                field,
            )
        if epoch != self._epoch:
            raise CursorFromOtherStoreError(
                "The cursor was made by another store; start again from the beginning.", field
            )
        if position > _MAX_POSITION or anchor_position > position:
            raise InvalidCursorError("The cursor is damaged.", field)
        return Cursor(position, Anchor(anchor_position, head))


def check_cursor(cursor: Cursor, at_anchor: StoredRecord | None, horizon: int, field: str, oldest: int = 0) -> None:
    """Refuses a cursor that does not fit the store as it is now.

    Args:
        at_anchor: the store's record at the anchor's position, if there is one.
        horizon: the store's horizon.
        oldest: records below this position were removed by retention; 0: none ever.

    Raises:
        CursorExpiredError: records after the cursor were removed; metadata `oldest_position`.
        CursorFromOtherStoreError: the store never was where the cursor says, or was rolled back since.
    """
    if cursor.position + 1 < oldest:
        raise CursorExpiredError(
            "Records after this cursor were removed by retention; start from the beginning of what is left.",
            field,
            oldest_position=str(oldest),
        )
    if cursor.position > horizon or (cursor.anchor.position >= oldest and not cursor.anchor.fits(at_anchor)):
        raise CursorFromOtherStoreError(
            "The store has not the records this cursor stands for; it was restored or is another one. "
            "Start again from the beginning.",
            field,
            horizon=str(horizon),
        )


def _unwrap(text: str, field: str) -> bytes:
    """The bytes before the checksum of a well-formed text. Raises InvalidCursorError."""
    if len(text) == _TEXT_CHARS and text.isascii():
        try:
            data = base64.b64decode(text, altchars=b"-_", validate=True)
        except binascii.Error:
            data = b""
        body, checksum = data[: _LAYOUT.size], data[_LAYOUT.size :]
        if checksum == _CHECKSUM.pack(zlib.crc32(body)):
            return body
    raise InvalidCursorError("This is not a cursor of this server; send one exactly as it was received.", field)
