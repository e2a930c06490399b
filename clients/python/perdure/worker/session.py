"""One stream of a worker: says hello, carries tasks and reports, notices when the stream is dead.

Exactly one task writes. What handlers finish within one turn of the event loop shares one message, together
with the credit for new tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import grpc.aio

from perdure.connection import Connection, closed_under_us
from perdure.errors import CallCancelled, Internal, PerdureError, Unavailable, error_from_rpc
from perdure.instants import duration_seconds, to_duration
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.ledger_service_pb2 import Goodbye
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.worker.desk import Desk

_log = logging.getLogger("perdure.worker")

_MESSAGE_BYTES = 1024 * 1024
"""Reports of one message, about; a single one may be larger. The wire's limit is 3.5 MiB."""

_WELCOME_S = 15.0
_LEAVE_S = 5.0
_SILENT_INTERVALS = 3


class Phase(Enum):
    """Where a stream stands."""

    OPENING = "hello sent"
    OPEN = "welcomed"
    DRAINED = "the server sends no more tasks here"
    LEAVING = "goodbye sent, or to be sent"


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended: with the server's goodbye, or with an error."""

    goodbye: Goodbye | None = None
    error: PerdureError | None = None

    @property
    def is_superseded(self) -> bool:
        """Another stream of the same worker id took over."""
        return self.goodbye is not None and self.goodbye.reason == Goodbye.REASON_SUPERSEDED

    def __str__(self) -> str:
        if self.goodbye is not None:
            return f"goodbye {Goodbye.Reason.Name(self.goodbye.reason)}"
        return str(self.error)


class Session:
    """One stream, from hello to its end.

    Args:
        connection: where to.
        hello: who; `held_task_tokens` is filled in here.
        desk: the tasks.
        on_open: called when the server's welcome came.
    """

    def __init__(
        self, connection: Connection, hello: pb.Hello, desk: Desk, on_open: Callable[[Session, pb.Welcome], None]
    ) -> None:
        self._connection = connection
        self._hello = hello
        self._desk = desk
        self._on_open = on_open
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lost: asyncio.Future[StreamEnd] = self._loop.create_future()
        self._ping_interval = _WELCOME_S / _SILENT_INTERVALS
        self._received = 0
        self._granted = 0
        self._wrote_at = self._heard_at = self._loop.time()
        self._opened_at = self._heard_at
        self._drain_notice: float | None = None
        self._says_goodbye = False
        self.phase = Phase.OPENING
        self.drained = asyncio.Event()
        self.is_silent = False

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return self._loop.time() - self._opened_at

    async def run(self) -> StreamEnd:
        """Serves the stream until it ends; raises only for a cancellation or a defect of this SDK."""
        call = WorkerServiceStub(self._connection.channel).Work(metadata=tuple(self._connection.metadata))
        reader = self._loop.create_task(self._read(call))
        writer = self._loop.create_task(self._write(call))
        writer.add_done_callback(self._writer_ended)
        try:
            await asyncio.wait({reader, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            return self._lost.result() if self._lost.done() else reader.result()
        finally:
            # Leaving a stream always cancels it: an abandoned call is never collected.
            for task in (reader, writer):
                task.cancel()
            call.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    def wake(self) -> None:
        """Something is to be written."""
        self._wake.set()

    def lose(self, error: PerdureError) -> None:
        """Gives the stream up."""
        if not self._lost.done():
            self._lost.set_result(StreamEnd(error=error))

    def drain(self, timeout: float) -> None:
        """Tells the server to send no more tasks; what is held goes on for `timeout` seconds."""
        self._drain_notice = timeout
        self.wake()

    def leave(self) -> None:
        """Says goodbye and half-closes; the stream is given up if the server does not end it soon."""
        if self.phase is not Phase.LEAVING:
            self.phase = Phase.LEAVING
            self._says_goodbye = True
            self._loop.call_later(_LEAVE_S, self.lose, CallCancelled("the server did not end the stream"))
            self.wake()

    def keep(self, now: float) -> float:
        """Pings when due, and gives the stream up after three silent intervals. Returns when to look again."""
        silent_at = self._heard_at + _SILENT_INTERVALS * self._ping_interval
        if now >= silent_at:
            self.is_silent = True
            self.lose(Unavailable(f"nothing was heard for {now - self._heard_at:.1f} s"))
            return float("inf")
        if self.phase is not Phase.OPENING and now >= self._wrote_at + 0.75 * self._ping_interval:
            self.wake()
        return min(silent_at, max(self._wrote_at + 0.75 * self._ping_interval, now + 0.25 * self._ping_interval))

    # Reading.

    async def _read(self, call: grpc.aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse]) -> StreamEnd:
        try:
            async for response in call:
                self._heard_at = self._loop.time()
                end = self._hear(response)
                if end is not None:
                    return end
        except grpc.aio.AioRpcError as failure:
            return StreamEnd(error=error_from_rpc(failure))
        except asyncio.CancelledError as cancelled:
            return StreamEnd(error=closed_under_us(cancelled))
        if self.phase is Phase.LEAVING:
            return StreamEnd(goodbye=Goodbye(reason=Goodbye.REASON_CLIENT_DONE))
        return StreamEnd(error=Unavailable("the stream ended without goodbye"))

    def _hear(self, response: pb.WorkResponse) -> StreamEnd | None:
        desk = self._desk
        if self.phase is Phase.OPENING:
            if not response.HasField("welcome"):
                return StreamEnd(error=Internal("the server's first message was not its welcome"))
            self._open(response.welcome)
        if response.begin_acks:
            desk.acknowledge_begins(response.begin_acks)
        if response.acks:
            desk.acknowledge(response.acks)
        if response.lease_updates:
            desk.update(response.lease_updates)
        tasks = response.tasks
        if tasks:
            self._received += len(tasks)
            desk.accept(tasks)
        if self._received + desk.free > self._granted:
            self.wake()
        if response.HasField("drain"):
            if self.phase is Phase.OPEN:
                self.phase = Phase.DRAINED
            self.drained.set()
        return StreamEnd(goodbye=response.goodbye) if response.HasField("goodbye") else None

    def _open(self, welcome: pb.Welcome) -> None:
        self.phase = Phase.OPEN
        self._ping_interval = duration_seconds(welcome.ping_interval) or self._ping_interval
        self._desk.heartbeat_interval = duration_seconds(welcome.heartbeat_interval) or self._desk.heartbeat_interval
        self._desk.update(welcome.held)
        self._desk.resend()
        self._on_open(self, welcome)
        self.wake()

    # Writing.

    async def _write(self, call: grpc.aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse]) -> None:
        """Writes until the stream is left. An error here only means that the reader learns the status."""
        self._hello.held_task_tokens.extend(self._desk.tokens)
        self._granted = self._desk.free
        first = pb.WorkRequest(hello=self._hello, credit=pb.Credit(limit=self._granted))
        try:
            await call.write(first)
            while not self._says_goodbye or (self._is_active() and self._desk.has_unsent):
                await self._wake.wait()
                self._wake.clear()
                request = self._compose()
                if request is not None:
                    self._wrote_at = self._loop.time()
                    await call.write(request)
            await call.write(pb.WorkRequest(goodbye=Goodbye(reason=Goodbye.REASON_CLIENT_DONE)))
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            _log.debug("the stream cannot be written to any more: %s", error)

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        defect = None if writer.cancelled() else writer.exception()
        if defect is not None and not self._lost.done():
            self._lost.set_exception(defect)

    def _compose(self) -> pb.WorkRequest | None:
        """The next message; an empty one is a ping; None if there is nothing to write yet."""
        if self.phase is Phase.OPENING:
            return None
        request = pb.WorkRequest()
        has_parts = self._is_active() and self._desk.fill(request, _MESSAGE_BYTES)
        if has_parts and self._desk.has_unsent:
            self.wake()
        limit = self._received + self._desk.free
        if limit > self._granted and self.phase is Phase.OPEN:
            self._granted = limit
            request.credit.limit = limit
            has_parts = True
        if self._drain_notice is not None:
            request.drain.timeout.CopyFrom(to_duration(self._drain_notice))
            self._drain_notice = None
            has_parts = True
        is_quiet = self._loop.time() >= self._wrote_at + 0.75 * self._ping_interval
        return request if has_parts or is_quiet else None

    def _is_active(self) -> bool:
        return self._desk.wake == self.wake
