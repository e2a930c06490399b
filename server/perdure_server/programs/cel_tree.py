"""The syntax tree of a checked CEL expression, as far as its reads and its cost need it.

The compiler hands its tree out as bytes: a google.protobuf.Any around a cel.expr.CheckedExpr (field numbers of
cel/expr/checked.proto and syntax.proto of the CEL specification). Only those fields are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

Fields: TypeAlias = Mapping[int, list[bytes | int]]


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `value` is its text or number, None for the other kinds."""

    value: str | int | None
    size: int


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, or the name of a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.member`, or has(operand.member)."""

    operand: Tree
    member: str
    tested: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator; a receiver is the first of `arguments`."""

    function: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Build:
    """A list or a map; of a map keys and values in turn. `message` names a protobuf type, if it makes one."""

    parts: tuple[Tree, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """What a macro (all, exists, exists_one, filter, map) becomes."""

    variable: str
    over: Tree
    gathered: str
    start: Tree
    condition: Tree
    step: Tree
    result: Tree


Tree: TypeAlias = Constant | Name | Select | Call | Build | Loop


def parse_tree(serialized: bytes) -> Tree:
    """The tree of `Expression.serialize()`.

    Raises: ValueError if the bytes are none this module knows.
    """
    checked = _fields(_data(_fields(serialized), 2))
    return _tree(_data(checked, 4))


def nodes(tree: Tree) -> int:
    """How many nodes a tree has."""
    return 1 + sum(nodes(part) for part in children(tree))


def children(tree: Tree) -> tuple[Tree, ...]:
    """The direct parts of a node."""
    match tree:
        case Select():
            return (tree.operand,)
        case Call():
            return tree.arguments
        case Build():
            return tree.parts
        case Loop():
            return tree.over, tree.start, tree.condition, tree.step, tree.result
        case _:
            return ()


def reads(tree: Tree, bound: frozenset[str] = frozenset()) -> set[tuple[str, ...]]:
    """What an expression reads: paths of member names from a variable on, each as long as it is known.

    Args:
        bound: variables of the loops around; they are none of the caller's.
    """
    path = path_of(replace(tree, tested=False) if isinstance(tree, Select) else tree)
    if path is not None:
        return set() if path[0] in bound else {path}
    if isinstance(tree, Loop):
        inner = bound | {tree.variable, tree.gathered}
        found = reads(tree.over, bound) | reads(tree.start, bound)
        return found.union(*(reads(part, inner) for part in (tree.condition, tree.step, tree.result)))
    return set[tuple[str, ...]]().union(*(reads(part, bound) for part in children(tree)))


def path_of(tree: Tree) -> tuple[str, ...] | None:
    """The path of `a.b.c` and a["b"].c; None for anything else."""
    if isinstance(tree, Name):
        return (tree.name,)
    if isinstance(tree, Select) and not tree.tested:
        head = path_of(tree.operand)
        return None if head is None else (*head, tree.member)
    if isinstance(tree, Call) and tree.function == "_[_]":
        head, key = path_of(tree.arguments[0]), tree.arguments[1]
        if head is not None and isinstance(key, Constant) and isinstance(key.value, str):
            return (*head, key.value)
    return None


def _tree(data: bytes) -> Tree:
    fields = _fields(data)
    for number, make in _MAKERS.items():
        if number in fields:
            return make(_fields(_data(fields, number)))
    return Constant(None, 8)


def _constant(fields: Fields) -> Tree:
    if 6 in fields:
        text = _data(fields, 6).decode()
        return Constant(text, len(text) + 8)
    if 3 in fields and isinstance(number := fields[3][0], int):
        return Constant(number, 8)
    return Constant(None, len(_data(fields, 7)) + 8 if 7 in fields else 8)


def _select(fields: Fields) -> Tree:
    return Select(_tree(_data(fields, 1)), _data(fields, 2).decode(), 3 in fields)


def _call(fields: Fields) -> Tree:
    receiver = (_tree(_data(fields, 1)),) if 1 in fields else ()
    return Call(_data(fields, 2).decode(), (*receiver, *_trees(fields, 3)))


def _list(fields: Fields) -> Tree:
    return Build(_trees(fields, 1))


def _struct(fields: Fields) -> Tree:
    parts: list[Tree] = []
    for entry in fields.get(2, ()):
        members = _fields(entry if isinstance(entry, bytes) else b"")
        parts += [*_trees(members, 3), *_trees(members, 4)]
    return Build(tuple(parts), _data(fields, 1).decode())


def _loop(fields: Fields) -> Tree:
    return Loop(
        variable=_data(fields, 1).decode(),
        over=_tree(_data(fields, 2)),
        gathered=_data(fields, 3).decode(),
        start=_tree(_data(fields, 4)),
        condition=_tree(_data(fields, 5)),
        step=_tree(_data(fields, 6)),
        result=_tree(_data(fields, 7)),
    )


def _name(fields: Fields) -> Tree:
    return Name(_data(fields, 1).decode())


_MAKERS: Final[Mapping[int, Callable[[Fields], Tree]]] = {
    3: _constant,
    4: _name,
    5: _select,
    6: _call,
    7: _list,
    8: _struct,
    9: _loop,
}
"""Field of cel.expr.Expr to what it becomes."""


def _trees(fields: Fields, number: int) -> tuple[Tree, ...]:
    return tuple(_tree(item) for item in fields.get(number, ()) if isinstance(item, bytes))


def _data(fields: Fields, number: int) -> bytes:
    found = fields.get(number, [b""])[-1]
    return found if isinstance(found, bytes) else b""


def _fields(data: bytes) -> Fields:
    """Fields of a message by number (protobuf.dev/programming-guides/encoding)."""
    found: dict[int, list[bytes | int]] = {}
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        value: bytes | int
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
        else:
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, place = _varint(data, place)
            elif not size:
                raise ValueError(f"wire type {kind} is none of a CheckedExpr")
            value, place = data[place : place + size], place + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
