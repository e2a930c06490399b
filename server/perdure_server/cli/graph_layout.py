"""Places the nodes of a graph in layers, from the entry down (Sugiyama's method).

Ways that lead back are turned round for the layout; a way over several layers passes each of them at a place of its
own, so that it crosses no box; places in a layer are sorted by those of their neighbours, some times over.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from perdure_server.cli.graph_model import Graph, GraphEdge

SWEEPS: Final = 8
GAP: Final = 36.0
LANE: Final = 18.0


@dataclass(slots=True)
class Layout:
    """Where everything is: `x` is a middle; `lanes` are the places that an edge passes, from its upper end down."""

    layers: list[list[str]]
    x: dict[str, float] = field(default_factory=dict[str, float])
    lanes: dict[GraphEdge, list[str]] = field(default_factory=dict[GraphEdge, list[str]])
    turned: set[GraphEdge] = field(default_factory=set[GraphEdge])
    width: float = 0.0


def layout(graph: Graph, widths: Mapping[str, float]) -> Layout:
    """Places a graph; `widths` are those of its nodes."""
    edges = [edge for edge in graph.edges if edge.source != edge.target]
    turned = _back_edges(graph, edges)
    down = [(edge.target, edge.source) if edge in turned else (edge.source, edge.target) for edge in edges]
    rank = _ranks([node.node_id for node in graph.nodes], down)
    layers: list[list[str]] = [[] for _ in range(max(rank.values(), default=0) + 1)]
    for node in graph.nodes:
        layers[rank[node.node_id]].append(node.node_id)
    found = Layout(layers, turned=turned)
    links: list[tuple[str, str]] = []
    for edge, (upper, lower) in zip(edges, down, strict=True):
        lanes = [f"\0{len(found.lanes)}:{layer}" for layer in range(rank[upper] + 1, rank[lower])]
        for layer, lane in enumerate(lanes, start=rank[upper] + 1):
            layers[layer].append(lane)
        found.lanes[edge] = lanes
        way = [upper, *lanes, lower]
        links += itertools.pairwise(way)
    _order(layers, links)
    _place(found, links, widths)
    return found


def _back_edges(graph: Graph, edges: Sequence[GraphEdge]) -> set[GraphEdge]:
    out: defaultdict[str, list[GraphEdge]] = defaultdict(list)
    for edge in edges:
        out[edge.source].append(edge)
    back: set[GraphEdge] = set()
    done: set[str] = set()
    for first in graph.nodes:
        stack = [(first.node_id, iter(out[first.node_id]))] if first.node_id not in done else []
        on_way = {first.node_id}
        while stack:
            node_id, ways = stack[-1]
            edge = next(ways, None)
            if edge is None:
                stack.pop()
                on_way.discard(node_id)
                done.add(node_id)
            elif edge.target in on_way:
                back.add(edge)
            elif edge.target not in done:
                on_way.add(edge.target)
                stack.append((edge.target, iter(out[edge.target])))
    return back


def _ranks(node_ids: Sequence[str], down: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way down to each node."""
    above: defaultdict[str, list[str]] = defaultdict(list)
    below: defaultdict[str, list[str]] = defaultdict(list)
    for upper, lower in down:
        above[lower].append(upper)
        below[upper].append(lower)
    missing = {node_id: len(above[node_id]) for node_id in node_ids}
    ready = [node_id for node_id in node_ids if not missing[node_id]]
    rank = dict.fromkeys(node_ids, 0)
    while ready:
        upper = ready.pop()
        for lower in below[upper]:
            rank[lower] = max(rank[lower], rank[upper] + 1)
            missing[lower] -= 1
            if not missing[lower]:
                ready.append(lower)
    return rank


def _neighbours(links: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: defaultdict[str, list[str]] = defaultdict(list)
    below: defaultdict[str, list[str]] = defaultdict(list)
    for upper, lower in links:
        above[lower].append(upper)
        below[upper].append(lower)
    return above, below


def _order(layers: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    above, below = _neighbours(links)
    place = {each: number for row in layers for number, each in enumerate(row)}
    for sweep in range(SWEEPS):
        near = above if sweep % 2 == 0 else below
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            middle = {
                each: sum(place[other] for other in near[each]) / len(near[each]) if near.get(each) else place[each]
                for each in layer
            }
            layer.sort(key=middle.__getitem__)
            place |= {each: number for number, each in enumerate(layer)}


def _place(found: Layout, links: Sequence[tuple[str, str]], widths: Mapping[str, float]) -> None:
    """Middles: packed side by side, then drawn towards the neighbours as far as there is room."""
    above, below = _neighbours(links)
    for layer in found.layers:
        edge = 0.0
        for each in layer:
            width = widths.get(each, LANE)
            found.x[each] = edge + width / 2
            edge += width + GAP
    for sweep in range(SWEEPS * 2):
        near = above if sweep % 2 == 0 else below
        for layer in found.layers if sweep % 2 == 0 else list(reversed(found.layers)):
            _draw_near(layer, near, found.x, widths)
    left = min((found.x[each] - widths.get(each, LANE) / 2 for each in found.x), default=0.0)
    for each in found.x:
        found.x[each] -= left
    found.width = max((found.x[each] + widths.get(each, LANE) / 2 for each in found.x), default=0.0)


def _draw_near(
    layer: Sequence[str], near: Mapping[str, list[str]], x: dict[str, float], widths: Mapping[str, float]
) -> None:
    wanted = {
        each: sum(x[other] for other in near[each]) / len(near[each]) if near.get(each) else x[each] for each in layer
    }

    def room(first: str, second: str) -> float:
        return (widths.get(first, LANE) + widths.get(second, LANE)) / 2 + GAP

    for index, each in enumerate(layer):
        x[each] = wanted[each]
        if index:
            x[each] = max(x[each], x[layer[index - 1]] + room(layer[index - 1], each))
    shift = sum(wanted[each] - x[each] for each in layer) / len(layer) if layer else 0.0
    for each in layer:
        x[each] += shift
