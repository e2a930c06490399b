"""The gRPC server: its options, its port, its services behind the guard, and how it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from perdure_server.api.guard import Guard, GuardedServer, UnknownMethods
from perdure_server.api.health import Health
from perdure_server.kernel.limits import SECOND_US, Limits

PENDING_CALLS: Final = 100_000
"""Calls that C-core lets wait to be taken up. Beyond its default of 1,000 it answers with a bare CANCELLED;
admission is ours, with a reason."""
HIGHEST_PENDING_CALLS: Final = 200_000

MOMENT_S: Final = 0.05
MOST_MOMENTS: Final = 40

# What these modules generate has no types.
_UNTYPED_HEALTH: Final[Any] = health_pb2_grpc
_UNTYPED_REFLECTION: Final[Any] = reflection
_UNTYPED_REFLECTION_GRPC: Final[Any] = reflection_pb2_grpc


class BindError(Exception):
    """The server cannot listen there; says what to do."""


@dataclass(frozen=True, slots=True)
class Transport:
    """Where and how the server listens.

    Args:
        address: HOST:PORT (port 0: a free one) or unix:PATH.
        certificate, key: PEM; without them the transport is plain.
        client_ca: PEM; clients must then show a certificate that it signed.
    """

    address: str
    certificate: bytes | None = None
    key: bytes | None = None
    client_ca: bytes | None = None

    @classmethod
    def from_files(cls, address: str, certificate: Path | None, key: Path | None, client_ca: Path | None) -> Transport:
        """Reads the PEM files. Raises: OSError."""
        certificate_pem, key_pem, ca_pem = (
            path.read_bytes() if path else None for path in (certificate, key, client_ca)
        )
        return cls(address, certificate_pem, key_pem, ca_pem)

    def credentials(self) -> grpc.ServerCredentials | None:
        """TLS credentials, or None for a plain transport."""
        if self.certificate is None or self.key is None:
            return None
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.client_ca,
            require_client_auth=self.client_ca is not None,
        )


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Channel arguments of the server.

    Dead peers are found within 20 s (a ping every 30 s of silence would else wait for a minute); a second
    server on the same port is refused instead of stealing connections.
    """
    return [
        ("grpc.max_receive_message_length", limits.receive_bytes),
        ("grpc.max_send_message_length", limits.receive_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", HIGHEST_PENDING_CALLS),
    ]


class ApiServer:
    """One listening server.

    Args:
        transport: where it listens.
        guard: stands before every handler.
        health: its probes.
        services: functions that register a servicer at the server they are given.
        names: full names of these services, for reflection.
        limits: limits in force.
        with_reflection: serve grpc.reflection.
    """

    def __init__(
        self,
        transport: Transport,
        guard: Guard,
        health: Health,
        services: Sequence[Callable[[grpc.aio.Server], None]],
        names: Sequence[str],
        limits: Limits,
        *,
        with_reflection: bool = True,
    ) -> None:
        self.guard = guard
        self.health = health
        self.port = 0
        self._transport = transport
        self._server = grpc.aio.server(options=server_options(limits))
        guarded = GuardedServer(self._server, guard).as_server()
        for register in services:
            register(guarded)
        _add_health(health, guarded)
        if with_reflection:
            _add_reflection([*names, "grpc.health.v1.Health", reflection.SERVICE_NAME], guarded)
        self._server.add_generic_rpc_handlers((UnknownMethods(guard),))

    async def start(self) -> None:
        """Listens; probes are answered from here on. Raises: BindError."""
        credentials = self._transport.credentials()
        address = self._transport.address
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise BindError(f"cannot listen on {address}: is another server there? choose another port") from error
        await self._server.start()
        self.health.loop.start()
        await self.health.loop.ready()

    async def drain(self, grace_us: int) -> None:
        """Takes no new calls; returns when those under way have ended, or when the grace is over and they
        were cut off. Long-lived streams should have been told to end before. Idempotent."""
        self.guard.draining = True
        self.health.drain()
        await self._turn_away_those_who_wait()
        await self._server.stop(grace_us / SECOND_US)
        await self.health.loop.stop()

    async def _turn_away_those_who_wait(self) -> None:
        """Lets calls that C-core holds already be refused with a reason: it would answer them with a bare
        CANCELLED when it stops. Ends with a moment in which none came, or after two seconds."""
        nothing = asyncio.get_running_loop().create_future()
        for _ in range(MOST_MOMENTS):
            before = self.guard.turned_away
            await asyncio.wait((nothing,), timeout=MOMENT_S)
            if self.guard.turned_away == before:
                return

    async def wait_stopped(self) -> None:
        """Returns when the server has stopped."""
        await self._server.wait_for_termination()


def _add_health(health: Health, server: grpc.aio.Server) -> None:
    _UNTYPED_HEALTH.add_HealthServicer_to_server(health, server)


def _add_reflection(names: Sequence[str], server: grpc.aio.Server) -> None:
    servicer = _UNTYPED_REFLECTION.aio.ReflectionServicer(names)
    _UNTYPED_REFLECTION_GRPC.add_ServerReflectionServicer_to_server(servicer, server)
