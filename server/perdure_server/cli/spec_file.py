"""Workflow files: the contract's WorkflowSpec as JSON, templates written as the JSON they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from google.protobuf import json_format

from perdure.v1.model_pb2 import WorkflowSpec
from perdure_server.cli.arguments import json_object
from perdure_server.cli.ledger_form import message_form
from perdure_server.cli.refusals import USAGE, Refusal


def read_spec(path: Path) -> WorkflowSpec:
    """The workflow in a file.

    Names are those of the contract. A node's `kind` may be the short word (`worker`, `effect`, `choice` ...), `risk`,
    `mode` and `on_parent_cancel` likewise; `template`, `vars`, `set` and `append` may be given as JSON instead of
    `template_json` and so on as text.

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


def is_spec_file(source: str) -> bool:
    """Whether an argument names a file, or standard input, and not a registered workflow."""
    return source == "-" or Path(source).is_file()


_WORDS: Final = {
    "kind": "NODE_KIND_",
    "risk": "EFFECT_RISK_",
    "mode": "JOIN_MODE_",
    "on_parent_cancel": "CHILD_CANCEL_POLICY_",
}
_VALUES: Final = ("template", "vars", "set", "append")
_SPANS: Final = ("initial_interval", "max_interval", "timeout")


def _expand(node: dict[str, Any]) -> None:
    """Writes a node's short forms as the contract spells them."""
    _expand_own(node)
    timeouts = node.get("timeouts")
    if isinstance(timeouts, dict):
        _expand_spans(cast("dict[str, Any]", timeouts), tuple(cast("dict[str, Any]", timeouts)))
    for name in ("retry", "foreach", "join", "subworkflow"):
        if isinstance(node.get(name), dict):
            _expand_own(node[name])
    for name in ("assign", "branches"):
        for part in cast("list[Any]", node.get(name)) if isinstance(node.get(name), list) else ():
            if isinstance(part, dict):
                _expand_own(cast("dict[str, Any]", part))


def _expand_own(members: dict[str, Any]) -> None:
    """Short words of enumerations, values instead of their text, numbers of seconds: those of one object."""
    for name, prefix in _WORDS.items():
        word = members.get(name)
        if isinstance(word, str) and not word.startswith(prefix):
            members[name] = prefix + word.upper()
    for name in _VALUES:
        if name in members:
            members[f"{name}_json"] = json.dumps(members.pop(name), ensure_ascii=False)
    _expand_spans(members, _SPANS)


def _expand_spans(members: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if isinstance(members.get(name), int | float):
            members[name] = f"{members[name]}s"


def spec_form(spec: WorkflowSpec) -> dict[str, Any]:
    """The JSON object of a workflow, in the form that `read_spec` takes."""
    return message_form(spec)
