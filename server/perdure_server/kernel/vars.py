"""Changes of a run's vars: RFC 6901 pointers, applied by copying only the containers on their path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.model import VarsOp
from perdure_server.kernel.values import Json, Leaf, dump_json


@final
class Missing:
    """Marks that nothing is there; no JSON value."""


_MISSING = Missing()


class VarsError(ValueError):
    """A change that cannot be applied; the plan that asked for it is bad."""


def pointer_tokens(path: str) -> list[str]:
    """Splits an RFC 6901 pointer into its unescaped tokens; "" has none.

    Raises: VarsError if it does not start with "/" or has a "~" that is no escape.
    """
    if path == "":
        return []
    if not path.startswith("/"):
        raise VarsError(f"path {path!r} is no JSON Pointer: it must be empty or start with '/'")
    tokens = path[1:].split("/")
    if "~" not in path:
        return tokens
    for token in tokens:
        if "~" in token.replace("~0", "").replace("~1", ""):
            raise VarsError(f"path {path!r} has a '~' that is neither '~0' nor '~1'")
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def key_tokens(result_key: str) -> list[str]:
    """Splits a dotted result key; "a..b" has an empty middle token."""
    return result_key.split(".")


def set_at(root: Json | Missing, tokens: Sequence[str], value: Json, depth: int = 0) -> Json:
    """A copy of `root` with `value` at `tokens`; parents are made or replaced as VarsOp says."""
    if depth == len(tokens):
        return value
    token = tokens[depth]
    if isinstance(root, list):
        index = _index(token, len(root))
        if index is not None:
            items = list(root)
            if index > len(items):
                raise VarsError(f"index {token} is beyond the end of an array of {len(items)}")
            child = items[index] if index < len(items) else _MISSING
            items[index : index + 1] = [set_at(child, tokens, value, depth + 1)]
            return items
        root = {}
    members = dict(root) if isinstance(root, dict) else {}
    members[token] = set_at(members.get(token, _MISSING), tokens, value, depth + 1)
    return members


def append_at(root: Json, tokens: Sequence[str], value: Json) -> Json:
    """A copy of `root` with `value` appended to the array at `tokens`."""
    target = get_at(root, tokens)
    if isinstance(target, Missing) or target is None:
        return set_at(root, tokens, [value])
    if not isinstance(target, list):
        raise VarsError(f"append at /{'/'.join(tokens)}: there is {_kind(target)}, not an array")
    items: list[Json] = list(target)
    return set_at(root, tokens, [*items, value])


def remove_at(root: Json, tokens: Sequence[str], depth: int = 0) -> Json:
    """A copy of `root` without what is at `tokens`; `root` itself if nothing is there."""
    token = tokens[depth]
    last = depth == len(tokens) - 1
    if isinstance(root, list):
        items = list(root)
        index = _index(token, len(items))
        if index is None or index >= len(items):
            return items
        if last:
            del items[index]
        else:
            items[index] = remove_at(items[index], tokens, depth + 1)
        return items
    members = dict(root) if isinstance(root, dict) else {}
    if token not in members:
        return root
    if last:
        del members[token]
    else:
        members[token] = remove_at(members[token], tokens, depth + 1)
    return members


def get_at(root: Json, tokens: Iterable[str]) -> Json | Missing:
    """What is at `tokens`, or a marker that is no JSON value."""
    node: Json | Missing = root
    for token in tokens:
        if isinstance(node, dict):
            node = node.get(token, _MISSING)
        elif isinstance(node, list):
            index = _index(token, len(node))
            node = node[index] if index is not None and index < len(node) else _MISSING
        else:
            return _MISSING
    return node


def apply_ops(root: dict[str, Json], ops: Iterable[VarsOp]) -> dict[str, Json]:
    """The vars after `ops`, in order. Raises: VarsError for a change that cannot be applied."""
    node: Json = root
    for op in ops:
        tokens = pointer_tokens(op.path)
        _check_depth(tokens, op)
        if op.op == "remove":
            if not tokens:
                raise VarsError("remove at the root: set an empty object instead")
            node = remove_at(node, tokens)
        elif op.value is None:
            raise VarsError(f"{op.op} at {op.path!r} has no value")
        elif op.op == "append":
            if not tokens:
                raise VarsError("append at the root: vars are an object")
            node = append_at(node, tokens, op.value.value)
        elif not tokens and not isinstance(op.value.value, dict):
            raise VarsError("set at the root takes an object")
        else:
            node = set_at(node, tokens, op.value.value)
    return as_object(node)


def grown_size(bound: int, added: int, root: dict[str, Json]) -> int:
    """Size of vars after a change, in bytes: an upper bound, made exact once it passes the limit.

    A function of the ledger alone, so that every fold gives the same number.
    """
    total = bound + added
    return total if total <= DEFAULT_LIMITS.vars_bytes else len(dump_json(root))


def as_object(value: Json) -> dict[str, Json]:
    """A value that is an object by the rules of who made it. Raises: VarsError if it is not."""
    if not isinstance(value, dict):
        raise VarsError("vars are an object")
    return value


def ops_size(ops: Iterable[VarsOp]) -> int:
    """What `ops` can add to the size of vars, in bytes: at most."""
    return sum(_path_size(op.path) + (op.value.stored_size if op.value else 0) for op in ops)


def key_size(result_key: str, value: Leaf) -> int:
    """What storing `value` at `result_key` can add, in bytes: at most."""
    return _path_size(result_key) + value.stored_size


def _path_size(path: str) -> int:
    """What the parents that a path makes can take: a byte may need six, a token has five around it."""
    return 6 * len(path.encode()) + 6


def _check_depth(tokens: list[str], op: VarsOp) -> None:
    data = op.value.data if op.value else b""
    if len(tokens) + data.count(b"{") + data.count(b"[") <= DEFAULT_LIMITS.json_depth:
        return
    depth = len(tokens) + (_depth(op.value.value) if op.value else 0)
    if depth > DEFAULT_LIMITS.json_depth:
        raise VarsError(f"{op.op} at {op.path[:80]!r}: vars would be nested deeper than {DEFAULT_LIMITS.json_depth}")


def _depth(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def _index(token: str, length: int) -> int | None:
    """Place in an array that `token` names ("-": one past the end, which a larger one is beyond), or None."""
    if token == "-":
        return length
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token[0] == "0"):
        return None
    return int(token) if len(token) < 10 else length + 1


def _kind(value: Json) -> str:
    names: dict[type, str] = {dict: "an object", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
