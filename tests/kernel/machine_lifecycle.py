"""RetryRun and MigrateRun in the state machine: what holds after each, whatever came before."""

from __future__ import annotations

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Reason, Rejection
from tests.kernel.machine_draws import OTHERS, SPECS
from tests.kernel.world import World


def retried(world: World, run: m.RunState, event: i.Retry) -> None:
    """Somebody opens a run again: refused unless it failed, and then it is where it was."""
    taken = world.submit(run.run_id, event)
    if isinstance(taken, Rejection):
        assert taken.reason is (Reason.RUN_NOT_FAILED if run.failed_step is None else Reason.EFFECT_IN_DOUBT)
        return
    again, failed = world.runs[run.run_id], run.failed_step
    assert failed is not None
    assert again.step is not None
    assert (again.step.node_id, again.step.visit) == (failed.node_id, failed.visit)
    assert (again.visits, again.reopened, again.paused) == (run.visits, run.reopened + 1, event.paused)
    assert again.step.failures == 0
    if not event.from_node:
        assert again.step.effect == failed.effect, "the same effect, with the same key"
        assert again.step.attempt == failed.attempt


def migrated(world: World, run: m.RunState, *, mapped: bool) -> None:
    """Somebody moves a run to the other version: with every node mapped, nothing stands in the way."""
    here = world.spec_of(run)
    there = next(specs[run.workflow_id] for specs in (OTHERS, SPECS) if specs[run.workflow_id] is not here)
    names = ({"b": "bb"} if "b" in here.nodes else {"bb": "b"}) if mapped else {}
    taken = world.submit(run.run_id, i.Migrate(there, names))
    moved = world.runs[run.run_id]
    if isinstance(taken, Rejection):
        assert taken.reason is (Reason.RUN_ENDED if run.ended else Reason.MIGRATION_REFUSED)
        assert run.ended or not mapped
        return
    assert moved.workflow_version == there.version
    assert moved.current_node in there.nodes
    assert moved.step is not None
    assert run.step is not None
    assert moved.step.step_id == run.step.step_id
    assert (moved.waiting is None) == (run.waiting is None)
    if run.step.effect is not None:
        assert moved.step.effect is not None
        assert moved.step.effect.idempotency_key == run.step.effect.idempotency_key
        assert moved.activity is run.activity
