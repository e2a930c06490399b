"""Spreading: which of several replicas takes up work that all of them see.

On a shared store every replica finds the same due work. The one that moved the run last takes it at once; the
others leave it some time, each another one for each run, and find it gone when they look again. If that process
is dead, the replica whose time is shortest takes it, and mostly alone. Nothing but cost depends on this: a second
one is refused by the run's seq.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import Final

from perdure_server.clock import Clock
from perdure_server.storage.port import RunKey

FIRST_US: Final = 250_000
"""How long others leave work to the process that moved its run last, at least."""
RANGE_US: Final = 250_000
"""And at most this much longer."""
LEASE_FIRST_US: Final = 5_000_000
"""The same for leases that another process gave: meanwhile a lease clock that jumped is measured again, so that a
replica which has not heard of the jump does not take leases for lapsed that others have just renewed."""
MAX_SEEN: Final = 20_000
"""Work remembered as seen; over that the longest remembered is forgotten, and waits anew."""


class Spread:
    """Says when this replica takes up work.

    Args:
        clock: measures (monotonic).
        replica_id: makes the times of this process its own.
    """

    def __init__(self, clock: Clock, replica_id: str) -> None:
        self._clock = clock
        self._salt = zlib.crc32(replica_id.encode())
        self._due: dict[Hashable, int] = {}

    @property
    def next_at(self) -> int:
        """When the next work that was put off may be taken up, from now on (monotonic microseconds); 0: none."""
        now = self._clock.monotonic()
        return min((due for due in self._due.values() if due > now), default=0)

    def allows(self, name: Hashable, key: RunKey, first_us: int = FIRST_US) -> bool:
        """Whether work that another process most likely takes up is this one's by now.

        Args:
            name: names the work.
            key: its run.
            first_us: how long it is left to the other process at least.
        """
        now = self._clock.monotonic()
        due = self._due.get(name)
        if due is None:
            own = zlib.crc32(key.run_id.encode(), self._salt) % RANGE_US
            due = self._due[name] = now + first_us + own
            if len(self._due) > MAX_SEEN:
                del self._due[next(iter(self._due))]
        return now >= due

    def forget_old(self) -> None:
        """Forgets what nobody has asked for in a while: it was done."""
        before = self._clock.monotonic() - 10 * LEASE_FIRST_US
        for name in [name for name, due in self._due.items() if due < before]:
            del self._due[name]
