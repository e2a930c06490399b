"""UnpauseRun."""

from __future__ import annotations

from perdure_server.engine.commands import Reply, UnpauseRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, outcome_reply
from perdure_server.kernel.inputs import Unpause


async def unpause_run(engine: Engine, command: UnpauseRunCommand) -> Reply:
    """Undoes a pause. Raises: Rejection (RUN_ENDED)."""
    event = Unpause(command.unpaused_by)
    outcome = await engine.submit(command.key, event, request=command.request, make_reply=encode_reply)
    return outcome_reply(outcome)
