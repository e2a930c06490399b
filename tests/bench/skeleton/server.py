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
import uvloop

from tests.bench.skeleton import skeleton_pb2 as pb
from tests.bench.skeleton.committer import GroupCommitter
from tests.bench.skeleton.wire import MAX_BATCH, add_to_server


class Run:
    """A run in flight: `step` results of `steps` are on disk."""

    __slots__ = ("ended", "in_server", "payload_json", "run_id", "step", "steps")

    def __init__(self, request: pb.RunRequest, ended: asyncio.Future[None]) -> None:
        self.run_id = request.run_id
        self.payload_json = request.payload_json
        self.steps = request.steps
        self.in_server = request.in_server
        self.step = 0
        self.ended = ended


class Skeleton:
    """All the RPCs, over one committer and one connected worker."""

    def __init__(self, committer: GroupCommitter) -> None:
        self._committer = committer
        self._runs: dict[str, Run] = {}
        self._tasks: list[pb.Task] = []
        self._has_tasks = asyncio.Event()

    async def run(
        self, request: pb.RunRequest, context: grpc.aio.ServicerContext[pb.RunRequest, pb.RunResponse]
    ) -> pb.RunResponse:
        """Execute a run; answered when its last result is on disk."""
        run = Run(request, asyncio.get_running_loop().create_future())
        self._runs[run.run_id] = run
        self._committer.submit((run.run_id, "start", run.payload_json), partial(self._next_step, run))
        await run.ended
        del self._runs[run.run_id]
        return pb.RunResponse(run_id=run.run_id)

    async def append(
        self,
        request: pb.AppendRequest,
        context: grpc.aio.ServicerContext[pb.AppendRequest, pb.AppendResponse],
    ) -> pb.AppendResponse:
        """One row on disk, then the answer."""
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._committer.submit((request.run_id, "append", request.payload_json), partial(durable.set_result, None))
        await durable
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
            await self._has_tasks.wait()
            batch, self._tasks = self._tasks[:MAX_BATCH], self._tasks[MAX_BATCH:]
            if not self._tasks:
                self._has_tasks.clear()
            await context.write(pb.TaskBatch(tasks=batch))

    def _take_report(self, report: pb.Report) -> None:
        run = self._runs[report.token.partition("/")[0]]
        self._committer.submit((run.run_id, f"step-{run.step}", report.result), partial(self._step_durable, run))

    def _step_durable(self, run: Run) -> None:
        run.step += 1
        self._next_step(run)

    def _next_step(self, run: Run) -> None:
        if run.step == run.steps:
            run.ended.set_result(None)
        elif run.in_server:
            row = (run.run_id, f"step-{run.step}", f"{run.step:064d}")
            self._committer.submit(row, partial(self._step_durable, run))
        else:
            self._tasks.append(
                pb.Task(
                    token=f"{run.run_id}/{run.step}",
                    run_id=run.run_id,
                    node=f"step-{run.step}",
                    payload_json=run.payload_json,
                )
            )
            self._has_tasks.set()


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
    uvloop.run(serve(sys.argv[1]))
