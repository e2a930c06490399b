"""Mutants of a module: every place where a small change can be made, and the changes.

Not changed: annotations, docstrings, decorators, imports, and texts for people (strings with a space in them,
f-strings), which no program reads.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Final, cast

COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
SKIPPED_FIELDS: Final = frozenset({"annotation", "returns", "decorator_list", "type_params", "bases"})


@dataclass(frozen=True)
class Mutant:
    """One change.

    Args:
        module: dotted name of the module.
        key: what changes, without line numbers, so that it survives edits elsewhere.
        line: where, in the source as it is.
        apply: makes the change in the module's tree. Once.
    """

    module: str
    key: str
    line: int
    tree: ast.Module
    apply: Callable[[], None]

    def code(self, path: str) -> CodeType:
        """The changed module, compiled under the name of its file. The tree is changed for good."""
        self.apply()
        return compile(ast.fix_missing_locations(self.tree), path, "exec")


@dataclass(frozen=True)
class _Slot:
    """Where a node hangs in its tree."""

    parent: ast.AST
    field: str
    index: int | None

    def put(self, node: ast.AST | None) -> None:
        """Hangs another node there; None takes the node away from its list."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        elif node is None:
            del getattr(self.parent, self.field)[self.index]
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants_of(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in source order."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for slot, node, name, replacement, where in _sites(tree, _Slot(tree, "body", None), ""):
        before = _text(node)
        after = _text(replacement) if replacement is not None else "(nothing)"
        key = f"{module.rpartition('.')[2]}:{where}: {name}: {before} -> {after}"
        seen[key] += 1
        if seen[key] > 1:
            key += f" #{seen[key]}"
        line = getattr(node, "lineno", 0)
        found.append(Mutant(module, key, line, tree, _put(slot, replacement)))
    return found


def _put(slot: _Slot, replacement: ast.AST | None) -> Callable[[], None]:
    return lambda: slot.put(replacement)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 110 else text[:107] + "..."


_Site = tuple[_Slot, ast.AST, str, ast.AST | None, str]


def _sites(node: ast.AST, slot: _Slot, where: str) -> Iterator[_Site]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}" if where else node.name
    for name, replacement in _changes(node, slot):
        yield slot, node, name, replacement, where
    for field, value in ast.iter_fields(node):
        if field in SKIPPED_FIELDS:
            continue
        if isinstance(value, ast.AST):
            if not _is_text(value):
                yield from _sites(value, _Slot(node, field, None), where)
        elif isinstance(value, list):
            for index, item in enumerate(cast("list[object]", value)):
                if isinstance(item, ast.AST) and not _is_text(item) and not _is_typing(item):
                    yield from _sites(item, _Slot(node, field, index), where)


def _is_text(node: ast.AST) -> bool:
    """A docstring, or words for people."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    )


def _is_typing(node: ast.AST) -> bool:
    """A statement that only a type checker reads."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias"


def _changes(node: ast.AST, slot: _Slot) -> Iterator[tuple[str, ast.AST | None]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield "comparison", ast.Compare(node.left, [COMPARISONS[type(op)]()], node.comparators)
        case ast.BoolOp():
            yield from _boolean(node)
        case ast.UnaryOp(op=ast.Not()):
            yield "not", node.operand
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            yield "arithmetic", ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        case ast.Constant():
            yield from _constant(node)
        case ast.keyword(arg=str()):
            yield "keyword", None
        case ast.If() | ast.IfExp() if isinstance(node.test, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr):
            yield from _condition(node)
        case ast.stmt() if slot.index is not None and not _is_last_return(node, slot):
            yield from _statement(node)
        case _:
            return


def _is_last_return(node: ast.stmt, slot: _Slot) -> bool:
    """A `return None` at a function's end, which it does anyway."""
    body: list[ast.stmt] = getattr(slot.parent, slot.field)
    nothing = isinstance(node, ast.Return) and (node.value is None or ast.unparse(node.value) == "None")
    return nothing and isinstance(slot.parent, ast.FunctionDef) and node is body[-1]


def _boolean(node: ast.BoolOp) -> Iterator[tuple[str, ast.AST]]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "and/or", ast.BoolOp(other, node.values)
    for number in range(len(node.values)):
        rest = node.values[:number] + node.values[number + 1 :]
        yield f"operand {number + 1}", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int | float):
        yield "constant", ast.Constant(value + 1)
    elif isinstance(value, str):
        yield "constant", ast.Constant(value + "~" if value else "~")
    elif isinstance(value, bytes):
        yield "constant", ast.Constant(value + b"~")


def _condition(node: ast.If | ast.IfExp) -> Iterator[tuple[str, ast.AST]]:
    negated = ast.UnaryOp(ast.Not(), node.test)
    if isinstance(node, ast.If):
        yield "condition", ast.If(negated, node.body, node.orelse)
    else:
        yield "condition", ast.IfExp(negated, node.body, node.orelse)


def _statement(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", ast.Return(ast.Constant(None))
        case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Continue():
            yield "statement", ast.Pass()
        case ast.Return():
            yield "statement", ast.Pass()
        case _:
            return
