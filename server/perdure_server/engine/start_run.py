"""StartRun: a run exists, its first step due, in one commit; with an event, a run that exists gets it instead."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from perdure_server.engine.commands import StartReply, StartRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.emit_event import position_of
from perdure_server.engine.errors import EngineError, RunNotFoundError
from perdure_server.engine.replies import encode_start_reply, existing_reply, start_reply
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.decision import EventAppend, Reason, Rejection
from perdure_server.kernel.inputs import EventOffered, StartRun
from perdure_server.kernel.model import EventScope
from perdure_server.storage.port import RunKey

_ABOUT_A_NEW_RUN: Final = frozenset(
    {"WORKFLOW_NOT_FOUND", "NODE_NOT_FOUND", "VARS_TOO_LARGE", "CONCURRENCY_LIMIT", "LIMIT_REACHED"}
)
"""Reasons why a run cannot be created, which are none where it need not be."""


async def start_run(engine: Engine, command: StartRunCommand) -> StartReply:
    """Creates a run; with `return_existing`, an existing run of that id is the answer, whatever else is asked for.

    With an event, a run of that id that has not ended takes it, and that is the answer. Callers at the same time
    meet in the store: one creates the run, each other one finds it taken and offers its event to it.

    Raises: Rejection (RUN_EXISTS, NODE_NOT_FOUND, CONCURRENCY_LIMIT, LIMIT_REACHED); EngineError
    (WORKFLOW_NOT_FOUND, ...).
    """
    offered = command.event
    if offered is not None and not offered.event_id:
        offered = replace(offered, event_id=engine.new_id())
    try:
        return await _create(engine, command, offered)
    except (Rejection, EngineError) as refused:
        if not await _is_taken(engine, command, refused):
            raise
        if offered is not None:
            return await _offer(engine, command, offered)
        if not command.return_existing:
            raise
        return existing_reply(await engine.load(RunKey(command.namespace, command.run_id)), created=False)


async def _create(engine: Engine, command: StartRunCommand, offered: EventOffered | None) -> StartReply:
    spec = await engine.catalog.get(command.namespace, command.workflow_id, command.workflow_version)
    event_id = offered.event_id if offered else ""
    event = _start_input(command, command.run_id or engine.new_id(), offered)
    make_reply = partial(encode_start_reply, created=True, event_id=event_id)
    outcome = await engine.start(event, spec, request=command.request, make_reply=make_reply)
    return await _reply(engine, command, outcome, created=True, event_id=event_id)


async def _is_taken(engine: Engine, command: StartRunCommand, refused: Rejection | EngineError) -> bool:
    """Whether a start was refused although the run is there, so that nothing had to be created."""
    reason = refused.reason.value if isinstance(refused, Rejection) else refused.reason
    if reason == Reason.RUN_EXISTS.value:
        return True
    if not command.run_id or not command.return_existing or reason not in _ABOUT_A_NEW_RUN:
        return False
    try:
        await engine.load(RunKey(command.namespace, command.run_id))
    except RunNotFoundError:
        return False
    return True


def _start_input(command: StartRunCommand, run_id: str, offered: EventOffered | None) -> StartRun:
    return StartRun(
        namespace=command.namespace,
        run_id=run_id,
        vars=command.vars,
        actor_id=command.actor_id,
        session_id=command.session_id,
        labels=command.labels,
        drive=command.drive,
        start_at=command.start_at,
        deadline_at=command.deadline_at,
        entry_node=command.entry_node,
        trace_context=command.trace_context,
        event=offered,
        concurrency=command.concurrency,
    )


async def _offer(engine: Engine, command: StartRunCommand, offered: EventOffered) -> StartReply:
    """Gives the event to the run that has the id, if it has not ended."""
    key = RunKey(command.namespace, command.run_id)
    make_reply = partial(encode_start_reply, created=False, event_id=offered.event_id)
    try:
        outcome = await engine.submit(key, offered, request=command.request, make_reply=make_reply)
    except Rejection as rejection:
        if rejection.reason is not Reason.RUN_ENDED:
            raise
        if command.return_existing:
            return existing_reply(await engine.load(key), created=False)
        why = f"run id {key.run_id!r} is taken by a run that has ended; a run id names one ledger for ever"
        raise Rejection(Reason.RUN_EXISTS, why, field="run_id", **rejection.metadata) from rejection
    return await _reply(engine, command, outcome, created=False, event_id=offered.event_id)


async def _reply(
    engine: Engine, command: StartRunCommand, outcome: Outcome, *, created: bool, event_id: str
) -> StartReply:
    reply = start_reply(outcome, created=created, event_id=event_id)
    if not outcome.replayed or not reply.event_id or command.event is None:
        return reply
    like = EventAppend(
        EventScope.RUN, reply.run_id, command.event.name, reply.event_id, command.event.payload, engine.clock.now()
    )
    position = await position_of(engine, command.namespace, like, reply.event_id)
    return replace(reply, event_position=position)
