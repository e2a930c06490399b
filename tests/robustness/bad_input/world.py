"""A store with runs in every state, for right requests to speak of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import grpc.aio

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
WORKER_ID = "honest"


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
    ]


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
        self.version = ""
        self._runs = RunServiceStub(channel)
        self._workers = WorkerServiceStub(channel)
        self._numbers: Iterator[int] = count(1)

    async def found(self) -> None:
        """Registers the workflows."""
        stub = WorkflowServiceStub(self.channel)
        for spec in specs():
            reply = await stub.RegisterWorkflow(workflows.RegisterWorkflowRequest(spec=spec))
            self.version = reply.version

    def name(self, what: str) -> str:
        """A name that nobody has."""
        return f"{what}-{next(self._numbers)}"

    async def asking_run(self) -> str:
        """A run that waits for a person; its wait has id 3."""
        run_id = self.name("asking")
        await self._runs.StartRun(runs.StartRunRequest(workflow_id=ASKING, run_id=run_id))
        return run_id

    async def manual_run(self) -> str:
        """A manual run without budget."""
        run_id = self.name("manual")
        request = runs.StartRunRequest(workflow_id=WORKING, run_id=run_id, drive=common_pb2.DRIVE_MODE_MANUAL)
        await self._runs.StartRun(request)
        return run_id

    async def task(self, workflow_id: str = WORKING) -> worker.Task:
        """A task of a fresh run, leased to the honest worker."""
        run_id = self.name("tasked")
        await self._runs.StartRun(runs.StartRunRequest(workflow_id=workflow_id, run_id=run_id))
        while True:
            reply = await self._workers.PollTasks(self.poll())
            for task in reply.tasks:
                if task.run.run_id == run_id:
                    return task

    def poll(self) -> worker.PollTasksRequest:
        """Asks for a task as the honest worker."""
        request = worker.PollTasksRequest(worker=self.hello(), request_id=self.name("poll"), max_tasks=1)
        request.wait.FromSeconds(5)
        return request

    def hello(self) -> worker.Hello:
        """The honest worker."""
        return worker.Hello(
            worker_id=WORKER_ID,
            identity="host/1",
            sdk="generated",
            queues=["work", "act"],
            workflows=[worker.ServedWorkflow(workflow_id=WORKING, node_ids=["work"])],
            effect_types=["act"],
        )

    async def parked_run(self) -> tuple[str, int]:
        """A run whose irreversible effect is in doubt, and its parked step."""
        task = await self.task(ACTING)
        begin = worker.ReportTasksRequest(worker_id=WORKER_ID, begins=[worker.Begin(task_token=task.task_token)])
        await self._workers.ReportTasks(begin)
        call = self._workers.Work()
        hello = self.hello()
        hello.stream_epoch = next(self._numbers)
        await call.write(worker.WorkRequest(hello=hello))
        await call.read()
        call.cancel()
        wait = runs.WaitRunRequest(run_id=task.run.run_id)
        run = (await self._runs.WaitRun(wait)).run
        if run.activity != common_pb2.RUN_ACTIVITY_PARKED:
            raise AssertionError(f"the run does not park:\n{run}")
        return run.run_id, run.step.step_id
