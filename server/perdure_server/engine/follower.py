"""Following what other processes commit to a shared store, behind its horizon.

A run in memory is this process's view of what it committed itself. On a shared store others move the same runs:
the follower reads which records have come to be, lets go of states in memory that are older, and tells whoever
looks at these runs here. Hints make it quick; it polls all the same, and nothing depends on a hint.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from perdure_server.engine.core import Engine
from perdure_server.kernel.limits import SECOND_US
from perdure_server.loop import Loop
from perdure_server.storage.port import RunChange, RunKey, StoreError

log = logging.getLogger(__name__)

BUSY_POLL_US: Final = 250_000
"""Longest pause between two looks while something goes on: without a hint others' commits are known this late."""
IDLE_POLL_US: Final = SECOND_US
"""The same once nothing has gone on for a while."""
IDLE_AFTER_US: Final = 10 * SECOND_US
PACE_US: Final = 20_000
"""Shortest pause: what comes in between is taken together."""
HINT_WAIT_US: Final = SECOND_US
"""How long the waiting thread lets the store block it."""
PAGE: Final = 2_000
PAGES: Final = 10
"""Pages that one look takes; with more to catch up with, memory is emptied instead."""


class FollowListener(Protocol):
    """Who is told, on the event loop. What it raises lets the follower try again, from the same place."""

    def horizon_moved(self) -> None:
        """Records may have come behind the horizon."""
        ...

    async def runs_changed(self, changes: Sequence[RunChange]) -> None:
        """Records that are new since the last call: this process's own, too. May come twice."""
        ...

    async def fell_behind(self) -> None:
        """More has happened than can be told one by one: any run may have changed."""
        ...


class Follower:
    """The loop that follows. For shared stores only.

    Args:
        engine: whose runs; its horizon moves with each look.
        listener: told of what has changed.
    """

    def __init__(self, engine: Engine, listener: FollowListener) -> None:
        self.loop = Loop("follower", engine.clock, self._step)
        self.position = 0
        """What lies at or below it has been told."""
        self._engine = engine
        self._listener = listener
        self._not_before = 0
        self._moved_at = -IDLE_AFTER_US
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="perdure-follower")
        self._hints: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins at the horizon; before a run is in memory. Idempotent. Raises: StoreUnavailableError."""
        if self.loop.running:
            return
        self.position = await self._engine.refresh_horizon()
        self.loop.start()
        self._hints = asyncio.get_running_loop().create_task(self._take_hints(), name="perdure-follower-hints")

    async def stop(self) -> None:
        """Ends. The thread that waits for hints ends with its wait or the store. Idempotent."""
        hints, self._hints = self._hints, None
        if hints is not None:
            hints.cancel()
            await asyncio.wait([hints])
        await self.loop.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def follow(self) -> bool:
        """One look; whether there was something new. Raises: StoreUnavailableError, and what the listener raises."""
        engine, listener = self._engine, self._listener
        horizon = await engine.refresh_horizon()
        if horizon <= self.position:
            return False
        listener.horizon_moved()
        for _ in range(PAGES):
            page = await engine.read(engine.store.read_changes, self.position, horizon, PAGE)
            # What this process committed before it could be read may still be on its way into memory.
            await engine.committer.answered()
            engine.counters["changes_followed"] += len(page)
            for key, seq in _newest(page).items():
                engine.outdate(key, seq)
                engine.watchers.changed(key)
            await listener.runs_changed(page)
            self.position = page[-1].position if len(page) >= PAGE else horizon
            if self.position >= horizon:
                return True
        await self._begin_anew(horizon)
        return True

    async def _begin_anew(self, horizon: int) -> None:
        engine = self._engine
        log.warning("others commit faster than this process follows; it begins anew", extra={"position": horizon})
        engine.counters["follower_restarts"] += 1
        await engine.committer.answered()
        engine.outdate_all()
        engine.watchers.changed_all()
        await self._listener.fell_behind()
        self.position = horizon

    async def _step(self) -> int:
        now = self._engine.clock.monotonic()
        if now < self._not_before:
            return self._not_before - now
        self._not_before = now + PACE_US
        if await self.follow():
            self._moved_at = now
        return BUSY_POLL_US if now - self._moved_at < IDLE_AFTER_US else IDLE_POLL_US

    async def _take_hints(self) -> None:
        event_loop, engine = asyncio.get_running_loop(), self._engine
        while True:
            try:
                if await event_loop.run_in_executor(self._thread, engine.store.wait_for_change, HINT_WAIT_US):
                    self.loop.wake()
            except StoreError:
                await engine.clock.sleep(BUSY_POLL_US)  # the loop polls meanwhile, and says what is wrong


def _newest(changes: Sequence[RunChange]) -> dict[RunKey, int]:
    """The runs that changed, with their last seq: in position order the last one counts."""
    return {RunKey(change.namespace, change.run_id): change.seq for change in changes}
