"""One worker's stream: what it sends is given to its runs, what concerns it is put into its outbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from perdure_server.dispatch.leases import Leases
from perdure_server.dispatch.messages import (
    Acked,
    FromWorker,
    GoodbyeReason,
    Heartbeat,
    Hello,
    LeaseUpdate,
    Task,
    ToWorker,
    Welcome,
)
from perdure_server.dispatch.outbox import Outbox
from perdure_server.dispatch.registry import Registry
from perdure_server.dispatch.reports import Reports
from perdure_server.dispatch.tasks import Tasks
from perdure_server.dispatch.workers import Seat
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import EngineError
from perdure_server.kernel.model import RunState

log = logging.getLogger(__name__)

SILENT_PINGS = 3
"""Ping intervals without a word after which a stream counts as dead."""


class Session:
    """A worker's stream after its hello.

    One task reads the stream and calls `receive` for each message; another one calls `next` and writes what
    it returns, until that is None; then `close`. Leases belong to the tasks: they outlive the session.

    - Parts of a message are taken in this order: credit and drain, begins, reports, heartbeats, goodbye; the
      credit that comes with a report serves the task which that report makes due.
    - Acks, updates and tasks that are due in the same turn of the event loop leave in one message.
    - A stream that says nothing for one and a half ping intervals is sent no new task until it does.
    - A stream that says nothing for three ping intervals, or ends without goodbye, is a dead worker's: its
      leases stay until they lapse, or until the worker says hello again.
    - Tasks that were never written are given back at once; they count as no lapse.
    """

    def __init__(
        self, engine: Engine, registry: Registry, reports: Reports, leases: Leases, tasks: Tasks, hello: Hello
    ) -> None:
        self.profile = hello.profile
        self.epoch = hello.stream_epoch
        self._engine = engine
        self._registry = registry
        self._reports = reports
        self._leases = leases
        self._tasks = tasks
        self._outbox = Outbox(engine.limits.message_bytes)
        self._heard_at = self._sent_at = engine.clock.monotonic()
        self._renewals: set[asyncio.Task[None]] = set()
        self._closed = False
        self.seat: Seat = registry.join(hello.profile, self, is_stream=True)
        self.seat.worker.epoch = hello.stream_epoch

    # --- the two sides of the stream -------------------------------------------------------------

    async def receive(self, message: FromWorker) -> None:
        """Takes one message; waits while too many acks have not been sent."""
        self._heard_at = self._engine.clock.monotonic()
        self._registry.hold(self.seat, silent=False)
        if message.credit is not None:
            self._registry.grant(self.seat, message.credit)
        if message.drain:
            self._registry.drain(self.seat)
        namespace, worker_id = self.profile.namespace, self.profile.worker_id
        for begin in message.begins:
            self._reports.begin(namespace, begin, self._begun)
        for report in message.reports:
            self._reports.report(namespace, worker_id, report, self._reported)
        if message.heartbeats:
            self._spawn(self._renew(message.heartbeats))
        if message.goodbye:
            self.end(GoodbyeReason.CLIENT_DONE)
        elif message.is_ping:
            self._outbox.pong()
        await self._outbox.room()

    async def next(self) -> ToWorker | None:
        """What to write next; None: the stream ends. Raises: EngineError, the stream ends with it."""
        entry = await self._outbox.next()
        if entry is None:
            return None
        message, runs = entry
        for run in runs:
            message.tasks.append(await self._task(run))
        self._engine.counters["tasks_sent"] += len(runs)
        self._sent_at = self._engine.clock.monotonic()
        return message

    async def close(self) -> None:
        """The stream has ended, however. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._outbox.goodbye(None)
        self._registry.leave(self.seat)
        for run in self._outbox.withdraw():
            self._leases.release(run)
        for task in list(self._renewals):
            task.cancel()
        if self._renewals:
            await asyncio.wait(self._renewals)

    # --- from within -----------------------------------------------------------------------------

    async def greet(self, hello: Hello) -> None:
        """Reconciles leases and says welcome. Raises: EngineError."""
        limits = self._engine.limits
        held = await self._leases.reconcile(self.seat.worker, hello.held)
        self._outbox.welcome(
            Welcome(limits.lease_us, limits.heartbeat_us, limits.ping_us, tuple(held), self._engine.info.epoch)
        )

    def end(self, reason: GoodbyeReason | None) -> None:
        """Says goodbye (None: does not) and sends no task any more; acks that are due are sent before it."""
        self._registry.leave(self.seat)
        for run in self._outbox.withdraw():
            self._leases.release(run)
        self._outbox.goodbye(reason)

    def fail(self, error: Exception) -> None:
        """Ends the stream with an error."""
        self._registry.leave(self.seat)
        self._outbox.fail(error)

    def drain(self, timeout_us: int) -> None:
        """The server goes away: no new task, and the worker is asked to look for another one."""
        self._registry.drain(self.seat)
        self._outbox.drain(timeout_us)

    def pulse(self, now: int) -> None:
        """Called now and then: keeps the stream from being silent, and notices a worker that is.

        Args:
            now: monotonic microseconds.
        """
        ping_us = self._engine.limits.ping_us
        self._registry.hold(self.seat, silent=now - self._heard_at > ping_us * 3 // 2)
        if now - self._heard_at > SILENT_PINGS * ping_us:
            log.warning("a worker's stream is silent", extra={"worker_id": self.profile.worker_id})
            self.end(None)
        elif now - self._sent_at >= ping_us // 2:
            self._outbox.pong()

    def excuse(self, now: int) -> None:
        """This process stood still: what the worker said meanwhile has not been read yet."""
        self._heard_at = now

    def send_task(self, run: RunState) -> None:
        """See `Sink`."""
        self._outbox.task(run)

    def send_update(self, update: LeaseUpdate) -> None:
        """See `Sink`."""
        self._outbox.update(update)

    def unreserved(self) -> None:
        """See `Sink`; the credit has gone back already."""

    def _begun(self, answer: Acked | EngineError) -> None:
        if isinstance(answer, Acked):
            self._outbox.begin_ack(answer)
        else:
            self.fail(answer)

    def _reported(self, answer: Acked | EngineError) -> None:
        if isinstance(answer, Acked):
            self._outbox.ack(answer)
        else:
            self.fail(answer)

    async def _renew(self, heartbeats: tuple[Heartbeat, ...]) -> None:
        try:
            updates = await self._leases.renew(self.profile.namespace, self.profile.worker_id, heartbeats)
        except EngineError as error:
            self.fail(error)
            return
        for update in updates:
            self._outbox.update(update)

    async def _task(self, run: RunState) -> Task:
        return self._tasks.known(run) or await self._tasks.find(run)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)
