"""Declarative nodes: their StepPlan comes from data, the run's vars, and expressions over them.

What cannot be carried out whatever the vars fails the run with BAD_PLAN, as a worker's bad plan would. What
depends on them - an expression that fails, a choice without a way - fails the step: on_error_node applies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from perdure_server.kernel.endings import BAD_PLAN
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.model import (
    Effect,
    EffectRequest,
    Failure,
    Fanout,
    NodeKind,
    NodeSpec,
    RunState,
    StepFailure,
    StepPlan,
    VarsOp,
)
from perdure_server.kernel.values import Json, Leaf
from perdure_server.programs.cel import ExpressionError, Scope, compile_expression
from perdure_server.programs.effect_json import EffectJsonError, effect_request
from perdure_server.programs.templates import Fault, Template, compile_template

EXPRESSION_FAILED: Final = "EXPRESSION_FAILED"
NO_CHOICE: Final = "NO_CHOICE"


class TemplateError(ValueError):
    """A rendered template that is not what its node needs."""


def scope_of(run: RunState) -> Scope:
    """What the expressions of a run's nodes see."""
    return {"vars": run.vars, "run": _run_facts(run)}


def _run_facts(run: RunState) -> dict[str, Json]:
    labels: dict[str, Json] = dict(run.labels)
    return {
        "run_id": run.run_id,
        "root_run_id": run.root_run_id,
        "parent_run_id": run.parent_run_id,
        "workflow_id": run.workflow_id,
        "workflow_version": run.workflow_version,
        "session_id": run.session_id,
        "actor_id": run.actor_id,
        "branch": run.branch,
        "depth": run.depth,
        "labels": labels,
    }


def check_template(kind: NodeKind, template: Leaf) -> list[Fault]:
    """Faults of the template of an EFFECT, COMPLETE or FAIL node; empty if it can be used."""
    compiled = compile_template(template.data)
    if compiled.faults:
        return list(compiled.faults)
    value = template.value
    if not isinstance(value, dict):
        return [Fault("", "the template must be a JSON object")]
    if kind is NodeKind.EFFECT:
        return [Fault("", problem) for problem in _effect_problems(value, compiled)]
    if kind is NodeKind.FAIL and not isinstance(value.get("type", ""), str):
        return [Fault("", "type must be a string")]
    return []


def plan_for(node: NodeSpec, scope: Scope) -> StepPlan | StepFailure:
    """The plan of a node that the server runs, or why it has none.

    Args:
        node: a node of any kind but WORKER.
        scope: what its expressions see.
    """
    try:
        return _PLANNERS[node.kind](node, scope)
    except ExpressionError as error:
        return _failed(EXPRESSION_FAILED, str(error))
    except (TemplateError, EffectJsonError) as error:
        return StepPlan(fail=Failure(BAD_PLAN, _naming(node, str(error))))


def _templated(node: NodeSpec, scope: Scope) -> StepPlan:
    if node.template is None:
        raise TemplateError("it has no template")
    compiled = compile_template(node.template.data)
    if compiled.flaw:
        raise TemplateError(compiled.flaw)
    return _constant_plan(node, compiled) if compiled.constant else _rendered_plan(node, compiled, scope)


@lru_cache(maxsize=8192)
def _constant_plan(node: NodeSpec, compiled: Template) -> StepPlan:
    """The plan of a node whose template takes nothing from vars."""
    return _rendered_plan(node, compiled, {})


def _rendered_plan(node: NodeSpec, compiled: Template, scope: Scope) -> StepPlan:
    value = compiled.render(scope)
    if node.kind is NodeKind.COMPLETE:
        return StepPlan(complete_output=Leaf.of(value))
    if node.kind is NodeKind.FAIL:
        return StepPlan(fail=_failure(value))
    return StepPlan(effect=_template_effect(node, value))


def _choose(node: NodeSpec, scope: Scope) -> StepPlan | StepFailure:
    for index, rule in enumerate(node.choices):
        try:
            answer = compile_expression(rule.when).evaluate(scope)
        except ExpressionError as error:
            raise ExpressionError(f"choices[{index}].when: {rule.when[:80]}: {error}") from None
        if not isinstance(answer, bool):
            raise ExpressionError(f"choices[{index}].when: {rule.when[:80]}: its value is neither true nor false")
        if answer:
            return StepPlan(next_node=rule.next)
    if node.next:
        return StepPlan(next_node=node.next)
    return _failed(NO_CHOICE, f"none of its {len(node.choices)} choices is true, and it has no next")


def _assign(node: NodeSpec, scope: Scope) -> StepPlan:
    ops = [_assigned(op, f"assign[{index}]", scope) for index, op in enumerate(node.assign)]
    return StepPlan(vars_ops=tuple(ops), next_node=node.next)


def _assigned(op: VarsOp, place: str, scope: Scope) -> VarsOp:
    return op if op.value is None else replace(op, value=render_leaf(op.value, place, scope))


def render_leaf(template: Leaf, place: str, scope: Scope, variables: tuple[str, ...] = ("vars", "run")) -> Leaf:
    """The value of a template.

    Args:
        place: the template's field in its node, for errors.
        variables: those that `scope` has.

    Raises: ExpressionError, TemplateError.
    """
    compiled = compile_template(template.data, variables)
    if compiled.flaw:
        raise TemplateError(f"{place}: {compiled.flaw}")
    if compiled.constant:
        return Leaf(template.data) if b"$$" not in template.data else Leaf.of(compiled.render(scope))
    try:
        return Leaf.of(compiled.render(scope))
    except ExpressionError as error:
        raise ExpressionError(f"{place}: {error}") from None


def object_leaf(template: Leaf, place: str, scope: Scope, variables: tuple[str, ...] = ("vars", "run")) -> Leaf:
    """The value of a template that must be an object. Raises: ExpressionError, TemplateError."""
    leaf = render_leaf(template, place, scope, variables)
    if not isinstance(leaf.value, dict):
        raise ExpressionError(f"{place}: its value is no object")
    return leaf


def _subworkflow(node: NodeSpec, scope: Scope) -> StepPlan:
    request = node.subworkflow
    if request is None:
        raise TemplateError("it has no subworkflow")
    if request.vars is not None:
        request = replace(request, vars=object_leaf(request.vars, "subworkflow.vars_json", scope))
    return StepPlan(effect=_effect(node, "start_subworkflow", request))


def _parallel(node: NodeSpec, scope: Scope) -> StepPlan:
    total = len(node.branches)
    request = Fanout(
        total=total,
        needed=node.join.needed(total),
        max_concurrency=total,
        entry_nodes=tuple(branch.entry_node for branch in node.branches),
        names=tuple(branch.name for branch in node.branches),
    )
    return StepPlan(effect=_effect(node, "parallel", request))


def _foreach(node: NodeSpec, scope: Scope) -> StepPlan | StepFailure:
    spec = node.foreach
    if spec is None:
        raise TemplateError("it has no foreach")
    try:
        items = compile_expression(spec.items).evaluate(scope)
    except ExpressionError as error:
        raise ExpressionError(f"foreach.items: {spec.items[:80]}: {error}") from None
    if not isinstance(items, list):
        raise ExpressionError(f"foreach.items: {spec.items[:80]}: its value is no list")
    most = DEFAULT_LIMITS.foreach_items
    if len(items) > most:
        return _failed("LIMIT_REACHED", f"foreach.items: there are {len(items)} items; at most {most} are accepted")
    request = Fanout(
        total=len(items),
        needed=node.join.needed(len(items)),
        max_concurrency=spec.max_concurrency,
        entry_nodes=(spec.entry_node,),
        items=Leaf.of(items),
    )
    return StepPlan(effect=_effect(node, "foreach", request))


_PLANNERS: Final[Mapping[NodeKind, Callable[[NodeSpec, Scope], StepPlan | StepFailure]]] = {
    NodeKind.EFFECT: _templated,
    NodeKind.COMPLETE: _templated,
    NodeKind.FAIL: _templated,
    NodeKind.CHOICE: _choose,
    NodeKind.ASSIGN: _assign,
    NodeKind.PARALLEL: _parallel,
    NodeKind.FOREACH: _foreach,
    NodeKind.SUBWORKFLOW: _subworkflow,
}


def _effect(node: NodeSpec, kind: str, request: EffectRequest) -> Effect:
    return Effect(kind, request, result_key=node.result_key, risk=node.risk, priority=node.priority)


def _template_effect(node: NodeSpec, value: Json) -> Effect:
    members = value if isinstance(value, dict) else {}
    kind = members.get("type")
    if not isinstance(kind, str) or not kind:
        raise TemplateError("the effect's type must be a string")
    payload = members.get("payload")
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise TemplateError("the effect's payload must be an object")
    return _effect(node, kind, effect_request(kind, payload))


def _failure(value: Json) -> Failure:
    members = value if isinstance(value, dict) else {}
    kind, message, details = members.get("type"), members.get("message"), members.get("details")
    return Failure(
        type=kind[:128] if isinstance(kind, str) and kind else "FAILED",
        message=message if isinstance(message, str) else "",
        retryable=members.get("retryable") is True,
        details=Leaf.of(details) if details is not None else None,
    )


def _effect_problems(value: dict[str, Json], compiled: Template) -> list[str]:
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


def _failed(kind: str, why: str) -> StepFailure:
    return StepFailure(Failure(kind, why))


def _naming(node: NodeSpec, why: str) -> str:
    return f"the plan of node {node.node_id!r} cannot be carried out: {why}"
