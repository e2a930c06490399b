"""StartRun: a run exists, with its first step due, in one commit."""

from __future__ import annotations

from perdure_server.engine.commands import StartReply, StartRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, existing_reply, start_reply
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import StartRun
from perdure_server.storage.port import RunKey


async def start_run(engine: Engine, command: StartRunCommand) -> StartReply:
    """Creates a run; with `return_existing`, an existing run of that id is the answer.

    Raises: Rejection (RUN_EXISTS, NODE_NOT_FOUND); EngineError (WORKFLOW_NOT_FOUND, ...).
    """
    spec = await engine.catalog.get(command.namespace, command.workflow_id, command.workflow_version)
    event = StartRun(
        namespace=command.namespace,
        run_id=command.run_id or engine.new_id(),
        vars=command.vars,
        actor_id=command.actor_id,
        session_id=command.session_id,
        labels=command.labels,
        drive=command.drive,
        start_at=command.start_at,
        deadline_at=command.deadline_at,
        entry_node=command.entry_node,
        trace_context=command.trace_context,
    )
    try:
        outcome = await engine.start(event, spec, request=command.request, make_reply=encode_reply)
    except Rejection as rejection:
        if rejection.reason is not Reason.RUN_EXISTS or not command.return_existing:
            raise
        run = await engine.load(RunKey(command.namespace, command.run_id))
        return existing_reply(run, created=False)
    return start_reply(outcome)
