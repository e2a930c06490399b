"""A handler that a test holds in its hand."""

import asyncio
from typing import Any

from perdure import EffectContext, JsonObject, Worker
from tests.sdk.fake_server import WITHIN_S


class Gate:
    """An effect handler that tells when it started, waits to be let through, and notes how it ended."""

    def __init__(self, worker: Worker, type: str = "echo") -> None:
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        self.stopped = asyncio.Event()
        self.contexts: list[EffectContext] = []
        worker.effect(type)(self._handle)

    async def _handle(self, ctx: EffectContext, payload: JsonObject) -> Any:
        self.contexts.append(ctx)
        self.started.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return "done"


async def soon(event: asyncio.Event) -> None:
    """Waits for what must happen."""
    async with asyncio.timeout(WITHIN_S):
        await event.wait()
