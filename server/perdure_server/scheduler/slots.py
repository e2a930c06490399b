"""Slots: the first in line of a concurrency key gets the slot that has become free.

After the commits that freed it or that got in line, never inside them; the store decides in the commit that gives it.
A signal that is lost, or comes from another process, is made good by reading the lines that may move.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from perdure_server.engine.core import Engine
from perdure_server.kernel.decision import Rejection
from perdure_server.kernel.inputs import SlotGranted
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import RunState, SlotState
from perdure_server.loop import Loop
from perdure_server.scheduler.chores import Chores
from perdure_server.scheduler.superseding import superseded
from perdure_server.storage.port import RunKey, SlotLine, SlotPlace

PAGE: Final = 1_000
OWN_POLL_US: Final = 30 * SECOND_US
SHARED_POLL_US: Final = SECOND_US
MAX_TRIES: Final = 3
"""A slot may be refused once because of what the same transaction did; then it is looked at again."""


class Slots:
    """The loop that moves lines.

    Args:
        engine: gives slots to runs.
    """

    def __init__(self, engine: Engine) -> None:
        self.loop = Loop("slots", engine.clock, self._step)
        self.chores = Chores(engine.clock, self.loop.wake)
        self._engine = engine
        self._lines: dict[tuple[str, str], None] = {}
        self._poll_us = SHARED_POLL_US if engine.info.shared else OWN_POLL_US
        self._read_at = 0

    def run_changed(self, before: RunState | None, run: RunState) -> None:
        """A run with a concurrency key got in line or left its place."""
        if run.concurrency is None or (before is not None and (before.slot, before.paused) == (run.slot, run.paused)):
            return
        if run.slot is not SlotState.HELD:
            self._lines[run.namespace, run.concurrency.key] = None
            self.loop.wake()

    async def _step(self) -> int:
        engine, now = self._engine, self._engine.clock.monotonic()
        self.chores.forget_old()
        if now >= self._read_at:
            due = await engine.read(engine.store.due_slots, PAGE)
            self._lines.update(dict.fromkeys(due))
            self._read_at = now + (0 if len(due) == PAGE else self._poll_us)
        for line in list(self._lines):
            if self.chores.start(("slots", *line), RunKey(*line), partial(move_line, engine, *line)):
                del self._lines[line]
        pauses = [self._read_at - now]
        if self._lines and self.chores.next_try_at:
            pauses.append(self.chores.next_try_at - now)
        return max(min(pauses), 1_000)


async def move_line(engine: Engine, namespace: str, key: str) -> None:
    """Gives slots to the first in line for as long as there are any, then makes old runs give way to the newest.

    Raises: EngineError; Rejection if a slot that seems free is refused again and again.
    """
    refused = 0
    while True:
        line = await engine.read(engine.store.slot_line, namespace, key, PAGE)
        if not line.line or line.holding >= line.line[0].row.limit:
            break
        try:
            await engine.submit(RunKey(namespace, line.line[0].run_id), SlotGranted())
            engine.counters["slots_granted"] += 1
            refused = 0
        except Rejection:
            refused += 1
            if refused == MAX_TRIES:
                raise
    for victim, winner in give_way(line):
        await _supersede(engine, RunKey(namespace, victim), winner)


def give_way(line: SlotLine) -> list[tuple[str, str]]:
    """(run, winner): the runs that must be cancelled so that those in line that win over older ones can start."""
    found: dict[str, str] = {}
    older: list[SlotPlace] = list(line.holders)
    for place in line.line:
        surplus = len(older) + 1 - place.row.limit
        if place.row.newest_wins and surplus > 0:
            for victim in sorted(older, key=lambda other: other.rank)[:surplus]:
                found.setdefault(victim.run_id, place.run_id)
        older.append(place)
    return list(found.items())


async def _supersede(engine: Engine, key: RunKey, winner: str) -> None:
    try:
        await engine.submit(key, superseded(winner))
        engine.counters["runs_superseded"] += 1
    except Rejection:
        return
