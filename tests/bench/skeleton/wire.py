"""The skeleton's gRPC service: method names, serialisers, and a typed client stub."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

import grpc
import grpc.aio

from tests.bench.skeleton import skeleton_pb2 as pb

SERVICE = "perdure.bench.skeleton.Skeleton"
T = TypeVar("T")

MAX_BATCH = 64
"""Tasks or reports that may share one stream message."""


class Servicer(Protocol):
    """What the server implements, one method per RPC."""

    async def run(
        self, request: pb.RunRequest, context: grpc.aio.ServicerContext[pb.RunRequest, pb.RunResponse]
    ) -> pb.RunResponse: ...

    async def append(
        self,
        request: pb.AppendRequest,
        context: grpc.aio.ServicerContext[pb.AppendRequest, pb.AppendResponse],
    ) -> pb.AppendResponse: ...

    async def counters(
        self,
        request: pb.CountersRequest,
        context: grpc.aio.ServicerContext[pb.CountersRequest, pb.CountersResponse],
    ) -> pb.CountersResponse: ...

    async def work(
        self,
        requests: AsyncIterator[pb.ReportBatch],
        context: grpc.aio.ServicerContext[pb.ReportBatch, pb.TaskBatch],
    ) -> None: ...


def add_to_server(servicer: Servicer, server: grpc.aio.Server) -> None:
    """Serve `servicer` under `SERVICE`."""
    handlers = {
        "Run": grpc.unary_unary_rpc_method_handler(
            servicer.run, pb.RunRequest.FromString, pb.RunResponse.SerializeToString
        ),
        "Append": grpc.unary_unary_rpc_method_handler(
            servicer.append, pb.AppendRequest.FromString, pb.AppendResponse.SerializeToString
        ),
        "Counters": grpc.unary_unary_rpc_method_handler(
            servicer.counters, pb.CountersRequest.FromString, pb.CountersResponse.SerializeToString
        ),
        "Work": grpc.stream_stream_rpc_method_handler(
            servicer.work, pb.ReportBatch.FromString, pb.TaskBatch.SerializeToString
        ),
    }
    server.add_registered_method_handlers(SERVICE, handlers)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class Stub:
    """A client of the skeleton over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.run = channel.unary_unary(f"/{SERVICE}/Run", pb.RunRequest.SerializeToString, pb.RunResponse.FromString)
        self.append = channel.unary_unary(
            f"/{SERVICE}/Append", pb.AppendRequest.SerializeToString, pb.AppendResponse.FromString
        )
        self.counters = channel.unary_unary(
            f"/{SERVICE}/Counters", pb.CountersRequest.SerializeToString, pb.CountersResponse.FromString
        )
        self.work = channel.stream_stream(f"/{SERVICE}/Work", pb.ReportBatch.SerializeToString, pb.TaskBatch.FromString)


async def queued(items: asyncio.Queue[T]) -> list[T]:
    """What is queued at this moment, at most MAX_BATCH; waits for the first one."""
    batch = [await items.get()]
    while len(batch) < MAX_BATCH and not items.empty():
        batch.append(items.get_nowait())
    return batch


def run_payload(run_id: str) -> str:
    """A JSON object of about 100 bytes, the input of a run or of a step."""
    return f'{{"run":"{run_id}","customer":"c-{run_id[-4:]}","note":"{"x" * 48}"}}'
