"""The proxy: accepts, dials, and carries bytes in a thread of its own, so that no busy test makes it slow.

    async with FaultProxy.open(server.address) as proxy:
        client = await Client.connect(proxy.address)
        await proxy.set(SWALLOW, Way.DOWN)      # what is sent back gets lost; connections to come too
        await proxy.set(PASS)
        await proxy.cut()                       # or reset(); those that stand now

A conduct is set for the connections that stand and for those to come; `cut` and `reset` end those that stand.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tests.faults.conduct import BOTH, PASS, Conduct, Way
from tests.faults.link import Link

IDLE_CLOSE_S = 30.0
"""After how long without a byte proxies on the market close a connection."""

T = TypeVar("T")


@dataclass(slots=True)
class Traffic:
    """What has happened at a proxy so far.

    Args:
        accepted: connections taken.
        connected: those that reach the other side; only these can be cut and reset.
        refused: connections closed before anything passed, because the proxy refuses or nobody answers behind it.
        ended: connections that are over.
        passed: bytes that went on, by direction.
    """

    accepted: int = 0
    connected: int = 0
    refused: int = 0
    ended: int = 0
    passed: Counter[Way] = field(default_factory=Counter[Way])

    @property
    def open(self) -> int:
        """Connections that stand."""
        return self.connected - self.ended


class FaultProxy:
    """A proxy in front of one address; see the module.

    Args:
        target: HOST:PORT behind it.
        idle_close_s: a connection without a byte for so long is closed; 0: never.

    Attributes:
        address: where it listens.
        traffic: what has happened so far.
        target: where connections to come go.
        refuses: connections to come are closed at once.
    """

    def __init__(self, target: str, idle_close_s: float) -> None:
        self.address = ""
        self.traffic = Traffic()
        self.target = target
        self.refuses = False
        self._idle_close_s = idle_close_s
        self._conducts: dict[Way, Conduct] = dict.fromkeys(BOTH, PASS)
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, target: str, *, idle_close_s: float = 0.0) -> AsyncGenerator[Self]:
        """A proxy on a free port of loopback for the length of a block."""
        proxy = cls(target, idle_close_s)
        thread = threading.Thread(target=proxy._loop.run_forever, name="fault-proxy", daemon=True)
        thread.start()
        listener = await proxy._there(proxy._listen())
        try:
            yield proxy
        finally:
            await proxy._there(proxy._close(listener))
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            await asyncio.to_thread(thread.join)
            proxy._loop.close()

    async def set(self, conduct: Conduct, *ways: Way) -> None:
        """Treats the bytes of these directions (none given: both) otherwise from now on."""
        await self._there(self._set(conduct, ways or BOTH))

    async def cut(self) -> None:
        """Closes the connections that stand: a FIN to both sides."""
        await self._there(self._each(Link.cut))

    async def reset(self) -> None:
        """Resets the connections that stand: a RST to both sides."""
        await self._there(self._each(Link.reset))

    async def until(self, is_so: Callable[[Traffic], bool]) -> None:
        """Returns once this holds of the traffic."""
        await self._there(self._until(is_so))

    # --- on the proxy's own loop -------------------------------------------------------------------

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _listen(self) -> asyncio.Server:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return listener

    async def _close(self, listener: asyncio.Server) -> None:
        listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._count(accepted=1)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            # The proxy closes; nobody waits for this task but `_close`.
            return
        finally:
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        try:
            if self.refuses:
                raise ConnectionRefusedError
            behind = await asyncio.open_connection(host, int(port))
        except OSError:
            self._count(refused=1)
            return
        link = Link((reader, writer), behind, self._conducts, self._idle_close_s, self._passed)
        self._links.add(link)
        self._count(connected=1)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            self._count(ended=1)

    def _passed(self, way: Way, number: int) -> None:
        self.traffic.passed[way] += number
        self._notify()

    def _count(self, accepted: int = 0, connected: int = 0, refused: int = 0, ended: int = 0) -> None:
        self.traffic.accepted += accepted
        self.traffic.connected += connected
        self.traffic.refused += refused
        self.traffic.ended += ended
        self._notify()

    def _notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def _until(self, is_so: Callable[[Traffic], bool]) -> None:
        while not is_so(self.traffic):
            news: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(news)
            await news

    async def _set(self, conduct: Conduct, ways: tuple[Way, ...]) -> None:
        for way in ways:
            self._conducts[way] = conduct
        for link in self._links:
            link.set(conduct, ways)

    async def _each(self, act: Callable[[Link], None]) -> None:
        for link in self._links:
            act(link)
