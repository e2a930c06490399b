"""What a node task carries of its run's vars: all of them, or what NodeSpec.inputs names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias, cast

import orjson

from perdure_server.kernel.vars import pointer_tokens

Branch: TypeAlias = "dict[str, Branch | None]"
"""Names below a place in vars; None: all that is there."""


def vars_text(run_vars: Mapping[str, object], inputs: tuple[str, ...] = ()) -> str:
    """JSON text of the vars that `inputs` (JSON Pointers) name; of all, if they name none.

    The nesting is kept, arrays are whole, missing paths absent.
    """
    chosen: object = run_vars
    if inputs:
        branch = _branch(inputs)
        chosen = run_vars if branch is None else _chosen(run_vars, branch)
    try:
        return orjson.dumps(chosen).decode()
    except orjson.JSONEncodeError:
        # Nested deeper than orjson goes; several leaves inside each other may well be.
        return json.dumps(chosen, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=4_096)
def _branch(inputs: tuple[str, ...]) -> Branch | None:
    root: Branch = {}
    for pointer in inputs:
        tokens = pointer_tokens(pointer)
        if not tokens:
            return None
        _grow(root, tokens)
    return root


def _grow(root: Branch, tokens: list[str]) -> None:
    node = root
    for token in tokens[:-1]:
        if token not in node:
            node[token] = {}
        below = node[token]
        if below is None:
            return
        node = below
    node[tokens[-1]] = None


def _chosen(value: Mapping[str, object], branch: Branch) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, item in value.items():
        if name not in branch:
            continue
        below = branch[name]
        if below is None or isinstance(item, list):
            found[name] = item
        elif isinstance(item, Mapping):
            found[name] = _chosen(cast("Mapping[str, object]", item), below)
    return found
