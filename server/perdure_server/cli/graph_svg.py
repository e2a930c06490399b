"""A workflow's graph as one SVG file that needs nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html import escape
from typing import Final

from perdure_server.cli.graph_layout import Layout, layout
from perdure_server.cli.graph_model import Graph, GraphEdge, GraphNode

HEIGHT: Final = 46.0
LAYER: Final = 112.0
MARGIN: Final = 40.0
CHAR: Final = 7.4
LEAST: Final = 96.0
_FILLS: Final = {
    "worker": "#dbeafe",
    "effect": "#e0e7ff",
    "complete": "#dcfce7",
    "fail": "#fee2e2",
    "choice": "#fef9c3",
    "assign": "#f1f5f9",
    "parallel": "#ede9fe",
    "foreach": "#ede9fe",
    "subworkflow": "#cffafe",
}
_STROKES: Final = {"way": "#475569", "branch": "#7c3aed", "error": "#dc2626"}
_DASHES: Final = {"way": "", "branch": "", "error": ' stroke-dasharray="5 4"'}


def svg(graph: Graph) -> str:
    """The text of the file."""
    widths = {node.node_id: _width(node) for node in graph.nodes}
    places = layout(graph, widths)
    rows = {each: number for number, layer in enumerate(places.layers) for each in layer}
    width = places.width + 2 * MARGIN + 40
    height = len(places.layers) * LAYER + MARGIN + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="ui-sans-serif, system-ui, sans-serif">',
        f"<title>{escape(graph.name)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f"<defs>{''.join(_marker(style, colour) for style, colour in _STROKES.items())}</defs>",
    ]
    parts += [_edge(edge, places, rows) for edge in graph.edges if edge.source != edge.target]
    parts += [_loop(edge, places, rows, widths) for edge in graph.edges if edge.source == edge.target]
    parts += _entries(graph, places, rows)
    parts += [_box(node, places.x[node.node_id], rows[node.node_id], widths[node.node_id]) for node in graph.nodes]
    parts += [_label(edge, places, rows) for edge in graph.edges if edge.label and edge.source != edge.target]
    return "\n".join([*parts, "</svg>", ""])


def _width(node: GraphNode) -> float:
    return max(LEAST, len(node.node_id) * CHAR + 28, (len(node.kind) + len(node.note) + 2) * 6.0 + 28)


def _middle(x: float) -> float:
    return x + MARGIN


def _top(row: int) -> float:
    return row * LAYER + MARGIN


def _marker(style: str, colour: str) -> str:
    return (
        f'<marker id="{style}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
    )


def _points(edge: GraphEdge, places: Layout, rows: dict[str, int]) -> list[tuple[float, float]]:
    """Where an edge passes, from its upper end down."""
    turned = edge in places.turned
    upper, lower = (edge.target, edge.source) if turned else (edge.source, edge.target)
    aside = _aside(edge, places)
    points = [(_middle(places.x[upper]) + (aside or _port(edge, places)), _top(rows[upper]) + HEIGHT)]
    for lane in places.lanes[edge]:
        x = _middle(places.x[lane])
        points += [(x, _top(rows[lane])), (x, _top(rows[lane]) + HEIGHT)]
    return [*points, (_middle(places.x[lower]) + aside, _top(rows[lower]))]


def _aside(edge: GraphEdge, places: Layout) -> float:
    """Ways between the same two nodes run side by side."""
    ends = {edge.source, edge.target}
    same = [other for other in places.lanes if {other.source, other.target} == ends]
    return (same.index(edge) - (len(same) - 1) / 2) * 22.0


def _siblings(edge: GraphEdge, places: Layout) -> list[GraphEdge]:
    """The ways down that leave the same node, from left to right."""

    def x(other: GraphEdge) -> float:
        return places.x[[*places.lanes[other], other.target][0]]

    same = [other for other in places.lanes if other.source == edge.source and other not in places.turned]
    return sorted(same, key=x)


def _port(edge: GraphEdge, places: Layout) -> float:
    """Ways down leave a node side by side."""
    if edge in places.turned:
        return 0.0
    same = _siblings(edge, places)
    return (same.index(edge) - (len(same) - 1) / 2) * min(24.0, 80.0 / len(same))


def _edge(edge: GraphEdge, places: Layout, rows: dict[str, int]) -> str:
    points = _points(edge, places, rows)
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for number, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(points)):
        if number % 2:
            path += f"L{x1:.1f} {y1:.1f}"
        else:
            bend = (y1 - y0) / 2
            path += f"C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}"
    end = "marker-start" if edge in places.turned else "marker-end"
    return _line(path, edge.style, end)


def _line(path: str, style: str, end: str = "marker-end") -> str:
    width = 2.2 if style == "branch" else 1.5
    return (
        f'<path d="{path}" fill="none" stroke="{_STROKES[style]}" stroke-width="{width}"{_DASHES[style]} '
        f'{end}="url(#{style})"/>'
    )


def _loop(edge: GraphEdge, places: Layout, rows: dict[str, int], widths: dict[str, float]) -> str:
    x = _middle(places.x[edge.source]) + widths[edge.source] / 2
    y = _top(rows[edge.source]) + HEIGHT / 2
    return _line(f"M{x} {y + 9}C{x + 36} {y + 24} {x + 36} {y - 24} {x} {y - 9}", edge.style)


def _entries(graph: Graph, places: Layout, rows: dict[str, int]) -> Iterator[str]:
    for node_id, style, colour in ((graph.entry, "way", "#0f172a"), (graph.on_cancel, "error", "#dc2626")):
        if node_id in rows:
            x, y = _middle(places.x[node_id]) - 30, _top(rows[node_id])
            yield f'<circle cx="{x:.1f}" cy="{y - 26:.1f}" r="6" fill="{colour}"/>'
            yield _line(f"M{x:.1f} {y - 20:.1f}L{x:.1f} {y:.1f}", style)


def _box(node: GraphNode, x: float, row: int, width: float) -> str:
    left, top, round_ = _middle(x) - width / 2, _top(row), 23 if node.kind in ("complete", "fail") else 7
    kind = f"{node.kind} {node.note}".strip()
    stroke = 'stroke-width="3"' if node.kind in ("parallel", "foreach") else 'stroke-width="1.2"'
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="{round_}" '
        f'fill="{_FILLS.get(node.kind, "#f1f5f9")}" stroke="#334155" {stroke}/>'
        f'<text x="{_middle(x):.1f}" y="{top + 20:.1f}" text-anchor="middle" font-size="13" font-weight="600" '
        f'fill="#0f172a">{escape(node.node_id)}</text>'
        f'<text x="{_middle(x):.1f}" y="{top + 36:.1f}" text-anchor="middle" font-size="10.5" fill="#475569">'
        f"{escape(kind)}</text>"
    )


def _label(edge: GraphEdge, places: Layout, rows: dict[str, int]) -> str:
    points = _points(edge, places, rows)
    points = points[-2:] if edge in places.turned else points[:2]
    (x0, y0), (x1, y1) = points
    share = 0.6 if edge in places.turned else 0.26 + 0.24 * (_siblings(edge, places).index(edge) % 3)
    return (
        f'<text x="{x0 + (x1 - x0) * share:.1f}" y="{y0 + (y1 - y0) * share + 4:.1f}" text-anchor="middle" '
        f'font-size="10.5" fill="{_STROKES[edge.style]}" stroke="#ffffff" stroke-width="4" paint-order="stroke">'
        f"{escape(edge.label)}</text>"
    )
