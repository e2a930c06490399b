"""Plans, outcomes and vars ops: messages to the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from perdure.v1 import model_pb2, records_pb2
from perdure_server.api.codec import effects, terms
from perdure_server.api.fields import EMPTY_OBJECT, STORED, Check
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import PATH_BYTES


def step_plan(message: model_pb2.StepPlan, check: Check, at: str) -> m.StepPlan:
    """A StepPlan; `at` ends in a dot. Which of its parts go together is the kernel's business."""
    output = None
    if message.HasField("complete_output_json"):
        output = check.json(
            at, "complete_output_json", message.complete_output_json, empty=EMPTY_OBJECT, object_only=True
        )
    return m.StepPlan(
        vars_ops=vars_ops(message.vars_ops, check, at) if message.vars_ops else (),
        fail=terms.failure(message.fail, check, at + "fail.") if message.HasField("fail") else None,
        complete_output=output,
        effect=effects.effect(message.effect, check, at + "effect.") if message.HasField("effect") else None,
        next_node=check.id(at, "next_node", message.next_node, optional=True),
    )


def vars_ops(messages: Sequence[model_pb2.VarsOp], check: Check, at: str) -> tuple[m.VarsOp, ...]:
    """Changes of vars, in order. Whether a path fits the vars is the kernel's business."""
    check.count(at, "vars_ops", len(messages), check.limits.vars_ops)
    most = check.limits.vars_ops
    return tuple(vars_op(op, check, f"{at}vars_ops[{index}].") for index, op in enumerate(messages[:most]))


def vars_op(message: model_pb2.VarsOp, check: Check, at: str) -> m.VarsOp:
    """One change of vars; `at` ends in a dot."""
    path = check.text(at, "path", message.path, PATH_BYTES)
    kind = check.one_of(at, message, "op")
    if kind == "remove":
        if not message.remove:
            check.refuse(at + "remove", "must be true")
        return m.VarsOp(path, "remove")
    name: Literal["set_json", "append_json"] = "append_json" if kind == "append_json" else "set_json"
    text = message.append_json if kind == "append_json" else message.set_json
    if kind and not text:
        check.refuse(at + name, "is required: a JSON value (null to set null)", "INVALID_JSON")
    value = check.json(at, name, text)
    return m.VarsOp(path, "append" if kind == "append_json" else "set", value)


def outcome(message: model_pb2.EffectOutcome, check: Check, at: str) -> m.EffectOutcome:
    """How an effect ended; `at` ends in a dot."""
    kind = check.one_of(at, message, "outcome")
    if kind == "waiting":
        return terms.wait_request(message.waiting, check, at + "waiting.")
    if kind == "failed":
        return step_failure(message.failed, check, at + "failed.")
    return m.EffectResult(check.optional_json(at, "result_json", message.result_json))


def step_failure(message: model_pb2.StepFailure, check: Check, at: str) -> m.StepFailure:
    """A failure as reported; `at` ends in a dot."""
    retry_after = None
    if message.HasField("retry_after"):
        retry_after = check.any_span(at, "retry_after", message.retry_after)
    return m.StepFailure(
        failure=terms.failure(message.failure, check, at + "failure."),
        not_executed=message.not_executed,
        retry_after_us=retry_after,
    )


def ops_bytes(ops: Iterable[m.VarsOp]) -> bytes:
    """Bytes of the VarsOps message that a record's slot holds."""
    message = records_pb2.VarsOps()
    add = message.ops.add
    for op in ops:
        text = op.value.text if op.value else "null"
        if op.op == "set":
            add(path=op.path, set_json=text)
        elif op.op == "append":
            add(path=op.path, append_json=text)
        else:
            add(path=op.path, remove=True)
    return message.SerializeToString()


def stored_ops(data: bytes) -> tuple[m.VarsOp, ...]:
    """What `ops_bytes` was given."""
    return tuple(vars_op(op, STORED, "") for op in records_pb2.VarsOps.FromString(data).ops)
