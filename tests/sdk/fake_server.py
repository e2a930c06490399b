"""A server that does what the test says: real gRPC on a real port, nothing behind it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from perdure.client import Client
from perdure.connection import Connection, open_channel
from perdure.v1 import ledger_service_pb2, run_service_pb2, workflow_service_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.ledger_service_pb2 import Goodbye
from perdure.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from perdure.v1.run_service_pb2_grpc import add_RunServiceServicer_to_server
from perdure.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from perdure.v1.workflow_service_pb2_grpc import add_WorkflowServiceServicer_to_server

WITHIN_S = 20.0
"""How long a test waits for what must come; nothing is measured by it."""


@dataclass(frozen=True)
class Refusal:
    """Ends a stream with a status instead of a message."""

    code: grpc.StatusCode
    details: str = ""
    trailers: tuple[tuple[str, bytes], ...] = ()


class End:
    """Ends a stream with OK and no goodbye."""


class FakeStream:
    """The server's end of one stream: what came in, what goes out."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = asyncio.Event()

    def send(self, message: object) -> None:
        """Sends a message, a Refusal or an End."""
        self.outgoing.put_nowait(message)

    async def serve(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Writes what is sent until the stream ends."""
        try:
            while True:
                item = await self.outgoing.get()
                if isinstance(item, End):
                    return
                if isinstance(item, Refusal):
                    await context.abort(item.code, item.details, item.trailers)
                await context.write(item)
        finally:
            self.closed.set()


class WorkStream(FakeStream):
    """A worker's stream."""

    hello: pb.Hello
    first: pb.WorkRequest

    def __init__(self) -> None:
        super().__init__()
        self._reported: list[bytes] = []
        self._is_over = False

    def take(self, request: pb.WorkRequest) -> None:
        """Notes a request; a goodbye is answered."""
        self.incoming.put_nowait(request)
        self._reported.extend(report.task_token for report in request.reports)
        if self._is_over:
            self.finish()
        if request.HasField("goodbye"):
            self.goodbye(Goodbye.REASON_CLIENT_DONE)

    def finish(self) -> None:
        """From now on every report is acknowledged."""
        self._is_over = True
        acks = [pb.Ack(task_token=token, status=pb.ACK_STATUS_STALE) for token in self._reported]
        self._reported.clear()
        if acks:
            self.send(pb.WorkResponse(acks=acks))

    async def part(self, name: str) -> Any:
        """The value of the next request that has this part; requests without it are dropped."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                request = await self.incoming.get()
                if request is None:
                    raise AssertionError(f"the worker ended its stream; no {name} came")
                value = getattr(request, name)
                if name in {"reports", "begins", "heartbeats"} and value:
                    return list(value)
                if name in {"credit", "drain", "goodbye"} and request.HasField(name):
                    return value

    async def reports(self, count: int) -> list[pb.TaskReport]:
        """The next `count` reports, over as many requests as they take."""
        found: list[pb.TaskReport] = []
        while len(found) < count:
            found.extend(await self.part("reports"))
        return found

    async def ping(self) -> None:
        """Waits for a request without parts."""
        async with asyncio.timeout(WITHIN_S):
            while (await self.incoming.get()).ByteSize():
                pass

    def welcome(
        self, *, lease: float = 30.0, heartbeat: float = 10.0, ping: float = 10.0, store_epoch: str = "store-1"
    ) -> None:
        """Welcomes the worker; spans in seconds."""
        welcome = pb.Welcome(
            lease=span(lease), heartbeat_interval=span(heartbeat), ping_interval=span(ping), store_epoch=store_epoch
        )
        self.send(pb.WorkResponse(welcome=welcome))

    def ack(
        self, report: pb.TaskReport, status: pb.AckStatus.ValueType = pb.ACK_STATUS_ACCEPTED, reason: str = ""
    ) -> None:
        """Answers a report."""
        self.send(pb.WorkResponse(acks=[pb.Ack(task_token=report.task_token, status=status, reason=reason)]))

    def begin_ack(self, token: bytes, status: pb.AckStatus.ValueType) -> None:
        """Answers a begin."""
        self.send(pb.WorkResponse(begin_acks=[pb.Ack(task_token=token, status=status)]))

    def lease(self, token: bytes, state: pb.LeaseState.ValueType, lease: float = 30.0) -> None:
        """Sends news of a lease."""
        self.send(pb.WorkResponse(lease_updates=[pb.LeaseUpdate(task_token=token, state=state, lease=span(lease))]))

    def goodbye(self, reason: Goodbye.Reason.ValueType) -> None:
        """Says goodbye and ends."""
        self.send(pb.WorkResponse(goodbye=Goodbye(reason=reason)))
        self.send(End())


class FakeServer:
    """The services that the SDK's streams and its worker need. Tests take streams as they are opened."""

    def __init__(self) -> None:
        self.work: asyncio.Queue[WorkStream] = asyncio.Queue()
        self.subscriptions: asyncio.Queue[FakeStream] = asyncio.Queue()
        self.watches: asyncio.Queue[FakeStream] = asyncio.Queue()
        self._work_streams: list[WorkStream] = []
        self.registered: list[workflow_service_pb2.RegisterWorkflowRequest] = []
        self.registrations: asyncio.Queue[workflow_service_pb2.RegisterWorkflowRequest] = asyncio.Queue()

    async def worker(self, **welcome: Any) -> WorkStream:
        """The next worker stream, welcomed."""
        stream = await self.unwelcomed()
        stream.welcome(**welcome)
        return stream

    def finish(self) -> None:
        """Acknowledges whatever is reported and welcomes whoever comes, so that workers can leave."""
        for stream in self._work_streams:
            stream.finish()

    async def unwelcomed(self) -> WorkStream:
        """The next worker stream, after its hello."""
        async with asyncio.timeout(WITHIN_S):
            stream = await self.work.get()
            stream.first = await stream.incoming.get()
            stream.hello = stream.first.hello
            return stream

    async def opened(self, streams: asyncio.Queue[FakeStream]) -> tuple[FakeStream, Any]:
        """The next subscription or watch, with its request."""
        async with asyncio.timeout(WITHIN_S):
            stream = await streams.get()
            return stream, await stream.incoming.get()

    # What generated code calls.

    async def Work(self, requests: AsyncIterator[pb.WorkRequest], context: Any) -> None:
        """A worker's stream."""
        stream = WorkStream()
        self._work_streams.append(stream)
        self.work.put_nowait(stream)

        async def read() -> None:
            async for request in requests:
                stream.take(request)
            stream.incoming.put_nowait(None)

        reader = asyncio.create_task(read())
        try:
            await stream.serve(context)
        finally:
            reader.cancel()

    async def RegisterWorkflow(
        self, request: workflow_service_pb2.RegisterWorkflowRequest, context: Any
    ) -> workflow_service_pb2.RegisterWorkflowResponse:
        """Notes the workflow."""
        self.registered.append(request)
        self.registrations.put_nowait(request)
        return workflow_service_pb2.RegisterWorkflowResponse(workflow_id=request.spec.workflow_id, version="v1")

    async def SubscribeLedger(self, request: ledger_service_pb2.SubscribeLedgerRequest, context: Any) -> None:
        """A subscription."""
        await self._serve(self.subscriptions, request, context)

    async def WatchRun(self, request: run_service_pb2.WatchRunRequest, context: Any) -> None:
        """A watch."""
        await self._serve(self.watches, request, context)

    def __getattr__(self, name: str) -> Any:
        """Methods that no test here calls."""
        if name[:1].isupper():
            return None
        raise AttributeError(name)

    async def _serve(self, streams: asyncio.Queue[FakeStream], request: object, context: Any) -> None:
        stream = FakeStream()
        stream.incoming.put_nowait(request)
        streams.put_nowait(stream)
        await stream.serve(context)


class Running:
    """A fake that listens, and can go away and come back on the same port."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        fake: Any = self.fake  # it serves some methods of each service
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_WorkerServiceServicer_to_server(fake, server)
        add_WorkflowServiceServicer_to_server(fake, server)
        add_LedgerServiceServicer_to_server(fake, server)
        add_RunServiceServicer_to_server(fake, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Goes away without a word."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def running(fake: FakeServer) -> AsyncGenerator[Running]:
    """Serves a fake until the block ends."""
    server = Running(fake)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def connected(server: Running, *, timeout: float = WITHIN_S) -> AsyncGenerator[Client]:
    """A client of a fake; `timeout` is the deadline of its calls."""
    channel = open_channel(server.target)
    connection = Connection(channel, reopen=lambda: open_channel(server.target), timeout=timeout)
    client = Client(connection)
    try:
        yield client
    finally:
        await client.close()


def span(seconds: float) -> Duration:
    """A Duration."""
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1_000_000))
    return duration


def refusal_with_retry(code: grpc.StatusCode, reason: str) -> Refusal:
    """A refusal with the details that the server's errors carry."""
    info, retry = AnyMessage(), AnyMessage()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="perdure"))
    retry.Pack(error_details_pb2.RetryInfo(retry_delay=span(0.001)))
    status = status_pb2.Status(code=code.value[0], message=reason, details=[info, retry])
    return Refusal(code, reason, (("grpc-status-details-bin", status.SerializeToString()),))
