"""Rows in order, in a list: finding, adding and removing by bisection. Moving the rest of a list of a million is
cheaper than any tree in Python.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Any)


class Ordered(Generic[T]):
    """Rows without duplicates, ascending."""

    def __init__(self) -> None:
        self._rows: list[T] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: T) -> None:
        """Adds a row; most come last."""
        rows = self._rows
        if not rows or rows[-1] < row:
            rows.append(row)
        else:
            insort(rows, row)

    def discard(self, row: T) -> None:
        """Removes a row, if it is there."""
        rows = self._rows
        at = bisect_left(rows, row)
        if at < len(rows) and rows[at] == row:
            del rows[at]

    def after(self, row: T | None) -> Iterator[T]:
        """Rows above this one, ascending; None: all."""
        start = 0 if row is None else bisect_right(self._rows, row)
        return (self._rows[at] for at in range(start, len(self._rows)))

    def before(self, row: T | None) -> Iterator[T]:
        """Rows below this one, descending; None: all."""
        end = len(self._rows) if row is None else bisect_left(self._rows, row)
        return (self._rows[at] for at in range(end - 1, -1, -1))


class Shelves(dict[Any, Ordered[Any]]):
    """Ordered rows by key; a key without rows is not kept."""

    def put(self, key: Any, row: Any) -> None:
        """Adds a row under a key."""
        shelf = self.get(key)
        if shelf is None:
            shelf = self[key] = Ordered()
        shelf.add(row)

    def take(self, key: Any, row: Any) -> None:
        """Removes a row from under a key."""
        shelf = self.get(key)
        if shelf is not None:
            shelf.discard(row)
            if not len(shelf):
                del self[key]

    def after(self, key: Any, row: Any | None) -> Iterator[Any]:
        """Rows under a key and above this one, ascending."""
        shelf = self.get(key)
        return iter(()) if shelf is None else shelf.after(row)

    def before(self, key: Any, row: Any | None) -> Iterator[Any]:
        """Rows under a key and below this one, descending."""
        shelf = self.get(key)
        return iter(()) if shelf is None else shelf.before(row)


def first(rows: Iterator[T], limit: int, wanted: Callable[[T], bool]) -> list[T]:
    """At most `limit` of the rows that are wanted."""
    return list(islice(filter(wanted, rows), limit))
