"""A mapping that is never changed: a changed one shares with it all but the little that differs.

For what a run holds thousands of, its open children and the outputs of its branches: a copy of all of them for each
that comes or goes would make a fan-out cost its width squared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

K = TypeVar("K")
V = TypeVar("V")

WIDTH_BITS: Final = 5
WIDTH: Final = 1 << WIDTH_BITS
_MASK: Final = WIDTH - 1

_Bucket: TypeAlias = "dict[Any, tuple[int, Any]]"
"""By key the entry's place in the order, and its value."""
_Branch: TypeAlias = "tuple[_Bucket | None, ...]"

_NO_BUCKETS: Final[_Branch] = (None,) * WIDTH
_NO_BRANCHES: Final[tuple[_Branch, ...]] = (_NO_BUCKETS,) * WIDTH


class PersistentMap(Mapping[K, V]):
    """Equal to a dict of the same items, and in the same order: that in which its keys came.

    A tree of two levels, WIDTH wide, by the keys' hashes, with small dicts as its leaves: a change copies one way
    through it, so it costs the same for one entry and for ten thousand. Reading all of it in order sorts it.
    """

    __slots__ = ("_branches", "_next", "_size")

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        self._branches = _NO_BRANCHES
        self._size = 0
        self._next = 0
        for key, value in items:
            self._put(key, value)

    def put(self, key: K, value: V) -> PersistentMap[K, V]:
        """One that also has this entry; a key that is there keeps its place."""
        twin = self._twin()
        twin._put(key, value)
        return twin

    def put_all(self, items: Iterable[tuple[K, V]]) -> PersistentMap[K, V]:
        """One that also has these entries."""
        twin = self._twin()
        for key, value in items:
            twin._put(key, value)
        return twin

    def without(self, key: K) -> PersistentMap[K, V]:
        """One that does not have this key; itself if it has none."""
        if key not in self:
            return self
        twin = self._twin()
        bucket = dict(self._bucket(key) or {})
        del bucket[key]
        twin._size -= 1
        twin._replace(key, bucket or None)
        return twin

    def __getitem__(self, key: K) -> V:
        bucket = self._bucket(key)
        if bucket is None:
            raise KeyError(key)
        return bucket[key][1]

    def __contains__(self, key: object) -> bool:
        bucket = self._bucket(key)
        return bucket is not None and key in bucket

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        buckets = (bucket for branch in self._branches if branch is not _NO_BUCKETS for bucket in branch if bucket)
        entries = [(place, key) for bucket in buckets for key, (place, _) in bucket.items()]
        entries.sort(key=_place)
        return iter([key for _, key in entries])

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self)!r})"

    def _twin(self) -> PersistentMap[K, V]:
        twin: PersistentMap[K, V] = object.__new__(type(self))
        twin._branches, twin._size, twin._next = self._branches, self._size, self._next
        return twin

    def _bucket(self, key: object) -> _Bucket | None:
        number = hash(key)
        return self._branches[number & _MASK][(number >> WIDTH_BITS) & _MASK]

    def _put(self, key: K, value: V) -> None:
        """Only by the maker, before anybody else has it."""
        bucket = dict(self._bucket(key) or {})
        known = bucket.get(key)
        if known is None:
            bucket[key] = (self._next, value)
            self._next += 1
            self._size += 1
        else:
            bucket[key] = (known[0], value)
        self._replace(key, bucket)

    def _replace(self, key: K, bucket: _Bucket | None) -> None:
        number = hash(key)
        first, second = number & _MASK, (number >> WIDTH_BITS) & _MASK
        branch = self._branches[first]
        branch = (*branch[:second], bucket, *branch[second + 1 :])
        self._branches = (*self._branches[:first], branch, *self._branches[first + 1 :])


def _place(entry: tuple[int, Any]) -> int:
    return entry[0]


_EMPTY: Final[PersistentMap[Any, Any]] = PersistentMap()


def empty_map() -> PersistentMap[Any, Any]:
    """The one without entries."""
    return _EMPTY
