"""A store with runs in every state, for right requests to speak of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.server_process import ServerProcess

ASKING = "asking"
WORKING = "working"
ACTING = "acting"
FAILING = "failing"
NEXT = "asking, next version"
WORKER_ID = "honest"

CONFIG: Mapping[str, Any] = {"lease_seconds": 3_600.0, "limits": {"max_lapses": 1}}
"""Of the server: no lease ends by itself, so that nothing changes the store but what is sent."""


def specs() -> list[model_pb2.WorkflowSpec]:
    """A run that asks, a run with a worker's node, a run with a worker's irreversible effect."""
    ask = '{"type":"ask_user","payload":{"prompt":"Go on?","choices":["yes"]}}'
    act = '{"type":"act","payload":{}}'
    effect = model_pb2.NODE_KIND_EFFECT
    return [
        model_pb2.WorkflowSpec(
            workflow_id=ASKING,
            entry_node="ask",
            nodes={"ask": model_pb2.NodeSpec(kind=effect, template_json=ask, result_key="answer")},
        ),
        model_pb2.WorkflowSpec(
            workflow_id=WORKING,
            entry_node="work",
            nodes={
                "work": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_WORKER, queue="work"),
                "end": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json="{}"),
            },
        ),
        model_pb2.WorkflowSpec(
            workflow_id=ACTING,
            entry_node="act",
            nodes={
                "act": model_pb2.NodeSpec(
                    kind=effect, template_json=act, queue="act", risk=common_pb2.EFFECT_RISK_IRREVERSIBLE
                )
            },
        ),
        model_pb2.WorkflowSpec(
            workflow_id=FAILING,
            entry_node="no",
            nodes={"no": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_FAIL, template_json='{"type":"NO"}')},
        ),
    ]


def next_version() -> model_pb2.WorkflowSpec:
    """Another version of the run that asks; not the default one."""
    (spec,) = (spec for spec in specs() if spec.workflow_id == ASKING)
    spec.nodes["question"].CopyFrom(spec.nodes.pop("ask"))
    spec.entry_node = "question"
    return spec


class World:
    """Runs made on demand, each fresh.

    Args:
        channel: to the server.
        store: its SQLite file.
        server: its process.
    """

    def __init__(self, channel: grpc.aio.Channel, store: Path, server: ServerProcess) -> None:
        self.channel = channel
        self.store = store
        self.another_channel = server.channel
        self.versions: dict[str, str] = {}
        self._runs = RunServiceStub(channel)
        self._workers = WorkerServiceStub(channel)
        self._numbers: Iterator[int] = count(1)
        self._known_run = ""
        self._holders: dict[bytes, str] = {}

    async def found(self) -> None:
        """Registers the workflows."""
        stub = WorkflowServiceStub(self.channel)
        for spec in specs():
            reply = await stub.RegisterWorkflow(workflows.RegisterWorkflowRequest(spec=spec))
            self.versions[spec.workflow_id] = reply.version
        reply = await stub.RegisterWorkflow(workflows.RegisterWorkflowRequest(spec=next_version()))
        self.versions[NEXT] = reply.version

    def name(self, what: str) -> str:
        """A name that nobody has."""
        return f"{what}-{next(self._numbers)}"

    async def asking_run(self) -> str:
        """A run that waits for a person; its wait has id 3."""
        run_id = self.name("asking")
        await self._runs.StartRun(runs.StartRunRequest(workflow_id=ASKING, run_id=run_id))
        return run_id

    async def known_run(self) -> str:
        """A run that waits for a person, always the same: for requests that only read."""
        if not self._known_run:
            self._known_run = await self.asking_run()
        return self._known_run

    async def failed_run(self) -> str:
        """A run that has failed."""
        run_id = self.name("failed")
        await self._runs.StartRun(runs.StartRunRequest(workflow_id=FAILING, run_id=run_id))
        return run_id

    async def manual_run(self) -> str:
        """A manual run without budget."""
        run_id = self.name("manual")
        request = runs.StartRunRequest(workflow_id=WORKING, run_id=run_id, drive=common_pb2.DRIVE_MODE_MANUAL)
        await self._runs.StartRun(request)
        return run_id

    async def task(self, workflow_id: str = WORKING, worker_id: str = WORKER_ID) -> worker.Task:
        """A task of a fresh run, leased to a worker."""
        run_id = self.name("tasked")
        await self._runs.StartRun(runs.StartRunRequest(workflow_id=workflow_id, run_id=run_id))
        request = worker.PollTasksRequest(worker=self.hello(worker_id), max_tasks=1)
        request.wait.FromSeconds(5)
        while True:
            request.request_id = self.name("poll")
            reply = await self._workers.PollTasks(request)
            for task in reply.tasks:
                if task.run.run_id == run_id:
                    self._holders[task.task_token] = worker_id
                    return task

    async def begun_task(self, worker_id: str) -> worker.Task:
        """A task of an irreversible effect that its worker has begun."""
        task = await self.task(ACTING, worker_id)
        begin = worker.ReportTasksRequest(worker_id=worker_id, begins=[worker.Begin(task_token=task.task_token)])
        reply = await self._workers.ReportTasks(begin)
        if reply.begin_acks[0].status != worker.ACK_STATUS_ACCEPTED:
            raise AssertionError(f"the begin is not accepted:\n{reply}")
        return task

    def opening(self, request: Message) -> bytes:
        """The hello of a new stream on which a worker's later message is right; empty for any other request."""
        if not isinstance(request, worker.WorkRequest) or request.HasField("hello"):
            return b""
        parts = [*request.begins, *request.reports, *request.heartbeats]
        held = {part.task_token for part in parts if part.task_token in self._holders}
        hello = self.hello(self._holders[min(held)] if held else self.name("streamer"))
        hello.stream_epoch = next(self._numbers)
        hello.held_task_tokens.extend(sorted(held))
        return worker.WorkRequest(hello=hello).SerializeToString()

    def hello(self, worker_id: str = WORKER_ID) -> worker.Hello:
        """A worker of everything that there is to do."""
        return worker.Hello(
            worker_id=worker_id,
            identity="host/1",
            sdk="generated",
            queues=["work", "act"],
            workflows=[
                worker.ServedWorkflow(workflow_id=WORKING, versions=[self.versions[WORKING]], node_ids=["work"])
            ],
            effect_types=["act"],
        )

    async def parked_effect(self) -> tuple[str, int]:
        """A run whose irreversible effect is in doubt, and its parked step."""
        worker_id = self.name("forgetful")
        task = await self.begun_task(worker_id)
        await self._forget(worker_id)
        return await self._parked(task.run.run_id)

    async def parked_node(self) -> tuple[str, int]:
        """A run whose node was lost by its worker, once and so too often, and its parked step."""
        worker_id = self.name("forgetful")
        task = await self.task(WORKING, worker_id)
        await self._forget(worker_id)
        return await self._parked(task.run.run_id)

    async def _forget(self, worker_id: str) -> None:
        """The worker comes back and has nothing: what it held is handed out again, or parked."""
        call: Any = self._workers.Work()
        hello = self.hello(worker_id)
        hello.stream_epoch = next(self._numbers)
        await call.write(worker.WorkRequest(hello=hello))
        await call.read()
        call.cancel()

    async def _parked(self, run_id: str) -> tuple[str, int]:
        run = (await self._runs.WaitRun(runs.WaitRunRequest(run_id=run_id))).run
        if run.activity != common_pb2.RUN_ACTIVITY_PARKED:
            raise AssertionError(f"the run does not park:\n{run}")
        return run.run_id, run.step.step_id
