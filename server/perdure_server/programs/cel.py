"""Expressions: CEL (github.com/google/cel-spec), compiled once a text and bounded in every direction.

An expression sees the variables that it is given and nothing else: no clock, no chance, no files. Of these only
what it reads is handed to the library (ADR 0008 says which library, and why). Equal inputs give equal values,
byte for byte: members of an object come out in the order of their names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from cel_expr_python import cel

from perdure_server.kernel.bounds import EXPRESSION_BYTES
from perdure_server.kernel.limits import MIB
from perdure_server.kernel.values import Json
from perdure_server.programs.cel_cost import ITERATIONS, UnusableTextError, cost, weigh
from perdure_server.programs.cel_tree import Build, Loop, Tree, children, nodes, parse_tree, path_of, reads

Scope: TypeAlias = Mapping[str, Json]

WORK_BYTES: Final = 16 * MIB
RESULT_DEPTH: Final = 120
NODE_SCOPE: Final = ("vars", "run")
"""Variables of every expression of a node."""
ITEM_SCOPE: Final = ("vars", "run", "item", "index")
"""Those of a foreach's item."""

_NO_JSON: Final = frozenset({"BYTES", "TIMESTAMP", "DURATION", "TYPE", "ERROR", "UNKNOWN"})
_PLACE: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_CODE: Final = re.compile(r"^[A-Z_]+: ")
_LIMITS: Final = {
    "recursion": "it is nested too deep (32 levels)",
    "Iteration budget": f"its loops take more than {ITERATIONS:,} turns together",
}


class ExpressionError(ValueError):
    """An expression that cannot be compiled or evaluated; the message says why, without values of the run."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression.

    `kind` is the type of its value as far as it is known: BOOL, LIST<DYN>, DYN ...; `path` that of an expression
    which only reads one value: it is taken from where it is, however large.
    """

    source: str
    kind: str
    reads: tuple[tuple[str, ...], ...]
    tree: Tree
    nodes: int
    loops: bool
    path: tuple[str, ...]
    program: Any

    def evaluate(self, scope: Scope) -> Json:
        """Its value.

        Args:
            scope: the variables that it was compiled for, by name.

        Raises: ExpressionError.
        """
        if self.path:
            return _walk(scope, self.path)
        given = _chosen(scope, self.reads)
        self._check_cost(given)
        try:
            value = self.program.eval(data=given)
            kind, plain = value.type().name(), value.plain_value()
        except (RuntimeError, UnicodeError) as error:
            raise ExpressionError(_words(str(error), self.source)) from None
        if kind == "ERROR":
            raise ExpressionError(_words(str(plain), self.source))
        return _json(plain, 0)

    def _check_cost(self, given: dict[str, Json]) -> None:
        try:
            weight = weigh(given)
        except UnusableTextError as error:
            raise ExpressionError(str(error)) from None
        turns = ITERATIONS if self.loops else self.nodes
        if weight * self.nodes * turns > WORK_BYTES and cost(self.tree, given) > WORK_BYTES:
            raise ExpressionError(f"it would work on more than {WORK_BYTES // MIB} MiB of values")


@lru_cache(maxsize=4096)
def compile_expression(source: str, variables: tuple[str, ...] = NODE_SCOPE) -> Expression:
    """Compiles an expression; the same text is compiled once.

    Args:
        source: CEL, at most 4 KiB.
        variables: names that it may use.

    Raises: ExpressionError naming line and column of what is wrong.
    """
    size = len(source.encode(errors="replace"))
    if not source.strip():
        raise ExpressionError("it is empty")
    if size > EXPRESSION_BYTES:
        raise ExpressionError(f"it has {size} bytes; at most {EXPRESSION_BYTES} are accepted")
    try:
        program = _environment(variables).compile(source)
        tree = parse_tree(program.serialize())
    except (RuntimeError, UnicodeError) as error:
        raise ExpressionError(_faults(str(error))) from None
    if message := _message_type(tree):
        raise ExpressionError(f"it makes a message {message}; values are JSON: write {{...}}")
    kind = program.return_type().name()
    if kind in _NO_JSON or kind.startswith("TYPE"):
        raise ExpressionError(f"its value is of type {kind.lower()}, which JSON does not have; use string(...)")
    found = tuple(sorted(path for path in reads(tree) if path[0] in variables))
    path = path_of(tree) or ()
    return Expression(
        source,
        kind,
        _shortest(found),
        tree,
        nodes(tree),
        _has_loop(tree),
        path if path and path[0] in variables else (),
        program,
    )


@lru_cache(maxsize=4)
def _environment(variables: tuple[str, ...]) -> Any:
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


def _walk(scope: Scope, path: tuple[str, ...]) -> Json:
    value: Json = dict(scope)
    for token in path:
        if not isinstance(value, dict):
            raise ExpressionError(f"there is nothing to take {token!r} from: its owner is no object")
        if token not in value:
            raise ExpressionError(f"key not found in map: {token}")
        value = value[token]
    return value


def _shortest(paths: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Without the paths that another one, read whole, holds; they are sorted."""
    kept: list[tuple[str, ...]] = []
    for path in paths:
        if not kept or path[: len(kept[-1])] != kept[-1]:
            kept.append(path)
    return tuple(kept)


def _chosen(scope: Scope, paths: tuple[tuple[str, ...], ...]) -> dict[str, Json]:
    """The part of the variables that is read: large vars cost an expression nothing that it does not touch.

    What is no object is taken whole; what is missing stays missing.
    """
    chosen: dict[str, Json] = {}
    for path in paths:
        source: Mapping[str, Json] = scope
        target = chosen
        for place, token in enumerate(path, start=1):
            if token not in source:
                break
            value = source[token]
            if place == len(path) or not isinstance(value, dict):
                target[token] = value
                break
            source = value
            target = cast("dict[str, Json]", target.setdefault(token, {}))
    return chosen


def _has_loop(tree: Tree) -> bool:
    return isinstance(tree, Loop) or any(map(_has_loop, children(tree)))


def _message_type(tree: Tree) -> str:
    own = tree.message if isinstance(tree, Build) else ""
    return own or next((found for part in children(tree) if (found := _message_type(part))), "")


def _json(value: Any, depth: int) -> Json:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError("its value holds a number that is not finite, which JSON does not have")
        return value
    if depth >= RESULT_DEPTH:
        raise ExpressionError(f"its value is nested deeper than {RESULT_DEPTH}")
    if isinstance(value, list):
        return [_json(item, depth + 1) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value)
        if not all(isinstance(key, str) for key in members):
            raise ExpressionError("its value holds a map with keys that are no strings, which JSON does not have")
        return {key: _json(members[key], depth + 1) for key in sorted(members)}
    raise ExpressionError("its value holds bytes, an instant, a duration or a type, which JSON does not have")


def _faults(text: str) -> str:
    """What the compiler says, one fault after the other."""
    for sign, words in _LIMITS.items():
        if sign in text:
            return words
    found = [f"{line}:{column}: {words}" for line, column, words in _PLACE.findall(text)]
    return "; ".join(found)[:500] or "it cannot be compiled"


def _words(text: str, source: str) -> str:
    """What went wrong, without what the run's values say: what is quoted must stand in the expression itself."""
    for sign, words in _LIMITS.items():
        if sign in text:
            return words
    what, _, about = _CODE.sub("", text).partition(" : ")
    if not about:
        what, _, about = what.partition(": ")
    about = about.strip().strip("\"'")
    if what.startswith("No matching overloads found"):
        return f"no such operation on values of these types: {about}"[:200]
    what = what[:1].lower() + what[1:] if "'" not in what and '"' not in what else "it cannot be evaluated"
    return f"{what}: {about}"[:200] if about and about in source else what[:200]
