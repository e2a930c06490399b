"""Deadlines of many subscriptions, kept by one task instead of a timer each."""

from __future__ import annotations

import asyncio
from typing import Protocol

from perdure_server.clock import Clock

TICK_US = 500_000
"""Longest pause between two looks. Deadlines are set at least this far ahead, so none is late."""

NEVER = 2**63 - 1


class Timed(Protocol):
    """Has a deadline."""

    due_at: int
    """Monotonic microseconds; NEVER: none."""

    def deadline_passed(self) -> None:
        """Called at or after `due_at`; sets a later one."""
        ...


class Deadlines:
    """Calls each member when its deadline has passed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: set[Timed] = set()
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger-deadlines")

    async def stop(self) -> None:
        """Ends; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def add(self, member: Timed) -> None:
        """Looks after this member from now on."""
        self._members.add(member)
        self._joined.set()

    def remove(self, member: Timed) -> None:
        """Forgets it; unknown ones are ignored."""
        self._members.discard(member)
        if not self._members:
            self._joined.clear()

    async def _run(self) -> None:
        while True:
            await self._joined.wait()
            now = self._clock.monotonic()
            for member in [member for member in self._members if member.due_at <= now]:
                member.deadline_passed()
            next_at = min((member.due_at for member in self._members), default=NEVER)
            await self._clock.sleep(min(max(next_at - now, 1), TICK_US))
