"""A whole server in this process, over the memory store, and typed stubs to call it with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from perdure_server.api.auth import Authenticator
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.api.edge import Edge
from perdure_server.api.guard import DETAILS_KEY
from perdure_server.api.sealed_header import inspect_record
from perdure_server.api.server import Transport
from perdure_server.clock import Clock, SystemClock
from perdure_server.engine.sealing import genesis_hash
from perdure_server.ids import new_epoch
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.runtime import Runtime
from perdure_server.storage.memory import MemoryStore

if TYPE_CHECKING:
    from perdure.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from perdure.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub
    from perdure.v1.run_service_pb2_grpc import RunServiceAsyncStub
    from perdure.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub
    from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceAsyncStub


@dataclass
class Served:
    """A server that listens, and one channel to it."""

    runtime: Runtime
    edge: Edge
    store: MemoryStore
    channel: grpc.aio.Channel
    runs: RunServiceAsyncStub
    workflows: WorkflowServiceAsyncStub
    workers: WorkerServiceAsyncStub
    ledger: LedgerServiceAsyncStub
    admin: AdminServiceAsyncStub

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.edge.server.port}"

    @property
    def untyped_channel(self) -> Any:
        """The channel, for calls with bytes as they are."""
        return self.channel

    async def raw(self, method: str, data: bytes) -> bytes:
        """Calls a unary method with bytes as they are."""
        return await self.untyped_channel.unary_unary(f"/perdure.v1.{method}")(data)


@asynccontextmanager
async def serve(
    *,
    limits: Limits = DEFAULT_LIMITS,
    authenticator: Authenticator | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
    channel: grpc.aio.Channel | None = None,
) -> AsyncGenerator[Served]:
    """A server, for as long as the context lasts."""
    store = MemoryStore(genesis=genesis_hash, epoch=new_epoch())
    runtime = Runtime(store, EngineCodec(), inspect_record, clock or SystemClock(), limits)
    await runtime.start()
    edge = Edge(
        runtime.engine,
        runtime.dispatcher,
        runtime.ledger,
        transport or Transport("127.0.0.1:0"),
        "0.0.0",
        authenticator=authenticator,
    )
    port = await edge.start()
    try:
        async with channel or grpc.aio.insecure_channel(f"127.0.0.1:{port}") as open_channel:
            yield Served(
                runtime,
                edge,
                store,
                open_channel,
                RunServiceStub(open_channel),
                WorkflowServiceStub(open_channel),
                WorkerServiceStub(open_channel),
                LedgerServiceStub(open_channel),
                AdminServiceStub(open_channel),
            )
    finally:
        runtime.drain(0)
        await edge.drain(0)
        await runtime.stop()


@dataclass(frozen=True)
class Refused:
    """What a client sees of an error."""

    code: grpc.StatusCode
    reason: str
    message: str
    fields: tuple[str, ...]
    metadata: dict[str, str]
    details: tuple[str, ...]
    size: int


def refused(error: grpc.aio.AioRpcError) -> Refused:
    """Reads the status details of a failed call; fails the test if it has none."""
    found = [value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY]
    assert len(found) == 1, f"a bare error: {error.code()} {error.details()}"
    data = found[0]
    assert isinstance(data, bytes)
    status = status_pb2.Status.FromString(data)
    assert status.code == error.code().value[0]
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    kinds: list[str] = []
    for detail in status.details:
        kinds.append(detail.type_url.rpartition(".")[2])
        detail.Unpack(info)
        detail.Unpack(request)
    assert info.domain == "perdure"
    return Refused(
        error.code(),
        info.reason,
        status.message,
        tuple(violation.field for violation in request.field_violations),
        dict(info.metadata),
        tuple(kinds),
        len(data),
    )


async def refusal(call: Any) -> Refused:
    """What a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refused(caught.value)


async def attempt(call: Any) -> Refused | None:
    """What a call is refused with; None if it was served."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refused(error)
    return None


async def rest_of(stream: Any) -> list[Any]:
    """All messages of a stream that ends well."""
    messages: list[Any] = []
    while (message := await stream.read()) is not grpc.aio.EOF:
        messages.append(message)
    return messages
