"""Positions without holes, for a store that leaves some."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from perdure_server.storage.port import (
    NO_LIMIT,
    Commit,
    RecordQuery,
    RunChange,
    RunKey,
    RunSnapshot,
    SlotLine,
    SlotPlace,
    Store,
    StoredEvent,
    StoredRecord,
    StoreInfo,
    Verdict,
)


class DenseStore:
    """A store whose positions count records and events from 1, whatever gaps the store beneath leaves between its own.

    Numbers in rolled back transactions are lost to PostgreSQL, by design; nothing but their order means anything. So
    that everything in which they stand can be compared with other stores, hashes too, the server gets their ranks.
    The store beneath has one writer, which is this one: its server is told that it is not shared.

    Args:
        store: the store beneath.
        real: its positions in use, in order; kept from life to life.
    """

    def __init__(self, store: Store, real: list[int]) -> None:
        self._store = store
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def as_store(self) -> Store:
        """Itself, by type."""
        return cast(Store, self)

    def info(self) -> StoreInfo:
        """See StoreReader."""
        return replace(self._store.info(), shared=False)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        verdicts = self._store.commit(batch)
        used = {position for one in verdicts for position in (*one.positions, *one.event_positions)}
        self._real.extend(sorted(used.difference(self._real)))
        self._real.sort()
        return [
            replace(
                one,
                positions=tuple(map(self._rank, one.positions)),
                event_positions=tuple(map(self._rank, one.event_positions)),
            )
            for one in verdicts
        ]

    def horizon(self) -> int:
        """See StoreReader."""
        return self._rank(self._store.horizon())

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """See StoreReader."""
        found = self._store.load_run(key)
        return None if found is None else replace(found, records=tuple(map(self._record, found.records)))

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """See StoreReader."""
        after, until = self._position(query.after_position), self._position(query.until_position)
        if query.until_position and not until:
            return []
        return [
            self._record(row)
            for row in self._store.read_records(replace(query, after_position=after, until_position=until))
        ]

    def read_changes(self, after_position: int, until_position: int, limit: int) -> list[RunChange]:
        """See StoreReader."""
        found = self._store.read_changes(self._position(after_position), self._position(until_position), limit)
        return [change._replace(position=self._rank(change.position)) for change in found]

    def read_events(
        self, namespace: str, scope: int, scope_id: str, name: str, after_position: int, until_position: int, limit: int
    ) -> list[StoredEvent]:
        """See StoreReader."""
        after, until = self._position(after_position), self._position(until_position)
        found = self._store.read_events(namespace, scope, scope_id, name, after, until, limit)
        return [replace(one, position=self._rank(one.position)) for one in found]

    def slot_line(self, namespace: str, key: str, limit: int) -> SlotLine:
        """See StoreReader."""
        line = self._store.slot_line(namespace, key, limit)
        holders, waiting = tuple(map(self._place, line.holders)), tuple(map(self._place, line.line))
        return replace(line, holders=holders, line=waiting)

    def _rank(self, position: int) -> int:
        return bisect_right(self._real, position)

    def _position(self, rank: int) -> int:
        """0 and NO_LIMIT mean no position."""
        return rank if rank in (0, NO_LIMIT) else self._real[min(rank, len(self._real)) - 1]

    def _record(self, row: StoredRecord) -> StoredRecord:
        return replace(row, position=self._rank(row.position))

    def _place(self, place: SlotPlace) -> SlotPlace:
        return replace(place, rank=self._rank(place.rank))
