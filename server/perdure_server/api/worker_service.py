"""WorkerService at the edge: decode, one call of dispatch, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, TypeAlias, cast

from grpc.aio import Server, ServicerContext

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from perdure_server.api.codec import work
from perdure_server.api.fields import Check
from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.dispatch.dispatcher import Dispatcher
from perdure_server.dispatch.session import Session
from perdure_server.kernel.limits import SECOND_US, Limits

Context: TypeAlias = ServicerContext[Any, Any]
CallerOf: TypeAlias = Callable[[Context], str]

MAX_POLLED: Final = 1_000
POLL_WAIT_US: Final = 30 * SECOND_US


class WorkerService:
    """Serves workers.

    Args:
        caller_of: who calls, for the limit of streams a caller.
        server_version: told to workers.
    """

    def __init__(self, dispatcher: Dispatcher, limits: Limits, caller_of: CallerOf, server_version: str) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._caller_of = caller_of
        self._server_version = server_version

    async def Work(self, requests: AsyncIterator[pb.WorkRequest], context: Context) -> None:
        """One task reads, this one writes. A cancelled call ends here by CancelledError, never caught."""
        with self._dispatcher.stream_of(self._caller_of(context)):
            first = await _first(requests)
            session = await self._dispatcher.connect(work.hello(first.hello, self._limits))
            reader = asyncio.get_running_loop().create_task(self._read(session, first, requests))
            reader.add_done_callback(partial(_read_ended, session))
            try:
                while (message := await session.next()) is not None:
                    await context.write(work.work_response(message, self._server_version))
            finally:
                reader.cancel()
                await self._dispatcher.disconnect(session)

    async def PollTasks(self, request: pb.PollTasksRequest, context: Context) -> pb.PollTasksResponse:
        """Waits for tasks."""
        hello = work.hello(request.worker, self._limits, "worker.")
        check = Check(self._limits)
        request_id = check.text("", "request_id", request.request_id, required=True)
        wanted = check.integer("", "max_tasks", request.max_tasks, 0, MAX_POLLED) or 1
        wait_us = POLL_WAIT_US
        if request.HasField("wait"):
            wait_us = check.any_span("", "wait", request.wait)
            if wait_us > self._limits.poll_us:
                check.refuse("wait", f"must be at most {self._limits.poll_us // SECOND_US} s")
        check.done()
        return work.poll_response(await self._dispatcher.poll(hello.profile, request_id, wanted, wait_us))

    async def ReportTasks(self, request: pb.ReportTasksRequest, context: Context) -> pb.ReportTasksResponse:
        """Settles tasks."""
        namespace, worker_id = work.worker_key(request, self._limits)
        reports = work.reports(request.reports, self._limits, len(request.begins))
        begins = work.begins(request.begins)
        begin_acks, acks = await self._dispatcher.report(namespace, worker_id, begins, reports)
        return work.report_response(begin_acks, acks)

    async def HeartbeatTasks(self, request: pb.HeartbeatTasksRequest, context: Context) -> pb.HeartbeatTasksResponse:
        """Renews leases."""
        namespace, worker_id = work.worker_key(request, self._limits)
        heartbeats = work.heartbeats(request.heartbeats, MAX_POLLED)
        return work.heartbeat_response(await self._dispatcher.heartbeat(namespace, worker_id, heartbeats))

    async def _read(self, session: Session, first: pb.WorkRequest, requests: AsyncIterator[pb.WorkRequest]) -> None:
        first.ClearField("hello")
        await session.receive(work.from_worker(first, self._limits))
        async for message in requests:
            await session.receive(work.from_worker(message, self._limits))


async def _first(requests: AsyncIterator[pb.WorkRequest]) -> pb.WorkRequest:
    """The first message, which says who the worker is; it may carry other parts too."""
    first = await anext(requests, None)
    if first is None or not first.HasField("hello"):
        violation = FieldViolation("hello", "is required: the first message says who the worker is")
        raise EdgeError("INVALID_FIELD", "hello: the first message must carry it", (violation,))
    return first


def add_worker_service(service: WorkerService, server: Server) -> None:
    """Registers it. The generated types know streams as generators only."""
    add_WorkerServiceServicer_to_server(cast(WorkerServiceServicer, service), server)


def _read_ended(session: Session, reader: asyncio.Task[None]) -> None:
    """The worker says no more: after a goodbye as agreed, else because it died or what it said was wrong."""
    if reader.cancelled():
        return
    error = reader.exception()
    if isinstance(error, Exception):
        session.fail(error)
    else:
        session.end(None)
