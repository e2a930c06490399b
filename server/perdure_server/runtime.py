"""A server without its edge: engine, dispatch, scheduler and ledger, plugged together over one store."""

from __future__ import annotations

from collections.abc import Sequence

from perdure_server.clock import Clock
from perdure_server.dispatch.dispatcher import Dispatcher
from perdure_server.dispatch.registry import Registry
from perdure_server.engine.core import Engine
from perdure_server.engine.follower import Follower
from perdure_server.engine.ports import Codec
from perdure_server.ids import epoch_tag, new_id
from perdure_server.kernel.decision import EventAppend, Mail, TaskDue
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.model import RunState
from perdure_server.ledger.chain import RecordInspector
from perdure_server.ledger.service import Ledger
from perdure_server.scheduler.scheduler import Scheduler
from perdure_server.storage.port import RunChange, Store, StoredRecord


class Runtime:
    """One process's runtime. `start` comes before the first caller, `stop` after the last.

    Args:
        store: the backend, open; `stop` closes it.
        codec: gives records and states their bytes.
        inspect: reads sealed record bytes, for verification.
        clock: time.
        limits: limits in force.
        inline: write on the event loop, see `Committer`.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        inspect: RecordInspector,
        clock: Clock,
        limits: Limits,
        *,
        inline: bool = False,
    ) -> None:
        info = store.info()
        shared = info.shared
        wakeups = SharedFanOut() if shared else FanOut()
        self.store = store
        self.limits = limits
        self.registry = Registry(clock, epoch_tag(info.epoch), limits)
        self.engine = Engine(store, codec, clock, self.registry, wakeups, limits, inline=inline)
        self.dispatcher = Dispatcher(self.engine, self.registry)
        self.scheduler = Scheduler(self.engine)
        self.ledger = Ledger(self.engine, clock, limits, new_id, inspect)
        self.follower = Follower(self.engine, Followed(self)) if shared else None
        wakeups.connect(self)

    async def start(self) -> None:
        """Recovers what the store holds and starts all loops."""
        if self.follower is not None:
            await self.follower.start()
        await self.ledger.start()
        await self.scheduler.start()
        await self.dispatcher.start()

    def drain(self, timeout_us: int = 10 * SECOND_US) -> None:
        """Tells streams that the server is going away; what is under way may end."""
        self.engine.watchers.end()
        self.dispatcher.drain(timeout_us)
        self.ledger.drain()

    async def say_goodbye(self, delay_us: int) -> None:
        """Ends the streams of workers that have not left by themselves after this time."""
        await self.engine.clock.sleep(delay_us)
        self.dispatcher.say_goodbye()

    async def stop(self) -> None:
        """Ends the loops, writes what is queued, closes the store. Idempotent."""
        if self.follower is not None:
            await self.follower.stop()
        await self.dispatcher.stop()
        await self.scheduler.stop()
        await self.ledger.stop()
        await self.engine.stop()
        self.store.close()


class FanOut:
    """The engine's `Wakeups`: passes each on to those it concerns."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None

    def connect(self, runtime: Runtime) -> None:
        """From here on wake-ups reach the runtime's parts."""
        self._runtime = runtime

    @property
    def _parts(self) -> Runtime:
        if self._runtime is None:
            raise RuntimeError("a commit before the runtime was plugged together")
        return self._runtime

    def records_committed(self, records: Sequence[StoredRecord]) -> None:
        """To the tailer."""
        self._parts.ledger.records_committed(records)

    def run_changed(self, before: RunState | None, run: RunState) -> None:
        """To dispatch (leases that ended) and the scheduler (heartbeat timeouts)."""
        parts = self._parts
        parts.dispatcher.run_changed(before, run)
        parts.scheduler.run_changed(before, run)

    def task_ready(self, run: RunState, task: TaskDue) -> None:
        """To dispatch."""
        self._parts.dispatcher.task_ready(run, task)

    def timer_armed(self, due_at: int) -> None:
        """To the scheduler."""
        self._parts.scheduler.timer_armed(due_at)

    def schedule_armed(self, due_at: int) -> None:
        """To the scheduler."""
        self._parts.scheduler.schedule_armed(due_at)

    def wait_registered(self, run: RunState) -> None:
        """To the scheduler."""
        self._parts.scheduler.wait_registered(run)

    def events_appended(self, namespace: str, events: Sequence[EventAppend]) -> None:
        """To the scheduler."""
        self._parts.scheduler.events_appended(namespace, events)

    def mail_sent(self, namespace: str, mail: Sequence[Mail]) -> None:
        """To the scheduler."""
        self._parts.scheduler.mail_sent(namespace, mail)


class SharedFanOut(FanOut):
    """The same over a shared store, where records reach the ledger behind its horizon only."""

    def records_committed(self, records: Sequence[StoredRecord]) -> None:
        """To the follower, if somebody follows the ledger here: others it tells soon enough by polling."""
        parts = self._parts
        if parts.follower is not None and parts.ledger.watched:
            parts.follower.loop.wake()


class Followed:
    """The follower's listener: passes on what others committed.

    Args:
        runtime: whose parts hear of it.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def horizon_moved(self) -> None:
        """To the ledger."""
        self._runtime.ledger.horizon_moved()

    async def runs_changed(self, changes: Sequence[RunChange]) -> None:
        """To dispatch."""
        await self._runtime.dispatcher.runs_changed(changes)

    async def fell_behind(self) -> None:
        """To dispatch."""
        await self._runtime.dispatcher.fell_behind()
