"""A workflow's graph as Mermaid text (mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

from typing import Final

from perdure_server.cli.graph_model import Graph, GraphEdge, GraphNode

_SHAPES: Final = {"choice": ("{{", "}}"), "complete": ("([", "])"), "fail": ("([", "])"), "parallel": ("[[", "]]")}
_ARROWS: Final = {"way": "-->", "branch": "==>", "error": "-.->"}


def mermaid(graph: Graph) -> str:
    """The text of a flowchart, ending in a line break."""
    names = {node.node_id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart TD", "    start((start))"]
    lines += [f"    {names[node.node_id]}{_box(node)}" for node in graph.nodes]
    if graph.entry in names:
        lines.append(f"    start --> {names[graph.entry]}")
    lines += [_arrow(edge, names) for edge in graph.edges]
    if graph.on_cancel in names:
        lines += ["    cancel((cancel))", f"    cancel -.-> {names[graph.on_cancel]}"]
    return "\n".join(lines) + "\n"


def _box(node: GraphNode) -> str:
    opening, closing = _SHAPES.get("parallel" if node.kind == "foreach" else node.kind, ("[", "]"))
    words = [node.node_id, f"<small>{node.kind}{' ' + _quoted(node.note) if node.note else ''}</small>"]
    return f'{opening}"{_quoted(words[0])}<br/>{words[1]}"{closing}'


def _arrow(edge: GraphEdge, names: dict[str, str]) -> str:
    label = f'|"{_quoted(edge.label)}"|' if edge.label else ""
    return f"    {names[edge.source]} {_ARROWS[edge.style]}{label} {names[edge.target]}"


def _quoted(text: str) -> str:
    """Text inside of a quoted label: what Mermaid or HTML would read is written as an entity."""
    return "".join(char if char.isalnum() or char in " _-.,:/()[]=+*?!$" else f"#{ord(char)};" for char in text)
