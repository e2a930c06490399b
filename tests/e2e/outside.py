"""The world outside: a place that workers call in the middle of an effect, and that answers when it is told to.

So a test holds a worker in mid-effect for exactly as long as it wants, without any sleep.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Call:
    """A call from a worker that waits for its answer."""

    asked: Mapping[str, Any]
    _writer: asyncio.StreamWriter

    async def answer(self, value: Mapping[str, Any]) -> None:
        """Answers; to a caller that has died in the meantime, nothing happens."""
        try:
            self._writer.write(json.dumps(value).encode() + b"\n")
            await self._writer.drain()
        except ConnectionError:
            return


class Outside:
    """Listens on a Unix socket. Calls come one by one, in the order they were made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncGenerator[Self]:
        """Listens for the length of a block; calls that were not answered are cut off at its end."""
        outside = cls(path)
        server = await asyncio.start_unix_server(outside._accept, path)
        try:
            yield outside
        finally:
            server.close()
            for writer in outside._writers:
                writer.close()

    async def call(self, timeout: float = 30.0) -> Call:
        """The next call.

        Raises:
            TimeoutError: none came.
        """
        async with asyncio.timeout(timeout):
            return await self._calls.get()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        async for line in reader:
            self._calls.put_nowait(Call(json.loads(line), writer))


async def ask_outside(path: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Asks and waits for the answer, however long it takes.

    Raises:
        ConnectionError: the outside hung up.
    """
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(json.dumps(question).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
        if not line:
            raise ConnectionError("the outside hung up")
        return json.loads(line)
    finally:
        writer.close()
