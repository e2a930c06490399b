"""The guard: no error leaves the server bare, nobody enters unasked, and no cancellation is swallowed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from perdure.v1 import run_service_pb2 as pb
from perdure.v1 import worker_service_pb2 as wpb
from perdure.v1.run_service_pb2_grpc import (
    RunServiceServicer,
    RunServiceStub,
    add_RunServiceServicer_to_server,
)
from perdure.v1.worker_service_pb2_grpc import (
    WorkerServiceServicer,
    WorkerServiceStub,
    add_WorkerServiceServicer_to_server,
)
from perdure_server.api.auth import Anybody, Authenticator, parse_tokens
from perdure_server.api.guard import Context, Guard, GuardedServer, current_caller
from perdure_server.api.problems import EdgeError
from perdure_server.api.server import server_options
from perdure_server.engine.errors import ConflictError
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from tests.api.served import refusal, refused

if TYPE_CHECKING:
    from perdure.v1.run_service_pb2_grpc import RunServiceAsyncStub
    from perdure.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub

TOKEN = "0123456789abcdef-a"
OTHER = "0123456789abcdef-b"
TOKENS = parse_tokens([f"alice {TOKEN} a,default", f"root {OTHER} *"])


class Runs(RunServiceServicer):
    """Handlers that do as a test tells them."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.entered = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.callers: list[str] = []

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        self.callers.append(current_caller(context))
        if self.error:
            raise self.error
        return pb.GetRunResponse()

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        await self._hold()
        return pb.CancelRunResponse()

    async def WaitRun(self, request: pb.WaitRunRequest, context: Context) -> pb.WaitRunResponse:
        await self._hold()
        return pb.WaitRunResponse()

    async def PauseRun(self, request: pb.PauseRunRequest, context: Context) -> pb.PauseRunResponse:
        await context.abort(grpc.StatusCode.DATA_LOSS, "as the handler says")

    async def CountRuns(self, request: pb.CountRunsRequest, context: Context) -> Any:
        return pb.CountRunsResponse(count=7).SerializeToString()

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        try:
            yield pb.WatchRunResponse()
            if self.error:
                raise self.error
            await self.release.wait()
        finally:
            self.ended.put_nowait("watch")

    async def _hold(self) -> None:
        self.entered.release()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.ended.put_nowait("cancelled")
            raise


class Workers(WorkerServiceServicer):
    """Echoes: a ping for each message."""

    async def Work(
        self, request_iterator: AsyncIterator[wpb.WorkRequest], context: Context
    ) -> AsyncIterator[wpb.WorkResponse]:
        async for _ in request_iterator:
            yield wpb.WorkResponse()

    async def PollTasks(self, request: wpb.PollTasksRequest, context: Context) -> wpb.PollTasksResponse:
        return wpb.PollTasksResponse()


@dataclass
class Guarded:
    """A guarded server and its stubs."""

    guard: Guard
    service: Runs
    channel: grpc.aio.Channel
    runs: RunServiceAsyncStub
    workers: WorkerServiceAsyncStub
    address: str


@asynccontextmanager
async def guarded(
    *, limits: Limits = DEFAULT_LIMITS, authenticator: Authenticator | None = None
) -> AsyncGenerator[Guarded]:
    """Serves `Runs` and `Workers` behind a guard."""
    guard = Guard(authenticator or Anybody(), limits, lambda: "error-1")
    server = grpc.aio.server(options=server_options(limits))
    target = GuardedServer(server, guard).as_server()
    runs: Runs = cast(Any, Runs)()
    add_RunServiceServicer_to_server(runs, target)
    add_WorkerServiceServicer_to_server(cast(Any, Workers)(), target)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Guarded(
                guard, runs, channel, RunServiceStub(channel), WorkerServiceStub(channel), f"127.0.0.1:{port}"
            )
    finally:
        runs.release.set()
        await server.stop(0)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata with a token."""
    return (("authorization", f"Bearer {token}"),)


async def test_a_defect_is_answered_with_its_id_only_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with guarded() as g:
        g.service.error = ValueError("secret of the server")
        with caplog.at_level(logging.ERROR):
            found = await refusal(g.runs.GetRun(pb.GetRunRequest(run_id="run-7", namespace="ns")))
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert found.metadata == {"error_id": "error-1"}
    assert "secret" not in found.message
    (record,) = [entry for entry in caplog.records if entry.name == "perdure_server.api.guard"]
    facts = {name: getattr(record, name) for name in ("error_id", "run_id", "namespace", "method", "count")}
    assert facts == {
        "error_id": "error-1",
        "run_id": "run-7",
        "namespace": "ns",
        "method": "perdure.v1.RunService/GetRun",
        "count": 1,
    }
    assert record.exc_info is not None
    assert g.guard.defects == 1


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (EdgeError("INVALID_JSON", "bad"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_JSON"),
        (Rejection(Reason.RUN_ENDED, "over"), grpc.StatusCode.FAILED_PRECONDITION, "RUN_ENDED"),
        (ConflictError("again", retry_after_us=5), grpc.StatusCode.ABORTED, "CONFLICT"),
    ],
)
async def test_domain_errors_get_their_status(error: Exception, code: grpc.StatusCode, reason: str) -> None:
    async with guarded() as g:
        g.service.error = error
        found = await refusal(g.runs.GetRun(pb.GetRunRequest(run_id="r")))
        assert (found.code, found.reason) == (code, reason)
        g.service.error = None
        assert await g.runs.GetRun(pb.GetRunRequest()) == pb.GetRunResponse()
    assert g.guard.defects == 0


async def test_an_error_of_a_run_in_the_wrong_state_names_the_run() -> None:
    async with guarded() as g:
        g.service.error = Rejection(Reason.RUN_ENDED, "over")
        found = await refusal(g.runs.GetRun(pb.GetRunRequest(run_id="run-7")))
    assert found.metadata == {"run_id": "run-7"}


async def test_a_stream_that_fails_gets_a_status_too() -> None:
    async with guarded() as g:
        g.service.error = ValueError("secret")
        call = g.runs.WatchRun(pb.WatchRunRequest())
        assert await call.read() == pb.WatchRunResponse()
        found = await refusal(call.read())
    assert (found.reason, found.metadata) == ("INTERNAL", {"error_id": "error-1"})


async def test_what_a_handler_aborts_with_stays() -> None:
    async with guarded() as g:
        with pytest.raises(grpc.aio.AioRpcError, match="as the handler says") as caught:
            await g.runs.PauseRun(pb.PauseRunRequest())
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


async def test_bytes_pass_the_serializer() -> None:
    async with guarded() as g:
        assert (await g.runs.CountRuns(pb.CountRunsRequest())).count == 7


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x02\xff\xfe", b"\x0a\x05ab", bytes(range(256))])
async def test_bytes_that_are_no_message_are_malformed(data: bytes) -> None:
    async with guarded() as g:
        channel = cast(Any, g.channel)
        unary = channel.unary_unary("/perdure.v1.RunService/GetRun")
        watch = channel.unary_stream("/perdure.v1.RunService/WatchRun")
        work = channel.stream_stream("/perdure.v1.WorkerService/Work")
        bidi = work(iter([b"", data]))
        assert await bidi.read() == b""
        found = [await refusal(call) for call in (unary(data), watch(data).read(), bidi.read())]
    assert {(item.code, item.reason) for item in found} == {(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")}


@pytest.mark.promise("P10")
async def test_too_many_calls_are_told_when_to_come_back() -> None:
    async with guarded(limits=Limits(calls_at_once=2)) as g:
        held = [asyncio.ensure_future(_call(g.runs.CancelRun(pb.CancelRunRequest()))) for _ in range(2)]
        for _ in held:
            await g.service.entered.acquire()
        found = await refusal(g.runs.GetRun(pb.GetRunRequest()))
        assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert "RetryInfo" in found.details
        assert g.guard.calls_under_way == 2
        g.service.release.set()
        await asyncio.gather(*held)
        assert await g.runs.GetRun(pb.GetRunRequest()) == pb.GetRunResponse()
        assert g.guard.calls_under_way == 0


async def test_calls_that_wait_by_design_keep_nobody_out() -> None:
    async with guarded(limits=Limits(calls_at_once=1)) as g:
        waiting = asyncio.ensure_future(_call(g.runs.WaitRun(pb.WaitRunRequest())))
        await g.service.entered.acquire()
        assert await g.runs.GetRun(pb.GetRunRequest()) == pb.GetRunResponse()
        assert (await refusal(g.runs.WaitRun(pb.WaitRunRequest()))).reason == "TOO_MANY_CALLS"
        g.service.release.set()
        await waiting


@pytest.mark.promise("P10")
async def test_4000_calls_at_once_are_served_or_told_why_not() -> None:
    async with guarded(limits=Limits(calls_at_once=100)) as g:
        channels = [
            grpc.aio.insecure_channel(g.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)
        ]
        stubs = [RunServiceStub(channel) for channel in channels]
        answers: Counter[str] = Counter()

        async def call(number: int) -> None:
            try:
                await stubs[number % 4].CancelRun(pb.CancelRunRequest())
                answers["served"] += 1
            except grpc.aio.AioRpcError as error:
                answers[refused(error).reason] += 1
                if answers["TOO_MANY_CALLS"] == 3_900:
                    g.service.release.set()

        await asyncio.gather(*map(call, range(4_000)))
        for channel in channels:
            await channel.close()
    assert answers == {"served": 100, "TOO_MANY_CALLS": 3_900}


async def test_a_draining_server_takes_no_new_calls() -> None:
    async with guarded() as g:
        held = asyncio.ensure_future(_call(g.runs.CancelRun(pb.CancelRunRequest())))
        await g.service.entered.acquire()
        g.guard.draining = True
        for call in (g.runs.GetRun(pb.GetRunRequest()), g.runs.WatchRun(pb.WatchRunRequest()).read()):
            found = await refusal(call)
            assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
            assert "RetryInfo" in found.details
        g.service.release.set()
        assert await held == pb.CancelRunResponse()


async def test_a_cancelled_call_reaches_its_handler() -> None:
    async with guarded() as g:
        call = g.runs.CancelRun(pb.CancelRunRequest())
        held = asyncio.ensure_future(_call(call))
        await g.service.entered.acquire()
        call.cancel()
        assert await g.service.ended.get() == "cancelled"
        with pytest.raises(asyncio.CancelledError):
            await held
        assert g.guard.calls_under_way == 0
    assert g.guard.defects == 0


async def test_a_cancelled_stream_is_closed_at_once() -> None:
    async with guarded() as g:
        call = g.runs.WatchRun(pb.WatchRunRequest())
        assert await call.read() == pb.WatchRunResponse()
        call.cancel()
        assert await g.service.ended.get() == "watch"


async def test_a_token_is_asked_for() -> None:
    async with guarded(authenticator=TOKENS) as g:
        for metadata in ((), bearer("no-such-token-here"), (("authorization", TOKEN),)):
            found = await refusal(g.runs.GetRun(pb.GetRunRequest(), metadata=metadata))
            assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
            watch = g.runs.WatchRun(pb.WatchRunRequest(), metadata=metadata)
            assert (await refusal(watch.read())).reason == "UNAUTHENTICATED"
        await g.runs.GetRun(pb.GetRunRequest(), metadata=bearer(TOKEN))
    assert g.service.callers == ["alice"]


async def test_without_tokens_a_caller_goes_by_their_address() -> None:
    async with guarded() as g:
        await g.runs.GetRun(pb.GetRunRequest())
    assert g.service.callers[0].startswith("ipv4:127.0.0.1:")


@pytest.mark.parametrize(("namespace", "allowed"), [("a", True), ("default", True), ("", True), ("b", False)])
async def test_a_token_opens_its_namespaces_only(namespace: str, allowed: bool) -> None:
    async with guarded(authenticator=TOKENS) as g:
        calls = [
            g.runs.GetRun(pb.GetRunRequest(namespace=namespace), metadata=bearer(TOKEN)),
            g.runs.WatchRun(pb.WatchRunRequest(namespace=namespace), metadata=bearer(TOKEN)).read(),
            g.workers.PollTasks(wpb.PollTasksRequest(worker=wpb.Hello(namespace=namespace)), metadata=bearer(TOKEN)),
            g.workers.Work(
                iter([wpb.WorkRequest(hello=wpb.Hello(namespace=namespace))]), metadata=bearer(TOKEN)
            ).read(),
        ]
        for call in calls:
            if allowed:
                assert await call is not None
            else:
                found = await refusal(call)
                assert (found.code, found.reason) == (
                    grpc.StatusCode.PERMISSION_DENIED,
                    "NAMESPACE_DENIED",
                )
        assert await g.runs.GetRun(pb.GetRunRequest(namespace="b"), metadata=bearer(OTHER)) is not None


async def _call(call: Any) -> Any:
    return await call
