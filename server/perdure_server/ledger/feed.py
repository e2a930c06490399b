"""Feeds the tailer from the store, behind its horizon."""

from __future__ import annotations

import asyncio
import logging

from perdure_server.clock import Clock
from perdure_server.engine.errors import StoreUnavailableError
from perdure_server.kernel.limits import MIB, SECOND_US
from perdure_server.ledger.reads import StoreAccess, read_gap
from perdure_server.ledger.tailer import Tailer
from perdure_server.storage.port import StoreError

OWN_COMMITS_POLL_US = SECOND_US
"""Pause between two looks at a store that only this process writes: its commits reach the tailer directly."""

SHARED_POLL_US = 50_000
"""The same for a store that others write too: here this is how their records become known."""

GAP_RECORDS = 20_000
GAP_BYTES = 32 * MIB
"""What one look brings to the tailer at most; with more it starts anew at the horizon."""

_LOG = logging.getLogger(__name__)


class StoreFeed:
    """Looks at the store again and again, while somebody watches, and brings the tailer what it lacks.

    On a store with several writers this is the only feed: positions there become final behind the horizon,
    not in the order in which one process hears of them. On a single-process store it is the net below
    `Tailer.append`: it finds records of a commit whose announcement was lost, and moves the tailer's position
    past events, which have positions but no records.
    """

    def __init__(self, access: StoreAccess, tailer: Tailer, clock: Clock, interval_us: int) -> None:
        self._access = access
        self._tailer = tailer
        self._clock = clock
        self._interval_us = interval_us
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger-feed")

    async def stop(self) -> None:
        """Ends; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def poll(self) -> None:
        """One look. Raises StoreError or StoreUnavailableError if the store does not answer."""
        tailer = self._tailer
        position, epoch = tailer.position, tailer.epoch
        namespaces = tailer.watched_namespaces()
        if not namespaces:
            return
        store = self._access.store
        horizon, records = await self._access.read(
            read_gap, store, namespaces, position, GAP_RECORDS, GAP_BYTES
        )
        if (tailer.position, tailer.epoch) != (position, epoch):
            return  # it moved meanwhile; what was read may have a hole for it
        if records is None:
            tailer.skip_to(horizon)
        else:
            tailer.append(records, horizon)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._interval_us)
            try:
                await self.poll()
            except (StoreError, StoreUnavailableError):
                _LOG.warning("the ledger feed could not read the store; it tries again", exc_info=True)
