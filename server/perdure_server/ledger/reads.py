"""Questions to the store's ledger. Plain functions: they run in the engine's reader threads.

No function trusts a short page to be the last one: a page may end early by bytes, and a reader that believed
in a length would lose what comes after. The end is an empty page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol, TypeAlias, TypeVar

from perdure_server.engine.errors import CursorFromOtherStoreError, RunNotFoundError
from perdure_server.kernel.limits import MIB
from perdure_server.ledger.cursor import Anchor, Cursor, CursorCodec, check_cursor
from perdure_server.ledger.selection import TERMINAL_KINDS, ScopeKind, Selection, View
from perdure_server.ledger.strip import Strip
from perdure_server.ledger.wire import frame
from perdure_server.storage.port import RecordQuery, RunKey, RunSnapshot, StoredRecord, StoreInfo

T = TypeVar("T")

PAGE_RECORDS = 1_000
PAGE_BYTES = MIB
"""Bounds of one read for a subscriber: what it may hold while its client reads slowly."""

WINDOW = 50_000
"""Positions that one read of a filtered selection looks through, so that a filter which matches nothing
keeps neither a thread nor the checkpoints waiting."""


class LedgerStore(Protocol):
    """What the ledger needs of a store (storage.port.StoreReader has it)."""

    def info(self) -> StoreInfo:
        """Identity and abilities."""
        ...

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """A run's head, among others."""
        ...

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """One page of the ledger."""
        ...

    def horizon(self) -> int:
        """Highest position at or below which nothing can still appear."""
        ...


class StoreAccess(Protocol):
    """The engine, as far as the ledger needs it."""

    @property
    def store(self) -> LedgerStore:
        """The reading side of the store."""
        ...

    async def read(self, query: Callable[..., T], *args: Any) -> T:
        """Calls `query(*args)` in a reader thread."""
        ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """With the first record."""


@dataclass(frozen=True, slots=True)
class Now:
    """With what is committed from now on."""


@dataclass(frozen=True, slots=True)
class AfterCursor:
    """After a cursor; `field` is the request field it came in."""

    cursor: str
    field: str = "after_cursor"


@dataclass(frozen=True, slots=True)
class AfterSeq:
    """RUN scope: after this record of the run."""

    seq: int


Start: TypeAlias = Beginning | Now | AfterCursor | AfterSeq


def position_of(cursors: CursorCodec, selection: Selection, start: Start) -> int:
    """Up to where a reader has seen everything; 0 unless a cursor tells. Raises: as CursorCodec.decode."""
    return cursors.decode(selection, start.cursor, start.field).position if isinstance(start, AfterCursor) else 0


def find_start(store: LedgerStore, cursors: CursorCodec, selection: Selection, start: Start) -> tuple[Cursor, int]:
    """Where a reading begins, and the store's horizon then.

    Raises: InvalidCursorError, CursorFromOtherStoreError, CursorExpiredError.
    """
    if isinstance(start, AfterCursor):
        cursor = cursors.decode(selection, start.cursor, start.field)
        at_anchor = _record_at(store, selection.namespace, cursor.anchor.position)
        # Read after the record: on a store with several writers a horizon only tells about what came before.
        horizon = store.horizon()
        check_cursor(cursor, at_anchor, horizon, start.field)
        return cursor, horizon
    horizon = store.horizon()
    match start:
        case Beginning():
            return Cursor(0), horizon
        case Now():
            return Cursor(horizon), horizon
        case AfterSeq(seq):
            return _after_seq(store, selection, seq), horizon


def require_run(store: LedgerStore, namespace: str, run_id: str) -> None:
    """Raises RunNotFoundError if the run has no ledger."""
    if not store.read_records(RecordQuery(namespace=namespace, run_id=run_id, limit=1)):
        raise RunNotFoundError("There is no such run.", "scope.run_id", run_id=run_id)


@dataclass(frozen=True, slots=True)
class StorePage:
    """Some records after a position, encoded.

    Args:
        covered: every matching record up to this position is in `strip` (or was before it).
    """

    strip: Strip
    covered: int


def read_strip(store: LedgerStore, selection: Selection, view: View, after: int, until: int) -> StorePage:
    """The next records in (after, until]; `covered` == until: there are no more. Needs after < until."""
    edge = min(until, after + WINDOW) if selection.filtered else until
    records = store.read_records(selection.query(after, edge, PAGE_RECORDS, PAGE_BYTES))
    strip = Strip()
    for record in records:
        strip.add(record, frame(record, view))
    return StorePage(strip, records[-1].position if records else edge)


def last_ending(store: LedgerStore, selection: Selection, until: int) -> int:
    """Position of the record that ended the run, if at `until` it has ended; 0 if not.

    An end that a retry followed is none.
    """
    ends = selection.ends_and_retries()
    last: StoredRecord | None = None
    while page := store.read_records(ends.query(last.position if last else 0, until, PAGE_RECORDS, PAGE_BYTES)):
        last = page[-1]
    return last.position if last is not None and last.kind in TERMINAL_KINDS else 0


def read_gap(
    store: LedgerStore, namespaces: Sequence[str], after: int, max_records: int, max_bytes: int
) -> tuple[int, list[StoredRecord] | None]:
    """The horizon, and all records of these namespaces in (after, horizon], in position order.

    Returns None for the records if there are more than `max_records`, or `max_bytes` of them.
    """
    horizon = store.horizon()
    records: list[StoredRecord] = []
    total_bytes = 0
    for namespace in namespaces if horizon > after else ():
        everything = Selection.of(namespace, ScopeKind.ALL)
        reached = after
        while page := store.read_records(everything.query(reached, horizon, PAGE_RECORDS, 4 * PAGE_BYTES)):
            records.extend(page)
            reached = page[-1].position
            total_bytes += sum(map(_stored_bytes, page))
            if len(records) > max_records or total_bytes > max_bytes:
                return horizon, None
            if reached >= horizon:
                break
    records.sort(key=attrgetter("position"))
    return horizon, records


def _stored_bytes(record: StoredRecord) -> int:
    return len(record.record) + sum(len(payload.data or b"") for payload in record.payloads)


def _record_at(store: LedgerStore, namespace: str, position: int) -> StoredRecord | None:
    if position == 0:
        return None
    everything = Selection.of(namespace, ScopeKind.ALL)
    records = store.read_records(everything.query(position - 1, position, 1, PAGE_BYTES))
    return records[0] if records else None


def _after_seq(store: LedgerStore, selection: Selection, seq: int) -> Cursor:
    """The place of a run's record `seq`, also above the horizon. An unknown run: its (still empty) beginning."""
    if seq == 0:
        return Cursor(0)
    query = RecordQuery(
        namespace=selection.namespace,
        run_id=selection.scope_id,
        after_seq=seq - 1,
        limit=1,
    )
    records = store.read_records(query)
    if records and records[0].seq == seq:
        return Cursor(records[0].position, Anchor.at(records[0]))
    known = store.read_records(RecordQuery(namespace=selection.namespace, run_id=selection.scope_id, limit=1))
    if not known:
        return Cursor(0)
    raise CursorFromOtherStoreError(
        f"The run has no record {seq} here; the store was restored or is another one. Start again from the beginning.",
        "after_seq",
    )
