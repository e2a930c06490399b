"""ResolveStep."""

from __future__ import annotations

from perdure_server.engine.commands import Reply, ResolveStepCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, outcome_reply
from perdure_server.kernel.inputs import ResolveStep


async def resolve_step(engine: Engine, command: ResolveStepCommand) -> Reply:
    """Decides about a parked step. Raises: Rejection (STEP_NOT_PARKED, RUN_ENDED, INVALID_FIELD)."""
    event = ResolveStep(
        step_id=command.step_id,
        resolution=command.resolution,
        result=command.result,
        plan=command.plan,
        failure=command.failure,
        resolved_by=command.resolved_by,
    )
    outcome = await engine.submit(command.key, event, request=command.request, make_reply=encode_reply)
    return outcome_reply(outcome)
