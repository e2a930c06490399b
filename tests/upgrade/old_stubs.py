"""A host and worker that have the last release's generated stubs and nothing else; run with `Release.run`.

Usage: old_stubs.py HOST:PORT. Prints "well" at the end.
"""

import queue
import sys
from typing import Any

import grpc

from perdure.v1 import common_pb2, ledger_service_pb2, model_pb2, run_service_pb2, worker_service_pb2
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub


def main(address: str) -> None:
    """Registers, starts, works over a stream and by polls, reads the ledger."""
    nodes = {
        "one": model_pb2.NodeSpec(
            kind=model_pb2.NODE_KIND_EFFECT,
            template_json='{"type":"stub","payload":{"n":1}}',
            result_key="one",
            next="two",
        ),
        "two": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_WORKER),
    }
    spec = model_pb2.WorkflowSpec(workflow_id="stubs", entry_node="one", nodes=nodes)
    with grpc.insecure_channel(address) as channel:
        WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec))
        runs: Any = RunServiceStub(channel)
        start = run_service_pb2.StartRunRequest(run_id="old-stubs", request_id="r", workflow_id="stubs")
        assert runs.StartRun(start).created
        assert runs.StartRun(start).run_id == "old-stubs"  # the same request again
        workers: Any = WorkerServiceStub(channel)
        by_poll(workers)
        by_stream(workers)
        run = runs.WaitRun(run_service_pb2.WaitRunRequest(run_id="old-stubs")).run
        assert run.status == common_pb2.RUN_STATUS_COMPLETED, run
        assert run.output_json == '{"all":"done"}', run
        ledger: Any = LedgerServiceStub(channel)
        scope = ledger_service_pb2.LedgerScope(run_id="old-stubs")
        page = ledger.ListRecords(ledger_service_pb2.ListRecordsRequest(scope=scope))
        assert [entry.record.seq for entry in page.entries] == list(range(1, len(page.entries) + 1))
        assert ledger.VerifyRun(ledger_service_pb2.VerifyRunRequest(run_id="old-stubs")).intact
    sys.stdout.write("well\n")


def by_poll(workers: Any) -> None:
    """Does the effect of the first node over unary calls."""
    worker = worker_service_pb2.Hello(worker_id="poller", effect_types=["stub"])
    (task,) = workers.PollTasks(
        worker_service_pb2.PollTasksRequest(worker=worker, request_id="poll-1", max_tasks=1)
    ).tasks
    assert task.effect.payload_json == '{"n":1}', task
    report = worker_service_pb2.TaskReport(
        task_token=task.task_token, effect=model_pb2.EffectOutcome(result_json='"ok"')
    )
    reply = workers.ReportTasks(worker_service_pb2.ReportTasksRequest(worker_id="poller", reports=[report]))
    assert [ack.status for ack in reply.acks] == [worker_service_pb2.ACK_STATUS_ACCEPTED], reply


def by_stream(workers: Any) -> None:
    """Does the second node over a stream."""
    served = worker_service_pb2.ServedWorkflow(workflow_id="stubs")
    hello = worker_service_pb2.Hello(worker_id="streamer", stream_epoch=1, workflows=[served])
    credit = worker_service_pb2.Credit(limit=1)
    requests: list[Any] = [worker_service_pb2.WorkRequest(hello=hello, credit=credit)]
    answers = Requests(requests)
    for response in workers.Work(answers):
        for task in response.tasks:
            report = worker_service_pb2.NodeReport(plan=model_pb2.StepPlan(complete_output_json='{"all":"done"}'))
            answers.put(
                worker_service_pb2.WorkRequest(
                    reports=[worker_service_pb2.TaskReport(task_token=task.task_token, node=report)]
                )
            )
        if response.acks:
            assert response.acks[0].status == worker_service_pb2.ACK_STATUS_ACCEPTED, response
            leaving = worker_service_pb2.WorkRequest()
            leaving.goodbye.SetInParent()
            answers.put(leaving)
            answers.put(None)


class Requests:
    """What is sent on a stream: an iterator that can be given more."""

    def __init__(self, first: list[Any]) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        for request in first:
            self._queue.put(request)

    def put(self, request: Any) -> None:
        """One more; None ends the stream."""
        self._queue.put(request)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request


if __name__ == "__main__":
    main(sys.argv[1])
