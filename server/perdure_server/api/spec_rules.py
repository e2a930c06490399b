"""What must hold within a node of a workflow for its kind: its fields, templates and expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from perdure_server.api.fields import Check
from perdure_server.kernel.bounds import MAX_EXPRESSIONS
from perdure_server.kernel.model import NodeKind, NodeSpec, Risk, WorkflowSpec
from perdure_server.kernel.nodes import JOIN_ALL, JoinMode
from perdure_server.kernel.values import Leaf
from perdure_server.programs.cel import ITEM_SCOPE, NODE_SCOPE, ExpressionError, compile_expression
from perdure_server.programs.declarative import check_template
from perdure_server.programs.templates import Fault, compile_template, expressions_in

_TEMPLATED: Final = (NodeKind.EFFECT, NodeKind.COMPLETE, NodeKind.FAIL)
_FANNING: Final = (NodeKind.PARALLEL, NodeKind.FOREACH)
_SINCE_0_2: Final = (NodeKind.CHOICE, NodeKind.ASSIGN, *_FANNING, NodeKind.SUBWORKFLOW)
_RESULTS: Final = (*_FANNING, NodeKind.SUBWORKFLOW)

_IS_SET: Final[Mapping[str, Callable[[NodeSpec], bool]]] = {
    "inputs": lambda node: bool(node.inputs),
    "choices": lambda node: bool(node.choices),
    "assign": lambda node: bool(node.assign),
    "branches": lambda node: bool(node.branches),
    "foreach": lambda node: node.foreach is not None,
    "join": lambda node: node.join is not JOIN_ALL,
    "subworkflow": lambda node: node.subworkflow is not None,
    "template_json": lambda node: node.template is not None,
    "next": lambda node: bool(node.next),
    "result_key": lambda node: bool(node.result_key),
    "queue": lambda node: node.queue != "default",
    "retry": lambda node: node.retry is not None,
    "timeouts": lambda node: node.timeouts is not None,
    "risk": lambda node: node.risk is not Risk.IDEMPOTENT,
    "priority": lambda node: node.priority != 0,
}
_ALL: Final = frozenset(NodeKind)
_USED_BY: Final[Mapping[str, frozenset[NodeKind]]] = {
    "inputs": frozenset({NodeKind.WORKER}),
    "choices": frozenset({NodeKind.CHOICE}),
    "assign": frozenset({NodeKind.ASSIGN}),
    "branches": frozenset({NodeKind.PARALLEL}),
    "foreach": frozenset({NodeKind.FOREACH}),
    "join": frozenset(_FANNING),
    "subworkflow": frozenset({NodeKind.SUBWORKFLOW}),
    "template_json": frozenset(_TEMPLATED),
    "next": _ALL - {NodeKind.COMPLETE, NodeKind.FAIL},
    # v0.1.0 took these on nodes that have no use for them, and registered versions stand.
    "result_key": _ALL - {NodeKind.CHOICE, NodeKind.ASSIGN},
    **{name: _ALL - frozenset(_SINCE_0_2) for name in ("queue", "retry", "timeouts", "risk", "priority")},
}
_NEEDED: Final[Mapping[NodeKind, tuple[str, ...]]] = {
    **dict.fromkeys(_TEMPLATED, ("template_json",)),
    NodeKind.CHOICE: ("choices",),
    NodeKind.ASSIGN: ("assign", "next"),
    NodeKind.PARALLEL: ("branches",),
    NodeKind.FOREACH: ("foreach",),
    NodeKind.SUBWORKFLOW: ("subworkflow",),
}


def check_kinds(spec: WorkflowSpec, check: Check) -> None:
    """What each node's kind asks for, and what it has no use for; then its templates and expressions."""
    count = sum(map(_expressions, spec.nodes.values()))
    if count > MAX_EXPRESSIONS:
        check.refuse("nodes", f"hold {count} expressions; at most {MAX_EXPRESSIONS} are accepted")
    for node in spec.nodes.values():
        at = f"nodes[{node.node_id}]."
        _check_fields(node, check, at)
        if count <= MAX_EXPRESSIONS:
            _check_words(node, check, at)
        if node.kind is NodeKind.PARALLEL:
            _check_branches(node, check, at)


def _check_fields(node: NodeSpec, check: Check, at: str) -> None:
    kind = node.kind
    needed = _NEEDED.get(kind, ())
    for name, is_set in _IS_SET.items():
        given = is_set(node)
        if given and kind not in _USED_BY[name]:
            users = ", ".join(sorted(user.name for user in _USED_BY[name]))
            check.refuse(at + name, f"means nothing for kind {kind.name}: it is for {users}")
        elif not given and name in needed:
            check.refuse(at + name, f"is required for kind {kind.name}")


def _check_branches(node: NodeSpec, check: Check, at: str) -> None:
    seen: set[str] = set()
    for index, branch in enumerate(node.branches):
        if branch.name in seen:
            check.refuse(f"{at}branches[{index}].name", f"is {branch.name!r}, as another branch's; names tell results")
        seen.add(branch.name)
    if node.join.mode is JoinMode.COUNT and node.join.count > len(node.branches) > 0:
        text = f"is {node.join.count}, and there are {len(node.branches)} branches: the join can never be met"
        check.refuse(at + "join.count", text)


def _check_words(node: NodeSpec, check: Check, at: str) -> None:
    if node.template is not None and node.kind in _TEMPLATED:
        for fault in check_template(node.kind, node.template):
            _refuse(check, at + "template_json", fault)
    for index, rule in enumerate(node.choices):
        _check_expression(check, f"{at}choices[{index}].when", rule.when, "BOOL", "true or false")
    if node.foreach is not None and node.foreach.items:
        _check_expression(check, at + "foreach.items", node.foreach.items, "LIST", "a list")
    for place, template, variables in _templates(node):
        for fault in compile_template(template.data, variables).faults:
            _refuse(check, at + place, fault)


def _refuse(check: Check, field: str, fault: Fault) -> None:
    check.refuse((field + fault.place)[:512], fault.why)


def _check_expression(check: Check, field: str, source: str, kind: str, what: str) -> None:
    if not source:
        return
    try:
        expression = compile_expression(source)
    except ExpressionError as error:
        check.refuse(field, str(error))
        return
    if not expression.kind.startswith((kind, "DYN")):
        check.refuse(field, f"is of type {expression.kind.lower()}; it must be {what}")


def _templates(node: NodeSpec) -> Iterator[tuple[str, Leaf, tuple[str, ...]]]:
    """Templates of a node beside its own: field, text, variables."""
    for index, op in enumerate(node.assign):
        if op.value is not None:
            yield f"assign[{index}].{op.op}_json", op.value, NODE_SCOPE
    for index, branch in enumerate(node.branches):
        if branch.vars is not None:
            yield f"branches[{index}].vars_json", branch.vars, NODE_SCOPE
    if node.foreach is not None and node.foreach.vars is not None:
        yield "foreach.vars_json", node.foreach.vars, ITEM_SCOPE
    if node.subworkflow is not None and node.subworkflow.vars is not None:
        yield "subworkflow.vars_json", node.subworkflow.vars, NODE_SCOPE


def _expressions(node: NodeSpec) -> int:
    """How many expressions a node has, without compiling them."""
    own = expressions_in(node.template) if node.template is not None else 0
    words = len(node.choices) + (node.foreach is not None)
    return own + words + sum(expressions_in(template) for _, template, _ in _templates(node))
