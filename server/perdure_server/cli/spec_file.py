"""Workflow files: the contract's WorkflowSpec as JSON, templates written as the JSON they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from google.protobuf import json_format

from perdure.v1.model_pb2 import WorkflowSpec
from perdure_server.cli.arguments import json_object
from perdure_server.cli.ledger_form import message_form
from perdure_server.cli.refusals import USAGE, Refusal


def read_spec(path: Path) -> WorkflowSpec:
    """The workflow in a file.

    Names are those of the contract. A node's `kind` may be the short word (`worker`, `effect`, `complete`,
    `fail`), `risk` likewise, and `template` may be given as JSON instead of `template_json` as text.

    Raises:
        Refusal: it cannot be read, or is not a workflow.
    """
    source = "-" if str(path) == "-" else f"@{path}"
    value = json_object(source, "FILE")
    nodes = value.get("nodes")
    if not isinstance(nodes, dict):
        advice = 'see docs/cli.md; the least is {"workflow_id": ..., "entry_node": ..., "nodes": {"ID": {...}}}'
        raise Refusal(f"{path}: there are no nodes", advice, exit_code=USAGE)
    for node_id, node in cast("dict[str, Any]", nodes).items():
        if not isinstance(node, dict):
            raise Refusal(f"{path}: nodes[{node_id}] is not an object", exit_code=USAGE)
        _expand(cast("dict[str, Any]", node))
    try:
        return json_format.ParseDict(value, WorkflowSpec())
    except json_format.ParseError as error:
        raise Refusal(f"{path}: {error}", "names and types are those of WorkflowSpec", exit_code=USAGE) from error


def _expand(node: dict[str, Any]) -> None:
    """Writes a node's short forms as the contract spells them."""
    for name, prefix in (("kind", "NODE_KIND_"), ("risk", "EFFECT_RISK_")):
        word = node.get(name)
        if isinstance(word, str) and not word.startswith(prefix):
            node[name] = prefix + word.upper()
    if "template" in node:
        node["template_json"] = json.dumps(node.pop("template"), ensure_ascii=False)
    for policy, spans in (("retry", ("initial_interval", "max_interval")), ("timeouts", None)):
        given = node.get(policy)
        if isinstance(given, dict):
            members = cast("dict[str, Any]", given)
            for name in spans or tuple(members):
                if isinstance(members.get(name), int | float):
                    members[name] = f"{members[name]}s"


def spec_form(spec: WorkflowSpec) -> dict[str, Any]:
    """The JSON object of a workflow, in the form that `read_spec` takes."""
    return message_form(spec)
