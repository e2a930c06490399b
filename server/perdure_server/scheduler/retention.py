"""Retention: replies to request ids are deleted when they are old, events when they are old or too many."""

from __future__ import annotations

from typing import Final

from perdure_server.engine.core import Engine
from perdure_server.kernel.limits import SECOND_US
from perdure_server.loop import Loop

INTERVAL_US: Final = 60 * SECOND_US
ROWS_A_PASS: Final = 1_000


class Retention:
    """The loop that trims.

    Args:
        engine: the store's writing side and the limits.
    """

    def __init__(self, engine: Engine) -> None:
        self.loop = Loop("retention", engine.clock, self._step)
        self._engine = engine

    async def _step(self) -> int:
        engine = self._engine
        now, limits = engine.clock.now(), engine.limits
        deleted = await engine.write(
            engine.store.trim,
            now - limits.request_retention_us,
            now - limits.event_retention_us,
            limits.events_per_key,
            ROWS_A_PASS,
        )
        engine.counters["rows_trimmed"] += deleted
        return 0 if deleted >= ROWS_A_PASS else INTERVAL_US
