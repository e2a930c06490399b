"""Calls by bytes: every method of the contract, whatever its shape, with whatever is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from perdure.v1 import (
    admin_service_pb2,
    ledger_service_pb2,
    run_service_pb2,
    schedule_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)

CALL_TIMEOUT_S = 3.0
"""A right long poll may go on for longer; nothing else may."""

PROBE = worker_service_pb2.WorkRequest(heartbeats=[worker_service_pb2.Heartbeat(task_token=b"probe")])
"""Added to what is said on a stream: is answered with a lease update, when nothing else is."""

LONG = frozenset({"TickRun", "WaitRun", "PollTasks"})
_MODULES: tuple[Any, ...] = (
    run_service_pb2,
    workflow_service_pb2,
    worker_service_pb2,
    ledger_service_pb2,
    admin_service_pb2,
    schedule_service_pb2,
)


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the contract."""

    service: str
    name: str
    request: Descriptor
    response: type[Message]
    streams_up: bool
    streams_down: bool

    @property
    def key(self) -> str:
        """Service and method."""
        return f"{self.service}/{self.name}"

    async def call(
        self, channel: grpc.aio.Channel, data: bytes, opening: bytes = b"", welcomed: Callable[[], None] = _nothing
    ) -> Message | None:
        """Sends bytes and returns the answer: of a stream the first, of a worker's stream all together; None for a
        long poll that goes on.

        Args:
            opening: of a worker's stream, what is said before; empty if `data` is its first message.
            welcomed: called when the opening has been answered.

        Raises: AioRpcError.
        """
        path = f"/perdure.v1.{self.key}"
        parse = self.response.FromString
        try:
            if self.streams_up:
                make = cast(Any, channel).stream_stream(path, None, parse)
                return await _converse(make(timeout=CALL_TIMEOUT_S), opening, data, welcomed)
            if self.streams_down:
                return await _first(channel.unary_stream(path, None, parse)(data, timeout=CALL_TIMEOUT_S))
            return await channel.unary_unary(path, None, parse)(data, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if self.name in LONG and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return None
            raise


async def _first(call: Any) -> Message:
    try:
        message = await call.read()
        if message is grpc.aio.EOF:
            raise AssertionError("the stream ended without an answer")
        return message
    finally:
        call.cancel()


async def _converse(
    call: Any, opening: bytes, data: bytes, welcomed: Callable[[], None]
) -> worker_service_pb2.WorkResponse:
    """Everything that a worker's stream answers to `data`: until it has answered each part, or ends."""
    answer = worker_service_pb2.WorkResponse()
    try:
        if opening:
            await call.write(opening)
            await call.read()
            welcomed()
        said = _parsed(data)
        await call.write(data if said is None else data + PROBE.SerializeToString())
        while not _is_complete(answer, said):
            message = await call.read()
            if message is grpc.aio.EOF:
                break
            answer.MergeFrom(message)
        return answer
    finally:
        call.cancel()


def _parsed(data: bytes) -> worker_service_pb2.WorkRequest | None:
    """What the bytes say; None if they are no message."""
    try:
        return worker_service_pb2.WorkRequest.FromString(data)
    except DecodeError:
        return None


def _is_complete(answer: worker_service_pb2.WorkResponse, said: worker_service_pb2.WorkRequest | None) -> bool:
    """Whether there is an ack for each report and begin, and the probe has come back."""
    if said is None or all(update.task_token != b"probe" for update in answer.lease_updates):
        return False
    return len(answer.acks) >= len(said.reports) and len(answer.begin_acks) >= len(said.begins)


def methods() -> Iterator[Method]:
    """Every method of the contract."""
    for module in _MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield Method(
                    service.name,
                    method.name,
                    method.input_type,
                    GetMessageClass(method.output_type),
                    method.client_streaming,
                    method.server_streaming,
                )
