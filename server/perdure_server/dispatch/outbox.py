"""What is to be sent on a worker's stream; all that one turn of the event loop queues leaves in one message."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, TypeVar

from perdure_server.dispatch.messages import Acked, GoodbyeReason, LeaseUpdate, ToWorker, Welcome
from perdure_server.kernel.model import RemoteRequest, RunState

PART_BYTES: Final = 512
"""What an ack or an update takes, with room to spare for usual ids."""

TASK_BYTES: Final = 2_048
"""What a task takes besides its payload."""

T = TypeVar("T")

MAX_ACKS: Final = 4_000
"""Acks that wait to be sent before the stream is read no further."""


class Outbox:
    """Queues of one stream. One reader takes messages out; anybody on the event loop puts parts in.

    Args:
        message_bytes: most bytes of a message, which holds at least one part.
    """

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._welcome: Welcome | None = None
        self._begin_acks: deque[Acked] = deque()
        self._acks: deque[Acked] = deque()
        self._updates: deque[LeaseUpdate] = deque()
        self._tasks: deque[RunState] = deque()
        self._drain_us: int | None = None
        self._goodbye: GoodbyeReason | None = None
        self._pong = False
        self._failure: Exception | None = None
        self._closed = False
        self._over = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def welcome(self, welcome: Welcome) -> None:
        """First message."""
        self._welcome = welcome
        self._filled.set()

    def begin_ack(self, ack: Acked) -> None:
        """Answers a begin."""
        self._begin_acks.append(ack)
        self._filled.set()

    def ack(self, ack: Acked) -> None:
        """Answers a report."""
        self._acks.append(ack)
        self._filled.set()

    def update(self, update: LeaseUpdate) -> None:
        """News of a lease."""
        self._updates.append(update)
        self._filled.set()

    def task(self, run: RunState) -> None:
        """Sends `run.step`."""
        self._tasks.append(run)
        self._filled.set()

    def drain(self, timeout_us: int) -> None:
        """Asks the worker to open another stream."""
        self._drain_us = timeout_us
        self._filled.set()

    def pong(self) -> None:
        """Sends something, if there is nothing else to send."""
        self._pong = True
        self._filled.set()

    def goodbye(self, reason: GoodbyeReason | None) -> None:
        """Ends the stream once everything is sent; None: without a word. Later parts are not sent."""
        if not self._closed:
            self._goodbye = reason
            self._closed = True
        self._filled.set()

    def fail(self, error: Exception) -> None:
        """Ends the stream at once with an error."""
        self._failure = self._failure or error
        self._closed = True
        self._filled.set()

    def withdraw(self) -> list[RunState]:
        """Takes the tasks back that have not been sent."""
        tasks = list(self._tasks)
        self._tasks.clear()
        return tasks

    async def room(self) -> None:
        """Returns when few enough acks wait to be sent."""
        while len(self._acks) + len(self._begin_acks) > MAX_ACKS and not self._closed:
            self._emptied.clear()
            await self._emptied.wait()

    async def next(self) -> tuple[ToWorker, list[RunState]] | None:
        """The next message and the runs whose tasks go with it; None: the stream ends.

        Raises: the error the stream ends with.
        """
        while True:
            if self._failure is not None:
                self._emptied.set()
                raise self._failure
            if self._has_parts() and not self._over:
                break
            if self._closed:
                self._emptied.set()
                return None
            self._filled.clear()
            await self._filled.wait()
        await asyncio.sleep(0)  # what this turn of the loop still brings goes with it
        message, runs = self._cut()
        self._emptied.set()
        return message, runs

    def _has_parts(self) -> bool:
        queued = self._begin_acks or self._acks or self._updates or self._tasks
        alone = self._welcome is not None or self._drain_us is not None or self._goodbye is not None
        return bool(queued) or alone or self._pong

    def _cut(self) -> tuple[ToWorker, list[RunState]]:
        message = ToWorker(welcome=self._welcome, drain_us=self._drain_us)
        room = self._message_bytes
        if self._welcome is not None:
            room -= (len(self._welcome.held) + 1) * PART_BYTES
        self._welcome, self._drain_us, self._pong = None, None, False
        room = _move(self._begin_acks, message.begin_acks, room)
        room = _move(self._acks, message.acks, room)
        room = _move(self._updates, message.lease_updates, room)
        runs: list[RunState] = []
        while self._tasks:
            size = task_bytes(self._tasks[0])
            if size > room and (runs or room < self._message_bytes):
                break
            room -= size
            runs.append(self._tasks.popleft())
        if not (self._begin_acks or self._acks or self._updates or self._tasks):
            message.goodbye, self._goodbye = self._goodbye, None
            self._over = message.goodbye is not None
        return message, runs


def _move(queue: deque[T], parts: list[T], room: int) -> int:
    """Moves what has room, and says how much room is left."""
    while queue and room >= PART_BYTES:
        parts.append(queue.popleft())
        room -= PART_BYTES
    return room


def task_bytes(run: RunState) -> int:
    """About how many bytes the task of `run.step` takes in a message, never much too few."""
    effect = run.step.effect if run.step else None
    if effect is None:
        return run.vars_bytes + TASK_BYTES
    payload = effect.request.payload.size if isinstance(effect.request, RemoteRequest) else 0
    return payload + TASK_BYTES
