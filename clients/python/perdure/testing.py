"""A real server inside a test, with a calendar that the test turns.

    async with perdure.testing.server() as env, Worker(env.client) as worker:
        run = await env.client.start("order")
        await env.advance(days=3)

The server speaks gRPC on a free port of this machine and runs on the test's event loop; nothing is faked but
what time it is. Instants (waits, deadlines, retries, retention, the times of records) come from the
environment's clock, which stands still until `advance`; leases, heartbeats and pings are between real
processes and go by real time.

Needs the extra `perdure[server]`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from perdure.client import Client
from perdure.ledger import LedgerScope
from perdure.runs import RunFilter
from perdure.values import RunActivity

try:
    from perdure_server.app import App, open_server
    from perdure_server.config import Config
except ImportError as error:
    raise ImportError("perdure.testing needs the server: pip install 'perdure[server]'") from error

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
_MOVING = RunFilter(activities=[RunActivity.QUEUED, RunActivity.LEASED])
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StandingClock:
    """The server's clock in a test: the instant stands still, spans go by real time.

    Args:
        start: the first instant.
    """

    def __init__(self, start: datetime = DEFAULT_START) -> None:
        self._now = (start - _EPOCH) // _MICROSECOND

    def now(self) -> int:
        """The instant, Unix microseconds."""
        return self._now

    def monotonic(self) -> int:
        """Real microseconds since some instant."""
        return time.monotonic_ns() // 1_000

    async def sleep(self, delay_us: int) -> None:
        """Sleeps for real."""
        await asyncio.sleep(max(delay_us, 0) / 1_000_000)

    def set(self, now_us: int) -> None:
        """Moves the instant; it never goes back."""
        self._now = max(self._now, now_us)


class Environment:
    """A server in a test.

    Attributes:
        client: a client of it, in the namespace "default".
        address: host:port, for other clients and processes.
    """

    def __init__(self, app: App, clock: StandingClock, client: Client, patience: float) -> None:
        self._app = app
        self._clock = clock
        self._patience = patience
        self._changed = asyncio.Event()
        self.client = client
        self.address = app.address

    @property
    def now(self) -> datetime:
        """What time it is."""
        return _EPOCH + timedelta(microseconds=self._clock.now())

    async def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0, settle: bool = True
    ) -> None:
        """Lets time go by, timer by timer.

        At each timer on the way the clock stops, and runs do what it makes due (see `settle`), so that a timer
        that is set by the work of another one counts from then. With `settle=False` the clock jumps.
        """
        passed = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if passed < timedelta(0):
            raise ValueError("time does not go back")
        until = self._clock.now() + passed // _MICROSECOND
        if not settle:
            self._clock.set(until)
            await self._app.runtime.scheduler.settle()
            return
        await self.settle()
        while (timer_at := await self._next_timer()) and timer_at <= until:
            self._clock.set(timer_at)
            await self.settle()
        self._clock.set(until)
        await self.settle()

    async def settle(self) -> bool:
        """Returns when no run is queued or leased: all wait, are parked, or have ended.

        A run whose step nobody serves, or whose handler is still busy, holds this up for `patience` seconds
        at most; then the answer is False.
        """
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    self._changed.clear()
                    await self._app.runtime.scheduler.settle()
                    if not (await self.client.count_runs(_MOVING)).count:
                        return True
                    await self._changed.wait()
        except TimeoutError:
            return False

    async def _next_timer(self) -> int:
        """The next timer, or instant of a schedule, after now, Unix microseconds; 0 if there is none."""
        engine = self._app.runtime.engine
        work = await engine.read(engine.store.due_work, self._clock.now(), engine.lease_now(), 1)
        now = self._clock.now()
        schedules = await engine.read(engine.store.due_schedules, now, 10_000)
        # Those that wait for a run to end are due all the time, and have a next instant beside that.
        waiting = [engine.codec.decode_schedule(row.detail).due_at for _, row in schedules.rows]
        coming = [work.next_timer_at, schedules.next_at, *(at for at in waiting if at > now)]
        return min(filter(None, coming), default=0)

    async def listen(self, listening: asyncio.Event) -> None:
        """Notes every change of a run for `settle`; `server` runs it."""
        async with self.client.subscribe(LedgerScope.all(), start="now") as changes:
            listening.set()
            async for _ in changes.batches():
                self._changed.set()


@asynccontextmanager
async def server(
    *, store: str = "memory:", start: datetime = DEFAULT_START, patience: float = 5.0
) -> AsyncGenerator[Environment]:
    """A server for as long as the block lasts.

    Args:
        store: "memory:", or "sqlite:///FILE" to find the same runs again in a second block.
        start: what time it is at first; needs a time zone.
        patience: real seconds that `settle` waits for busy runs.
    """
    clock = StandingClock(start)
    config = Config(store=store, listen="127.0.0.1:0", drain_seconds=1.0, reflection=False)
    async with open_server(config, clock) as app, Client.connect(app.address) as client:
        environment = Environment(app, clock, client, patience)
        listening = asyncio.Event()
        listener = asyncio.create_task(environment.listen(listening))
        try:
            await listening.wait()
            yield environment
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
