"""JSON templates: a string that is a whole "${...}" is replaced by a value, everything else stands for itself.

A plain path, "${vars.a.b}", is replaced by the value there (missing: null; tokens are member names or array
indexes). Anything else between the braces is an expression (`cel`). A leading "$${" stands for a literal "${".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

from perdure_server.kernel.values import Json, Leaf
from perdure_server.kernel.vars import Missing, get_at
from perdure_server.programs.cel import NODE_SCOPE, ExpressionError, Scope, compile_expression

Render: TypeAlias = Callable[[Scope], Json]
Part: TypeAlias = tuple[Render, bool]

_PATH = re.compile(r"\$\{vars((?:\.[\w-]+)*)\}")
_QUOTED_PATH = re.compile(rb'"\$\{vars(?:\.[\w-]+)*\}"')
_OLD_PATH = re.compile(r"\$\{vars((?:\.[^.{}$]+)*)\}")
"""What v0.1.0 took for a path: workflows that it registered keep its meaning where it is no expression."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a template: where in it (".payload.sum"), and why. `fatal`: it cannot be rendered."""

    place: str
    why: str
    fatal: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A compiled template. `constant`: `render` gives the same value for all vars."""

    render: Render
    constant: bool
    faults: tuple[Fault, ...]

    @property
    def flaw(self) -> str:
        """Why it cannot be rendered; empty if it can."""
        return next((f"{fault.place}: {fault.why}".lstrip(".:") for fault in self.faults if fault.fatal), "")


def expressions_in(template: Leaf) -> int:
    """How many expressions a template has, about, without compiling them."""
    return max(template.data.count(b'"${') - len(_QUOTED_PATH.findall(template.data)), 0)


@lru_cache(maxsize=4096)
def compile_template(data: bytes, variables: tuple[str, ...] = NODE_SCOPE) -> Template:
    """Compiles the JSON text of a template; what is wrong with it is in `faults`.

    Args:
        data: UTF-8 JSON.
        variables: names that its expressions may use.
    """
    compiler = _Compiler(variables)
    render, constant = compiler.part(Leaf(data).value, "")
    return Template(render, constant, tuple(compiler.faults))


class _Compiler:
    def __init__(self, variables: tuple[str, ...]) -> None:
        self.variables = variables
        self.faults: list[Fault] = []

    def part(self, value: Json, place: str) -> Part:
        """One value of the template and whether it is constant."""
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, dict):
            members = {key: self.part(item, f"{place}.{key[:128]}") for key, item in value.items()}
            if all(constant for _, constant in members.values()):
                resolved: Json = {key: render({}) for key, (render, _) in members.items()}
                return (lambda _scope: resolved), True
            return _object_render(members), False
        if isinstance(value, list):
            items = [self.part(item, f"{place}[{index}]") for index, item in enumerate(value)]
            if all(constant for _, constant in items):
                fixed: Json = [render({}) for render, _ in items]
                return (lambda _scope: fixed), True
            return (lambda scope: [render(scope) for render, _ in items]), False
        return (lambda _scope: value), True

    def _text(self, text: str, place: str) -> Part:
        if text.startswith("$${"):
            literal = text[1:]
            return (lambda _scope: literal), True
        if "${" not in text:
            return (lambda _scope: text), True
        match = _PATH.fullmatch(text)
        if match is not None:
            return _path_render(match[1]), False
        if not (text.startswith("${") and text.endswith("}")):
            why = f"{text[:80]!r}: only a whole string '${{...}}' is replaced; write '$${{' for a literal '${{'"
            self.faults.append(Fault(place, why))
            return (lambda _scope: None), True
        return self._expression(text, place)

    def _expression(self, text: str, place: str) -> Part:
        try:
            expression = compile_expression(text[2:-1], self.variables)
        except ExpressionError as error:
            old = _OLD_PATH.fullmatch(text)
            self.faults.append(Fault(place, f"{text[:80]}: {error}", fatal=old is None))
            return (_path_render(old[1]), False) if old else ((lambda _scope: None), True)

        def render(scope: Scope) -> Json:
            try:
                return expression.evaluate(scope)
            except ExpressionError as error:
                raise ExpressionError(f"{place.lstrip('.')}: {text[:80]}: {error}".lstrip(": ")) from None

        return render, False


def _object_render(members: dict[str, Part]) -> Render:
    """Renders an object: a copy of its constant members, in their order, and the others put in place."""
    fixed: dict[str, Json] = {key: render({}) if constant else None for key, (render, constant) in members.items()}
    varying = [(key, render) for key, (render, constant) in members.items() if not constant]

    def render_object(scope: Scope) -> Json:
        value = fixed.copy()
        for key, render in varying:
            value[key] = render(scope)
        return value

    return render_object


def _path_render(dotted: str) -> Render:
    return partial(_look_up, dotted.split(".")[1:])


def _look_up(tokens: list[str], scope: Scope) -> Json:
    value = get_at(scope["vars"], tokens)
    return None if isinstance(value, Missing) else value
