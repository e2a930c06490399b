"""`perdure workflow graph`: Mermaid text and a picture that needs nothing else."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from perdure import ANY, Set, Workflow
from perdure_server.cli.graph_layout import layout
from perdure_server.cli.graph_mermaid import mermaid
from perdure_server.cli.graph_model import graph_of
from perdure_server.cli.graph_svg import svg
from perdure_server.cli.program import program

SVG = "{http://www.w3.org/2000/svg}"


def flow() -> Workflow:
    """Every kind of node and of way, a loop back, and words that mean something to HTML."""
    flow = Workflow("order <1>", entry="pick", on_cancel_node="undo")
    flow.choice_node("pick", ('vars.n > 1 && vars.s == "<b>"', "fan"), otherwise="each")
    flow.parallel_node("fan", {"left": "ask", "right": "end"}, join=ANY, next="put", on_error_node="sorry")
    flow.foreach_node("each", "vars.items", "end", next="put")
    payload = {"prompt": "?", "on_deadline_node": "sorry"}
    flow.effect_node("ask", "ask_user", {**payload}, next="end")
    flow.assign_node("put", Set("/n", "${vars.n - 1}"), next="pick")
    flow.subworkflow_node("undo", "cleanup", next="undo")
    flow.complete_node("end", {})
    flow.fail_node("sorry", "NO")
    return flow


def test_mermaid_text_names_every_node_and_way() -> None:
    text = mermaid(graph_of(flow().spec()))
    assert text.startswith('flowchart TD\n    start((start))\n    n0{{"pick<br/>')
    boxes = dict(re.findall(r"(n\d+)[\[({]+\"(\w+)<br/>", text))
    assert sorted(boxes.values()) == ["ask", "each", "end", "fan", "pick", "put", "sorry", "undo"]
    ways = {
        (boxes[source], boxes[target], arrow, label)
        for source, arrow, label, target in re.findall(r"(n\d+) (-->|==>|-\.->)(?:\|\"(.*?)\"\|)? (n\d+)", text)
    }
    assert ways == {
        ("pick", "fan", "-->", "vars.n #62; 1 #38;#38; vars.s == #34;#60;b#62;#34;"),
        ("pick", "each", "-->", "otherwise"),
        ("fan", "ask", "==>", "left"),
        ("fan", "end", "==>", "right"),
        ("fan", "put", "-->", ""),
        ("fan", "sorry", "-.->", "error"),
        ("each", "end", "==>", "each"),
        ("each", "put", "-->", ""),
        ("ask", "sorry", "-->", "deadline"),
        ("ask", "end", "-->", ""),
        ("put", "pick", "-->", ""),
        ("undo", "undo", "-->", ""),
    }
    assert f"start --> {next(name for name, node in boxes.items() if node == 'pick')}" in text
    assert f"cancel -.-> {next(name for name, node in boxes.items() if node == 'undo')}" in text


def test_the_picture_is_whole_and_self_contained() -> None:
    text = svg(graph_of(flow().spec()))
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"pick", "fan", "each", "ask", "put", "undo", "end", "sorry", "left", "right", "error"} <= set(words)
    assert len([path for path in root.iter(f"{SVG}path") if path.get("stroke")]) == 12 + 2, "ways and two entries"
    assert "href" not in text
    assert re.findall(r"https?://[^\" ]+", text) == ["http://www.w3.org/2000/svg"]


def test_no_two_nodes_of_a_layer_overlap_and_ways_lead_down() -> None:
    graph = graph_of(flow().spec())
    widths = {node.node_id: 100.0 + 30 * len(node.node_id) for node in graph.nodes}
    places = layout(graph, widths)
    rows = {each: row for row, layer in enumerate(places.layers) for each in layer}
    for layer in places.layers:
        for first, second in itertools.pairwise(layer):
            room = (widths.get(first, 18.0) + widths.get(second, 18.0)) / 2
            assert places.x[second] - places.x[first] >= room
    for edge, lanes in places.lanes.items():
        upper, lower = (edge.target, edge.source) if edge in places.turned else (edge.source, edge.target)
        assert rows[upper] < rows[lower]
        assert [rows[lane] for lane in lanes] == list(range(rows[upper] + 1, rows[lower]))
    assert {(edge.source, edge.target) for edge in places.turned} == {("put", "pick")}


@pytest.mark.parametrize("options", [(), ("--svg",), ("--json",), ("--json", "--svg")])
def test_a_file_is_drawn_without_a_server(tmp_path: Path, options: tuple[str, ...]) -> None:
    file = tmp_path / "w.json"
    node = {"kind": "choice", "choices": [{"when": "vars.x", "next": "end"}]}
    nodes: dict[str, Any] = {"a": node, "end": {"kind": "complete", "template": {}}}
    file.write_text(json.dumps({"workflow_id": "w", "entry_node": "a", "nodes": nodes}))
    result = CliRunner().invoke(program, ["workflow", "graph", str(file), *options])
    assert result.exit_code == 0, result.output
    text = json.loads(result.stdout)["text"] if "--json" in options else result.stdout
    assert text.startswith("<svg" if "--svg" in options else "flowchart TD")


def test_a_picture_of_too_many_nodes_is_refused_with_advice(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    nodes: dict[str, Any] = {f"n{number}": {"kind": "complete", "template": {}} for number in range(301)}
    file.write_text(json.dumps({"workflow_id": "w", "entry_node": "n0", "nodes": nodes}))
    result = CliRunner().invoke(program, ["workflow", "graph", str(file), "--svg"])
    assert result.exit_code != 0
    assert "at most 300 nodes" in result.output
    assert CliRunner().invoke(program, ["workflow", "graph", str(file)]).exit_code == 0
