"""The worker: what it serves, and its life."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from perdure.client import Client
from perdure.connection import sdk_identity
from perdure.context import EffectContext
from perdure.errors import DeadlineExceeded, PerdureError, Unavailable
from perdure.instants import Span, seconds
from perdure.json_text import JsonObject
from perdure.v1 import worker_service_pb2 as pb
from perdure.worker.desk import Desk
from perdure.worker.executor import Executor, Served
from perdure.worker.streams import Streams
from perdure.workflow import NodeHandler, Workflow

_log = logging.getLogger("perdure.worker")

_Handler = TypeVar("_Handler", bound=Callable[[EffectContext, JsonObject], Any])

_LEAVE_S = 2.0
"""How long the end waits for the last acks, and then for the stream's end."""


class Worker:
    """Serves nodes of workflows and effects; executes what the server hands it.

    One stream carries everything. It is reopened whenever it breaks, and what the worker holds goes on within
    its leases. `run` returns after `stop`; `async with worker:` does both. A worker runs once.

    Args:
        client: whose server and namespace.
        queues: the queues served.
        max_tasks: handlers that run at a time.
        worker_id: stable for the process; default: host, process and a random part.
        identity: for people; default: host and process.
        inlines_effects: when a node plans an effect that this worker serves too, execute it at once and report
            both together, unless it is irreversible or under a timeout: one round trip instead of two.
        drain_timeout: how long `stop` waits for handlers before it gives their tasks back.
    """

    def __init__(
        self,
        client: Client,
        *,
        queues: Sequence[str] = ("default",),
        max_tasks: int = 64,
        worker_id: str = "",
        identity: str = "",
        inlines_effects: bool = True,
        drain_timeout: Span = 30.0,
    ) -> None:
        if max_tasks < 1:
            raise ValueError("max_tasks must be at least 1")
        self._client = client
        self._queues = tuple(queues)
        self._max_tasks = max_tasks
        self._identity = identity or f"{socket.gethostname()}/{os.getpid()}"
        self._inlines_effects = inlines_effects
        self._drain_timeout = seconds(drain_timeout)
        self._workflows: dict[str, Workflow] = {}
        self._to_register: list[tuple[Workflow, bool]] = []
        self._effects: dict[str, Served] = {}
        self._store_epoch = ""
        self._registration: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: PerdureError | None = None
        self._welcomed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.worker_id = worker_id or f"{socket.gethostname()[:80]}-{os.getpid()}-{secrets.token_hex(4)}"

    # What it serves.

    def serve(self, workflow: Workflow, *, register: bool = True, set_default: bool = True) -> Workflow:
        """Serves the nodes of a workflow that are functions, in every version of it.

        Args:
            workflow: the workflow.
            register: register it with the server when the worker starts.
            set_default: a version that was not known becomes the workflow's default.
        """
        if workflow.workflow_id in self._workflows:
            raise ValueError(f"this worker already serves {workflow.workflow_id!r}")
        self._workflows[workflow.workflow_id] = workflow
        if register:
            self._to_register.append((workflow, set_default))
        return workflow

    def effect(self, type: str, *, begins_itself: bool = False) -> Callable[[_Handler], _Handler]:
        """Serves an effect type with the decorated function; "*" serves every type that has none of its own.

        The function takes an EffectContext and the payload, and returns the result (any JSON value) or a
        `Waiting`. It may be async, or plain: then it runs in a thread. For an effect whose risk is irreversible
        the worker first tells the server, and calls the function only after the server has noted it.

        Args:
            begins_itself: the function, which must be async, says itself when an irreversible effect begins, by
                `await ctx.begin()`. What fails before (a look-up, a reservation) is retried like any effect.
        """

        def declare(handler: _Handler) -> _Handler:
            if type in self._effects:
                raise ValueError(f"this worker already serves the effect {type!r}")
            served = Served.of(handler, begins_itself=begins_itself)
            if begins_itself and not served.is_async:
                raise ValueError(f"the handler of {type!r} begins itself, so it must be async")
            self._effects[type] = served
            return handler

        return declare

    # Its life.

    async def run(self) -> None:
        """Works until `stop`. A cancellation gives back what is not begun and leaves at once.

        Raises:
            PerdureError: an error that a new stream would only meet again (no such namespace, no valid token,
                another process with the same worker id, an invalid workflow).
        """
        threads = ThreadPoolExecutor(self._max_tasks, thread_name_prefix="perdure-handler")
        desk = self._new_desk(threads)
        streams = Streams(self._client.connection, self._hello, desk, self._opened)
        keeper = asyncio.create_task(self._keep(desk, streams))
        working = asyncio.create_task(self._work(streams))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopping, keeper}, return_when=asyncio.FIRST_COMPLETED)
            for task in (working, keeper):
                if task.done():
                    task.result()
            await self._leave(desk, streams, self._drain_timeout)
        except asyncio.CancelledError:
            await self._leave(desk, streams, 0.0)
            raise
        except PerdureError as error:
            self._error = error
            raise
        finally:
            background: list[asyncio.Task[Any]] = [keeper, working, stopping]
            if self._registration is not None:
                background.append(self._registration)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await desk.close()
            await streams.close()
            threads.shutdown(wait=False, cancel_futures=True)
            self._ended.set()

    async def ready(self) -> None:
        """Returns once the server has welcomed the worker.

        Raises:
            PerdureError: the worker ended instead: what ended it, or Unavailable.
        """
        welcomed, ended = asyncio.create_task(self._ready.wait()), asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({welcomed, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            welcomed.cancel()
            ended.cancel()
        if self._ended.is_set():
            raise self._error or Unavailable("the worker has ended")

    async def stop(self) -> None:
        """Lets `run` finish: no new tasks, the held ones end within drain_timeout, then goodbye."""
        self._stop.set()
        if self._runner is not None:
            await asyncio.wait({self._runner})

    async def __aenter__(self) -> Self:
        """Runs in the background; returns when the server has welcomed the worker."""
        self._runner = asyncio.create_task(self.run())
        try:
            await self.ready()
        except BaseException:
            self._runner.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops; raises what ended the worker, if something did."""
        await self.stop()
        if self._runner is not None and kind is None:
            self._runner.result()

    async def _work(self, streams: Streams) -> None:
        await self._register()
        await streams.run()

    async def _leave(self, desk: Desk, streams: Streams, timeout: float) -> None:
        """Waits for handlers, gives back what is left, waits for the last acks, says goodbye."""
        desk.is_draining = True
        streams.drain(timeout)
        if timeout and not await _within(timeout, desk.idle()):
            _log.warning("handlers still run after %.0f s; their tasks are given back", timeout)
        desk.release_all()
        await _within(_LEAVE_S, desk.idle())
        await streams.leave(_LEAVE_S)

    async def _keep(self, desk: Desk, streams: Streams) -> None:
        """Looks after leases, heartbeats, pings and silence; sleeps until the next of them is due."""
        now = asyncio.get_running_loop().time
        while True:
            at = now()
            next_at = min(desk.keep(at), streams.keep(at), at + desk.heartbeat_interval / 4)
            self._welcomed.clear()
            await _within(max(next_at - now(), 0.01), self._welcomed.wait())

    # What it tells the server.

    def _hello(self, epoch: int) -> pb.Hello:
        return pb.Hello(
            namespace=self._client.connection.namespace,
            worker_id=self.worker_id,
            stream_epoch=epoch,
            identity=self._identity,
            sdk=sdk_identity(),
            queues=self._queues,
            workflows=[
                pb.ServedWorkflow(workflow_id=workflow.workflow_id, node_ids=list(workflow.handlers))
                for workflow in self._workflows.values()
                if workflow.handlers
            ],
            effect_types=list(self._effects),
        )

    def _opened(self, welcome: pb.Welcome) -> None:
        if self._store_epoch not in {"", welcome.store_epoch}:
            _log.info("the server has another store; registering again")
            self._registration = asyncio.create_task(self._register())
        self._store_epoch = welcome.store_epoch
        self._ready.set()
        self._welcomed.set()

    async def _register(self) -> None:
        """Registers the workflows, for as long as it takes until the server answers."""
        retry = self._client.connection.retry
        for workflow, set_default in self._to_register:
            attempt = 0
            while True:
                try:
                    await self._client.register_workflow(workflow, set_default=set_default)
                    break
                except (DeadlineExceeded, Unavailable) as error:
                    attempt += 1
                    _log.info("cannot register %s yet: %s", workflow.workflow_id, error)
                    await asyncio.sleep(retry.jitter(attempt))

    def _new_desk(self, threads: ThreadPoolExecutor) -> Desk:
        nodes: dict[tuple[str, str], NodeHandler] = {
            (workflow.workflow_id, node_id): handler
            for workflow in self._workflows.values()
            for node_id, handler in workflow.handlers.items()
        }
        executor = Executor(
            nodes,
            self._effects,
            queues=frozenset(self._queues),
            inlines_effects=self._inlines_effects,
            threads=threads,
        )
        return Desk(executor.execute, self._max_tasks)


async def _within(timeout: float, waiting: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await waiting
    except TimeoutError:
        return False
    return True
