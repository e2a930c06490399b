"""EmitEvent: a client appends an event to the log."""

from __future__ import annotations

import asyncio
import json

from perdure_server.engine.commands import EmitEventCommand, EmitReply
from perdure_server.engine.core import Engine
from perdure_server.engine.requests import check_request
from perdure_server.engine.transition import event_row
from perdure_server.kernel.decision import EventAppend
from perdure_server.kernel.lifecycle import event_payload
from perdure_server.kernel.model import EventScope
from perdure_server.storage.port import NO_LIMIT, Commit, RequestRow, RunKey, VerdictKind

OBSERVED_RUNS = 100
OBSERVE_US = 250_000


async def emit_event(engine: Engine, command: EmitEventCommand) -> EmitReply:
    """Appends an event; runs that wait for it go on after the commit.

    Raises: NamespaceNotFoundError, RequestIdReusedError.
    """
    await engine.catalog.require_namespace(command.namespace)
    event = EventAppend(
        scope=command.scope,
        scope_id="" if command.scope is EventScope.GLOBAL else command.scope_id,
        name=command.name,
        event_id=command.event_id or engine.new_id(),
        payload=event_payload(command.payload),
        at=engine.clock.now(),
        session_id=command.scope_id if command.scope is EventScope.SESSION else "",
        emitted_by=command.emitted_by,
    )
    waiting = await engine.read(
        engine.store.waits_for_event,
        command.namespace,
        int(event.scope),
        event.scope_id,
        event.name,
        "",
        OBSERVED_RUNS,
    )
    before = {key: (await engine.load(key)).seq for key in waiting}
    verdict = await engine.commit(
        Commit(command.namespace, events=(event_row(event),), request=_request_row(command, event))
    )
    if verdict.kind is VerdictKind.REQUEST_KNOWN and verdict.request is not None and command.request is not None:
        kept = json.loads(check_request(verdict.request, command.request))
        position = await position_of(engine, command.namespace, event, kept["event_id"])
        return EmitReply(kept["event_id"], position, duplicate=False, delivered_run_ids=())
    engine.wakeups.events_appended(command.namespace, [event])
    delivered = await _observe(engine, before)
    return EmitReply(event.event_id, verdict.event_positions[0], verdict.events_known[0], delivered)


def _request_row(command: EmitEventCommand, event: EventAppend) -> RequestRow | None:
    request = command.request
    if request is None:
        return None
    reply = json.dumps({"event_id": event.event_id}).encode()
    return RequestRow(request.method, request.request_id, request.body_hash, reply, event.at)


async def position_of(engine: Engine, namespace: str, event: EventAppend, event_id: str) -> int:
    """Where the log has the event of a repeated request; 0 once retention removed it.

    Args:
        event: one of the same scope and name.
    """
    after = 0
    while True:
        page = await engine.read(
            engine.store.read_events,
            namespace,
            int(event.scope),
            event.scope_id,
            event.name,
            after,
            NO_LIMIT,
            1_000,
        )
        for stored in page:
            if stored.event.event_id == event_id:
                return stored.position
        if not page:
            return 0
        after = page[-1].position


async def _observe(engine: Engine, before: dict[RunKey, int]) -> tuple[str, ...]:
    """Which of these runs go on within a short time: an observation, not a promise."""
    if not before:
        return ()
    results = await asyncio.gather(*(_goes_on(engine, key, seq) for key, seq in before.items()))
    return tuple(key.run_id for key, moved in zip(before, results, strict=True) if moved)


async def _goes_on(engine: Engine, key: RunKey, seq: int) -> bool:
    with engine.watchers.watch(key) as signal:
        if (await engine.load(key)).seq > seq:
            return True
        timer = asyncio.ensure_future(engine.clock.sleep(OBSERVE_US))
        waiter = asyncio.ensure_future(signal.wait())
        try:
            await asyncio.wait((timer, waiter), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            waiter.cancel()
        return (await engine.load(key)).seq > seq
