"""The streams of a worker, one after another: when the next is opened, and when there is no point in one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from perdure.connection import Connection
from perdure.errors import (
    CallCancelled,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unimplemented,
)
from perdure.instants import duration_seconds
from perdure.v1 import worker_service_pb2 as pb
from perdure.worker.desk import Desk
from perdure.worker.session import Phase, Session, StreamEnd

_log = logging.getLogger("perdure.worker")

_FATAL = (
    FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unimplemented,
)  # fmt: skip
"""Errors of a stream that the next stream would only meet again."""

_DEFECTS_IN_A_ROW = 5
_SETTLED_S = 10.0
_DRAIN_PAUSE_S = 0.2


class Streams:
    """Keeps one stream open for a desk.

    Args:
        connection: the client's; the streams use a private one.
        hello: makes the hello for an epoch.
        desk: the tasks.
        on_open: called with each welcome.
    """

    def __init__(
        self,
        connection: Connection,
        hello: Callable[[int], pb.Hello],
        desk: Desk,
        on_open: Callable[[pb.Welcome], None],
    ) -> None:
        self._shared = connection
        self._connection = connection.private()
        self._hello = hello
        self._desk = desk
        self._on_open = on_open
        # Above the epochs of an earlier process with the same worker id.
        self._epoch = time.time_ns() // 1_000_000
        self._sessions: dict[asyncio.Task[StreamEnd], Session] = {}
        self._active: Session | None = None
        self._failures = 0
        self._is_leaving = False

    async def run(self) -> None:
        """Opens one stream after another until `leave`. While one drains, the next is already being opened.

        Raises:
            PerdureError: the next stream would only meet it again.
        """
        while not self._is_leaving:
            self._epoch += 1
            session = Session(self._connection, self._hello(self._epoch), self._desk, self._opened)
            runner = asyncio.create_task(session.run())
            self._sessions[runner] = session
            drained = asyncio.create_task(session.drained.wait())
            try:
                await asyncio.wait({runner, drained}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                drained.cancel()
            self._forget_ended()
            if not runner.done():
                _log.info("the server drains; opening another stream")
                await self._pause(_DRAIN_PAUSE_S)
            elif not self._is_leaving:
                await self._after(session, runner.result())

    def keep(self, now: float) -> float:
        """Looks after every stream; returns when to look again."""
        return min((session.keep(now) for session in self._sessions.values()), default=float("inf"))

    def drain(self, timeout: float) -> None:
        """Asks for no more tasks."""
        if self._active is not None:
            self._active.drain(timeout)

    async def leave(self, timeout: float) -> None:
        """Says goodbye and waits until the streams have ended."""
        self._is_leaving = True
        for session in self._sessions.values():
            if session.phase is Phase.OPENING:
                session.lose(CallCancelled("the worker leaves"))
            else:
                session.leave()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=timeout)

    async def close(self) -> None:
        """Cancels what is still open."""
        for runner in self._sessions:
            runner.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if self._connection is not self._shared:
            await self._connection.close()

    def _opened(self, session: Session, welcome: pb.Welcome) -> None:
        previous, self._active = self._active, session
        self._desk.wake = session.wake
        if previous is not None:
            previous.leave()
        self._on_open(welcome)

    def _forget_ended(self) -> None:
        for runner in [runner for runner in self._sessions if runner.done()]:
            if self._active is self._sessions.pop(runner):
                self._active = None

    async def _after(self, session: Session, end: StreamEnd) -> None:
        """Waits before the next stream, or raises if there is no point in one."""
        error = end.error
        if end.is_superseded:
            message = "another process works under this worker_id; give each process its own"
            raise FailedPrecondition(message, reason="WORKER_SUPERSEDED")
        if isinstance(error, _FATAL):
            raise error
        self._failures = 1 if session.age > _SETTLED_S else self._failures + 1
        if isinstance(error, Internal) and self._failures >= _DEFECTS_IN_A_ROW:
            raise error
        _log.info("the stream ended (%s); reconnecting", end)
        if session.is_silent and self._connection is not self._shared:
            # A peer that hangs keeps its connection open: a new stream over it would hang too.
            await self._connection.close()
            self._connection = self._shared.private()
        delay = duration_seconds(end.goodbye.reconnect_delay) if end.goodbye is not None else 0.0
        await self._pause(delay or (error.retry_after if error is not None else None) or 0.0)

    async def _pause(self, at_least: float) -> None:
        await asyncio.sleep(at_least + self._shared.retry.jitter(max(self._failures, 1)))
