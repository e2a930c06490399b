"""How many streams each caller has open."""

from __future__ import annotations

from perdure_server.engine.errors import TooManyStreamsError
from perdure_server.kernel.limits import SECOND_US


class StreamSlots:
    """Counts streams by caller and refuses one too many.

    Args:
        limit: streams that one caller may have open at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, int] = {}

    def take(self, caller: str) -> None:
        """Counts one more stream. Raises TooManyStreamsError."""
        count = self._open.get(caller, 0)
        if count >= self._limit:
            raise TooManyStreamsError(
                f"This caller has {count} streams open, the most there may be; close one first.",
                retry_after_us=SECOND_US,
                limit=str(self._limit),
            )
        self._open[caller] = count + 1

    def give_back(self, caller: str) -> None:
        """Counts one less."""
        count = self._open[caller] - 1
        if count:
            self._open[caller] = count
        else:
            del self._open[caller]

    def count(self, caller: str) -> int:
        """Streams the caller has open."""
        return self._open.get(caller, 0)
