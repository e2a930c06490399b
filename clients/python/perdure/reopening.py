"""A server stream that is opened again whenever it breaks.

A peer that says CANCELLED or UNAVAILABLE, resets the stream, ends it without goodbye or falls silent has gone
away; it has not said that nothing more will come. Only the reader of the stream knows where to go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import grpc.aio

from perdure.connection import Connection, closed_under_us
from perdure.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PerdureError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    error_from_rpc,
)

_log = logging.getLogger("perdure.stream")

_Response = TypeVar("_Response")

SILENT_INTERVALS = 3
_OPEN_SILENCE_S = 30.0
_DEFECTS_IN_A_ROW = 5

_FINAL = (
    AlreadyExists, DataLoss, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, PermissionDenied,
    Unauthenticated, Unimplemented,
)  # fmt: skip


class ReopeningStream(Generic[_Response]):
    """Reads messages over as many calls as it takes. One reader at a time.

    Args:
        connection: the client's; for its rule of repeats, and to call over until it is silent.
        call: makes a call over a channel that goes on where the last message left off.
    """

    def __init__(
        self, connection: Connection, call: Callable[[grpc.aio.Channel], grpc.aio.UnaryStreamCall[Any, _Response]]
    ) -> None:
        self._shared = self._connection = connection
        self._make_call = call
        self._call: grpc.aio.UnaryStreamCall[Any, _Response] | None = None
        self._messages = 0
        self._failures = 0
        self.silence = _OPEN_SILENCE_S

    async def open(self) -> _Response:
        """Opens the stream and returns its first message.

        Raises:
            PerdureError: the call is refused, or nobody answers within the connection's timeout.
        """
        now = asyncio.get_running_loop().time
        return await self._read(give_up_at=now() + self._connection.timeout)

    async def read(self) -> _Response:
        """The next message, from this call or from the next.

        Raises:
            PerdureError: the call is refused for good.
        """
        return await self._read(give_up_at=float("inf"))

    async def again(self, delay: float) -> None:
        """Leaves this call; the next `read` opens another, not before `delay` seconds."""
        self._cancel()
        self._failures += 1
        await self._connection.sleep(delay + self._connection.retry.jitter(self._failures))

    async def close(self) -> None:
        """Ends the stream."""
        self._cancel()
        if self._connection is not self._shared:
            await self._connection.close()
            self._connection = self._shared

    def _cancel(self) -> None:
        """Ends the call. An abandoned call would never be collected."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    async def _read(self, give_up_at: float) -> _Response:
        now = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(min(self.silence, max(give_up_at - now(), 0.001))):
                    message = await self._current().read()
                if message is not grpc.aio.EOF:
                    self._messages += 1
                    # A server that accepts and then fails must not be called in a tight loop.
                    self._failures = 0 if self._messages > 1 else self._failures
                    return cast("_Response", message)
                error: PerdureError = Unavailable("the stream ended without goodbye")
            except grpc.aio.AioRpcError as failure:
                error = error_from_rpc(failure)
            except TimeoutError:
                error = Unavailable("nothing was heard for too long")
                self._cancel()
                await self._change_connection()
            except asyncio.CancelledError as cancelled:
                self._cancel()
                error = closed_under_us(cancelled)
            self._cancel()
            await self._recover(error, give_up_at)

    async def _change_connection(self) -> None:
        """A peer that hangs keeps its connection open: a new call over it would hang too."""
        if self._shared.reopen is None:
            return
        silent, self._connection = self._connection, self._shared.private()
        if silent is not self._shared:
            await silent.close()

    def _current(self) -> grpc.aio.UnaryStreamCall[Any, _Response]:
        if self._call is None:
            self._call = self._make_call(self._connection.channel)
            self._messages = 0
        return self._call

    async def _recover(self, error: PerdureError, give_up_at: float) -> None:
        """Waits before the next call, or raises the error if there is no point in one."""
        self._failures += 1
        if isinstance(error, _FINAL) or (isinstance(error, ResourceExhausted) and error.retry_after is None):
            raise error
        if isinstance(error, Internal) and self._failures >= _DEFECTS_IN_A_ROW:
            raise error
        delay = (error.retry_after or 0.0) + self._connection.retry.jitter(self._failures)
        if asyncio.get_running_loop().time() + delay >= give_up_at:
            raise error
        _log.info("reopening a stream after: %s", error)
        await self._connection.sleep(delay)
