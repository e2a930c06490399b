"""Kernel dataclasses as JSON and back, led by their type hints: for keyframes and stored waits.

A field that has its default is left out, so a field that a later version adds reads as its default.
Leaves become their text, enums their number, a union of dataclasses a [name, fields] pair, a mapping
the list of its items.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from perdure_server.kernel.persistent import PersistentMap
from perdure_server.kernel.values import Leaf


class Coder(NamedTuple):
    """How values of one type are written and read."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _leaf_text(leaf: Leaf) -> str:
    return leaf.text


def _text_leaf(text: str) -> Leaf:
    return Leaf(text.encode())


_PLAIN = Coder(_same, _same)
_LEAF = Coder(_leaf_text, _text_leaf)


@cache
def dataclass_coder(kind: type, without: tuple[str, ...] = ()) -> Coder:
    """Coder of a dataclass: to a dict of its fields, and back with further fields as a second dict's.

    Args:
        kind: the dataclass.
        without: fields that are neither written nor read.
    """
    hints = get_type_hints(kind)
    parts = [(item.name, _default(item), _coder(hints[item.name])) for item in fields(kind) if item.name not in without]
    readers = {name: coder.read for name, _, coder in parts}

    def write(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, default, coder in parts:
            item = getattr(value, name)
            if item != default:
                found[name] = coder.write(item)
        return found

    def read(found: Mapping[str, Any]) -> Any:
        return kind(**{name: readers[name](item) for name, item in found.items()})

    return Coder(write, read)


def _default(item: Field[Any]) -> object:
    if item.default is not MISSING:
        return item.default
    if item.default_factory is not MISSING:
        return item.default_factory()
    return MISSING


def _coder(hint: Any) -> Coder:
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return _union_coder(get_args(hint))
    if origin is tuple:
        return _tuple_coder(get_args(hint))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_coder(PersistentMap if origin is PersistentMap else dict, *get_args(hint))
    if hint is Leaf:
        return _LEAF
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return Coder(int, hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return dataclass_coder(hint)
    if hint in (str, int, float, bool):
        return _PLAIN
    raise TypeError(f"no coder for {hint!r}")


def _union_coder(members: tuple[Any, ...]) -> Coder:
    kinds = [kind for kind in members if kind is not type(None)]
    if len(kinds) == 1:
        return _optional_coder(_coder(kinds[0]))
    coders: dict[str, Coder] = {kind.__name__: dataclass_coder(kind) for kind in kinds}

    def write(value: Any) -> list[Any]:
        name = type(value).__name__
        return [name, coders[name].write(value)]

    def read(found: list[Any]) -> Any:
        return coders[found[0]].read(found[1])

    return Coder(write, read)


def _optional_coder(inner: Coder) -> Coder:
    def write(value: Any) -> Any:
        return None if value is None else inner.write(value)

    def read(found: Any) -> Any:
        return None if found is None else inner.read(found)

    return Coder(write, read)


def _tuple_coder(members: tuple[Any, ...]) -> Coder:
    every = _coder(members[0]) if len(members) == 2 and members[1] is Ellipsis else None
    coders = [] if every else [_coder(member) for member in members]

    def write(value: tuple[Any, ...]) -> list[Any]:
        if every:
            return [every.write(item) for item in value]
        return [coder.write(item) for coder, item in zip(coders, value, strict=True)]

    def read(found: list[Any]) -> tuple[Any, ...]:
        if every:
            return tuple(every.read(item) for item in found)
        return tuple(coder.read(item) for coder, item in zip(coders, found, strict=True))

    return Coder(write, read)


def _mapping_coder(make: Callable[[Iterator[Any]], Any], key_hint: Any, value_hint: Any) -> Coder:
    key, value = _coder(key_hint), _coder(value_hint)

    def write(mapping: Mapping[Any, Any]) -> list[list[Any]]:
        return [[key.write(name), value.write(item)] for name, item in mapping.items()]

    def read(found: list[list[Any]]) -> Mapping[Any, Any]:
        return make((key.read(name), value.read(item)) for name, item in found)

    return Coder(write, read)
