"""CancelRun."""

from __future__ import annotations

from perdure_server.engine.commands import CancelRunCommand, Reply
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, outcome_reply
from perdure_server.kernel.inputs import Cancel


async def cancel_run(engine: Engine, command: CancelRunCommand) -> Reply:
    """Cancels a run, at once or through its on_cancel_node; a run that has ended stays as it is."""
    event = Cancel(command.reason, command.cancelled_by)
    outcome = await engine.submit(command.key, event, request=command.request, make_reply=encode_reply)
    return outcome_reply(outcome)
