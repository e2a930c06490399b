"""Scenarios D: time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest

from perdure import Effect, FailedPrecondition, InvalidArgument, NodeContext, RunHandle, Workflow, effect
from tests.acceptance.differences import differs
from tests.acceptance.lives import Lives
from tests.acceptance.scene import WITHIN_S, Scene

BLOCKED_RUNS = 1_000
AT_A_TIME = 50
MARGINS_S = (4, 10, 25)
"""How long setting the scene may take, tried one after the other."""


def sleeping() -> Workflow:
    """Waits until vars.until, then completes with what the wait stored."""
    workflow = Workflow("sleeping")
    workflow.effect_node("sleep", "wait_until", {"until": "${vars.until}"}, result_key="woken", next="done")
    workflow.complete_node("done", {"woken": "${vars.woken}"})
    return workflow


def stuck_after_sleep() -> Workflow:
    """Waits until vars.until, then goes on where nobody works."""
    workflow = Workflow("stuck")
    workflow.effect_node("sleep", "wait_until", {"until": "${vars.until}"}, next="work")
    workflow.effect_node("work", "nobody")
    return workflow


@differs("until-result", "wait-effects-waiting-row")
async def test_scenario_37_an_instant_ends_its_wait_not_before_and_the_earliest_first(scene: Scene) -> None:
    await scene.register(sleeping())
    now = datetime.now(UTC)
    later, sooner = now + timedelta(seconds=0.4), now + timedelta(seconds=0.2)
    runs = [await scene.start("sleeping", {"until": instant.isoformat()}) for instant in (later, sooner)]
    positions: list[int] = []
    for run, until in zip(runs, (later, sooner), strict=True):
        state = await scene.ended(run)
        text = until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert (state.status, state.output) == ("completed", {"woken": {"until": text, "ready": True}})
        assert await scene.rows(run) == ["waiting waiting until", "resumed completed timer", "completed"]
        resumed = await scene.record(run, "resumed")
        assert resumed.at >= until
        positions.append(resumed.position)
    assert positions[1] < positions[0]


@differs("due-waits")
async def test_scenario_37_the_inbox_shows_what_waits_for_an_instant(scene: Scene) -> None:
    await scene.register(sleeping())
    instants = [datetime(year, 1, 1, tzinfo=UTC) for year in (2099, 2098)]
    runs = [await scene.start("sleeping", {"until": instant.isoformat()}) for instant in instants]
    for run in runs:
        await scene.waiting(run)
    shown = await scene.client.list_waits(reasons=["until"]).all()
    assert [(each.run_id, each.wait.until) for each in shown] == [
        (run.run_id, instant) for run, instant in zip(runs, instants, strict=True)
    ]
    assert await scene.client.list_waits().all() == []


@differs("until-result")
async def test_scenario_37_an_instant_that_has_passed_does_not_wait(scene: Scene) -> None:
    await scene.register(sleeping())
    run = await scene.start("sleeping", {"until": "2020-01-01T00:00:00Z"})
    state = await scene.ended(run)
    assert state.output == {"woken": {"until": "2020-01-01T00:00:00.000000Z", "ready": True}}
    assert await scene.rows(run) == ["step_completed completed wait_until", "completed"]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2099-03-01T12:00:00+05:00", datetime(2099, 3, 1, 7, tzinfo=UTC)),
        ("2099-03-01T12:00:00-08:30", datetime(2099, 3, 1, 20, 30, tzinfo=UTC)),
        ("2099-03-01T12:00:00Z", datetime(2099, 3, 1, 12, tzinfo=UTC)),
        ("2099-03-01T12:00:00+00:00", datetime(2099, 3, 1, 12, tzinfo=UTC)),
        ("2099-03-01T12:00:00.25Z", datetime(2099, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2099-03-01T12:00:00.123456+01:00", datetime(2099, 3, 1, 11, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
async def test_scenario_38_texts_with_an_offset_denote_instants(scene: Scene, text: str, instant: datetime) -> None:
    await scene.register(sleeping())
    run = await scene.start("sleeping", {"until": text})
    assert (await scene.waiting(run)).until == instant


@differs("until-strict", "bad-node-fails")
@pytest.mark.parametrize(
    "text", ["2099-03-01T12:00:00", "tomorrow", "", 4076049600, None, "2099-13-01T00:00:00Z", "2099-03-01"]
)
async def test_scenario_38_other_texts_fail_the_run_or_are_refused(scene: Scene, text: str | int | None) -> None:
    await scene.register(sleeping())
    run = await scene.start("sleeping", {"until": text})
    state = await scene.ended(run)
    assert (state.status, state.error is not None and state.error.type) == ("failed", "BAD_PLAN")
    assert state.error is not None
    assert "sleep" in state.error.message
    assert "RFC 3339" in state.error.message
    fixed = Workflow("fixed")
    fixed.effect_node("sleep", "wait_until", {"until": text})
    with pytest.raises(InvalidArgument) as refused:
        await scene.register(fixed)
    assert refused.value.reason == "INVALID_SPEC"


async def test_scenario_38_a_plan_names_an_instant_that_has_no_offset_to_get_wrong(scene: Scene) -> None:
    workflow = Workflow("w")

    @workflow.node("sleep")
    async def sleep(ctx: NodeContext) -> Effect:
        return effect.wait_until(datetime(2099, 3, 1, 12, tzinfo=timezone(timedelta(hours=5))))

    await scene.work(workflow)
    run = await scene.start("w")
    assert (await scene.waiting(run)).until == datetime(2099, 3, 1, 7, tzinfo=UTC)


@pytest.mark.promise("P6")
async def test_scenario_39_one_due_run_fires_behind_a_thousand_that_cannot_progress(lives: Lives) -> None:
    """Half of the thousand are paused, half go on to a step that nobody serves; all are due before the good one."""
    scene = await lives.begin()
    await scene.register(sleeping(), stuck_after_sleep())
    for margin in MARGINS_S:
        due = datetime.now(UTC) + timedelta(seconds=margin)
        blocked = await _start(scene, ["sleeping", "stuck"] * (BLOCKED_RUNS // 2), due)
        try:
            await asyncio.gather(*(run.pause() for run in blocked[::2]))
        except FailedPrecondition:
            continue  # it was due before it could be paused
        (good,) = await _start(scene, ["sleeping"], due + timedelta(milliseconds=1))
        if datetime.now(UTC) < due:
            break
    else:
        pytest.fail("this machine is too slow to set the scene in time")
    assert (await scene.ended(good)).status == "completed"
    resumed = await scene.record(good, "resumed")
    assert timedelta(0) <= resumed.at - due < timedelta(seconds=1)
    queued = [await run.wait(timeout=WITHIN_S, until="settled") for run in blocked[::2]]
    assert {(state.paused, state.activity) for state in queued} == {(True, "queued")}


async def _start(scene: Scene, workflows: Sequence[str], until: datetime) -> list[RunHandle]:
    """Starts runs, some at a time."""
    slots = asyncio.Semaphore(AT_A_TIME)

    async def start(workflow: str) -> RunHandle:
        async with slots:
            return await scene.start(workflow, {"until": until.isoformat()})

    return await asyncio.gather(*(start(workflow) for workflow in workflows))
