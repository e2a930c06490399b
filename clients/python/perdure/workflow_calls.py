"""WorkflowService as typed methods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from perdure.calls import Calls, new_request_id
from perdure.instants import from_timestamp
from perdure.pages import Page, Pages
from perdure.v1 import model_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Registration:
    """What was registered. `created` is False when the version was known."""

    workflow_id: str
    version: str
    created: bool
    is_default: bool


@dataclass(frozen=True, slots=True)
class RegisteredWorkflow:
    """A version of a workflow, with its spec as the contract's message."""

    spec: model_pb2.WorkflowSpec
    is_default: bool
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """A version in a list."""

    workflow_id: str
    version: str
    is_default: bool
    registered_at: datetime
    node_count: int
    entry_node: str

    @classmethod
    def from_wire(cls, message: pb.WorkflowSummary) -> Self:
        """From the contract's WorkflowSummary."""
        return cls(
            workflow_id=message.workflow_id,
            version=message.version,
            is_default=message.is_default,
            registered_at=from_timestamp(message.registered_at),
            node_count=message.node_count,
            entry_node=message.entry_node,
        )


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """One problem of a spec: the field's path, what is wrong and what to do."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What a check of a spec found; `version` is set when it is valid. `warnings` do not make it invalid."""

    valid: bool
    version: str
    problems: tuple[SpecProblem, ...]
    warnings: tuple[SpecProblem, ...] = ()


class WorkflowCalls(Calls):
    """WorkflowService. A workflow is given as a `Workflow` or as the contract's WorkflowSpec."""

    async def register_workflow(
        self,
        workflow: Workflow | model_pb2.WorkflowSpec,
        *,
        set_default: bool = False,
        request_id: str | None = None,
    ) -> Registration:
        """Stores a version of a workflow; a known version changes nothing.

        Raises:
            InvalidArgument: INVALID_SPEC, with every problem in `fields`.
        """
        request = pb.RegisterWorkflowRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            spec=_spec(workflow),
            set_default=set_default,
        )
        reply = await self._connection.unary(self._workflows.RegisterWorkflow, request)
        return Registration(reply.workflow_id, reply.version, reply.created, reply.is_default)

    async def get_workflow(self, workflow_id: str, version: str = "") -> RegisteredWorkflow:
        """One version; by default the default one.

        Raises:
            NotFound: WORKFLOW_NOT_FOUND.
        """
        request = pb.GetWorkflowRequest(namespace=self._connection.namespace, workflow_id=workflow_id, version=version)
        found = (await self._connection.unary(self._workflows.GetWorkflow, request)).workflow
        return RegisteredWorkflow(found.spec, found.is_default, from_timestamp(found.registered_at))

    def list_workflows(
        self, workflow_id: str = "", *, defaults_only: bool = False, page_size: int = 0
    ) -> Pages[WorkflowSummary]:
        """Versions, newest first, without their nodes."""

        async def fetch(page_token: str) -> Page[WorkflowSummary]:
            request = pb.ListWorkflowsRequest(
                namespace=self._connection.namespace,
                workflow_id=workflow_id,
                defaults_only=defaults_only,
                page_size=page_size,
                page_token=page_token,
            )
            reply = await self._connection.unary(self._workflows.ListWorkflows, request)
            return Page([WorkflowSummary.from_wire(each) for each in reply.workflows], reply.next_page_token)

        return Pages(fetch)

    async def validate_workflow(self, workflow: Workflow | model_pb2.WorkflowSpec) -> Validation:
        """Checks a spec and computes its version, storing nothing; problems are the answer."""
        request = pb.ValidateWorkflowRequest(namespace=self._connection.namespace, spec=_spec(workflow))
        reply = await self._connection.unary(self._workflows.ValidateWorkflow, request)
        problems = tuple(SpecProblem(problem.field, problem.description) for problem in reply.problems)
        warnings = tuple(SpecProblem(warning.field, warning.description) for warning in reply.warnings)
        return Validation(reply.valid, reply.version, problems, warnings)

    async def set_default_version(self, workflow_id: str, version: str, *, request_id: str | None = None) -> str:
        """Makes a version the one that new runs take; returns the default before ("" for none).

        Raises:
            NotFound: WORKFLOW_NOT_FOUND.
        """
        request = pb.SetDefaultVersionRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            workflow_id=workflow_id,
            version=version,
        )
        return (await self._connection.unary(self._workflows.SetDefaultVersion, request)).previous_version


def _spec(workflow: Workflow | model_pb2.WorkflowSpec) -> model_pb2.WorkflowSpec:
    return workflow.spec() if isinstance(workflow, Workflow) else workflow
