"""The skeleton's worker process: `python -m tests.bench.skeleton.worker PORT`.

Answers each task with a string of 64 characters; ends when its stream does.
"""

import asyncio
import sys

import grpc.aio

from tests.bench.skeleton import skeleton_pb2 as pb
from tests.bench.skeleton.wire import Stub, queued


async def handle(task: pb.Task) -> str:
    """The step itself: a string of 64 characters."""
    return f"{task.node:x>64}"


async def work(port: int) -> None:
    """Execute tasks, all that come side by side, until the server ends the stream."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = Stub(channel).work()
        reports: asyncio.Queue[pb.Report] = asyncio.Queue()
        sender = asyncio.create_task(_send_reports(stream, reports))
        running: set[asyncio.Task[None]] = set()
        try:
            async for batch in stream:
                for task in batch.tasks:
                    step = asyncio.create_task(_execute(task, reports))
                    running.add(step)
                    step.add_done_callback(running.discard)
        finally:
            sender.cancel()
            stream.cancel()


async def _execute(task: pb.Task, reports: asyncio.Queue[pb.Report]) -> None:
    reports.put_nowait(pb.Report(token=task.token, result=await handle(task)))


async def _send_reports(
    stream: grpc.aio.StreamStreamCall[pb.ReportBatch, pb.TaskBatch], reports: asyncio.Queue[pb.Report]
) -> None:
    while True:
        await stream.write(pb.ReportBatch(reports=await queued(reports)))


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1])))
