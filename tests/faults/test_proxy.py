"""Each mode of the fault proxy does to a plain TCP connection what its name says."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.faults.conduct import HOLD, PASS, SWALLOW, Conduct, Way
from tests.faults.proxy import FaultProxy

PATIENCE_S = 20.0


class Echo:
    """A server that sends back what it is sent, and counts how its connections ended."""

    def __init__(self) -> None:
        self.address = ""
        self.heard = b""
        self.endings: asyncio.Queue[str] = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator["Echo"]:
        """A server on a free port."""
        echo = cls()
        server = await asyncio.start_server(echo._serve, "127.0.0.1", 0)
        echo.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
        yield echo
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
            self.endings.put_nowait("end")
        except ConnectionResetError:
            self.endings.put_nowait("reset")
        finally:
            writer.close()


class Caller:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        """Sends."""
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self, number: int) -> bytes:
        """The next bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(number)

    async def hears_nothing(self, seconds: float) -> bool:
        """Whether nothing comes, and no end either."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
                return False
        return True


@pytest.fixture
async def echo() -> AsyncGenerator[Echo]:
    async with Echo.open() as opened:
        yield opened


@pytest.fixture
async def proxy(echo: Echo) -> AsyncGenerator[FaultProxy]:
    async with FaultProxy.open(echo.address) as opened:
        yield opened


@asynccontextmanager
async def calling(proxy: FaultProxy) -> AsyncGenerator[Caller]:
    """A connection that has been answered once."""
    host, _, port = proxy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    caller = Caller(reader, writer)
    try:
        yield caller
    finally:
        writer.close()


async def test_bytes_pass_and_are_counted(proxy: FaultProxy) -> None:
    text = bytes(range(256)) * 1_000
    async with calling(proxy) as caller:
        saying = asyncio.create_task(caller.say(text))
        assert await caller.hear(len(text)) == text
        await saying
    await proxy.until(lambda traffic: traffic.ended == 1)
    assert (proxy.traffic.accepted, proxy.traffic.refused, proxy.traffic.open) == (1, 0, 0)
    assert proxy.traffic.passed == {Way.UP: len(text), Way.DOWN: len(text)}


async def test_the_end_of_one_side_reaches_the_other(proxy: FaultProxy, echo: Echo) -> None:
    async with calling(proxy) as caller:
        await caller.say(b"a")
        assert await caller.hear(1) == b"a"
    assert await echo.endings.get() == "end"


async def test_delay_is_time_and_not_rate(proxy: FaultProxy) -> None:
    """A hundred pieces that are each half a second late come together, and not after fifty seconds."""
    await proxy.set(Conduct(delay_s=0.5), Way.UP)
    loop = asyncio.get_running_loop()
    async with calling(proxy) as caller:
        began = loop.time()
        for number in range(100):
            await caller.say(bytes([number]))
            await asyncio.sleep(0)
        assert await caller.hear(100) == bytes(range(100))
        assert 0.5 <= loop.time() - began < PATIENCE_S


async def test_a_slow_drip_passes_everything_slowly(proxy: FaultProxy) -> None:
    await proxy.set(Conduct(bytes_per_s=1_000), Way.DOWN)
    loop = asyncio.get_running_loop()
    async with calling(proxy) as caller:
        began = loop.time()
        await caller.say(b"x" * 1_000)
        assert await caller.hear(1_000) == b"x" * 1_000
        assert loop.time() - began >= 0.9


async def test_what_is_held_comes_when_the_partition_heals(proxy: FaultProxy) -> None:
    async with calling(proxy) as caller:
        await proxy.set(HOLD, Way.DOWN)
        await caller.say(b"abc")
        await proxy.until(lambda traffic: traffic.passed[Way.UP] == 3)
        assert await caller.hears_nothing(0.3)
        await proxy.set(PASS)
        assert await caller.hear(3) == b"abc"


@pytest.mark.parametrize("way", Way)
async def test_what_is_swallowed_never_comes_and_the_sockets_stay(proxy: FaultProxy, echo: Echo, way: Way) -> None:
    async with calling(proxy) as caller, calling(proxy) as other:
        await caller.say(b"a")
        assert await caller.hear(1) == b"a"
        await proxy.set(SWALLOW, way)
        await caller.say(b"b")
        assert await caller.hears_nothing(0.3)
        await proxy.set(PASS)
        await caller.say(b"c")
        assert await caller.hears_nothing(0.3)
        assert echo.heard == (b"a" if way is Way.UP else b"abc")
        assert echo.endings.empty()
        await other.say(b"d")
        assert await other.hear(1) == b"d"


async def test_the_end_of_a_half_open_connection_is_swallowed_too(proxy: FaultProxy, echo: Echo) -> None:
    async with calling(proxy) as other:
        async with calling(proxy) as caller:
            await caller.say(b"a")
            assert await caller.hear(1) == b"a"
            await proxy.set(SWALLOW, Way.UP)
        assert await other.hears_nothing(0.3)
        await proxy.set(PASS)
        assert await other.hears_nothing(0.3)
        assert proxy.traffic.open == 2
        assert echo.endings.empty()


async def test_a_cut_is_an_end_for_both_sides(proxy: FaultProxy, echo: Echo) -> None:
    async with calling(proxy) as caller:
        await caller.say(b"a")
        assert await caller.hear(1) == b"a"
        await proxy.cut()
        assert await caller.reader.read() == b""
        assert await echo.endings.get() == "end"


async def test_a_reset_is_a_reset_for_both_sides(proxy: FaultProxy, echo: Echo) -> None:
    async with calling(proxy) as caller:
        await caller.say(b"a")
        assert await caller.hear(1) == b"a"
        await proxy.reset()
        with pytest.raises(ConnectionResetError):
            await caller.reader.read()
        assert await echo.endings.get() == "reset"


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not(echo: Echo) -> None:
    async with FaultProxy.open(echo.address, idle_close_s=0.5) as proxy, calling(proxy) as idle, calling(proxy) as busy:
        ending = asyncio.create_task(idle.reader.read())
        while not ending.done():
            await busy.say(b"a")
            assert await busy.hear(1) == b"a"
        assert ending.result() == b""
        assert proxy.traffic.open == 1


async def test_a_proxy_that_refuses_takes_no_new_connection(proxy: FaultProxy) -> None:
    async with calling(proxy) as before:
        await before.say(b"a")
        assert await before.hear(1) == b"a"
        proxy.refuses = True
        async with calling(proxy) as refused:
            assert await refused.reader.read() == b""
        await before.say(b"b")
        assert await before.hear(1) == b"b"
    assert proxy.traffic.refused == 1


async def test_nobody_behind_it_is_a_refusal(proxy: FaultProxy) -> None:
    proxy.target = "127.0.0.1:1"
    async with calling(proxy) as caller:
        assert await caller.reader.read() == b""
    assert proxy.traffic.refused == 1
