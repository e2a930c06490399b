"""One page of ledger records: ListRecords."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perdure_server.engine.errors import InvalidCursorError, InvalidPageTokenError
from perdure_server.ledger.cursor import Anchor, Cursor, CursorCodec
from perdure_server.ledger.reads import AfterCursor, AfterSeq, Beginning, LedgerStore, find_start, position_of
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.wire import frame
from perdure_server.storage.port import NO_LIMIT, StoredRecord

_TOKENS_BYTES = 1_024
"""Room in a page's message for cursor and token."""


@dataclass(frozen=True, slots=True)
class ListRecordsCommand:
    """What a client asks for; values in force.

    Args:
        page_token: a cursor of the same selection; empty: from the beginning, or `after_seq` (RUN scope).
    """

    selection: Selection
    view: View
    page_size: int
    page_token: str = ""
    after_seq: int = 0


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page. `next_page_token` empty: there was nothing more; `cursor` covers the page."""

    frames: bytes
    count: int
    next_page_token: str
    cursor: str


def read_page(store: LedgerStore, cursors: CursorCodec, command: ListRecordsCommand, max_bytes: int) -> RecordPage:
    """The page that a command asks for; runs in a reader thread.

    Args:
        max_bytes: the page's message is no longer, except that one record always fits.

    Raises: InvalidPageTokenError, CursorFromOtherStoreError, CursorExpiredError.
    """
    start, horizon = _start(store, cursors, command)
    records: list[StoredRecord] = []
    # One run is complete up to its last record, above the horizon too: its order is that of its commits.
    until = NO_LIMIT if command.selection.scope is ScopeKind.RUN else horizon
    if start.position < until:
        query = command.selection.query(start.position, until, command.page_size, max_bytes)
        records = store.read_records(replace(query, after_seq=command.after_seq))
    frames, count = _cut(records, command.view, max_bytes - _TOKENS_BYTES)
    reached = start
    if count:
        reached = Cursor(records[count - 1].position, Anchor.at(records[count - 1]))
    more = count > 0 and _has_more(store, command.selection, reached.position, until)
    if not more:
        reached = Cursor(max(horizon, reached.position), reached.anchor)
    cursor = cursors.encode(command.selection.binding(), reached)
    return RecordPage(frames, count, cursor if more else "", cursor)


def token_position(cursors: CursorCodec, command: ListRecordsCommand) -> int:
    """Up to where the pages before have gone. Raises: InvalidPageTokenError, CursorFromOtherStoreError."""
    try:
        return position_of(cursors, command.selection, AfterCursor(command.page_token, "page_token"))
    except InvalidCursorError as error:
        raise InvalidPageTokenError(error.message, error.field) from error


def _start(store: LedgerStore, cursors: CursorCodec, command: ListRecordsCommand) -> tuple[Cursor, int]:
    if not command.page_token:
        start = AfterSeq(command.after_seq) if command.after_seq else Beginning()
        return find_start(store, cursors, command.selection, start)
    try:
        return find_start(store, cursors, command.selection, AfterCursor(command.page_token, "page_token"))
    except InvalidCursorError as error:
        raise InvalidPageTokenError(error.message, error.field) from error


def _cut(records: list[StoredRecord], view: View, max_bytes: int) -> tuple[bytes, int]:
    """Frames of as many of the records as fit, and how many."""
    frames: list[bytes] = []
    total = 0
    for record in records:
        encoded = frame(record, view)
        total += len(encoded)
        if frames and total > max_bytes:
            break
        frames.append(encoded)
    return b"".join(frames), len(frames)


def _has_more(store: LedgerStore, selection: Selection, after: int, until: int) -> bool:
    """Whether there is a further record; the length of a page does not tell."""
    return after < until and bool(store.read_records(selection.query(after, until, 1, 1)))
