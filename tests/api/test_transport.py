"""How the server listens: plain, TLS, with client certificates, on a socket file; and how it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from perdure.v1 import admin_service_pb2 as apb
from perdure.v1.admin_service_pb2_grpc import (
    AdminServiceServicer,
    AdminServiceStub,
    add_AdminServiceServicer_to_server,
)
from perdure_server.api.auth import Anybody, parse_tokens
from perdure_server.api.guard import Context, Guard, current_caller
from perdure_server.api.health import LIVENESS, Health
from perdure_server.api.server import ApiServer, BindError, Transport
from perdure_server.clock import VirtualClock
from perdure_server.engine.errors import StoreUnavailableError
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from tests.api.served import refusal, rest_of, serve

PEM = Path(__file__).parent / "certificates"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH: Any = health_pb2_grpc
INFO = apb.GetServerInfoRequest()


def tls(client_ca: bool = False) -> Transport:
    """TLS on a free port."""
    return Transport.from_files(
        "127.0.0.1:0", PEM / "server.pem", PEM / "server.key", PEM / "ca.pem" if client_ca else None
    )


def channel_to(address: str, certificate: str = "") -> grpc.aio.Channel:
    """A TLS channel, with a client certificate if one is named."""
    key, chain = (
        ((PEM / f"{certificate}.key").read_bytes(), (PEM / f"{certificate}.pem").read_bytes())
        if certificate
        else (None, None)
    )
    credentials = grpc.ssl_channel_credentials((PEM / "ca.pem").read_bytes(), key, chain)
    return grpc.aio.secure_channel(address, credentials)


async def unavailable(call: Awaitable[object]) -> None:
    """The call does not even reach the server's handlers."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_with_a_certificate_speaks_tls_only() -> None:
    async with serve(transport=tls()) as served:
        async with channel_to(served.address) as channel:
            assert (await AdminServiceStub(channel).GetServerInfo(INFO)).store_kind == "memory"
        await unavailable(served.admin.GetServerInfo(INFO, timeout=5))


async def test_a_client_authority_asks_for_certificates() -> None:
    async with serve(transport=tls(client_ca=True)) as served:
        async with channel_to(served.address, "client") as channel:
            assert (await AdminServiceStub(channel).GetServerInfo(INFO)).process_id
        for certificate in ("", "stranger"):
            async with channel_to(served.address, certificate) as channel:
                await unavailable(AdminServiceStub(channel).GetServerInfo(INFO))


async def test_a_token_is_asked_for_on_tls_too() -> None:
    tokens = parse_tokens(["ci 0123456789abcdef *"])
    async with serve(transport=tls(), authenticator=tokens) as served, channel_to(served.address) as channel:
        admin = AdminServiceStub(channel)
        assert (await refusal(admin.GetServerInfo(INFO))).reason == "UNAUTHENTICATED"
        metadata = (("authorization", "Bearer 0123456789abcdef"),)
        assert await admin.GetServerInfo(INFO, metadata=metadata)


class Named(AdminServiceServicer):
    """Answers with the caller's name."""

    async def GetServerInfo(self, request: apb.GetServerInfoRequest, context: Context) -> apb.GetServerInfoResponse:
        return apb.GetServerInfoResponse(server_version=current_caller(context))


class Store:
    """Answers a probe, or does not."""

    def __init__(self) -> None:
        self.away = False

    async def probe(self) -> None:
        if self.away:
            raise StoreUnavailableError("away")


def api_server(
    transport: Transport, store: Store | None = None, service: type[AdminServiceServicer] = Named
) -> ApiServer:
    """A server with one service and a clock that stands still."""
    instance: AdminServiceServicer = cast(Any, service)()
    guard = Guard(Anybody(), DEFAULT_LIMITS, lambda: "id")
    health = Health(["perdure.v1.AdminService"], (store or Store()).probe, VirtualClock())
    register = partial(add_AdminServiceServicer_to_server, instance)
    return ApiServer(transport, guard, health, [register], ["perdure.v1.AdminService"], DEFAULT_LIMITS)


async def test_a_client_certificate_names_the_caller() -> None:
    server = api_server(tls(client_ca=True))
    await server.start()
    async with channel_to(f"127.0.0.1:{server.port}", "client") as channel:
        answer = await AdminServiceStub(channel).GetServerInfo(INFO)
    assert answer.server_version == "billing-service"
    await server.drain(0)


async def test_a_port_is_not_shared() -> None:
    first = api_server(Transport("127.0.0.1:0"))
    await first.start()
    second = api_server(Transport(f"127.0.0.1:{first.port}"))
    with pytest.raises(BindError, match="another server"):
        await second.start()
    await second.drain(0)
    await first.drain(0)


async def test_a_socket_file_will_do(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    server = api_server(Transport(address))
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        assert (await AdminServiceStub(channel).GetServerInfo(INFO)).server_version.startswith("unix:")
    await server.drain(0)


async def test_readiness_reflects_the_store_and_liveness_does_not() -> None:
    store = Store()
    server = api_server(Transport("127.0.0.1:0"), store)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = HEALTH.HealthStub(channel)

        async def status(service: str) -> int:
            return (await health.Check(health_pb2.HealthCheckRequest(service=service))).status

        names = ["", "perdure.v1.AdminService"]
        assert [await status(name) for name in names] == [SERVING, SERVING]
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        store.away = True
        await server.health.loop.next_pass()
        assert (await watch.read()).status == NOT_SERVING
        assert [await status(name) for name in names] == [NOT_SERVING, NOT_SERVING]
        assert await status(LIVENESS) == SERVING
        store.away = False
        await server.health.loop.next_pass()
        assert (await watch.read()).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await status("unknown.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        listed = await health.List(cast(Any, health_pb2).HealthListRequest())
        assert set(listed.statuses) == {*names, LIVENESS}
        draining = asyncio.ensure_future(server.drain(30 * SECOND_US))
        assert [message.status for message in await rest_of(watch)] == [NOT_SERVING]
        await draining


async def test_probes_need_no_token() -> None:
    tokens = parse_tokens(["ci 0123456789abcdef *"])
    async with serve(authenticator=tokens) as served:
        health = HEALTH.HealthStub(served.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
        found = await refusal(served.admin.GetServerInfo(INFO))
        assert found.reason == "UNAUTHENTICATED"


async def test_reflection_lists_what_is_served() -> None:
    async with serve() as served:
        stub = cast(Any, reflection_pb2_grpc).ServerReflectionStub(served.channel)
        request = cast(Any, reflection_pb2).ServerReflectionRequest(list_services="*")
        answer = await stub.ServerReflectionInfo(iter([request])).read()
        names = {service.name for service in answer.list_services_response.service}
    assert {"perdure.v1.RunService", "perdure.v1.WorkerService", "grpc.health.v1.Health"} <= names


async def test_drain_lets_calls_under_way_end() -> None:
    released, entered = asyncio.Event(), asyncio.Event()

    class Slow(Named):
        async def GetServerInfo(self, request: apb.GetServerInfoRequest, context: Context) -> apb.GetServerInfoResponse:
            entered.set()
            await released.wait()
            return apb.GetServerInfoResponse(server_version="ended well")

    server = api_server(Transport("127.0.0.1:0"), service=Slow)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = asyncio.ensure_future(_call(AdminServiceStub(channel).GetServerInfo(INFO)))
        await entered.wait()
        assert server.guard.calls_under_way == 1
        draining = asyncio.ensure_future(server.drain(60 * SECOND_US))
        await asyncio.sleep(0)
        assert server.guard.draining
        released.set()
        assert (await call).server_version == "ended well"
        await draining


async def _call(call: Any) -> Any:
    return await call
