"""WorkflowService at the edge: decode, one use case, encode."""

from __future__ import annotations

import asyncio

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import model_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceServicer
from perdure_server.api import workflow_validation as v
from perdure_server.api.guard import Context
from perdure_server.api.page_tokens import Pages, Place, collect
from perdure_server.engine.core import Engine
from perdure_server.engine.get_workflow import get_workflow
from perdure_server.engine.register_workflow import register_workflow
from perdure_server.engine.set_default_version import set_default_version
from perdure_server.storage.port import WorkflowRow


class WorkflowService(WorkflowServiceServicer):
    """Keeps workflow versions. Specs are checked in a thread: thousands of expressions take seconds to compile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limits = engine.limits

    async def RegisterWorkflow(
        self, request: pb.RegisterWorkflowRequest, context: Context
    ) -> pb.RegisterWorkflowResponse:
        """Stores a version."""
        command = await asyncio.to_thread(v.register_workflow, request, self._limits)
        reply = await register_workflow(self._engine, command)
        return pb.RegisterWorkflowResponse(
            workflow_id=command.workflow_id,
            version=reply.version,
            created=reply.created,
            is_default=reply.is_default,
        )

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Context) -> pb.GetWorkflowResponse:
        """One version."""
        row = await get_workflow(self._engine, *v.workflow_named(request, self._limits))
        workflow = pb.RegisteredWorkflow(
            spec=model_pb2.WorkflowSpec.FromString(row.spec),
            is_default=row.is_default,
            registered_at=_timestamp(row.registered_at),
        )
        return pb.GetWorkflowResponse(workflow=workflow)

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Context) -> pb.ListWorkflowsResponse:
        """Versions, newest first."""
        namespace, workflow_id, page_size = v.workflow_query(request, self._limits)
        await self._engine.catalog.require_namespace(namespace)
        pages = Pages(request, (int, str, str))
        chosen = (namespace, workflow_id, request.defaults_only)

        async def fetch(after: Place | None, limit: int) -> list[WorkflowRow]:
            return await self._engine.read(self._engine.store.list_workflows, *chosen, after, limit)

        items, after = await collect(
            fetch,
            lambda row: (row.registered_at, row.workflow_id, row.version),
            _summary,
            pages.decode(request.page_token),
            page_size,
            self._limits.message_bytes,
        )
        return pb.ListWorkflowsResponse(workflows=items, next_page_token=pages.encode(after) if after else "")

    async def ValidateWorkflow(
        self, request: pb.ValidateWorkflowRequest, context: Context
    ) -> pb.ValidateWorkflowResponse:
        """Checks a spec; problems are the answer."""
        namespace, checked = await asyncio.to_thread(v.validate_workflow, request, self._limits)
        await self._engine.catalog.require_namespace(namespace)
        problems = [pb.SpecProblem(field=field, description=text) for field, text in checked.problems]
        warnings = [pb.SpecProblem(field=field, description=text) for field, text in checked.warnings]
        return pb.ValidateWorkflowResponse(
            valid=not problems, version=checked.version, problems=problems, warnings=warnings
        )

    async def SetDefaultVersion(
        self, request: pb.SetDefaultVersionRequest, context: Context
    ) -> pb.SetDefaultVersionResponse:
        """Moves the default."""
        namespace, workflow_id, version, request_row = v.default_version(request, self._limits)
        previous = await set_default_version(self._engine, namespace, workflow_id, version, request_row)
        return pb.SetDefaultVersionResponse(workflow_id=workflow_id, version=version, previous_version=previous)


def _summary(row: WorkflowRow) -> pb.WorkflowSummary:
    return pb.WorkflowSummary(
        workflow_id=row.workflow_id,
        version=row.version,
        is_default=row.is_default,
        registered_at=_timestamp(row.registered_at),
        node_count=row.node_count,
        entry_node=row.entry_node,
    )


def _timestamp(at: int) -> Timestamp:
    moment = Timestamp()
    moment.FromMicroseconds(at)
    return moment
