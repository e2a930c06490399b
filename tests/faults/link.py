"""One proxied connection: two sockets, and the bytes between them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from tests.faults.conduct import BOTH, Conduct, Way

PIECE = 16 * 1024
DRIPS_PER_S = 20
"""A slow drip falls so often."""

MAX_LATE = 1024 * 1024
"""Bytes that may be under way in one direction of a delayed connection."""

_RESET = struct.pack("ii", 1, 0)


async def pause(seconds: float) -> None:
    """Returns after some time of the loop's clock."""
    passed = asyncio.get_running_loop().create_future()
    timer = asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    try:
        await passed
    finally:
        timer.cancel()


class Link:
    """A connection through the proxy. All of it lives on the proxy's loop.

    Args:
        client, server: the two sides, each a reader and a writer.
        conducts: how each direction is treated at first.
        idle_close_s: closed when nothing has passed for so long; 0: never.
        passed: called with a direction and the number of bytes that went on.
    """

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        conducts: dict[Way, Conduct],
        idle_close_s: float,
        passed: Callable[[Way, int], None],
    ) -> None:
        self._writers = {Way.UP: server[1], Way.DOWN: client[1]}
        self._readers = {Way.UP: client[0], Way.DOWN: server[0]}
        self._conducts = dict(conducts)
        self._idle_close_s = idle_close_s
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._moved_at = self._loop.time()
        self._changed = {way: asyncio.Event() for way in BOTH}
        self._deaf = dict.fromkeys(BOTH, False)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Carries bytes until one side closes, or the link is cut or reset."""
        workers: list[asyncio.Task[object]] = [asyncio.create_task(self._carry(way)) for way in BOTH]
        workers.append(asyncio.create_task(self._ended.wait()))
        workers.append(asyncio.create_task(self._watch_idleness()))
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for writer in self._writers.values():
                writer.close()

    def set(self, conduct: Conduct, ways: tuple[Way, ...]) -> None:
        """Treats what comes from now on otherwise."""
        for way in ways:
            self._conducts[way] = conduct
            self._changed[way].set()

    def cut(self) -> None:
        """Closes both sides: each reads the end of the stream."""
        self._ended.set()

    def reset(self) -> None:
        """Resets both sides: each reads ECONNRESET."""
        for writer in self._writers.values():
            plug: socket.socket = writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._ended.set()

    async def _carry(self, way: Way) -> None:
        """Reads and passes on; what is late waits in a queue of its own, so that delay does not become rate."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_LATE // PIECE)
        postman = asyncio.create_task(self._deliver(way, late))
        try:
            while data := await self._read(way):
                await late.put((self._loop.time() + self._conducts[way].delay_s, data))
            await late.put((self._loop.time() + self._conducts[way].delay_s, b""))
            await postman
        finally:
            postman.cancel()

    async def _read(self, way: Way) -> bytes:
        """A piece; b"" at the end of the stream, however it comes about."""
        with suppress(ConnectionError):
            return await self._readers[way].read(PIECE)
        return b""

    async def _deliver(self, way: Way, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            due, data = await late.get()
            if due > self._loop.time():
                await pause(due - self._loop.time())
            while self._conducts[way].holds:
                self._changed[way].clear()
                await self._changed[way].wait()
            if data:
                await self._pass_on(way, data)
            elif self._loses(way):
                # That the sender has closed is lost too.
                await self._ended.wait()
            else:
                return

    async def _pass_on(self, way: Way, data: bytes) -> None:
        pieces = deque([data])
        while pieces:
            piece, conduct = pieces.popleft(), self._conducts[way]
            if self._loses(way):
                self._deaf[way] = True
                continue
            if conduct.bytes_per_s:
                size = max(int(conduct.bytes_per_s / DRIPS_PER_S), 1)
                piece, rest = piece[:size], piece[size:]
                if rest:
                    pieces.appendleft(rest)
                await pause(len(piece) / conduct.bytes_per_s)
            self._moved_at = self._loop.time()
            self._passed(way, len(piece))
            with suppress(ConnectionError):
                self._writers[way].write(piece)
                await self._writers[way].drain()

    def _loses(self, way: Way) -> bool:
        return self._conducts[way].swallows or self._deaf[way]

    async def _watch_idleness(self) -> None:
        if not self._idle_close_s:
            await self._ended.wait()
        while (left := self._moved_at + self._idle_close_s - self._loop.time()) > 0:
            await pause(left)
        self.cut()
