"""Calls by bytes: every method of the contract, whatever its shape, with whatever is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from perdure.v1 import (
    admin_service_pb2,
    ledger_service_pb2,
    run_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)

CALL_TIMEOUT_S = 3.0
"""A right long poll may go on for longer; nothing else may."""

STREAM_WAIT_S = 1.0
"""How long a stream that has answered once is given to answer again."""

LONG = frozenset({"TickRun", "WaitRun", "PollTasks"})
_MODULES: tuple[Any, ...] = (
    run_service_pb2,
    workflow_service_pb2,
    worker_service_pb2,
    ledger_service_pb2,
    admin_service_pb2,
)


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

    async def call(self, channel: grpc.aio.Channel, data: bytes, *, answers: int = 1) -> Message | None:
        """Sends bytes and returns an answer; None for a long poll that goes on.

        Args:
            answers: of a stream, how many to wait for; one that stays open without giving them is left.

        Raises: AioRpcError.
        """
        path = f"/perdure.v1.{self.key}"
        parse = self.response.FromString
        try:
            if self.streams_up:
                stream = channel.stream_stream(path, None, parse)(timeout=CALL_TIMEOUT_S)
                await stream.write(data)
                return await _last(stream, answers)
            if self.streams_down:
                return await _last(channel.unary_stream(path, None, parse)(data, timeout=CALL_TIMEOUT_S), answers)
            return await channel.unary_unary(path, None, parse)(data, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if self.name in LONG and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return None
            raise


async def _last(call: Any, answers: int) -> Message:
    message: Any = None
    try:
        for _ in range(answers):
            try:
                async with asyncio.timeout(STREAM_WAIT_S if message is not None else None):
                    message = await call.read()
            except TimeoutError:
                break
            if message is grpc.aio.EOF:
                raise AssertionError("the stream ended without an answer")
        return message
    finally:
        call.cancel()


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
