"""TickRun: node entries for a manual run, then a wait until they are used."""

from __future__ import annotations

from perdure_server.engine.commands import TickReply, TickRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, outcome_reply, tick_reply
from perdure_server.engine.wait_run import wait_run
from perdure_server.kernel.inputs import TickBudget


async def tick_run(engine: Engine, command: TickRunCommand) -> TickReply:
    """Adds `steps` node entries and waits until they are used, the run settles or the time is up.

    A repeat of the request adds none and waits again. Raises: Rejection (RUN_NOT_MANUAL, RUN_ENDED).
    """
    outcome = await engine.submit(
        command.key, TickBudget(command.steps), request=command.request, make_reply=encode_reply
    )
    seq = outcome_reply(outcome).seq  # a repeat may find a state from before the first one in memory
    run, _reached = await wait_run(engine, command.key, ended_only=False, min_seq=seq, wait_us=command.wait_us)
    return tick_reply(run)
