"""LedgerService over the wire: what gRPC itself adds to the contract of the stream, and what must not leak."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, UnaryStreamCall

from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure_server.api.auth import Anybody
from perdure_server.api.guard import Guard, GuardedServer, current_caller
from perdure_server.api.ledger_service import LedgerService, add_ledger_service
from perdure_server.kernel.limits import DEFAULT_LIMITS, KIB, MIB, SECOND_US
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.service import Ledger
from perdure_server.ledger.subscription import Subscription
from perdure_server.ledger.tailer import RingBounds
from tests.ledger.rig import Rig, next_message, running
from tests.ledger.writer import COMPLETED, ENDS, STARTED, RunLedger, Step

if TYPE_CHECKING:
    from perdure.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub

ALL = pb.LedgerScope(all=True)
FOLLOW = pb.SubscribeLedgerRequest(scope=ALL, beginning=True)


async def known_namespace(namespace: str) -> None:
    """The rig writes to one namespace, which is there."""
    assert namespace == "default"


class Ends:
    """How the handlers of streams came to their ends, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._added = asyncio.Event()

    def add(self, name: str) -> None:
        """One more."""
        self.names.append(name)
        self._added.set()

    async def first(self, count: int) -> list[str]:
        """The first `count` of them, once there are so many."""
        async with asyncio.timeout(20):
            while len(self.names) < count:
                self._added.clear()
                await self._added.wait()
        return self.names[:count]


class ObservedService(LedgerService):
    """Notes how each stream's handler came to its end."""

    def __init__(self, ledger: Ledger, ends: Ends) -> None:
        super().__init__(ledger, DEFAULT_LIMITS, current_caller, known_namespace)
        self._ends = ends

    async def SubscribeLedger(self, request: pb.SubscribeLedgerRequest, context: Any) -> None:
        """The handler, observed."""
        try:
            await super().SubscribeLedger(request, context)
        except BaseException as error:
            self._ends.add(type(error).__name__)
            raise
        self._ends.add("goodbye")


@dataclass
class Host:
    """A server on loopback over a rig, and how to call it."""

    rig: Rig
    server: grpc.aio.Server
    port: int
    ends: Ends
    channels: list[grpc.aio.Channel] = field(default_factory=list[grpc.aio.Channel])

    def stub(self) -> LedgerServiceAsyncStub:
        """A stub on a channel of its own."""
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", [("grpc.use_local_subchannel_pool", 1)])
        self.channels.append(channel)
        return LedgerServiceStub(channel)


@asynccontextmanager
async def serving(rig: Rig) -> AsyncGenerator[Host]:
    """Serves the rig's ledger behind the guard, as the real server does."""
    async with running(rig):
        server = grpc.aio.server()
        ends = Ends()
        service = ObservedService(rig.ledger, ends)
        guard = Guard(Anybody(), DEFAULT_LIMITS, lambda: "error-1")
        add_ledger_service(service, GuardedServer(server, guard).as_server())
        host = Host(rig, server, server.add_insecure_port("127.0.0.1:0"), ends)
        await server.start()
        try:
            yield host
        finally:
            for channel in host.channels:
                await channel.close()
            await server.stop(None)


async def read_until(call: UnaryStreamCall[Any, Any], event: str) -> list[pb.SubscribeLedgerResponse]:
    """Messages up to the next of this name."""
    messages = [await next_message(call)]
    while messages[-1].WhichOneof("event") != event:
        messages.append(await next_message(call))
    return messages


def reason_of(error: AioRpcError) -> str:
    """ErrorInfo.reason."""
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason


async def test_a_ledger_is_listed_followed_and_verified_over_the_wire() -> None:
    async with serving(Rig()) as host:
        ledger, stub = RunLedger("a"), host.stub()
        host.rig.commit(ledger, STARTED, COMPLETED)
        page = await stub.ListRecords(pb.ListRecordsRequest(scope=ALL, page_size=1))
        assert [entry.record.seq for entry in page.entries] == [1]
        assert page.next_page_token == page.cursor
        request = pb.SubscribeLedgerRequest(scope=ALL, after_cursor=page.cursor, view=pb.RECORD_VIEW_RECORD_BYTES)
        call = stub.SubscribeLedger(request)
        await read_until(call, "caught_up")
        (held,) = host.rig.commit(ledger, ENDS)
        message = await next_message(call)
        assert [entry.record_bytes for entry in message.batch.entries] == [held.record]
        verified = await stub.VerifyRun(pb.VerifyRunRequest(run_id="a"))
        assert (verified.intact, verified.seq, verified.head_hash) == (True, 3, ledger.head_hash)
        call.cancel()


async def test_stop_when_terminal_ends_ok_after_goodbye() -> None:
    async with serving(Rig()) as host:
        host.rig.commit(RunLedger("a"), STARTED, ENDS)
        scope = pb.LedgerScope(run_id="a")
        request = pb.SubscribeLedgerRequest(scope=scope, beginning=True, stop_when_terminal=True)
        call = host.stub().SubscribeLedger(request)
        messages = await read_until(call, "goodbye")
        assert messages[-1].goodbye.reason == pb.Goodbye.REASON_COMPLETE
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


REFUSED = {
    "INVALID_FIELD": (pb.SubscribeLedgerRequest(scope=ALL), grpc.StatusCode.INVALID_ARGUMENT),
    "INVALID_CURSOR": (
        pb.SubscribeLedgerRequest(scope=ALL, after_cursor="x"),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "RUN_NOT_FOUND": (
        pb.SubscribeLedgerRequest(scope=pb.LedgerScope(run_id="nobody"), beginning=True),
        grpc.StatusCode.NOT_FOUND,
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_a_refused_subscription_says_why(reason: str) -> None:
    request, code = REFUSED[reason]
    async with serving(Rig()) as host:
        call = host.stub().SubscribeLedger(request)
        with pytest.raises(AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is code
        assert reason_of(caught.value) == reason


@pytest.mark.promise("P10")
async def test_the_hundred_and_first_stream_of_a_caller_is_refused() -> None:
    async with serving(Rig()) as host:
        stub = host.stub()
        calls = [stub.SubscribeLedger(FOLLOW) for _ in range(DEFAULT_LIMITS.streams_per_caller)]
        for call in calls:
            await next_message(call)
        with pytest.raises(AioRpcError) as caught:
            await stub.SubscribeLedger(FOLLOW).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(caught.value) == "TOO_MANY_STREAMS"
        calls[0].cancel()
        assert await host.ends.first(2) == ["TooManyStreamsError", "CancelledError"]
        again = stub.SubscribeLedger(FOLLOW)
        assert (await next_message(again)).HasField("subscribed")
        for call in (*calls, again):
            call.cancel()


async def test_a_cancelled_stream_ends_by_the_cancellation_and_leaves_nothing() -> None:
    """gRPC leaks the operations of every handler that swallows its CancelledError."""
    async with serving(Rig()) as host:
        stub = host.stub()
        for _ in range(50):
            call = stub.SubscribeLedger(FOLLOW)
            await next_message(call)
            call.cancel()
        assert await host.ends.first(50) == ["CancelledError"] * 50
        assert host.rig.ledger.open_streams == 0
        assert host.rig.ledger.tailer.watched_namespaces() == []
        gc.collect()
        assert not any(isinstance(held, Subscription) for held in gc.get_objects())


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    async with serving(Rig()) as host:
        for _ in range(10):
            call = host.stub().SubscribeLedger(FOLLOW)
            await read_until(call, "caught_up")
        assert host.rig.ledger.open_streams == 10
        for channel in host.channels:
            await channel.close()
        assert await host.ends.first(10) == ["CancelledError"] * 10
        assert host.rig.ledger.open_streams == 0


async def test_draining_ends_every_stream_with_goodbye() -> None:
    async with serving(Rig()) as host:
        calls = [host.stub().SubscribeLedger(FOLLOW) for _ in range(3)]
        for call in calls:
            await read_until(call, "caught_up")
        host.rig.ledger.drain()
        for call in calls:
            messages = await read_until(call, "goodbye")
            assert messages[-1].goodbye.reason == pb.Goodbye.REASON_DRAINING
            assert await call.code() is grpc.StatusCode.OK
        assert await host.ends.first(3) == ["goodbye"] * 3
        refused = host.stub().SubscribeLedger(FOLLOW)
        assert await refused.code() is grpc.StatusCode.UNAVAILABLE


def resident_bytes() -> int:
    """Memory of this process in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4 * KIB


@pytest.mark.promise("P10")
async def test_a_client_that_never_reads_costs_little_and_gets_slow_consumer() -> None:
    """The records it is behind by are in the store, not in the server's memory."""
    rig = Rig(ring=RingBounds(frame_bytes=MIB))
    async with serving(rig) as host:
        call, reader = (host.stub().SubscribeLedger(FOLLOW) for _ in range(2))
        await read_until(call, "caught_up")
        await read_until(reader, "caught_up")
        ledger = RunLedger("a")
        large = Step(RecordKind.STEP_COMPLETED, payload=b"x" * 64 * KIB)
        rig.commit(ledger, STARTED)
        before, received = resident_bytes(), 0
        for _ in range(100):
            rig.commit(ledger, *[large] * 10)
            while received < ledger.seq:
                received += len((await next_message(reader)).batch.entries)
        grown = resident_bytes() - before
        assert grown < 24 * MIB, f"{grown} bytes more for {1_000 * 64 * KIB} bytes of records"
        assert rig.ledger.open_streams == 2
        await rig.advance(60 * SECOND_US)
        assert rig.ledger.open_streams == 2, "it says so as soon as the client reads"
        messages = await read_until(call, "goodbye")
        assert messages[-1].goodbye.reason == pb.Goodbye.REASON_SLOW_CONSUMER
        seqs = [entry.record.seq for message in messages for entry in message.batch.entries]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) < ledger.seq
        assert await call.code() is grpc.StatusCode.OK
        again = host.stub().SubscribeLedger(
            pb.SubscribeLedgerRequest(scope=ALL, after_cursor=messages[-1].cursor, stop_when_caught_up=True)
        )
        rest = await read_until(again, "goodbye")
        seqs += [entry.record.seq for message in rest for entry in message.batch.entries]
        assert seqs == list(range(1, ledger.seq + 1))
        reader.cancel()
