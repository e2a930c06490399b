"""What a process counts for its operators. Plain numbers, added to where the work is done and read when somebody
asks: a measure may cost the hot path an addition, never a lock, a label look-up or a call into a library."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

LATENCY_US: Final = (500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000)
"""Bounds for what takes a fraction of a second: calls, commits, pauses of the event loop."""

LATENESS_US: Final = (
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    10_000_000,
    60_000_000,
)
"""Bounds for timers: a second is late, a minute was downtime."""

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Bounds for commits in one transaction; `engine.committer.MAX_COMMITS` is the last."""


class Distribution:
    """How often values fell between bounds.

    Args:
        bounds: ascending, each inclusive; what is above the last one is counted too.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0

    def add(self, value: int) -> None:
        """Counts one value; one below zero as zero."""
        value = max(value, 0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Measures:
    """What the engine and the scheduler measure."""

    def __init__(self) -> None:
        self.commit_batch = Distribution(BATCH_SIZES)
        """Commits of each transaction that the store took."""
        self.commit_us = Distribution(LATENCY_US)
        """How long the store took over each, successful or not."""
        self.timer_lateness_us = Distribution(LATENESS_US)
        """Between the instant for which a timer was set and its being given to its run."""
        self.record_kinds: Counter[int] = Counter()
        """Committed records, by the number of their kind."""


class CallMeasures:
    """Calls of one method: how they ended, and how long they took.

    Args:
        timed: False for streams and for calls that wait by design; their length says nothing of the server.
    """

    __slots__ = ("codes", "duration_us", "timed")

    def __init__(self, *, timed: bool) -> None:
        self.timed = timed
        self.codes: Counter[str] = Counter()
        """By name of the gRPC status code."""
        self.duration_us = Distribution(LATENCY_US)

    def add(self, code: str, duration_us: int) -> None:
        """A call has ended."""
        self.codes[code] += 1
        if self.timed:
            self.duration_us.add(duration_us)
