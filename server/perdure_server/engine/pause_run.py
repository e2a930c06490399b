"""PauseRun."""

from __future__ import annotations

from perdure_server.engine.commands import PauseRunCommand, Reply
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, outcome_reply
from perdure_server.kernel.inputs import Pause


async def pause_run(engine: Engine, command: PauseRunCommand) -> Reply:
    """Nothing new starts in the run until it is unpaused. Raises: Rejection (RUN_ENDED)."""
    event = Pause(command.reason, command.paused_by)
    outcome = await engine.submit(command.key, event, request=command.request, make_reply=encode_reply)
    return outcome_reply(outcome)
