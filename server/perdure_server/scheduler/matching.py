"""Events find the runs that wait for them, after the commit of either side (P6).

Never inside the sender's transaction: there, a wait that is being registered at the same time would be
missed. Here both sides are committed before anybody looks; whoever comes second looks last, and the sweeper
looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from perdure_server.engine.core import NEWEST, Engine
from perdure_server.engine.errors import RunNotFoundError
from perdure_server.kernel.decision import EventAppend, Rejection
from perdure_server.kernel.inputs import EventMatched
from perdure_server.kernel.instants import format_instant
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import EventScope, RunState, Wait
from perdure_server.kernel.values import Json, Leaf, dump_json
from perdure_server.loop import Loop
from perdure_server.scheduler.chores import Chores
from perdure_server.storage.port import NO_LIMIT, RunKey, StoredEvent, StoreReader

PAGE: Final = 500
IDLE_US: Final = 60 * SECOND_US
AGAIN_US: Final = 200_000
"""Pause before runs are looked at again for which there was no room."""
FINAL_WITHIN_US: Final = 10 * SECOND_US
"""How long an event may be above the horizon before the run is put off, as after a failure (shared stores)."""


class EventKey(NamedTuple):
    """What waits name: events of one name in one scope."""

    namespace: str
    scope: int
    scope_id: str
    name: str


class NotFinalError(Exception):
    """A lower event may still appear; the match is tried again."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the event at position {position} is still above the horizon")


class Matching:
    """The loop that matches events and waits.

    Args:
        engine: gives matches to runs.
    """

    def __init__(self, engine: Engine) -> None:
        self.loop = Loop("event-matching", engine.clock, self._step)
        self.chores = Chores(engine.clock, self.loop.wake)
        self._engine = engine
        self._runs: dict[RunKey, None] = {}
        self._events: dict[EventKey, None] = {}

    # --- wake-ups ------------------------------------------------------------------------------

    def wait_registered(self, run: RunState) -> None:
        """A run came to wait for an event."""
        self.match(RunKey(run.namespace, run.run_id))

    def events_appended(self, namespace: str, events: Sequence[EventAppend]) -> None:
        """Events were appended."""
        for event in events:
            self._events[EventKey(namespace, int(event.scope), event.scope_id, event.name)] = None
        self.loop.wake()

    def match(self, key: RunKey) -> None:
        """Looks for an event that the run waits for."""
        self._runs[key] = None
        self.loop.wake()

    # --- the loop --------------------------------------------------------------------------------

    async def _step(self) -> int:
        while self._events:
            await self._find_waits(next(iter(self._events)))
        for key in list(self._runs):
            name = ("match", key)
            if self.chores.start(name, key, lambda key=key: match_run(self._engine, key)):
                del self._runs[key]
        return self._pause()

    async def _find_waits(self, event: EventKey) -> None:
        """Notes every run that waits for this event, page by page."""
        engine, after = self._engine, ""
        while True:
            page = await engine.read(engine.store.waits_for_event, *event, after, PAGE)
            self._runs.update(dict.fromkeys(page))
            if len(page) < PAGE:
                break
            after = page[-1].run_id
        self._events.pop(event, None)

    def _pause(self) -> int:
        if not self._runs:
            return IDLE_US
        next_try_at = self.chores.next_try_at
        return max(next_try_at - self._engine.clock.monotonic(), 0) if next_try_at else AGAIN_US


async def match_run(engine: Engine, key: RunKey) -> bool:
    """Gives the run the lowest event that it waits for and has not consumed; whether there was one.

    The kernel takes it only if the same wait is still registered. An event above the horizon is waited for: a
    lower one may still appear. So of an event and a wait that are committed at the same time on two replicas,
    whoever looks second sees both. Raises: EngineError, NotFinalError.
    """
    try:
        run = await _as_stored(engine, key)
    except RunNotFoundError:
        return False
    wait = run.waiting
    if wait is None or not wait.event_name:
        return False
    mark = run.consumed.get((int(wait.event_scope), wait.event_scope_id, wait.event_name), 0)
    found = await _first_final(engine, key.namespace, wait, max(wait.event_floor, mark))
    if found is None:
        return False
    try:
        await engine.submit(key, matched(wait.wait_id, found))
    except Rejection:
        return False  # the wait ended otherwise meanwhile
    return True


async def _as_stored(engine: Engine, key: RunKey) -> RunState:
    """The run; one that does not wait as far as this process knows is read again, if others may have moved it."""
    run = await engine.load(key)
    if engine.shared and (run.waiting is None or not run.waiting.event_name):
        return await engine.refresh(key, NEWEST)
    return run


async def _first_final(engine: Engine, namespace: str, wait: Wait, floor: int) -> StoredEvent | None:
    """The lowest event of the wait above `floor`, once none can appear below it. Raises: NotFinalError."""
    while True:
        horizon = engine.horizon
        found = await engine.read(first_event, engine.store, namespace, wait, floor)
        if found is None or not engine.shared or found.position <= horizon:
            return found
        if not await engine.horizon_reaches(found.position, FINAL_WITHIN_US):
            raise NotFinalError(found.position)


def first_event(store: StoreReader, namespace: str, wait: Wait, floor: int) -> StoredEvent | None:
    """The lowest event of the wait above `floor`, perhaps above the horizon."""
    page = store.read_events(namespace, int(wait.event_scope), wait.event_scope_id, wait.event_name, floor, NO_LIMIT, 1)
    return page[0] if page else None


def matched(wait_id: int, stored: StoredEvent) -> EventMatched:
    """The input that ends a wait by an event."""
    event = stored.event
    return EventMatched(
        wait_id=wait_id,
        position=stored.position,
        event_id=event.event_id,
        scope=EventScope(event.scope),
        scope_id=event.scope_id,
        name=event.name,
        envelope=envelope(stored),
    )


def envelope(stored: StoredEvent) -> Leaf:
    """What a waiting run receives: {event_id, name, scope, session_id, payload, emitted_at, emitter}.

    The payload's text is taken over byte for byte.
    """
    event = stored.event
    head: dict[str, Json] = {
        "event_id": event.event_id,
        "name": event.name,
        "scope": EventScope(event.scope).name.lower(),
        "session_id": event.session_id,
    }
    tail: dict[str, Json] = {
        "emitted_at": format_instant(event.at),
        "emitter": {
            "run_id": event.run_id,
            "workflow_id": event.workflow_id,
            "node_id": event.node_id,
        },
    }
    return Leaf(dump_json(head)[:-1] + b',"payload":' + event.payload + b"," + dump_json(tail)[1:])
