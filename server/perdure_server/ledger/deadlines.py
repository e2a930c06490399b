"""Deadlines of many subscriptions, kept by one loop instead of a timer each."""

from __future__ import annotations

from typing import Final, Protocol

from perdure_server.clock import Clock
from perdure_server.kernel.limits import SECOND_US
from perdure_server.loop import Loop

TICK_US: Final = SECOND_US // 2
"""Longest pause between two looks. Deadlines are set at least this far ahead, so none is late."""

IDLE_US: Final = 3_600 * SECOND_US
"""The pause while there is nothing to look after; the first member ends it."""

NEVER: Final = 2**63 - 1


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
        self.loop = Loop("ledger-deadlines", clock, self._pass)

    def add(self, member: Timed) -> None:
        """Looks after this member from now on."""
        if not self._members:
            self.loop.wake()
        self._members.add(member)

    def remove(self, member: Timed) -> None:
        """Forgets it; unknown ones are ignored."""
        self._members.discard(member)

    async def _pass(self) -> int:
        now = self._clock.monotonic()
        for member in [member for member in self._members if member.due_at <= now]:
            member.deadline_passed()
        if not self._members:
            return IDLE_US
        next_at = min(member.due_at for member in self._members)
        return min(max(next_at - now, 1), TICK_US)
