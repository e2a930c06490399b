"""Feeds the tailer from the store, behind its horizon."""

from __future__ import annotations

from perdure_server.clock import Clock
from perdure_server.kernel.limits import MIB, SECOND_US
from perdure_server.ledger.reads import StoreAccess, read_gap
from perdure_server.ledger.tailer import Tailer
from perdure_server.loop import Loop

OWN_COMMITS_POLL_US = SECOND_US
"""Pause between two looks at a store that only this process writes: its commits reach the tailer directly."""

SHARED_POLL_US = 250_000
"""The same for a store that others write too: here this is how their records become known."""

GAP_RECORDS = 20_000
GAP_BYTES = 32 * MIB
"""What one look brings to the tailer at most; with more it starts anew at the horizon."""


class StoreFeed:
    """Looks at the store again and again, while somebody watches, and brings the tailer what it lacks.

    On a store with several writers this is the only feed: positions there become final behind the horizon,
    not in the order in which one process hears of them. On a single-process store it fills the gaps between
    announcements: events, which have positions but no records, and commits whose announcement was lost.
    """

    def __init__(self, access: StoreAccess, tailer: Tailer, clock: Clock, interval_us: int) -> None:
        self._access = access
        self._tailer = tailer
        self._interval_us = interval_us
        self.loop = Loop("ledger-feed", clock, self._pass)
        tailer.on_gap = self.loop.wake

    async def poll(self) -> None:
        """One look. Raises StoreUnavailableError."""
        tailer, store = self._tailer, self._access.store
        while namespaces := tailer.watched_namespaces():
            epoch = tailer.epoch
            horizon, records = await self._access.read(
                read_gap, store, namespaces, tailer.position, GAP_RECORDS, GAP_BYTES
            )
            if tailer.epoch != epoch:
                continue  # somebody came meanwhile whose records were not read
            if records is None:
                tailer.skip_to(horizon)
            else:
                tailer.append(records, horizon)
            return

    async def _pass(self) -> int:
        await self.poll()
        return self._interval_us
