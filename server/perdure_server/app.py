"""A whole server: store, runtime and edge, plugged together. The only place that names a backend."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import uvloop

from perdure_server.api.auth import TokenFileError, read_token_file
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.api.edge import Edge
from perdure_server.api.sealed_header import inspect_record
from perdure_server.api.server import BindError, Transport
from perdure_server.clock import Clock, SystemClock
from perdure_server.config import Config, ConfigError
from perdure_server.engine.sealing import genesis_hash
from perdure_server.ids import new_epoch
from perdure_server.kernel.limits import SECOND_US
from perdure_server.metrics.monitor import Monitor
from perdure_server.runtime import Runtime
from perdure_server.storage.faults import FaultPlan
from perdure_server.storage.journal import epoch as journal_epoch
from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.memory.store import MemoryStore
from perdure_server.storage.port import Store, StoreError
from perdure_server.storage.sql import sqlite_copy
from perdure_server.storage.sql.sqlite import open_sqlite
from perdure_server.storage.sql.sqlite_copy import CopyFacts, Progress, put_in_place, take_copy
from perdure_server.telemetry import set_up_logging

if TYPE_CHECKING:
    from perdure_server.storage.sql.postgres import PostgresStore

log = logging.getLogger(__name__)

SQLITE_PREFIX = "sqlite:///"
JOURNAL_PREFIX = "file:"
POSTGRES_PREFIXES = ("postgresql://", "postgres://")
SWITCH_SECONDS = 0.000_5
"""How long the event loop may keep the interpreter while the writing thread wants it. Each statement of a commit
gives the interpreter up and asks for it again; with Python's own 5 ms a busy loop delays every one of them."""

YOUNG_OBJECTS = 20_000
"""Objects between two passes of the garbage collector. Nearly all that a step makes is freed by reference counts;
with Python's own 700 the collector took 6% of the event loop looking for what is not there."""


class StartError(Exception):
    """The server cannot start; the text says what to do."""


def server_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("perdure")
    except PackageNotFoundError:
        return "0.0.0"


def open_store(url: str, now: int) -> Store:
    """Opens the backend that a URL names.

    Args:
        url: "memory:", "file:FOLDER", "sqlite:///FILE" (four slashes for an absolute path), or "postgresql://...".
        now: Unix microseconds.

    Raises: ConfigError for a URL of no backend; StoreError if the backend refuses.
    """
    if url == "memory:":
        return MemoryStore(genesis=genesis_hash, epoch=new_epoch())
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        path = Path(url.removeprefix(SQLITE_PREFIX))
        path.parent.mkdir(parents=True, exist_ok=True)
        return open_sqlite(path, genesis=genesis_hash, epoch=new_epoch(), now=now)
    if url.startswith(JOURNAL_PREFIX) and url != JOURNAL_PREFIX:
        return open_journal(Path(url.removeprefix(JOURNAL_PREFIX)), genesis=genesis_hash, epoch=new_epoch())
    if url.startswith(POSTGRES_PREFIXES):
        return _open_postgres(url)
    raise ConfigError(
        f"--store takes memory:, file:FOLDER, sqlite:///FILE or postgresql://..., not {shown_store(url)!r}"
    )


def _open_postgres(url: str) -> PostgresStore:
    return _postgres("postgres").open_postgres(url, genesis=genesis_hash, epoch=new_epoch())


def _postgres(module: str) -> ModuleType:
    """Loaded when it is asked for: its driver is an extra. Raises: ConfigError."""
    try:
        return import_module(f"perdure_server.storage.sql.{module}")
    except ImportError as error:
        raise ConfigError(f"--store postgresql:// needs pip install 'perdure[postgres]' ({error})") from error


def shown_store(url: str) -> str:
    """A --store URL as it may be logged: without a password or parameters."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, at, place = rest.partition("?")[0].rpartition("@")
    return f"{scheme}://{authority.partition(':')[0]}{at}{place}"


def back_up(url: str, target: Path, progress: Progress) -> CopyFacts:
    """Copies the store of a URL, which a server may be using, into a new file.

    Raises: ConfigError for a store that is copied by other means; StoreError.
    """
    return take_copy(_sqlite_file(url, "copied"), target, progress)


def put_back(url: str, copy: Path, progress: Progress, *, replace: bool) -> CopyFacts:
    """Makes a copy the store of a URL, under another epoch.

    Raises: ConfigError for a store that is restored by other means; StoreError.
    """
    return put_in_place(copy, _sqlite_file(url, "restored"), new_epoch(), progress, replace=replace)


def renew_epoch(url: str) -> str:
    """Gives the data of a URL, which was put there by other means, another epoch; returns it.

    Raises: ConfigError for a URL of no backend that keeps data; StoreError.
    """
    epoch = new_epoch()
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        sqlite_copy.change_epoch(Path(url.removeprefix(SQLITE_PREFIX)), epoch)
    elif url.startswith(JOURNAL_PREFIX) and url != JOURNAL_PREFIX:
        journal_epoch.change_epoch(Path(url.removeprefix(JOURNAL_PREFIX)), genesis_hash, epoch)
    elif url.startswith(POSTGRES_PREFIXES):
        _postgres("postgres_start").change_epoch(url, epoch)
    else:
        raise ConfigError(f"--store takes file:FOLDER, sqlite:///FILE or postgresql://..., not {shown_store(url)!r}")
    return epoch


def _sqlite_file(url: str, done: str) -> Path:
    if url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX):
        return Path(url.removeprefix(SQLITE_PREFIX))
    raise ConfigError(
        f"--store takes sqlite:///FILE here, not {shown_store(url)!r}; docs/backup.md says how others are {done}"
    )


class App:
    """A running server.

    Args:
        runtime: engine, dispatch, scheduler, ledger.
        edge: the gRPC server over them.
        config: how it was set up.
        monitor: its metrics and probes over HTTP, if they are wanted.
    """

    def __init__(self, runtime: Runtime, edge: Edge, config: Config, monitor: Monitor | None = None) -> None:
        self.runtime = runtime
        self.edge = edge
        self.config = config
        self.monitor = monitor
        self.address = ""

    async def start(self) -> None:
        """Recovers, then listens. Raises: BindError."""
        await self._start_monitor()
        await self.runtime.start()
        port = await self.edge.start()
        host, _ = self.config.address()
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def stop(self) -> None:
        """Drains: streams are told, calls under way end, queued commits are written. Idempotent."""
        grace_us = round(self.config.drain_seconds * SECOND_US)
        self.runtime.drain(grace_us)
        # At the end of the grace gRPC cuts off what is left: whoever stays is told before.
        goodbye = asyncio.create_task(self.runtime.say_goodbye(grace_us * 4 // 5))
        try:
            await self.edge.drain(grace_us)
        finally:
            goodbye.cancel()
        await self.runtime.stop()
        if self.monitor is not None:
            await self.monitor.stop()

    @property
    def metrics_address(self) -> str:
        """HOST:PORT of metrics and probes; "" if there are none."""
        address = self.config.metrics_address()
        return f"{address[0]}:{self.monitor.http.port}" if self.monitor is not None and address is not None else ""

    async def _start_monitor(self) -> None:
        if self.monitor is None:
            return
        try:
            await self.monitor.start()
        except OSError as error:
            where = self.config.metrics_listen
            raise BindError(f"cannot serve metrics on {where}: {error.strerror}; choose another port") from error


@asynccontextmanager
async def open_server(config: Config, clock: Clock | None = None) -> AsyncGenerator[App]:
    """A server for as long as the context lasts, in this process and on this loop.

    Args:
        config: its settings.
        clock: time; the machine's by default.

    Raises: ConfigError, StoreError; BindError if the port is taken.
    """
    config.check()
    clock = clock or SystemClock()
    authenticator = read_token_file(config.token_file) if config.token_file else None
    transport = Transport.from_files(config.listen, config.tls_cert, config.tls_key, config.client_ca)
    limits = config.effective_limits()
    store = await asyncio.to_thread(open_store, config.store, clock.now())
    store = FaultPlan.read(os.environ).around(store)
    runtime = Runtime(store, EngineCodec(), inspect_record, clock, limits)
    edge = Edge(
        runtime.engine,
        runtime.dispatcher,
        runtime.ledger,
        transport,
        server_version(),
        authenticator=authenticator,
        with_reflection=config.reflection,
    )
    address = config.metrics_address()
    monitor = Monitor(runtime, edge, server_version(), *address) if address is not None else None
    app = App(runtime, edge, config, monitor)
    try:
        await app.start()
        yield app
    finally:
        await app.stop()


async def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Raises: ConfigError, StoreError, BindError if it cannot start.
    """
    set_up_logging(config.log_format, config.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with open_server(config) as app:
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 20, 20)
        log.info(
            "perdure %s listening on %s, store %s, pid %s",
            server_version(),
            app.address,
            shown_store(config.store),
            os.getpid(),
        )
        if app.metrics_address:
            log.info("metrics and probes on http://%s", app.metrics_address)
        await stopping.wait()
        log.info("draining")
    log.info("stopped")


def run(config: Config) -> None:
    """`serve` on an event loop of its own: uvloop, 10 to 15% faster here than asyncio's own.

    Raises: ConfigError; StartError if port or store cannot be used.
    """
    try:
        uvloop.run(serve(config))
    except TokenFileError as error:
        raise ConfigError(str(error)) from error
    except (BindError, StoreError, OSError) as error:
        raise StartError(str(error)) from error
