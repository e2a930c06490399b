"""How many runs do what: counted from indexes, off the event loop, and not at every scrape."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from perdure_server.engine.core import Engine
from perdure_server.engine.errors import EngineError
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import Activity
from perdure_server.storage.port import RunQuery, StoreReader

REFRESH_US: Final = 10 * SECOND_US
PATIENCE_S: Final = 2.0
"""How long a scrape waits for counts; without an answer it goes without."""

MOST_RUNS: Final = 100_000
MOST_NAMESPACES: Final = 20
ACTIVITIES: Final = tuple(each for each in Activity if each is not Activity.NONE)


@dataclass(slots=True)
class RunCounts:
    """Runs that have not ended."""

    by_activity: Counter[Activity] = field(default_factory=Counter[Activity])
    paused: int = 0
    is_partial: bool = False


def count_runs(store: StoreReader) -> RunCounts:
    """Counts every activity in the first namespaces. Each count walks one index, and no further than MOST_RUNS."""
    counts = RunCounts()
    namespaces = store.list_namespaces()
    counts.is_partial = len(namespaces) > MOST_NAMESPACES
    for namespace in namespaces[:MOST_NAMESPACES]:
        for activity in ACTIVITIES:
            found = store.count_runs(RunQuery(namespace, activities=(int(activity),)), MOST_RUNS)
            counts.by_activity[activity] += found
            counts.is_partial = counts.is_partial or found >= MOST_RUNS
        counts.paused += store.count_runs(RunQuery(namespace, paused_only=True), MOST_RUNS)
    return counts


class CachedCounts:
    """Counts that are at most REFRESH_US old when the store answers, however many ask at once.

    Args:
        engine: its store's reading side, its clock.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counts: RunCounts | None = None
        self._counted_at = 0
        self._refresh: asyncio.Task[None] | None = None

    async def get(self) -> RunCounts | None:
        """The newest counts; None while the store does not answer."""
        now = self._engine.clock.monotonic()
        if self._refresh is None and (self._counts is None or now - self._counted_at >= REFRESH_US):
            self._refresh = asyncio.create_task(self._count())
        if self._refresh is not None:
            await asyncio.wait((self._refresh,), timeout=PATIENCE_S)
        return self._counts

    async def stop(self) -> None:
        """Gives up a count under way. Idempotent."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait((self._refresh,))

    async def _count(self) -> None:
        try:
            self._counts = await self._engine.read(count_runs, self._engine.store)
        except EngineError:
            self._counts = None
        finally:
            self._counted_at = self._engine.clock.monotonic()
            self._refresh = None
