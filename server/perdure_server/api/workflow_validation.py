"""Requests of WorkflowService to commands, and all that can be wrong with a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perdure.v1 import model_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.api.codec import workflows
from perdure_server.api.fields import Check
from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.api.run_validation import request_id
from perdure_server.api.spec_graph import check_graph, unreachable
from perdure_server.api.spec_rules import check_kinds
from perdure_server.engine.register_workflow import RegisterWorkflowCommand
from perdure_server.kernel.bounds import MAX_PROBLEMS, PAGE_TOKEN_BYTES
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.model import WorkflowSpec


@dataclass(frozen=True, slots=True)
class CheckedSpec:
    """What a check of a spec found: its problems, and without any its version and what is hardly meant."""

    spec: WorkflowSpec
    version: str
    problems: tuple[FieldViolation, ...]
    warnings: tuple[FieldViolation, ...] = ()


def check_spec(message: model_pb2.WorkflowSpec, limits: Limits) -> CheckedSpec:
    """All problems of a spec; their paths start at the spec."""
    check = Check(limits, MAX_PROBLEMS)
    spec = workflows.workflow_spec(message, check)
    if 0 < len(message.nodes) <= limits.workflow_nodes:
        check_graph(spec, check)
    check_kinds(spec, check)
    if message.ByteSize() > limits.message_bytes:
        check.refuse("nodes", f"the spec has {message.ByteSize()} bytes; at most {limits.message_bytes} fit a message")
    problems = tuple(check.violations)
    if problems:
        return CheckedSpec(spec, "", problems)
    return CheckedSpec(spec, workflows.spec_version(message), (), tuple(unreachable(spec)[:MAX_PROBLEMS]))


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
