"""A worker of generated stubs only that never looks at its lease: it reports whatever it has, however late.

    python -m tests.e2e.stubborn_worker --address HOST:PORT --outside SOCKET --id NAME [--begins | --declines]

It polls for one task of the type "job-work" or "payment-pay", asks the world outside, reports the answer, and
prints the ack as one line of JSON. With --begins it first sends Begin and prints that ack; with --declines it
reports a failure instead, before it began.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

import grpc.aio

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.common_pb2 import Failure
from perdure.v1.model_pb2 import EffectOutcome, StepFailure
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.e2e.outside import ask_outside

if TYPE_CHECKING:
    from perdure.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub


def tell(**facts: object) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def ack_facts(ack: pb.Ack) -> dict[str, str]:
    """An ack in words."""
    return {"status": pb.AckStatus.Name(ack.status).removeprefix("ACK_STATUS_").lower(), "reason": ack.reason}


async def poll(stub: WorkerServiceAsyncStub, name: str) -> pb.Task:
    """One task."""
    hello = pb.Hello(worker_id=name, effect_types=["job-work", "payment-pay"])
    request = pb.PollTasksRequest(worker=hello, request_id=f"poll-{name}", max_tasks=1)
    request.wait.FromSeconds(30)
    (task,) = (await stub.PollTasks(request)).tasks
    tell(event="task", attempt=task.attempt, key=task.idempotency_key)
    return task


async def decline(stub: WorkerServiceAsyncStub, name: str) -> None:
    """Reports that a task failed, before it began."""
    task = await poll(stub, name)
    failure = Failure(type="NO_LINE", message="no line to the bank", retryable=True)
    report = pb.TaskReport(task_token=task.task_token, failed=StepFailure(failure=failure))
    reply = await stub.ReportTasks(pb.ReportTasksRequest(worker_id=name, reports=[report]))
    tell(event="report", **ack_facts(reply.acks[0]))


async def work_once(stub: WorkerServiceAsyncStub, name: str, outside: str, *, begins: bool) -> None:
    """One task from the poll to the ack of its report."""
    task = await poll(stub, name)
    if begins:
        begin = pb.ReportTasksRequest(worker_id=name, begins=[pb.Begin(task_token=task.task_token)])
        tell(event="begin", **ack_facts((await stub.ReportTasks(begin)).begin_acks[0]))
    answer = await ask_outside(outside, {"worker": name, "attempt": task.attempt})
    report = pb.TaskReport(task_token=task.task_token, effect=EffectOutcome(result_json=json.dumps(answer)))
    for _ in range(2):  # a report is repeated until it is acked, so the second answer matters too
        reply = await stub.ReportTasks(pb.ReportTasksRequest(worker_id=name, reports=[report]))
        tell(event="report", **ack_facts(reply.acks[0]))


async def main() -> None:
    """One task, then the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--outside", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--begins", action="store_true")
    parser.add_argument("--declines", action="store_true")
    arguments = parser.parse_args()
    async with grpc.aio.insecure_channel(arguments.address) as channel:
        stub = WorkerServiceStub(channel)
        if arguments.declines:
            await decline(stub, arguments.id)
        else:
            await work_once(stub, arguments.id, arguments.outside, begins=arguments.begins)


if __name__ == "__main__":
    asyncio.run(main())
