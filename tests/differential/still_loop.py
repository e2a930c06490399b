"""An event loop that can tell when nothing moves any more by itself."""

from __future__ import annotations

import asyncio
from collections import deque


class StillLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, whose queue of callbacks may be looked at.

    With no threads and a clock that stands still, whatever happens next is in that queue: when it is empty, the
    runtime has done all that it does before time goes on or somebody calls.
    """

    _ready: deque[asyncio.Handle]

    async def still(self) -> None:
        """Returns when nothing but the caller is left to run."""
        while True:
            await asyncio.sleep(0)
            if not self._ready:
                return


def still_loop() -> StillLoop:
    """The loop that runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop
