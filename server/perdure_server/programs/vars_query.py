"""The answer of a vars_query: part of the run's vars in the envelope of a tool result."""

from __future__ import annotations

import json
import re

from perdure_server.kernel.model import VarsQuery
from perdure_server.kernel.values import Json, Leaf

_BRACKET = re.compile(r"\[([^\]]*)\]")


def answer(run_vars: dict[str, Json], query: VarsQuery) -> Leaf:
    """{"mode":"executed","results":[{call_id,name,success,output,error}]}; a missing path is a result
    with success false, not a failure.

    Args:
        run_vars: the run's vars.
        query: path (dotted with [i], or a JSON Pointer) and whether only keys are wanted.
    """
    found, value = _find(run_vars, query.path)
    output: str | None = None
    error: str | None = None
    if found:
        output = _described(query, value)
    else:
        error = f"there is nothing at {query.path!r}"
    result: dict[str, Json] = {
        "call_id": "vars",
        "name": "inspect_vars",
        "success": found,
        "output": output,
        "error": error,
    }
    return Leaf.of({"mode": "executed", "results": [result]})


def path_tokens(path: str) -> list[str | int]:
    """Splits "a.b[0].c" or "/a/b/0/c"; tokens of digits are array indexes, empty ones are dropped."""
    if path.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    else:
        parts = _BRACKET.sub(r".\1", path).split(".")
    return [int(part) if part.isascii() and part.isdigit() else part for part in parts if part]


def _find(root: Json, path: str) -> tuple[bool, Json]:
    node: Json = root
    for token in path_tokens(path):
        if isinstance(node, dict) and str(token) in node:
            node = node[str(token)]
        elif isinstance(node, list) and isinstance(token, int) and token < len(node):
            node = node[token]
        else:
            return False, None
    return True, node


def _described(query: VarsQuery, value: Json) -> str:
    described: dict[str, Json] = {"path": query.path, "type": type(value).__name__, "value": value}
    if query.keys_only:
        described = {"path": query.path, "type": type(value).__name__}
        if isinstance(value, dict):
            described["keys"] = list[Json](sorted(value))
        elif isinstance(value, list | str):
            described["length"] = len(value)
    return json.dumps(described, ensure_ascii=False, indent=2, sort_keys=True)
