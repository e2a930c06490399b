"""Requests of WorkflowService to commands, and all that can be wrong with a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from perdure.v1 import model_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.api.codec import workflows
from perdure_server.api.fields import Check
from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.api.run_validation import request_id
from perdure_server.engine.register_workflow import RegisterWorkflowCommand
from perdure_server.kernel.bounds import MAX_PROBLEMS, PAGE_TOKEN_BYTES
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.model import NodeKind, NodeSpec, WorkflowSpec
from perdure_server.programs.declarative import check_template

_TEMPLATED: Final = (NodeKind.EFFECT, NodeKind.COMPLETE, NodeKind.FAIL)
_LEADING_KEYS: Final = ("resume_to_node", "on_deadline_node")


@dataclass(frozen=True, slots=True)
class CheckedSpec:
    """What a check of a spec found: its problems, and without any its version."""

    spec: WorkflowSpec
    version: str
    problems: tuple[FieldViolation, ...]


def check_spec(message: model_pb2.WorkflowSpec, limits: Limits) -> CheckedSpec:
    """All problems of a spec; their paths start at the spec."""
    check = Check(limits, MAX_PROBLEMS)
    spec = workflows.workflow_spec(message, check)
    if 0 < len(message.nodes) <= limits.workflow_nodes:
        _check_references(spec, check)
    for node in spec.nodes.values():
        _check_kind(node, check, f"nodes[{node.node_id}].")
    if message.ByteSize() > limits.message_bytes:
        check.refuse("nodes", f"the spec has {message.ByteSize()} bytes; at most {limits.message_bytes} fit a message")
    problems = tuple(check.violations)
    return CheckedSpec(spec, "" if problems else workflows.spec_version(message), problems)


def register_workflow(request: pb.RegisterWorkflowRequest, limits: Limits) -> RegisterWorkflowCommand:
    """RegisterWorkflow. Raises: EdgeError (INVALID_FIELD; INVALID_SPEC with the problems)."""
    check = Check(limits)
    namespace = check.namespace("", request.namespace)
    request_row = request_id(check, request, request.request_id)
    check.done()
    checked = check_spec(request.spec, limits)
    if checked.problems:
        raise _invalid(checked.problems)
    return RegisterWorkflowCommand(
        namespace=namespace,
        workflow_id=checked.spec.workflow_id,
        version=checked.version,
        spec=workflows.spec_bytes(request.spec, checked.version),
        entry_node=checked.spec.entry_node,
        node_count=len(checked.spec.nodes),
        make_default=request.set_default,
        request=request_row,
    )


def validate_workflow(request: pb.ValidateWorkflowRequest, limits: Limits) -> tuple[str, CheckedSpec]:
    """ValidateWorkflow: the namespace and what the check found. Raises: EdgeError."""
    check = Check(limits)
    namespace = check.namespace("", request.namespace)
    check.done()
    return namespace, check_spec(request.spec, limits)


def workflow_named(request: pb.GetWorkflowRequest, limits: Limits) -> tuple[str, str, str]:
    """GetWorkflow: namespace, workflow, version or "". Raises: EdgeError."""
    check = Check(limits)
    found = (
        check.namespace("", request.namespace),
        check.id("", "workflow_id", request.workflow_id),
        check.id("", "version", request.version, optional=True),
    )
    check.done()
    return found


def default_version(request: pb.SetDefaultVersionRequest, limits: Limits) -> tuple[str, str, str, Any]:
    """SetDefaultVersion: namespace, workflow, version, request id. Raises: EdgeError."""
    check = Check(limits)
    found = (
        check.namespace("", request.namespace),
        check.id("", "workflow_id", request.workflow_id),
        check.id("", "version", request.version),
        request_id(check, request, request.request_id),
    )
    check.done()
    return found


def workflow_query(request: pb.ListWorkflowsRequest, limits: Limits) -> tuple[str, str, int]:
    """ListWorkflows: namespace, workflow or "", page size. Raises: EdgeError."""
    check = Check(limits)
    found = (
        check.namespace("", request.namespace),
        check.id("", "workflow_id", request.workflow_id, optional=True),
        check.page_size(request.page_size),
    )
    check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    check.done()
    return found


def _invalid(problems: tuple[FieldViolation, ...]) -> EdgeError:
    violations = tuple(FieldViolation(f"spec.{field}", text) for field, text in problems)
    more = f" and {len(problems) - 1} more problems" if len(problems) > 1 else ""
    first = violations[0]
    return EdgeError(
        "INVALID_SPEC",
        f"{first.field}: {first.description}{more}; ValidateWorkflow lists all",
        violations,
        problems=str(len(problems)),
    )


def _check_references(spec: WorkflowSpec, check: Check) -> None:
    def must_exist(field: str, node_id: str) -> None:
        if node_id and node_id not in spec.nodes:
            check.refuse(field, f"names node {node_id[:128]!r}, which the workflow does not have")

    must_exist("entry_node", spec.entry_node)
    must_exist("on_cancel_node", spec.on_cancel_node)
    for node in spec.nodes.values():
        at = f"nodes[{node.node_id}]."
        must_exist(at + "next", node.next)
        must_exist(at + "on_error_node", node.on_error_node)
        for key, target in _template_targets(node).items():
            must_exist(f"{at}template_json.payload.{key}", target)


def _template_targets(node: NodeSpec) -> dict[str, str]:
    """Nodes that an effect's template names outright."""
    if node.kind is not NodeKind.EFFECT or node.template is None:
        return {}
    template = node.template.value
    payload = template.get("payload") if isinstance(template, dict) else None
    if not isinstance(payload, dict):
        return {}
    named = {key: payload.get(key) for key in _LEADING_KEYS}
    return {key: target for key, target in named.items() if isinstance(target, str) and "${" not in target}


def _check_kind(node: NodeSpec, check: Check, at: str) -> None:
    """What a node's kind asks for, and what it has no use for."""
    kind = node.kind.name
    if node.kind in _TEMPLATED:
        if node.template is None:
            check.refuse(at + "template_json", f"is required for kind {kind}")
        else:
            for problem in check_template(node.kind, node.template):
                check.refuse(at + "template_json", problem)
        if node.inputs:
            check.refuse(at + "inputs", f"means nothing for kind {kind}: only WORKER nodes read inputs")
    elif node.template is not None:
        check.refuse(at + "template_json", "means nothing for kind WORKER: the worker makes the plan")
    if node.kind in (NodeKind.COMPLETE, NodeKind.FAIL) and node.next:
        check.refuse(at + "next", f"means nothing for kind {kind}: the run ends there")
