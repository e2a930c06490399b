"""MigrateRun: a run goes on in another version of its workflow."""

from __future__ import annotations

import json

from perdure_server.engine.commands import MigrateReply, MigrateRunCommand
from perdure_server.engine.core import Engine
from perdure_server.kernel.inputs import Migrate
from perdure_server.kernel.lifecycle import run_ended
from perdure_server.kernel.migration import hands_out_again, plan_move
from perdure_server.kernel.model import RunState, WorkflowSpec

LEFT_BEHIND = 100
"""Most nodes that a reply names as left behind."""


async def migrate_run(engine: Engine, command: MigrateRunCommand) -> MigrateReply:
    """Moves a run, or tells what a move would do.

    Raises: MigrationRefusedError; Rejection (RUN_ENDED, INVALID_FIELD); WorkflowNotFoundError.
    """
    run = await engine.load(command.key)
    target = await engine.catalog.get(command.key.namespace, run.workflow_id, command.workflow_version)
    if command.dry_run:
        return await _dry_run(engine, command, run, target)
    event = Migrate(target, command.node_map, command.migrated_by)
    before = run

    def made(present: RunState) -> Migrate:
        nonlocal before
        before = present
        return event

    def kept(after: RunState) -> bytes:
        return _encode(_moved(before, after))

    outcome = await engine.submit(command.key, made, request=command.request, make_reply=kept)
    if outcome.replayed and outcome.reply is not None:
        return _decode(outcome.reply)
    return _moved(before, outcome.run)


async def _dry_run(engine: Engine, command: MigrateRunCommand, run: RunState, target: WorkflowSpec) -> MigrateReply:
    if run.ended:
        raise run_ended(run)
    spec = await engine.catalog.get(command.key.namespace, run.workflow_id, run.workflow_version)
    move = plan_move(run, spec, target, command.node_map)
    return MigrateReply(
        run.run_id,
        run.seq,
        int(run.status),
        int(run.activity),
        from_version=run.workflow_version,
        to_version=target.version,
        current_node=move.entry.node_id if move.entry else "",
        requeued=move.requeued,
        faults=move.faults,
        left_behind=move.left_behind[:LEFT_BEHIND],
    )


def _moved(before: RunState, after: RunState) -> MigrateReply:
    return MigrateReply(
        after.run_id,
        after.seq,
        int(after.status),
        int(after.activity),
        from_version=before.workflow_version,
        to_version=after.workflow_version,
        current_node=after.current_node,
        requeued=before.workflow_version != after.workflow_version and hands_out_again(before),
    )


def _encode(reply: MigrateReply) -> bytes:
    fields = [reply.run_id, reply.seq, reply.status, reply.activity]
    fields += [reply.from_version, reply.to_version, reply.current_node, reply.requeued]
    return json.dumps(fields, separators=(",", ":")).encode()


def _decode(kept: bytes) -> MigrateReply:
    return MigrateReply(*json.loads(kept))
