"""A worker that a test moves by hand: it polls one task, and reports it when it is told to."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from perdure import Client
from perdure.instants import to_duration
from perdure.v1 import model_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.acceptance.scene import WITHIN_S

if TYPE_CHECKING:
    from perdure.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub

_numbers = count(1)


class HandWorker:
    """Serves one effect type (by default every one) of a client's namespace, by unary calls."""

    def __init__(self, client: Client, effect_type: str = "*", *, worker_id: str = "") -> None:
        connection = client.connection
        self._stub: WorkerServiceAsyncStub = WorkerServiceStub(connection.channel)
        worker_id = worker_id or f"hand-{next(_numbers)}"
        self._hello = pb.Hello(namespace=connection.namespace, worker_id=worker_id, effect_types=[effect_type])

    async def task(self) -> pb.Task:
        """The next task."""
        request = pb.PollTasksRequest(worker=self._hello, request_id=f"poll-{next(_numbers)}")
        request.wait.CopyFrom(to_duration(WITHIN_S))
        (task,) = (await self._stub.PollTasks(request)).tasks
        return task

    async def report(self, task: pb.Task, result_json: str) -> pb.Ack:
        """Reports an effect's result."""
        outcome = model_pb2.EffectOutcome(result_json=result_json)
        return await self._send(reports=[pb.TaskReport(task_token=task.task_token, effect=outcome)])

    async def begin(self, task: pb.Task) -> pb.Ack:
        """Asks to execute an irreversible effect."""
        return await self._send(begins=[pb.Begin(task_token=task.task_token)])

    async def renew(self, task: pb.Task) -> pb.LeaseUpdate:
        """Renews the task's lease."""
        request = pb.HeartbeatTasksRequest(namespace=self._hello.namespace, worker_id=self._hello.worker_id)
        request.heartbeats.add(task_token=task.task_token, progress=True)
        (update,) = (await self._stub.HeartbeatTasks(request)).lease_updates
        return update

    async def reconnect(self, *held: pb.Task) -> list[pb.LeaseUpdate]:
        """Opens a stream and names the tasks that it holds; it breaks after the welcome."""
        hello = pb.Hello(stream_epoch=next(_numbers), held_task_tokens=[task.task_token for task in held])
        hello.MergeFrom(self._hello)
        call = self._stub.Work()
        await call.write(pb.WorkRequest(hello=hello))
        welcome = await call.read()
        call.cancel()
        assert isinstance(welcome, pb.WorkResponse)
        return list(welcome.welcome.held)

    async def _send(
        self, *, begins: list[pb.Begin] | None = None, reports: list[pb.TaskReport] | None = None
    ) -> pb.Ack:
        request = pb.ReportTasksRequest(
            namespace=self._hello.namespace, worker_id=self._hello.worker_id, begins=begins, reports=reports
        )
        reply = await self._stub.ReportTasks(request)
        (ack,) = [*reply.begin_acks, *reply.acks]
        return ack
