"""Replies of changing calls, and the bytes under which a request id keeps them."""

from __future__ import annotations

import json

from perdure_server.engine.commands import Reply, StartReply, TickReply
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.model import RunState


def reply_of(run: RunState) -> Reply:
    """The run as of a commit."""
    return Reply(run.run_id, run.seq, int(run.status), int(run.activity))


def encode_reply(run: RunState) -> bytes:
    """The kept form of a reply: ids, seq and status, no payload."""
    fields = [run.run_id, run.seq, int(run.status), int(run.activity), run.workflow_version, run.step_budget]
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_reply(kept: bytes) -> Reply:
    """The reply that `encode_reply` kept."""
    run_id, seq, status, activity, _version, _budget = json.loads(kept)
    return Reply(run_id, seq, status, activity)


def outcome_reply(outcome: Outcome) -> Reply:
    """The reply of a changing call: the first one if its request id was known."""
    if outcome.replayed and outcome.reply is not None:
        return decode_reply(outcome.reply)
    return reply_of(outcome.run)


def encode_start_reply(run: RunState, *, created: bool, event_id: str) -> bytes:
    """The kept form of StartRun's reply: as of any other, `created`, and the event's id."""
    fields = [run.run_id, run.seq, int(run.status), int(run.activity), run.workflow_version, run.step_budget]
    return json.dumps([*fields, created, event_id], separators=(",", ":")).encode()


def start_reply(outcome: Outcome, *, created: bool, event_id: str) -> StartReply:
    """The reply of StartRun; a replayed one says `created` and `event_id` as the first did, without the position."""
    if outcome.replayed and outcome.reply is not None:
        run_id, seq, status, activity, version, _budget, *more = json.loads(outcome.reply)
        created, event_id = more or (True, "")  # servers before 0.2 kept neither
        return StartReply(run_id, seq, status, activity, created, version, event_id)
    run = outcome.run
    positions, known = outcome.event_positions, outcome.events_known
    return StartReply(
        run.run_id,
        run.seq,
        int(run.status),
        int(run.activity),
        created=created,
        workflow_version=run.workflow_version,
        event_id=event_id,
        event_position=positions[0] if event_id else 0,
        event_duplicate=known[0] if event_id else False,
    )


def existing_reply(run: RunState, *, created: bool) -> StartReply:
    """A StartReply from a run's state."""
    return StartReply(
        run.run_id,
        run.seq,
        int(run.status),
        int(run.activity),
        created=created,
        workflow_version=run.workflow_version,
    )


def tick_reply(run: RunState) -> TickReply:
    """The reply of TickRun."""
    return TickReply(run.run_id, run.seq, int(run.status), int(run.activity), step_budget=run.step_budget)
