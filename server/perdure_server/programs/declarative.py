"""Declarative nodes: their StepPlan comes from a JSON template and the run's vars.

A string that is exactly "${vars.a.b}" is replaced by the value there (missing: null; tokens are member
names or array indexes). A leading "$${" stands for a literal "${". Nothing else is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from perdure_server.kernel.endings import BAD_PLAN
from perdure_server.kernel.model import Effect, Failure, NodeKind, NodeSpec, StepPlan
from perdure_server.kernel.values import Json, Leaf
from perdure_server.kernel.vars import Missing, get_at
from perdure_server.programs.effect_json import EffectJsonError, effect_request

Render: TypeAlias = Callable[[dict[str, Json]], Json]

_PATH = re.compile(r"\$\{vars((?:\.[^.{}$]+)*)\}")


class TemplateError(ValueError):
    """A template that cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    """A compiled template. `constant` True: `render` gives the same value for all vars."""

    render: Render
    constant: bool


def check_template(kind: NodeKind, template: Leaf) -> list[str]:
    """Problems of a node's template, for people; empty if it can be used.

    Args:
        kind: EFFECT, COMPLETE or FAIL.
        template: the template's JSON, parsed once already.
    """
    try:
        compiled = _compiled(template.data)
    except TemplateError as error:
        return [str(error)]
    value = template.value
    if not isinstance(value, dict):
        return ["the template must be a JSON object"]
    if kind is NodeKind.EFFECT:
        return _effect_problems(value, compiled)
    if kind is NodeKind.FAIL and not isinstance(value.get("type", ""), str):
        return ["type must be a string"]
    return []


def plan_for(node: NodeSpec, run_vars: dict[str, Json]) -> StepPlan:
    """The plan of a declarative node; one that cannot be made fails the run with BAD_PLAN.

    Args:
        node: a node of kind EFFECT, COMPLETE or FAIL.
        run_vars: the run's vars.
    """
    if node.template is None:
        return _bad(node, "it has no template")
    try:
        compiled = _compiled(node.template.data)
    except TemplateError as error:
        return _bad(node, str(error))
    return _constant_plan(node, compiled) if compiled.constant else _rendered_plan(node, compiled, run_vars)


@lru_cache(maxsize=8192)
def _constant_plan(node: NodeSpec, compiled: _Template) -> StepPlan:
    """The plan of a node whose template takes nothing from vars."""
    return _rendered_plan(node, compiled, {})


def _rendered_plan(node: NodeSpec, compiled: _Template, run_vars: dict[str, Json]) -> StepPlan:
    try:
        value = compiled.render(run_vars)
        if node.kind is NodeKind.COMPLETE:
            return StepPlan(complete_output=Leaf.of(value))
        if node.kind is NodeKind.FAIL:
            return StepPlan(fail=_failure(value))
        return StepPlan(effect=_effect(node, value))
    except (TemplateError, EffectJsonError) as error:
        return _bad(node, str(error))


@lru_cache(maxsize=4096)
def _compiled(data: bytes) -> _Template:
    return _Template(*_compile(Leaf(data).value))


def _compile(value: Json) -> tuple[Render, bool]:
    if isinstance(value, str):
        return _compile_text(value)
    if isinstance(value, dict):
        members = {key: _compile(item) for key, item in value.items()}
        if all(constant for _, constant in members.values()):
            resolved: Json = {key: render({}) for key, (render, _) in members.items()}
            return (lambda _vars: resolved), True
        return _object_render(members), False
    if isinstance(value, list):
        items = [_compile(item) for item in value]
        if all(constant for _, constant in items):
            fixed: Json = [render({}) for render, _ in items]
            return (lambda _vars: fixed), True
        return (lambda run_vars: [render(run_vars) for render, _ in items]), False
    return (lambda _vars: value), True


def _object_render(members: dict[str, tuple[Render, bool]]) -> Render:
    """Renders an object: a copy of its constant members, in their order, and the others put in place."""
    fixed: dict[str, Json] = {key: render({}) if constant else None for key, (render, constant) in members.items()}
    varying = [(key, render) for key, (render, constant) in members.items() if not constant]

    def render_object(run_vars: dict[str, Json]) -> Json:
        value = fixed.copy()
        for key, render in varying:
            value[key] = render(run_vars)
        return value

    return render_object


def _compile_text(text: str) -> tuple[Render, bool]:
    match = _PATH.fullmatch(text)
    if match is not None:
        tokens = match[1].split(".")[1:]
        return (lambda run_vars: _look_up(run_vars, tokens)), False
    if text.startswith("$${"):
        literal = text[1:]
        return (lambda _vars: literal), True
    if "${" in text:
        raise TemplateError(
            f"{text[:80]!r}: only a whole string '${{vars.a.b}}' is replaced; write '$${{' for a literal '${{'"
        )
    return (lambda _vars: text), True


def _look_up(run_vars: dict[str, Json], tokens: list[str]) -> Json:
    value = get_at(run_vars, tokens)
    return None if isinstance(value, Missing) else value


def _effect(node: NodeSpec, value: Json) -> Effect:
    members = value if isinstance(value, dict) else {}
    kind = members.get("type")
    if not isinstance(kind, str) or not kind:
        raise TemplateError("the effect's type must be a string")
    payload = members.get("payload")
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise TemplateError("the effect's payload must be an object")
    return Effect(
        type=kind,
        request=effect_request(kind, payload),
        result_key=node.result_key,
        risk=node.risk,
        priority=node.priority,
    )


def _failure(value: Json) -> Failure:
    members = value if isinstance(value, dict) else {}
    kind, message, details = members.get("type"), members.get("message"), members.get("details")
    return Failure(
        type=kind[:128] if isinstance(kind, str) and kind else "FAILED",
        message=message if isinstance(message, str) else "",
        retryable=members.get("retryable") is True,
        details=Leaf.of(details) if details is not None else None,
    )


def _effect_problems(value: dict[str, Json], compiled: _Template) -> list[str]:
    kind, payload = value.get("type"), value.get("payload")
    if not isinstance(kind, str) or not kind or "${" in kind:
        return ["type must be a string without '${'"]
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        return ["payload must be an object"]
    unknown = set(value) - {"type", "payload"}
    if unknown:
        return [f"unknown keys: {', '.join(sorted(unknown))}; an effect has type and payload"]
    if not compiled.constant:
        return []
    try:
        effect_request(kind, payload)
    except EffectJsonError as error:
        return [str(error)]
    return []


def _bad(node: NodeSpec, why: str) -> StepPlan:
    message = f"the plan of node {node.node_id!r} cannot be carried out: {why}"
    return StepPlan(fail=Failure(BAD_PLAN, message))
