"""What a handler did to its vars, as the ordered operations of a StepPlan.

The rules:

- Objects are compared member by member, at any depth: a member that is gone is removed, a new or changed
  one is set, an object in both is compared in turn. So members that the task did not carry (NodeSpec.inputs)
  are never touched by a handler that did not name them.
- An array that only grew at its end becomes one append per new item; any other change sets it whole.
- true is not 1 and 1 is not 1.0: a change of type is a change.
- Removals of an object come before its sets; the order of members alone is no change.
"""

from __future__ import annotations

from typing import Any, cast

from perdure.json_text import Json, JsonObject, decode, encode
from perdure.v1 import model_pb2


def vars_ops(before_json: str, after: object) -> list[model_pb2.VarsOp]:
    """The operations that turn the vars of a task into what the handler left.

    Args:
        before_json: the task's vars as they came.
        after: the handler's `ctx.vars`.

    Raises:
        UnserialisableError: `after` has no JSON text.
        TypeError: it is not an object.
    """
    if not isinstance(after, dict):
        raise TypeError(f"ctx.vars must stay a dict, not {type(after).__name__}")
    after_json = encode(cast("JsonObject", after))
    if after_json == before_json:
        return []
    ops: list[model_pb2.VarsOp] = []
    # Both sides go through JSON, so that tuples, int keys and the like are compared as they will be stored.
    _objects("", decode(before_json) or {}, decode(after_json), ops)
    return ops


def _objects(path: str, before: JsonObject, after: JsonObject, ops: list[model_pb2.VarsOp]) -> None:
    gone = (name for name in before if name not in after)
    ops.extend(model_pb2.VarsOp(path=f"{path}/{_token(name)}", remove=True) for name in gone)
    for name, value in after.items():
        member = f"{path}/{_token(name)}"
        if name in before:
            _values(member, before[name], value, ops)
        else:
            ops.append(model_pb2.VarsOp(path=member, set_json=encode(value)))


def _values(path: str, before: Json, after: Json, ops: list[model_pb2.VarsOp]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        _objects(path, cast("JsonObject", before), cast("JsonObject", after), ops)
    elif isinstance(before, list) and isinstance(after, list):
        _arrays(path, cast("list[Any]", before), cast("list[Any]", after), ops)
    elif not _is_same_scalar(before, after):
        ops.append(model_pb2.VarsOp(path=path, set_json=encode(after)))


def _arrays(path: str, before: list[Any], after: list[Any], ops: list[model_pb2.VarsOp]) -> None:
    kept = len(before)
    if len(after) >= kept and encode(before) == encode(after[:kept]):
        ops.extend(model_pb2.VarsOp(path=path, append_json=encode(item)) for item in after[kept:])
    else:
        ops.append(model_pb2.VarsOp(path=path, set_json=encode(after)))


def _is_same_scalar(before: Json, after: Json) -> bool:
    # repr tells -0.0 from 0.0, which == does not.
    return type(before) is type(after) and before == after and repr(before) == repr(after)


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
