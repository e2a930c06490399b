"""A workflow as a graph to draw: its nodes, and where each of them leads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from perdure.v1 import model_pb2
from perdure.values import JoinMode, NodeKind
from perdure_server.cli.wording import clip

LABEL_CHARS: Final = 32
_LEADING: Final = {"resume_to_node": "answer", "on_deadline_node": "deadline"}


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node; `note` says what matters most about it."""

    node_id: str
    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """One way. `style`: "way", "branch" (the start of a child run) or "error"."""

    source: str
    target: str
    label: str = ""
    style: str = "way"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of their ids, the entry node first."""

    name: str
    entry: str
    on_cancel: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


def graph_of(spec: model_pb2.WorkflowSpec) -> Graph:
    """The graph of a workflow; ways to nodes that it does not have are left out."""
    ids = sorted(spec.nodes, key=lambda node_id: (node_id != spec.entry_node, node_id))
    edges = [edge for node_id in ids for edge in _edges(node_id, spec.nodes[node_id]) if edge.target in spec.nodes]
    nodes = tuple(_node(node_id, spec.nodes[node_id]) for node_id in ids)
    return Graph(spec.workflow_id, spec.entry_node, spec.on_cancel_node, nodes, tuple(edges))


def _node(node_id: str, spec: model_pb2.NodeSpec) -> GraphNode:
    kind = NodeKind.from_wire(spec.kind)
    name = str(NodeKind.WORKER if kind is NodeKind.UNSPECIFIED else kind)
    return GraphNode(node_id, name, clip(_note(kind, spec), LABEL_CHARS))


def _note(kind: NodeKind, spec: model_pb2.NodeSpec) -> str:
    if kind in (NodeKind.EFFECT, NodeKind.FAIL):
        return str(_template(spec).get("type", ""))
    if kind is NodeKind.ASSIGN:
        return ", ".join(op.path for op in spec.assign)
    if kind is NodeKind.PARALLEL:
        return _join(spec, f"of {len(spec.branches)}")
    if kind is NodeKind.FOREACH:
        return f"{_join(spec, '')} {spec.foreach.items}".strip()
    return spec.subworkflow.workflow_id


def _join(spec: model_pb2.NodeSpec, of: str) -> str:
    mode = JoinMode.from_wire(spec.join.mode)
    if mode is JoinMode.COUNT:
        return f"{spec.join.count} {of}".strip()
    return f"{'any' if mode is JoinMode.ANY else 'all'} {of}".strip()


def _edges(node_id: str, spec: model_pb2.NodeSpec) -> Iterator[GraphEdge]:
    for rule in spec.choices:
        yield GraphEdge(node_id, rule.next, clip(rule.when, LABEL_CHARS))
    for branch in spec.branches:
        yield GraphEdge(node_id, branch.entry_node, branch.name, "branch")
    if spec.HasField("foreach"):
        yield GraphEdge(node_id, spec.foreach.entry_node, "each", "branch")
    payload = _template(spec).get("payload")
    for key, label in _LEADING.items():
        target = cast("dict[str, object]", payload).get(key) if isinstance(payload, dict) else None
        if isinstance(target, str):
            yield GraphEdge(node_id, target, label)
    if spec.next:
        yield GraphEdge(node_id, spec.next, "otherwise" if spec.choices else "")
    if spec.on_error_node:
        yield GraphEdge(node_id, spec.on_error_node, "error", "error")


def _template(spec: model_pb2.NodeSpec) -> dict[str, object]:
    try:
        value = json.loads(spec.template_json or "{}")
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
