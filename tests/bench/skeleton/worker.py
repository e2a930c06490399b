"""The skeleton's worker process: `python -m tests.bench.skeleton.worker PORT`.

Answers each task with a string of 64 characters; ends when its stream does.
"""

import asyncio
import sys

import grpc.aio
import uvloop

from tests.bench.skeleton import skeleton_pb2 as pb
from tests.bench.skeleton.wire import MAX_BATCH, Stub


async def handle(task: pb.Task) -> str:
    """The step itself: a string of 64 characters."""
    return f"{task.node:x>64}"


async def work(port: int) -> None:
    """Execute tasks until the server ends the stream."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = Stub(channel).work()
        reports: list[pb.Report] = []
        has_reports = asyncio.Event()
        sender = asyncio.create_task(_send_reports(stream, reports, has_reports))
        try:
            async for batch in stream:
                reports += [pb.Report(token=task.token, result=await handle(task)) for task in batch.tasks]
                has_reports.set()
        finally:
            sender.cancel()
            stream.cancel()


async def _send_reports(
    stream: grpc.aio.StreamStreamCall[pb.ReportBatch, pb.TaskBatch],
    reports: list[pb.Report],
    has_reports: asyncio.Event,
) -> None:
    while True:
        await has_reports.wait()
        batch = reports[:MAX_BATCH]
        del reports[:MAX_BATCH]
        if not reports:
            has_reports.clear()
        await stream.write(pb.ReportBatch(reports=batch))


if __name__ == "__main__":
    uvloop.run(work(int(sys.argv[1])))
