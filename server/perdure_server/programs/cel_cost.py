"""What an evaluation can cost at most, told before it begins: a running one cannot be stopped.

The library stops at ITERATIONS turns of loops, but one turn may join or search a megabyte. So every operation is
charged with the size of what it is given, times the turns of the loops around it, and the sum is bounded. Sizes
are those of the values at hand; of what an expression makes, at most what its parts can give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from perdure_server.kernel.values import Json
from perdure_server.programs.cel_tree import Build, Call, Constant, Loop, Name, Select, Tree

ITERATIONS: Final = 10_000
"""Turns of all loops of one evaluation: the library's own budget."""
UNIT: Final = 8
"""The least that a value is charged with, in bytes."""
LEAST_ITEM: Final = 2
"""The least that an item takes in the JSON of a list, in bytes."""

_LOGIC: Final = frozenset({"_&&_", "_||_", "!_", "@not_strictly_false"})


class UnusableTextError(ValueError):
    """A text that the library would change on its way."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a value can be: bytes of it, items in it, and bytes of one item."""

    size: int
    items: int
    each: int


@dataclass(frozen=True, slots=True)
class Known:
    """A value at hand."""

    value: Json


Bound: TypeAlias = Extent | Known
SCALAR: Final = Extent(UNIT, 0, 0)


def weigh(value: Json) -> int:
    """The size of a value in bytes: that of its JSON, about.

    Raises: UnusableTextError for a text with U+0000, which ends texts in the library, or one that is no Unicode.
    """
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise UnusableTextError("it reads a text that is no Unicode, or values nested too deep") from None
    if b"\\u0000" in data and _holds_nul(value):
        raise UnusableTextError("it reads a text that holds U+0000, which expressions cannot")
    return len(data) + UNIT


def _holds_nul(value: Json) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def cost(tree: Tree, scope: Mapping[str, Json]) -> int:
    """The most that evaluating `tree` can cost, in bytes worked on."""
    meter = _Meter()
    meter.bound(tree, {name: Known(value) for name, value in scope.items()}, 1)
    return meter.total


class _Meter:
    def __init__(self) -> None:
        self.total = 0
        self._extents: dict[int, Extent] = {}

    def extent(self, bound: Bound) -> Extent:
        """A bound as sizes; values are measured once."""
        if isinstance(bound, Extent):
            return bound
        key = id(bound.value)
        found = self._extents.get(key)
        if found is None:
            found = self._extents[key] = _measured(bound.value)
        return found

    def bound(self, tree: Tree, scope: Mapping[str, Bound], turns: int) -> Bound:
        """How large the value of `tree` can be; what it costs `turns` times is added to the total."""
        self.total += turns * UNIT
        match tree:
            case Constant():
                return Extent(tree.size, 0, 0)
            case Name():
                return scope.get(tree.name, SCALAR)
            case Select():
                return _member(self.bound(tree.operand, scope, turns), tree.member)
            case Call():
                return self._call(tree, scope, turns)
            case Build():
                return self._build([self.extent(self.bound(part, scope, turns)) for part in tree.parts], turns)
            case Loop():
                return self._loop(tree, scope, turns)

    def _call(self, tree: Call, scope: Mapping[str, Bound], turns: int) -> Bound:
        bounds = [self.bound(part, scope, turns) for part in tree.arguments]
        if tree.function == "_[_]":
            return self._item(bounds[0], tree.arguments[1])
        extents = list(map(self.extent, bounds))
        if tree.function in _LOGIC:
            return SCALAR
        if tree.function == "_?_:_":
            return _either(extents[1], extents[2])
        self.total += turns * sum(extent.size for extent in extents)
        return _joined(extents)

    def _item(self, container: Bound, key: Tree) -> Bound:
        if isinstance(key, Constant) and isinstance(key.value, str):
            return _member(container, key.value)
        return _part(self.extent(container))

    def _build(self, parts: list[Extent], turns: int) -> Extent:
        size = UNIT + sum(part.size for part in parts)
        self.total += turns * size
        return Extent(size, len(parts), max((part.size for part in parts), default=0))

    def _loop(self, tree: Loop, scope: Mapping[str, Bound], turns: int) -> Bound:
        over = self.extent(self.bound(tree.over, scope, turns))
        rounds = min(over.items, ITERATIONS)
        inner = {**scope, tree.variable: _part(over), tree.gathered: SCALAR}
        often = min(turns * max(rounds, 1), ITERATIONS)
        self.bound(tree.condition, inner, often)
        step = self.extent(self.bound(tree.step, inner, often))
        each = step.each or step.size
        if isinstance(tree.start, Build):
            self.total += turns * (rounds * rounds // 2) * UNIT  # the library copies the list for every item it adds
        gathered = Extent(UNIT + rounds * step.size, rounds, each)
        return self.bound(tree.result, {**inner, tree.gathered: gathered}, turns)


def _measured(value: Json) -> Extent:
    if isinstance(value, dict):
        sizes = [len(key) + weigh(item) for key, item in value.items()]
    elif isinstance(value, list):
        sizes = [weigh(item) for item in value]
    else:
        return Extent(weigh(value), 0, 0)
    return Extent(UNIT + sum(sizes), len(sizes), max(sizes, default=0))


def _member(bound: Bound, member: str) -> Bound:
    if isinstance(bound, Extent):
        return _part(bound)
    return Known(bound.value.get(member)) if isinstance(bound.value, dict) else SCALAR


def _part(whole: Extent) -> Extent:
    """Any item of a value whose items are only known by their size."""
    size = max(whole.each, UNIT) if whole.items else whole.size
    return Extent(size, size // LEAST_ITEM, size)


def _either(first: Extent, second: Extent) -> Extent:
    return Extent(max(first.size, second.size), max(first.items, second.items), max(first.each, second.each))


def _joined(parts: list[Extent]) -> Extent:
    """What a function can give: at most all that it was given (texts and lists are joined)."""
    return Extent(
        UNIT + sum(part.size for part in parts),
        sum(part.items for part in parts),
        max((part.each for part in parts), default=0),
    )
