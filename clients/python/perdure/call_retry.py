"""The one rule by which the SDK repeats calls and reopens streams."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from perdure.errors import Aborted, PerdureError, ResourceExhausted, Unavailable


@dataclass(frozen=True, slots=True)
class CallRetryPolicy:
    """When and after how long a failed call is made again.

    Repeated are UNAVAILABLE, and RESOURCE_EXHAUSTED and ABORTED when the server said when (RetryInfo). Every
    changing call carries a request_id, so a repeat never acts twice. The delay before attempt n + 1 is what
    the server asked for, plus a random part up to the backoff below; without a wish of the server it is the random part
    alone ("full jitter"): uniform in [0, min(max_delay, initial_delay * multiplier ** (n - 1))].

    Attributes:
        initial_delay: seconds.
        max_delay: seconds.
        multiplier: growth from attempt to attempt.
        max_attempts: attempts in all; None: as long as the call's deadline lasts.
        before_repeat: told of each failure of a call after which it is made again.
    """

    initial_delay: float = 0.1
    max_delay: float = 2.0
    multiplier: float = 2.0
    max_attempts: int | None = None
    before_repeat: Callable[[PerdureError], None] | None = None

    def delay(
        self, error: PerdureError, attempt: int, uniform: Callable[[float, float], float] = random.uniform
    ) -> float | None:
        """Seconds to wait after this failure of this attempt (from 1); None: do not repeat."""
        if not is_repeatable(error) or (self.max_attempts is not None and attempt >= self.max_attempts):
            return None
        return (error.retry_after or 0.0) + self.jitter(attempt, uniform)

    def jitter(self, attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """A random delay in seconds after the attempt-th failure in a row (from 1)."""
        ceiling = min(self.max_delay, self.initial_delay * self.multiplier ** min(attempt - 1, 64))
        return uniform(0.0, ceiling)


def is_repeatable(error: PerdureError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, Unavailable):
        return True
    return isinstance(error, ResourceExhausted | Aborted) and error.retry_after is not None
