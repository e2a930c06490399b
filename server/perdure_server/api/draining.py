"""Ends a stream of the server's when the server goes away, wherever the stream waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def until_set(signal: asyncio.Event, source: AsyncIterator[T]) -> AsyncGenerator[T]:
    """What `source` yields, until the signal is set; closes the source in any case."""
    ended = asyncio.ensure_future(signal.wait())
    step: asyncio.Future[T] | None = None
    try:
        while not signal.is_set():
            step = asyncio.ensure_future(anext(source))
            await asyncio.wait((step, ended), return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                item = step.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        ended.cancel()
        if step is not None and not step.done():
            step.cancel()
            await asyncio.wait((step,))
        if isinstance(source, AsyncGenerator):
            await source.aclose()
