"""A strip: encoded records in position order, from which batches are cut."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from perdure_server.ledger.cursor import ANCHOR_HASH_BYTES, Anchor
from perdure_server.storage.port import StoredRecord

_COMPACT_AT = 1024
"""Dropped places at the front before the lists are shortened."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Some neighbouring records of a strip: their frames, joined, how many, and the last one."""

    frames: bytes
    count: int
    last: Anchor


class Strip:
    """Frames in position order; grows at the end, shrinks at the front.

    Parallel lists rather than objects: a batch is two bisections and one join, whatever its length.
    """

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._frames: list[bytes] = []
        self._heads: list[bytes] = []
        self._ends: list[int] = []  # bytes of this and all frames before it, counted from the strip's birth
        self._first = 0  # places before it are dropped
        self._origin = 0  # `_ends` of the record before place 0

    def __len__(self) -> int:
        return len(self._positions) - self._first

    def add(self, record: StoredRecord, frame: bytes) -> None:
        """Appends a record; its position is above those before it."""
        self._ends.append((self._ends[-1] if self._ends else self._origin) + len(frame))
        self._positions.append(record.position)
        self._frames.append(frame)
        self._heads.append(record.record_hash[:ANCHOR_HASH_BYTES])

    def drop_first(self) -> int:
        """Forgets the oldest record; returns its position."""
        position = self._positions[self._first]
        self._frames[self._first] = b""
        self._first += 1
        if self._first >= _COMPACT_AT and self._first * 2 >= len(self._positions):
            self._origin = self._ends[self._first - 1]
            for column in (self._positions, self._frames, self._heads, self._ends):
                del column[: self._first]
            self._first = 0
        return position

    def first_after(self, after: int) -> int:
        """Position of the first record above `after`; 0 for none."""
        place = bisect_right(self._positions, after, self._first)
        return self._positions[place] if place < len(self._positions) else 0

    def cut(self, after: int, until: int, max_records: int, max_bytes: int) -> Cut | None:
        """The next batch in (after, until]; None if there is nothing.

        Args:
            max_bytes: upper bound for the sum of its frames, except that one record always fits.
        """
        start = bisect_right(self._positions, after, self._first)
        stop = bisect_right(self._positions, until, start, min(start + max_records, len(self._positions)))
        if start == stop:
            return None
        before = self._ends[start - 1] if start else self._origin
        stop = max(start + 1, bisect_right(self._ends, before + max_bytes, start, stop))
        return Cut(
            b"".join(self._frames[start:stop]),
            stop - start,
            Anchor(self._positions[stop - 1], self._heads[stop - 1]),
        )
