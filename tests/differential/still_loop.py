"""An event loop that can tell when nothing moves any more by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StillLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, whose queue of callbacks may be looked at, and which does itself what is meant for threads.

    With no threads and a clock that stands still, whatever happens next is in that queue: when it is empty, the
    runtime has done all that it does before time goes on or somebody calls. And what happens depends on what has
    happened before only, not on who is quicker.
    """

    _ready: deque[asyncio.Handle]

    async def still(self) -> None:
        """Returns when nothing but the caller is left to run."""
        while True:
            await asyncio.sleep(0)
            if not self._ready:
                return

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Calls it in its turn."""

        async def turn() -> T:
            return func(*args)

        return self.create_task(turn())


def still_loop() -> StillLoop:
    """The loop that runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop
