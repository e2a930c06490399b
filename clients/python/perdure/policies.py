"""How a step is retried and bounded, as nodes and effects declare it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure.instants import Span, to_duration
from perdure.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when the server tries a step again after a reported failure or a timeout.

    The delay before attempt n + 1 is min(initial_interval * backoff_coefficient ** (n - 1), max_interval).

    Attributes:
        max_attempts: failures after which the step is given up; 1 means no retry.
        initial_interval: default 1 s.
        backoff_coefficient: at least 1.
        max_interval: default 60 s.
        non_retryable_types: failure types that are final at once.
    """

    max_attempts: int = 1
    initial_interval: Span | None = None
    backoff_coefficient: float = 2.0
    max_interval: Span | None = None
    non_retryable_types: Sequence[str] = ()

    def to_wire(self) -> common_pb2.RetryPolicy:
        """As the contract's RetryPolicy."""
        return common_pb2.RetryPolicy(
            max_attempts=self.max_attempts,
            initial_interval=None if self.initial_interval is None else to_duration(self.initial_interval),
            backoff_coefficient=self.backoff_coefficient,
            max_interval=None if self.max_interval is None else to_duration(self.max_interval),
            non_retryable_types=self.non_retryable_types,
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds on one step; a timeout counts as a failure against the retry policy. None means none.

    Attributes:
        schedule_to_start: from due to handed out.
        start_to_close: from handed out to reported, each attempt by itself.
        heartbeat: longest time between two `ctx.heartbeat()`.
    """

    schedule_to_start: Span | None = None
    start_to_close: Span | None = None
    heartbeat: Span | None = None

    def to_wire(self) -> common_pb2.TaskTimeouts:
        """As the contract's TaskTimeouts."""
        return common_pb2.TaskTimeouts(
            schedule_to_start=None if self.schedule_to_start is None else to_duration(self.schedule_to_start),
            start_to_close=None if self.start_to_close is None else to_duration(self.start_to_close),
            heartbeat=None if self.heartbeat is None else to_duration(self.heartbeat),
        )
