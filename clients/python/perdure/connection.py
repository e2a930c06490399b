"""One channel to a server, and how a unary call is made over it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from perdure.call_retry import CallRetryPolicy
from perdure.errors import CallCancelled, PerdureError, Unavailable, error_from_rpc

DEFAULT_PORT = 7171
DEFAULT_TIMEOUT_S = 30.0
"""Deadline of a unary call, repeats included; streams have none."""

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


def sdk_identity() -> str:
    """Name and version, as sent in Hello.sdk and the user agent."""
    try:
        return f"perdure-python/{version('perdure')}"
    except PackageNotFoundError:
        return "perdure-python/unknown"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS to the server: PEM files, as paths or bytes.

    Attributes:
        ca: certificates to trust; None: the system's.
        cert: the client's own certificate chain, for mutual TLS; needs `key`.
        key: its private key.
        server_name: the name to check in the server's certificate, if not the target's host.
    """

    ca: bytes | str | os.PathLike[str] | None = None
    cert: bytes | str | os.PathLike[str] | None = None
    key: bytes | str | os.PathLike[str] | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """The channel credentials; reads the files."""
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.cert))


def _pem(source: bytes | str | os.PathLike[str] | None) -> bytes | None:
    return source if source is None or isinstance(source, bytes) else Path(source).read_bytes()


def full_target(target: str) -> str:
    """The target with the default port where it names none; other schemes than host[:port] stay as they are."""
    if "/" in target or target.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):
        return target
    if target.startswith("["):
        return target if "]:" in target else f"{target}:{DEFAULT_PORT}"
    host, separator, port = target.partition(":")
    if ":" in port:
        return f"[{target}]:{DEFAULT_PORT}"
    return target if separator else f"{host}:{DEFAULT_PORT}"


def _is_loopback(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    host = target.rpartition("/")[2].rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_channel(target: str, *, token: str | None = None, tls: TlsConfig | bool | None = None) -> grpc.aio.Channel:
    """A channel with the options every SDK uses: keepalive with calls only, quick reconnects, one retry rule.

    Raises:
        ValueError: a token would travel in plain text to another machine.
    """
    address = full_target(target)
    config = TlsConfig() if tls is True else (tls or None)
    options: list[tuple[str, str | int]] = [
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5_000),  # how long one attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.primary_user_agent", sdk_identity()),
    ]
    if config is None:
        if token is not None and not _is_loopback(address):
            raise ValueError(f"the token would travel to {address} in plain text; connect with tls=True")
        return grpc.aio.insecure_channel(address, options=options)
    if config.server_name:
        options.append(("grpc.ssl_target_name_override", config.server_name))
    return grpc.aio.secure_channel(address, config.credentials(), options=options)


class Connection:
    """A channel, who calls over it, and the rule by which calls are repeated.

    Args:
        channel: anything with the interface of grpc.aio.Channel.
        namespace: the namespace of every request.
        token: bearer token.
        retry: the rule.
        timeout: deadline of a unary call in seconds, repeats included.
        sleep: how to wait between repeats.
        reopen: makes another channel to the same server; None: there is only this one.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        namespace: str = "default",
        token: str | None = None,
        retry: CallRetryPolicy | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        reopen: Callable[[], grpc.aio.Channel] | None = None,
    ) -> None:
        self.channel = channel
        self.token = token
        self.reopen = reopen
        self.namespace = namespace
        self.retry = retry or CallRetryPolicy()
        self.timeout = timeout
        self.sleep = sleep
        self.metadata: Sequence[tuple[str, str]] = (("authorization", f"Bearer {token}"),) if token else ()

    def private(self) -> Connection:
        """A connection of the caller's own to the same server, which it may close; else this one."""
        if self.reopen is None:
            return self
        return Connection(
            self.reopen(),
            namespace=self.namespace,
            token=self.token,
            retry=self.retry,
            timeout=self.timeout,
            sleep=self.sleep,
            reopen=self.reopen,
        )

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        timeout: float | None = None,
    ) -> _Response:
        """Calls a method, repeating it as the rule says, within one deadline.

        Raises:
            PerdureError: the last failure.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + (self.timeout if timeout is None else timeout)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await method(request, timeout=max(deadline - now(), 0.001), metadata=tuple(self.metadata))
            except grpc.aio.AioRpcError as failure:
                error = error_from_rpc(failure)
            except asyncio.CancelledError as cancelled:
                error = closed_under_us(cancelled)
            delay = self.retry.delay(error, attempt)
            if delay is None or now() + delay >= deadline:
                raise error
            if self.retry.before_repeat is not None:
                self.retry.before_repeat(error)
            await self.sleep(delay)

    async def wait_ready(self, target: str, timeout: float) -> None:
        """Returns once the server can be reached.

        Raises:
            Unavailable: not within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.channel.channel_ready()
        except TimeoutError:
            raise Unavailable(f"no server answers at {target} within {timeout:g} s; is it running there?") from None

    async def close(self) -> None:
        """Ends every call and closes the channel."""
        await self.channel.close()


def closed_under_us(cancelled: asyncio.CancelledError) -> PerdureError:
    """Tells the two meanings of a CancelledError from grpc apart.

    grpc raises it when the awaiting task is cancelled, and also when the call was cancelled by somebody else
    (its channel was closed). Only the first is a cancellation of the caller: that one is raised again.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise cancelled
    return CallCancelled("the connection was closed during the call")
