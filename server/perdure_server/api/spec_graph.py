"""The graph of a workflow: where its nodes lead, what leads nowhere, and what would go round for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perdure_server.api.fields import Check
from perdure_server.api.problems import FieldViolation
from perdure_server.kernel.model import NodeKind, NodeSpec, WorkflowSpec

_LEADING_KEYS: Final = ("resume_to_node", "on_deadline_node")


def edges(node: NodeSpec) -> Iterator[tuple[str, str]]:
    """(field, node) of all nodes that a node names, also as the start of a branch."""
    if node.next:
        yield "next", node.next
    if node.on_error_node:
        yield "on_error_node", node.on_error_node
    for index, rule in enumerate(node.choices):
        yield f"choices[{index}].next", rule.next
    for index, branch in enumerate(node.branches):
        yield f"branches[{index}].entry_node", branch.entry_node
    if node.foreach is not None:
        yield "foreach.entry_node", node.foreach.entry_node
    for key, target in _template_targets(node):
        if "${" not in target:
            yield f"template_json.payload.{key}", target


def check_graph(spec: WorkflowSpec, check: Check) -> None:
    """Every node that is named exists, and no choices lead only to each other."""

    def must_exist(field: str, node_id: str) -> None:
        if node_id and node_id not in spec.nodes:
            check.refuse(field, f"names node {node_id[:128]!r}, which the workflow does not have")

    must_exist("entry_node", spec.entry_node)
    must_exist("on_cancel_node", spec.on_cancel_node)
    for node in spec.nodes.values():
        for field, target in edges(node):
            must_exist(f"nodes[{node.node_id}].{field}", target)
    cycle = _choice_cycle(spec)
    if cycle:
        way = " -> ".join([*cycle, cycle[0]])[:512]
        check.refuse(f"nodes[{cycle[0]}]", f"is in a cycle of choices only: {way}; nothing changes on that way")


def unreachable(spec: WorkflowSpec) -> list[FieldViolation]:
    """Nodes that no way leads to: a warning, because a run may be started at any node.

    A worker's plan, or a template, may name any node: where one can be reached, nothing is told.
    """
    seen: set[str] = set()
    open_ids = [spec.entry_node, spec.on_cancel_node]
    while open_ids:
        node = spec.nodes.get(open_ids.pop())
        if node is None or node.node_id in seen:
            continue
        if node.kind is NodeKind.WORKER or any("${" in target for _, target in _template_targets(node)):
            return []
        seen.add(node.node_id)
        open_ids += [target for _, target in edges(node)]
    return [
        FieldViolation(f"nodes[{node_id}]", "no way leads here; only a run started at this node would come by")
        for node_id in spec.nodes
        if node_id not in seen
    ]


def _choice_cycle(spec: WorkflowSpec) -> list[str]:
    """A cycle of CHOICE nodes, in order; empty if there is none."""
    choices = {node_id: node for node_id, node in spec.nodes.items() if node.kind is NodeKind.CHOICE}
    done: set[str] = set()
    for start in choices:
        way: list[str] = []
        stack = [iter([start])]
        while stack:
            target = next(stack[-1], None)
            if target is None:
                stack.pop()
                if way:
                    done.add(way.pop())
            elif target in way:
                return way[way.index(target) :]
            elif target in choices and target not in done:
                way.append(target)
                stack.append(iter([each for _, each in edges(choices[target])]))
    return []


def _template_targets(node: NodeSpec) -> Iterator[tuple[str, str]]:
    """Nodes that an effect's template names, outright or by an expression."""
    if node.kind is not NodeKind.EFFECT or node.template is None:
        return
    template = node.template.value
    payload = template.get("payload") if isinstance(template, dict) else None
    for key in _LEADING_KEYS:
        target = payload.get(key) if isinstance(payload, dict) else None
        if isinstance(target, str) and target:
            yield key, target
