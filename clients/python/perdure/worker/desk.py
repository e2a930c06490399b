"""The tasks a worker holds, across its streams: what runs, what is still to be told, whose lease ends when.

A task is held from its arrival until its report is acknowledged, or until it is lost. All of it happens on
one event loop; only `HeldTask.progress` may be called from other threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum

from perdure.context import BeginRefusedError
from perdure.failures import plain_failure
from perdure.instants import duration_seconds
from perdure.v1 import model_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2 import (
    ACK_STATUS_ACCEPTED,
    ACK_STATUS_DUPLICATE,
    ACK_STATUS_REFUSED,
    LEASE_STATE_CANCELLED,
    LEASE_STATE_HELD,
    LEASE_STATE_LOST,
)

_log = logging.getLogger("perdure.worker")

_STOP_AT = 0.8
"""The part of a lease after which a handler is stopped when nothing renewed it."""

_UNACKED_PER_SLOT = 4
"""Reports that may wait for their ack, per slot, before no new task is asked for."""

_REPORT_BYTES = 3_670_016
"""The largest report: the wire's limit of 3.5 MiB for a message."""

_CLOSE_S = 2.0
"""How long the end waits for handlers that were cancelled."""


class Stop(Enum):
    """Why a handler was told to stop."""

    LOST = "another attempt has the step, or it is over"
    CANCELLED = "the run was cancelled"
    LEASE = "the lease was not renewed in time"
    TIMEOUT = "its start_to_close is over"
    RELEASED = "the worker stops"


class HeldTask:
    """One task: its lease, its handler, and its report until that is acknowledged."""

    __slots__ = (
        "_desk", "begin_ack", "begun", "heartbeat_s", "is_lost", "late", "lease_from", "lease_s", "limit",
        "progressed_at", "renewed_at", "report", "report_bytes", "reported_at", "runner", "stopped", "task", "token",
    )  # fmt: skip

    def __init__(self, desk: Desk, task: pb.Task, now: float) -> None:
        self._desk = desk
        self.task = task
        self.token = task.task_token
        self.lease_from = now
        self.lease_s = duration_seconds(task.lease)
        self.renewed_at = now
        self.progressed_at = now
        self.heartbeat_s = 0.0
        self.runner: asyncio.Task[None] | None = None
        self.limit: asyncio.TimerHandle | None = None
        self.late: asyncio.TimerHandle | None = None
        self.begin_ack: asyncio.Future[pb.Ack] | None = None
        self.is_lost = False
        self.begun = False
        self.stopped: Stop | None = None
        self.report: pb.TaskReport | None = None
        self.report_bytes = 0
        self.reported_at: float | None = None

    @property
    def is_cancelled(self) -> bool:
        """The handler should stop."""
        return self.stopped is not None

    @property
    def is_executing(self) -> bool:
        """It has no report yet."""
        return self.report is None

    async def begin(self) -> None:
        """Returns once the server has noted that the irreversible effect begins; at once if it has already.

        Raises: BeginRefusedError if it must not be executed.
        """
        if self.begun:
            return
        ack = await self._desk.begin(self)
        if ack.status == ACK_STATUS_REFUSED:
            raise BeginRefusedError(ack.reason or "BEGIN_REFUSED", f"the begin was refused: {ack.message}")
        if ack.status not in {ACK_STATUS_ACCEPTED, ACK_STATUS_DUPLICATE}:
            self.is_lost = True
            raise BeginRefusedError("", "the task is no longer this worker's")
        self.begun = True

    def progress(self) -> None:
        """The handler is alive."""
        self._desk.progress(self)


class Desk:
    """All held tasks and what is to be sent about them.

    Args:
        execute: makes the report of a task; None when there is nothing to report.
        max_tasks: how many handlers run at a time.
    """

    def __init__(self, execute: Callable[[HeldTask], Awaitable[pb.TaskReport | None]], max_tasks: int) -> None:
        self._execute = execute
        self._max_tasks = max_tasks
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._held: dict[bytes, HeldTask] = {}
        self._executing = 0
        self._unsent_reports: deque[HeldTask] = deque()
        self._unsent_begins: deque[HeldTask] = deque()
        self._unsent_beats: dict[bytes, bool] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.wake: Callable[[], None] = _nobody
        self.is_draining = False
        self.heartbeat_interval = 10.0

    @property
    def tokens(self) -> list[bytes]:
        """Every token that is worked on or not yet acknowledged."""
        return list(self._held)

    @property
    def free(self) -> int:
        """Tasks that may be asked for now."""
        if self.is_draining:
            return 0
        unacked_room = self._max_tasks * _UNACKED_PER_SLOT - (len(self._held) - self._executing)
        return max(0, min(self._max_tasks - self._executing, unacked_room))

    async def idle(self) -> None:
        """Returns once nothing is held."""
        await self._idle.wait()

    # What the server says.

    def accept(self, tasks: Iterable[pb.Task]) -> None:
        """Starts the handlers of tasks that arrived together."""
        now = self._loop.time()
        for task in tasks:
            if task.task_token in self._held:
                continue
            held = HeldTask(self, task, now)
            self._held[held.token] = held
            self._executing += 1
            if task.HasField("timeouts"):
                self._bound(held, task)
            held.runner = self._loop.create_task(self._run(held))
        if self._held:
            self._idle.clear()

    def acknowledge(self, acks: Iterable[pb.Ack]) -> None:
        """Forgets settled reports; a refused one is replaced by a failure that says so."""
        for ack in acks:
            held = self._held.get(ack.task_token)
            if held is None or held.report is None:
                continue
            status = ack.status
            if status == ACK_STATUS_REFUSED:
                self._refused(held, ack)
                continue
            if status not in {ACK_STATUS_ACCEPTED, ACK_STATUS_DUPLICATE}:
                _log.warning("report of %s was dropped: %s %s", _name(held), ack.reason, ack.message)
            self._forget(held)

    def acknowledge_begins(self, acks: Iterable[pb.Ack]) -> None:
        """Lets irreversible effects act."""
        for ack in acks:
            held = self._held.get(ack.task_token)
            if held is not None and held.begin_ack is not None and not held.begin_ack.done():
                held.begin_ack.set_result(ack)

    def update(self, updates: Iterable[pb.LeaseUpdate]) -> None:
        """Renews leases and stops what was lost or cancelled."""
        now = self._loop.time()
        for update in updates:
            held = self._held.get(update.task_token)
            if held is None:
                continue
            if update.state == LEASE_STATE_HELD:
                held.lease_from = now
                held.lease_s = duration_seconds(update.lease) or held.lease_s
            elif update.state == LEASE_STATE_CANCELLED:
                self.stop(held, Stop.CANCELLED)
            elif update.state == LEASE_STATE_LOST:
                if held.is_executing:
                    self.stop(held, Stop.LOST)
                else:
                    self._forget(held)

    # What handlers say.

    async def begin(self, held: HeldTask) -> pb.Ack:
        """Asks to execute an irreversible effect; returns the server's answer."""
        held.begin_ack = self._loop.create_future()
        self._unsent_begins.append(held)
        self.wake()
        return await held.begin_ack

    def progress(self, held: HeldTask) -> None:
        """Queues a sign of life of a handler, at most three within its heartbeat timeout."""
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.progress, held)
            return
        if not held.is_executing or held.stopped is not None:
            return
        if held.late is not None:
            return
        quiet = min(held.heartbeat_s or self.heartbeat_interval, self.heartbeat_interval) / 3
        due = held.progressed_at + quiet
        if self._loop.time() >= due:
            self._beat(held)
        else:
            # The last sign of a burst must not be lost: it goes out when its time has come.
            held.late = self._loop.call_at(due, self._beat, held)

    # What is sent.

    def resend(self) -> None:
        """Queues everything a new stream has to be told."""
        self._unsent_reports = deque(held for held in self._held.values() if held.report is not None)
        self._unsent_begins = deque(
            held for held in self._held.values() if held.begin_ack is not None and not held.begin_ack.done()
        )
        self._unsent_beats.clear()

    def fill(self, request: pb.WorkRequest, max_bytes: int) -> bool:
        """Moves what is queued into a request, up to about `max_bytes`; True if it has anything."""
        if self._unsent_begins:
            request.begins.extend(pb.Begin(task_token=held.token) for held in self._unsent_begins)
            self._unsent_begins.clear()
        if self._unsent_beats:
            request.heartbeats.extend(
                pb.Heartbeat(task_token=token, progress=progress) for token, progress in self._unsent_beats.items()
            )
            self._unsent_beats.clear()
        unsent = self._unsent_reports
        if unsent:
            now = self._loop.time()
            batch: list[pb.TaskReport] = []
            size = 0
            while unsent and size < max_bytes:
                held = unsent.popleft()
                if held.report is not None and held.token in self._held:
                    batch.append(held.report)
                    held.reported_at = now
                    size += held.report_bytes
            request.reports.extend(batch)
        return bool(request.reports or request.begins or request.heartbeats)

    @property
    def has_unsent(self) -> bool:
        """Something is left to `fill` another request."""
        return bool(self._unsent_reports or self._unsent_begins or self._unsent_beats)

    def keep(self, now: float) -> float:
        """Stops handlers whose lease runs out, renews the others, tells again what was not acknowledged.

        Returns:
            The loop time at which the next lease has to be looked at; infinity if there is none.
        """
        earliest = float("inf")
        interval = self.heartbeat_interval
        for held in list(self._held.values()):
            if held.is_executing:
                stop_at = held.lease_from + _STOP_AT * held.lease_s if held.lease_s else float("inf")
                if now >= stop_at:
                    self.stop(held, Stop.LEASE)
                    continue
                earliest = min(earliest, stop_at)
                if now - held.renewed_at >= interval:
                    held.renewed_at = now
                    self._unsent_beats.setdefault(held.token, False)
            elif held.reported_at is not None and now - held.reported_at >= 2 * interval:
                held.reported_at = None
                self._unsent_reports.append(held)
        if self.has_unsent:
            self.wake()
        return earliest

    # How tasks end.

    def stop(self, held: HeldTask, why: Stop) -> None:
        """Cancels a handler. What is reported of it, if anything, depends on why."""
        if held.stopped is None and held.is_executing and held.runner is not None:
            held.stopped = why
            _log.warning("%s stops: %s", _name(held), why.value)
            # Not at once: a task cancelled before its first step would never settle.
            self._loop.call_soon(held.runner.cancel)

    def release_all(self) -> None:
        """Stops every handler and gives its task back."""
        for held in list(self._held.values()):
            self.stop(held, Stop.RELEASED)

    async def close(self) -> None:
        """Cancels every handler and waits until it has ended, but not for long; nothing more is sent."""
        self.release_all()
        runners = [held.runner for held in self._held.values() if held.runner is not None and not held.runner.done()]
        if runners:
            _, stubborn = await asyncio.wait(runners, timeout=_CLOSE_S)
            if stubborn:
                _log.error("%d handlers do not end although they were cancelled", len(stubborn))

    async def _run(self, held: HeldTask) -> None:
        report: pb.TaskReport | None = None
        try:
            report = await self._execute(held)
        except asyncio.CancelledError:
            report = _report_of_stop(held)
            raise
        finally:
            # A handler that ended by itself although it was told to stop has something to say; the server decides.
            self._settle(held, None if held.stopped is Stop.LOST else report)

    def _settle(self, held: HeldTask, report: pb.TaskReport | None) -> None:
        self._executing -= 1
        self._unsent_beats.pop(held.token, None)
        for timer in (held.limit, held.late):
            if timer is not None:
                timer.cancel()
        if report is None:
            self._forget(held)
        else:
            self._queue(held, report)
        self.wake()

    def _queue(self, held: HeldTask, report: pb.TaskReport) -> None:
        """Queues a report. One that no message can carry would end every stream it is sent on: it failed."""
        held.report_bytes = report.ByteSize()
        if held.report_bytes > _REPORT_BYTES:
            text = f"the report has {held.report_bytes} bytes, a message carries at most {_REPORT_BYTES}"
            report = failure_report(held.task, plain_failure("PAYLOAD_TOO_LARGE", text, retryable=False))
        held.report = report
        held.reported_at = None
        self._unsent_reports.append(held)

    def _forget(self, held: HeldTask) -> None:
        del self._held[held.token]
        if not self._held:
            self._idle.set()

    def _refused(self, held: HeldTask, ack: pb.Ack) -> None:
        report = held.report
        if report is None or _is_failure(report):
            _log.error("even the failure of %s was refused: %s %s", _name(held), ack.reason, ack.message)
            self._forget(held)
            return
        _log.error("report of %s was refused: %s %s", _name(held), ack.reason, ack.message)
        failure = plain_failure(ack.reason or "BAD_REPORT", f"the result was refused: {ack.message}", retryable=False)
        self._queue(held, failure_report(held.task, failure))
        self.wake()

    def _bound(self, held: HeldTask, task: pb.Task) -> None:
        timeouts = task.timeouts
        if timeouts.HasField("heartbeat"):
            held.heartbeat_s = duration_seconds(timeouts.heartbeat)
        if timeouts.HasField("start_to_close"):
            limit = duration_seconds(timeouts.start_to_close)
            held.limit = self._loop.call_later(limit, self.stop, held, Stop.TIMEOUT)

    def _beat(self, held: HeldTask) -> None:
        held.late = None
        held.progressed_at = held.renewed_at = self._loop.time()
        self._unsent_beats[held.token] = True
        self.wake()


def failure_report(task: pb.Task, failure: model_pb2.StepFailure) -> pb.TaskReport:
    """The report that a task failed, in the form its kind of work has."""
    if task.HasField("node"):
        return pb.TaskReport(task_token=task.task_token, failed=failure)
    return pb.TaskReport(task_token=task.task_token, effect=model_pb2.EffectOutcome(failed=failure))


def release_report(task: pb.Task, delay_s: float = 0.0) -> pb.TaskReport:
    """The report that gives a task back unexecuted."""
    report = pb.TaskReport(task_token=task.task_token)
    report.release.SetInParent()
    if delay_s:
        report.release.delay.FromMicroseconds(round(delay_s * 1_000_000))
    return report


def _report_of_stop(held: HeldTask) -> pb.TaskReport | None:
    """What the server is told of a handler that was stopped before it gave a report.

    Of an irreversible effect that began, nothing: nobody knows whether it happened, and only silence lets the
    server put it in doubt.
    """
    if held.begun:
        return None
    if held.stopped is Stop.TIMEOUT:
        return failure_report(held.task, plain_failure("TIMEOUT", "start_to_close is over", retryable=True))
    if held.stopped is Stop.RELEASED:
        return release_report(held.task)
    return None


def _is_failure(report: pb.TaskReport) -> bool:
    outcome = report.WhichOneof("outcome")
    return outcome in {"failed", "release"} or (outcome == "effect" and report.effect.HasField("failed"))


def _name(held: HeldTask) -> str:
    task = held.task
    return f"run {task.run.run_id} node {task.node_id} attempt {task.attempt}"


def _nobody() -> None:
    """No stream is open."""
