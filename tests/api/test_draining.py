"""A stream of the server's ends when it is told to, and always closes its source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from perdure_server.api.draining import until_set


class Source:
    """Yields what it is given; notes its end."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[int | None] = asyncio.Queue()
        self.waiting = asyncio.Event()
        self.closed = False

    async def run(self) -> AsyncGenerator[int]:
        try:
            while True:
                self.waiting.set()
                item = await self.items.get()
                self.waiting.clear()
                if item is None:
                    return
                yield item
        finally:
            self.closed = True


async def test_it_passes_items_until_the_source_ends() -> None:
    source = Source()
    for item in (1, 2, None):
        source.items.put_nowait(item)
    assert [item async for item in until_set(asyncio.Event(), source.run())] == [1, 2]
    assert source.closed


async def test_a_signal_ends_a_wait_for_the_source() -> None:
    source, signal = Source(), asyncio.Event()
    reading = asyncio.ensure_future(_all(until_set(signal, source.run())))
    source.items.put_nowait(1)
    await source.waiting.wait()
    signal.set()
    assert await reading in ([1], [])
    assert source.closed


async def test_a_set_signal_lets_nothing_pass() -> None:
    source, signal = Source(), asyncio.Event()
    signal.set()
    source.items.put_nowait(1)
    assert await _all(until_set(signal, source.run())) == []


async def test_a_reader_that_leaves_closes_the_source() -> None:
    source = Source()
    source.items.put_nowait(1)
    async with aclosing(until_set(asyncio.Event(), source.run())) as items:
        assert await anext(items) == 1
    assert source.closed


async def test_a_cancelled_reader_closes_the_source() -> None:
    source = Source()
    reading = asyncio.ensure_future(_all(until_set(asyncio.Event(), source.run())))
    await source.waiting.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed


async def test_an_error_of_the_source_passes() -> None:
    async def broken() -> AsyncGenerator[int]:
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await _all(until_set(asyncio.Event(), broken()))


async def _all(items: AsyncGenerator[int]) -> list[int]:
    return [item async for item in items]
