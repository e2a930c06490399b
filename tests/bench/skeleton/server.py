"""The skeleton's server process: `python -m tests.bench.skeleton.server DATABASE`.

Prints `ready PORT` when it serves on loopback, stops on SIGTERM.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial

import grpc
import grpc.aio

from tests.bench.skeleton import skeleton_pb2 as pb
from tests.bench.skeleton.committer import GroupCommitter, Row
from tests.bench.skeleton.wire import add_to_server, queued


class Skeleton:
    """All the RPCs, over one committer and one connected worker."""

    def __init__(self, committer: GroupCommitter) -> None:
        self._committer = committer
        self._results: dict[str, asyncio.Future[str]] = {}
        self._tasks: asyncio.Queue[pb.Task] = asyncio.Queue()

    async def run(
        self, request: pb.RunRequest, context: grpc.aio.ServicerContext[pb.RunRequest, pb.RunResponse]
    ) -> pb.RunResponse:
        """Execute a run; answered when its last result is on disk."""
        run_id = request.run_id
        await self._durable((run_id, "start", request.payload_json))
        for number in range(request.steps):
            node = f"step-{number}"
            result = f"{number:064d}" if request.in_server else await self._executed(run_id, node, request.payload_json)
            await self._durable((run_id, node, result))
        return pb.RunResponse(run_id=run_id)

    async def append(
        self,
        request: pb.AppendRequest,
        context: grpc.aio.ServicerContext[pb.AppendRequest, pb.AppendResponse],
    ) -> pb.AppendResponse:
        """One row on disk, then the answer."""
        await self._durable((request.run_id, "append", request.payload_json))
        return pb.AppendResponse(run_id=request.run_id)

    async def counters(
        self,
        request: pb.CountersRequest,
        context: grpc.aio.ServicerContext[pb.CountersRequest, pb.CountersResponse],
    ) -> pb.CountersResponse:
        """Commits and transactions since the server started."""
        return pb.CountersResponse(commits=self._committer.commits, transactions=self._committer.transactions)

    async def work(
        self,
        requests: AsyncIterator[pb.ReportBatch],
        context: grpc.aio.ServicerContext[pb.ReportBatch, pb.TaskBatch],
    ) -> None:
        """Send tasks as they come, a batch per message; take reports."""
        sender = asyncio.create_task(self._send_tasks(context))
        try:
            async for batch in requests:
                for report in batch.reports:
                    self._take_report(report)
        finally:
            sender.cancel()

    async def _send_tasks(self, context: grpc.aio.ServicerContext[pb.ReportBatch, pb.TaskBatch]) -> None:
        while True:
            await context.write(pb.TaskBatch(tasks=await queued(self._tasks)))

    def _take_report(self, report: pb.Report) -> None:
        self._results.pop(report.token).set_result(report.result)

    async def _executed(self, run_id: str, node: str, payload_json: str) -> str:
        """The worker's result of one step."""
        token = f"{run_id}/{node}"
        result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._results[token] = result
        self._tasks.put_nowait(pb.Task(token=token, run_id=run_id, node=node, payload_json=payload_json))
        return await result

    async def _durable(self, row: Row) -> None:
        """Returns once the row is on disk."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._committer.submit(row, partial(written.set_result, None))
        await written


async def serve(database: str) -> None:
    """Serve on a free loopback port until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    committer = GroupCommitter(database)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_to_server(Skeleton(committer), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"ready {port}\n")
    sys.stdout.flush()
    await stopped.wait()
    await server.stop(grace=0)
    committer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
