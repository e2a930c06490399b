"""Background loops, all of one shape: start, stop, ready; woken by a signal or by time; tests await passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from perdure_server.clock import Clock

log = logging.getLogger(__name__)

FIRST_BACKOFF_US: Final = 100_000
LAST_BACKOFF_US: Final = 10_000_000


class Loop:
    """Runs `step` again and again: when it is woken, and when the delay has passed that `step` returned.

    A wake-up during a pass is not lost: another pass follows. A pass that raises is logged, with its traceback where
    the one before it did not raise the same, and counted in `failures`; the next one waits 0.1 s, doubled from failure
    to failure up to 10 s, unless it is woken.

    Args:
        name: for logs and the task's name.
        clock: measures the delays.
        step: one pass, bounded; returns the microseconds after which it wants to run again.
    """

    def __init__(self, name: str, clock: Clock, step: Callable[[], Awaitable[int]]) -> None:
        self.name = name
        self.failures = 0
        self._clock = clock
        self._step = step
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.Future[None] | None = None
        self._woken = False
        self._begun = 0
        self._ended = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def running(self) -> bool:
        """Between start and stop."""
        return self._task is not None

    def start(self) -> None:
        """Begins with a pass. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"perdure-{self.name}")

    async def stop(self) -> None:
        """Ends, in the middle of a pass if there is one. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for _, waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()

    def wake(self) -> None:
        """Asks for a pass now."""
        self._woken = True
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    async def ready(self) -> None:
        """Returns once the first pass has ended."""
        await self._passed(1)

    async def next_pass(self) -> None:
        """Wakes the loop, and returns when a pass that began after this call has ended."""
        self.wake()
        await self._passed(self._begun + 1)

    async def _passed(self, number: int) -> None:
        if self._ended >= number:
            return
        if self._task is None:
            raise RuntimeError(f"the loop {self.name!r} does not run")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((number, waiter))
        await waiter

    async def _run(self) -> None:
        failed, problem = 0, ""
        while True:
            self._woken = False
            self._begun += 1
            try:
                delay_us = await self._step()
                if failed:
                    log.warning("the loop %s goes on, after %d passes that failed", self.name, failed)
                failed, problem = 0, ""
            except Exception as error:
                self.failures += 1
                delay_us = min(FIRST_BACKOFF_US << min(failed, 16), LAST_BACKOFF_US)
                failed += 1
                is_new, problem = repr(error) != problem, repr(error)
                extra = {"failures": self.failures}
                log.error("a pass of the loop %s failed: %s", self.name, error, exc_info=is_new, extra=extra)
            due_at = self._clock.monotonic() + delay_us
            self._tell()
            await self._pause(due_at)

    def _tell(self) -> None:
        self._ended = self._begun
        reached = [waiter for number, waiter in self._waiters if number <= self._ended]
        self._waiters = [entry for entry in self._waiters if entry[0] > self._ended]
        for waiter in reached:
            if not waiter.done():
                waiter.set_result(None)

    async def _pause(self, due_at: int) -> None:
        """Returns when the loop is woken, or at `due_at`; lets others run in any case."""
        if self._woken or due_at <= self._clock.monotonic():
            await asyncio.sleep(0)
            return
        event_loop = asyncio.get_running_loop()
        alarm: asyncio.Future[None] = event_loop.create_future()
        self._alarm = alarm
        sleeper = event_loop.create_task(self._sleep_until(due_at, alarm))
        try:
            await alarm
        finally:
            self._alarm = None
            sleeper.cancel()

    async def _sleep_until(self, due_at: int, alarm: asyncio.Future[None]) -> None:
        await self._clock.sleep(due_at - self._clock.monotonic())
        if not alarm.done():
            alarm.set_result(None)
