"""A client that is killed in the middle of a call: `python -m tests.robustness.dying_client ADDRESS METHOD`.

It says "calling" when its call has gone out, and never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys

import grpc.aio

from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub

QUEUE = "dying"


async def main(address: str, method: str) -> None:
    """Makes one long poll and waits for its answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        if method == "WaitRun":
            wait = runs.WaitRunRequest(run_id="waiting", until=runs.WAIT_RUN_UNTIL_ENDED)
            wait.wait.FromSeconds(50)
            call = RunServiceStub(channel).WaitRun(wait)
        else:
            hello = worker.Hello(worker_id="dying", queues=[QUEUE], effect_types=["*"])
            poll = worker.PollTasksRequest(worker=hello, request_id="poll")
            poll.wait.FromSeconds(50)
            call = WorkerServiceStub(channel).PollTasks(poll)
        sys.stdout.write("calling\n")
        sys.stdout.flush()
        await call


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
