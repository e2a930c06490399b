"""The loop that fires schedules. Each move is a commit of its own, guarded by the schedule's version."""

from __future__ import annotations

from functools import partial
from typing import Final

from perdure_server.engine.core import Engine
from perdure_server.engine.errors import ScheduleChangedError
from perdure_server.engine.schedule_firing import NEVER, advance_schedule
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import RunState
from perdure_server.kernel.schedules import SCHEDULE_LABEL
from perdure_server.loop import Loop
from perdure_server.scheduler.chores import Chores
from perdure_server.storage.port import RunKey

PAGE: Final = 1_000
OWN_POLL_US: Final = 5 * SECOND_US
SHARED_POLL_US: Final = SECOND_US
MOVES_AT_ONCE: Final = 64
"""Moves of one schedule in a row, before others have their turn."""


class Schedules:
    """The loop over due schedules.

    One whose instant waits for a run to end is due all the time: it is looked at again when a run of it has ended, and
    every few seconds, for ends that this process does not hear of.

    Args:
        engine: starts runs.
    """

    def __init__(self, engine: Engine) -> None:
        self.loop = Loop("schedules", engine.clock, self._step)
        self.chores = Chores(engine.clock, self.loop.wake)
        self._engine = engine
        self._poll_us = SHARED_POLL_US if engine.info.shared else OWN_POLL_US
        self._asleep: dict[tuple[str, str], tuple[int, int]] = {}
        """Those that wait for a run to end: when they are looked at again (monotonic), and their next instant."""
        self._next_at = 0

    # --- wake-ups ------------------------------------------------------------------------------

    def schedule_armed(self, due_at: int) -> None:
        """A schedule has an instant; wakes the loop if it comes before all that the loop knows."""
        if due_at < self._next_at:
            self._next_at = due_at
            self.loop.wake()

    def run_ended(self, run: RunState) -> None:
        """A run has ended: the schedule that started it may go on."""
        schedule_id = run.labels.get(SCHEDULE_LABEL)
        if schedule_id is not None:
            self._asleep.pop((run.namespace, schedule_id), None)
            self.loop.wake()

    # --- the loop --------------------------------------------------------------------------------

    async def _step(self) -> int:
        engine, now = self._engine, self._engine.clock.monotonic()
        self.chores.forget_old()
        moment = engine.clock.now()
        self._asleep = {key: wake for key, wake in self._asleep.items() if wake[0] > now and wake[1] > moment}
        self._next_at = NEVER
        limit = PAGE + self.chores.open + len(self._asleep)
        due = await engine.read(engine.store.due_schedules, engine.clock.now(), limit)
        started = 0
        for namespace, row in due.rows:
            key = (namespace, row.schedule_id)
            if key not in self._asleep:
                started += self.chores.start(("schedule", *key), RunKey(*key), partial(self._advance, *key))
        if due.next_at:
            self._next_at = min(self._next_at, due.next_at)
        if len(due.rows) >= limit and started:
            return 0
        pauses = [self._poll_us, self._next_at - engine.clock.now()]
        pauses += [wake[1] - moment for wake in self._asleep.values()]
        if self.chores.next_try_at:
            pauses.append(self.chores.next_try_at - now)
        return max(min(pauses), 0)

    async def _advance(self, namespace: str, schedule_id: str) -> None:
        for _ in range(MOVES_AT_ONCE):
            try:
                until = await advance_schedule(self._engine, namespace, schedule_id)
            except ScheduleChangedError:
                continue
            if until and until != NEVER:
                self._asleep[namespace, schedule_id] = self._engine.clock.monotonic() + self._poll_us, until
            if until:
                return
