"""What NodeSpecs of the kinds that the server runs hold, each field by itself."""

from __future__ import annotations

from perdure.v1 import model_pb2
from perdure_server.api.codec import plans
from perdure_server.api.fields import Check
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import EXPRESSION_BYTES, MAX_ASSIGN, MAX_BRANCHES, MAX_CHOICES, MAX_INT32
from perdure_server.kernel.nodes import JOIN_ALL, BranchSpec, ChoiceRule, ForeachSpec, JoinMode, JoinSpec

DEFAULT_CONCURRENCY = 100


def choices(message: model_pb2.NodeSpec, check: Check, at: str) -> tuple[ChoiceRule, ...]:
    """The ways of a CHOICE; `at` ends in a dot, here and below."""
    check.count(at, "choices", len(message.choices), MAX_CHOICES)
    return tuple(
        ChoiceRule(
            check.text(f"{at}choices[{index}].", "when", rule.when, EXPRESSION_BYTES, required=True),
            check.id(f"{at}choices[{index}].", "next", rule.next),
        )
        for index, rule in enumerate(message.choices[:MAX_CHOICES])
    )


def assign(message: model_pb2.NodeSpec, check: Check, at: str) -> tuple[m.VarsOp, ...]:
    """The changes of an ASSIGN; their values are templates."""
    check.count(at, "assign", len(message.assign), MAX_ASSIGN)
    return tuple(
        plans.vars_op(op, check, f"{at}assign[{index}].") for index, op in enumerate(message.assign[:MAX_ASSIGN])
    )


def branches(message: model_pb2.NodeSpec, check: Check, at: str) -> tuple[BranchSpec, ...]:
    """The branches of a PARALLEL."""
    check.count(at, "branches", len(message.branches), MAX_BRANCHES)
    return tuple(
        _branch(branch, check, f"{at}branches[{index}].")
        for index, branch in enumerate(message.branches[:MAX_BRANCHES])
    )


def _branch(message: model_pb2.BranchSpec, check: Check, at: str) -> BranchSpec:
    return BranchSpec(
        name=check.id(at, "name", message.name),
        entry_node=check.id(at, "entry_node", message.entry_node),
        vars=check.optional_json(at, "vars_json", message.vars_json, object_only=True),
    )


def foreach(message: model_pb2.NodeSpec, check: Check, at: str) -> ForeachSpec | None:
    """The items of a FOREACH."""
    if not message.HasField("foreach"):
        return None
    spec, at = message.foreach, at + "foreach."
    most = check.limits.open_children
    return ForeachSpec(
        items=check.text(at, "items", spec.items, EXPRESSION_BYTES, required=True),
        entry_node=check.id(at, "entry_node", spec.entry_node),
        vars=check.optional_json(at, "vars_json", spec.vars_json, object_only=True),
        max_concurrency=check.integer(at, "max_concurrency", spec.max_concurrency, 1, most, DEFAULT_CONCURRENCY),
    )


def join(message: model_pb2.NodeSpec, check: Check, at: str) -> JoinSpec:
    """How many must complete."""
    if not message.HasField("join"):
        return JOIN_ALL
    spec, at = message.join, at + "join."
    mode = check.choice(at, "mode", spec.mode, JoinMode, JoinMode.ALL)
    if mode is JoinMode.COUNT:
        return JoinSpec(mode, check.integer(at, "count", spec.count, 1, MAX_INT32))
    if spec.count:
        check.refuse(at + "count", "means nothing but with mode COUNT")
    return JoinSpec(mode)


def subworkflow(message: model_pb2.NodeSpec, check: Check, at: str) -> m.StartSubworkflow | None:
    """What a SUBWORKFLOW starts; its vars are a template."""
    if not message.HasField("subworkflow"):
        return None
    spec, at = message.subworkflow, at + "subworkflow."
    return m.StartSubworkflow(
        workflow_id=check.id(at, "workflow_id", spec.workflow_id),
        workflow_version=check.id(at, "workflow_version", spec.workflow_version, optional=True),
        vars=check.optional_json(at, "vars_json", spec.vars_json, object_only=True),
        async_=getattr(spec, "async"),
        wait=spec.wait,
        on_parent_cancel=check.choice(
            at, "on_parent_cancel", spec.on_parent_cancel, m.ChildPolicy, m.ChildPolicy.CANCEL
        ),
        timeout_us=check.span(at, "timeout", spec, spec.timeout),
    )
