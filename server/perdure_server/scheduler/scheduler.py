"""The scheduler as a whole: what happens to runs without anybody asking at that moment."""

from __future__ import annotations

from collections.abc import Sequence

from perdure_server.engine.core import Engine
from perdure_server.kernel.decision import EventAppend, Mail
from perdure_server.kernel.model import Activity, RunState
from perdure_server.loop import Loop
from perdure_server.scheduler.due import DueLoop
from perdure_server.scheduler.matching import Matching
from perdure_server.scheduler.retention import Retention
from perdure_server.scheduler.schedules import Schedules
from perdure_server.scheduler.slots import Slots
from perdure_server.scheduler.sweeper import Sweeper


class Scheduler:
    """Timers, lapsed leases, turns, mail, event matching, slots, schedules, sweeper and retention.

    It hears of commits as part of `Wakeups`; a wake-up that is lost is made good by polling.

    Args:
        engine: the engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.due = DueLoop(engine)
        self.matching = Matching(engine)
        self.slots = Slots(engine)
        self.schedules = Schedules(engine)
        self.sweeper = Sweeper(engine)
        self.retention = Retention(engine)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All loops."""
        loops = self.due.loop, self.matching.loop, self.slots.loop, self.schedules.loop
        return *loops, self.sweeper.loop, self.retention.loop

    async def start(self) -> None:
        """Recovers and starts the loops; to be awaited before workers are let in. Idempotent.

        On a store that only this process uses every lease gets one fresh TTL: its clock started anew, and
        workers could not renew. Turns, mail and timers that are due are then found by the first passes.

        Raises: StoreUnavailableError.
        """
        engine = self._engine
        if self.due.loop.running:
            return
        if not engine.info.shared:
            await engine.write(engine.store.reset_leases, engine.lease_now() + engine.limits.lease_us)
        for loop in self.loops:
            loop.start()
        await self.due.loop.ready()

    async def stop(self) -> None:
        """Ends the loops and gives up what they have under way. Idempotent."""
        for loop in self.loops:
            await loop.stop()
        await self.due.chores.stop()
        await self.matching.chores.stop()
        await self.slots.chores.stop()
        await self.schedules.chores.stop()

    async def settle(self) -> None:
        """For tests: returns when all that is due now has been done, and what that made due."""
        await self._pass()
        chores = self.due.chores, self.matching.chores, self.slots.chores, self.schedules.chores
        while self.due.behind or any(each.busy for each in chores):
            for each in chores:
                await each.idle()
            await self._pass()

    async def _pass(self) -> None:
        await self.due.loop.next_pass()
        await self.matching.loop.next_pass()
        await self.slots.loop.next_pass()
        await self.schedules.loop.next_pass()

    # --- wake-ups (part of engine.ports.Wakeups) -------------------------------------------------

    def run_changed(self, before: RunState | None, run: RunState) -> None:
        """A task with a heartbeat timeout was handed out: the loop may not sleep longer than that. A run with a
        concurrency key may have moved its line."""
        if run.concurrency is not None:
            self.slots.run_changed(before, run)
        if run.ended:
            self.schedules.run_ended(run)
        step = run.step
        if run.activity is Activity.LEASED and step is not None and step.timeouts.heartbeat_us:
            self.due.lease_deadline(self._engine.lease_now() + step.timeouts.heartbeat_us)

    def schedule_armed(self, due_at: int) -> None:
        """A schedule has an instant to come."""
        self.schedules.schedule_armed(due_at)

    def timer_armed(self, due_at: int) -> None:
        """A timer was set."""
        self.due.timer_armed(due_at)

    def wait_registered(self, run: RunState) -> None:
        """A run came to wait for an event."""
        self.matching.wait_registered(run)

    def events_appended(self, namespace: str, events: Sequence[EventAppend]) -> None:
        """Events were appended."""
        self.matching.events_appended(namespace, events)

    def mail_sent(self, namespace: str, mail: Sequence[Mail]) -> None:
        """Messages wait for their receivers."""
        self.due.mail_sent(namespace, mail)
