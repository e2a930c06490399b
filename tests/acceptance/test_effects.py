"""Scenarios B: effects, their attempts and their rows."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from perdure import (
    EffectContext,
    JsonObject,
    NodeContext,
    Plan,
    RecordKind,
    RetryPolicy,
    Timeouts,
    Waiting,
    Workflow,
    effect_key,
    plan,
)
from perdure.instants import from_timestamp, to_duration
from perdure.v1 import run_service_pb2 as pb
from perdure_server.storage.faults import KILL_AFTER, KILL_BEFORE
from tests.acceptance.differences import differs
from tests.acceptance.lives import Lives
from tests.acceptance.scene import NO_WORKER_US, WITHIN_S, Echo, Gate, Scene, calling, soon


def at_once(max_attempts: int) -> RetryPolicy:
    """Retries without a delay."""
    return RetryPolicy(max_attempts=max_attempts, initial_interval=0.0)


@differs("ledger-rows")
async def test_scenario_13_an_effect_is_not_retried_by_default(scene: Scene) -> None:
    echo = Echo(failures=1)
    await scene.work(calling(), llm_call=echo)
    run = await scene.start("calling")
    state = await scene.ended(run)
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.message.startswith("Effect failed after 1 attempts:")
    assert echo.calls == 1
    assert await scene.rows(run) == [
        "step_started started llm_call #1",
        "step_completed failed llm_call #1",
        "failed",
    ]


@differs("ledger-rows", "keys-format")
async def test_scenario_14_an_effect_is_retried_under_its_policy_with_one_key(scene: Scene) -> None:
    echo = Echo(failures=2)
    workflow = calling(retry=at_once(3))
    await scene.work(workflow, llm_call=echo)
    run = await scene.start(workflow)
    state = await scene.ended(run)
    assert (state.status, state.output) == ("completed", {"result": {"n": 3}})
    rows = await scene.rows(run)
    assert [row for row in rows if not row.startswith("requeued")] == [
        "step_started started llm_call #1",
        "step_completed failed llm_call #1",
        "step_started started llm_call #2",
        "step_completed failed llm_call #2",
        "step_started started llm_call #3",
        "step_completed completed llm_call #3",
        "completed",
    ]
    key = effect_key(scene.namespace, run.run_id, "call", 1)
    assert {context.idempotency_key for context in echo.contexts} == {key}
    keys = {entry.record.idempotency_key for entry in await scene.records(run) if entry.attempt}
    assert keys == {key}
    assert len({entry.record.step_id for entry in await scene.records(run) if entry.attempt}) == 1


async def test_scenario_15_an_effect_that_keeps_failing_is_given_up(scene: Scene) -> None:
    echo = Echo(failures=9)
    workflow = calling(retry=at_once(2))
    await scene.work(workflow, llm_call=echo)
    run = await scene.start(workflow)
    state = await scene.ended(run)
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.message == "Effect failed after 2 attempts: no answer 2"
    assert echo.calls == 2
    assert [row for row in await scene.rows(run) if "#2" in row] == [
        "step_started started llm_call #2",
        "step_completed failed llm_call #2",
    ]


@pytest.mark.promise("P6")
async def test_scenario_17_a_backoff_outlives_the_server(lives: Lives) -> None:
    scene = await lives.begin()
    policy = RetryPolicy(max_attempts=3, initial_interval=0.1, backoff_coefficient=20.0)
    await scene.work(calling(retry=policy), llm_call=Echo(failures=2))
    run = await scene.start("calling")
    due_at = await _second_failure(scene, run.run_id)
    await lives.kill()
    after = await lives.begin()
    state = await after.ended(after.client.run(run.run_id))
    assert (state.status, state.output) == ("completed", {"result": {"n": 3}})
    records = await after.records(run.run_id)
    third = [entry for entry in records if entry.kind == "step_started" and entry.attempt == 3]
    assert [row for row in await after.rows(run.run_id) if "step_started" in row] == [
        f"step_started started llm_call #{attempt}" for attempt in (1, 2, 3)
    ]
    assert len(third) == 1
    assert timedelta(0) <= third[0].at - due_at < timedelta(seconds=WITHIN_S)


async def _second_failure(scene: Scene, run_id: str) -> datetime:
    """Waits for the failure of attempt 2; returns when attempt 3 is due."""
    run = scene.client.run(run_id)
    seen = 0
    async with scene.client.subscribe(run_id) as subscription:
        async for entry in subscription:
            seen += entry.kind == "step_completed" and entry.status == "failed"
            if seen == 2:
                state = await run.state()
                assert state.activity == "backoff"
                return from_timestamp(entry.record.step_completed.retry_at)
    raise AssertionError("the ledger ended")


async def test_scenario_17_a_cancel_during_backoff_takes_effect_at_once(scene: Scene) -> None:
    echo = Echo(failures=9)
    await scene.work(calling(retry=RetryPolicy(max_attempts=3, initial_interval=3600)), llm_call=echo)
    run = await scene.start("calling")
    await scene.record(run, "step_completed", nth=2)
    assert (await run.state()).activity == "backoff"
    reply = await run.cancel("no more")
    assert reply.status == "cancelled"
    assert echo.calls == 1
    assert (await scene.rows(run))[-2:] == ["step_completed failed llm_call #1", "cancelled"]


@differs("wait-effects-waiting-row")
async def test_scenario_18_an_effect_that_answers_waiting_is_not_retried(scene: Scene) -> None:
    calls: list[int] = []

    async def job(ctx: EffectContext, payload: JsonObject) -> Waiting:
        calls.append(ctx.attempt)
        return Waiting("job", wait_key="job-7", prompt="working on it")

    workflow = calling(type="job", retry=at_once(3))
    await scene.work(workflow, job=job)
    run = await scene.start(workflow)
    wait = await scene.waiting(run)
    assert (wait.reason, wait.wait_key, wait.prompt) == ("job", "job-7", "working on it")
    assert await scene.rows(run) == ["step_started started job #1", "waiting waiting job #1"]
    await run.resume({"done": 1}, wait_id=wait.wait_id)
    assert (await scene.ended(run)).output == {"result": {"done": 1}}
    assert calls == [1]


@differs("missing-worker-waits")
async def test_scenario_19_an_effect_that_nobody_serves_waits_for_a_worker_until_its_time_is_up(scene: Scene) -> None:
    workflow = calling(timeouts=Timeouts(schedule_to_start=1.0))
    await scene.register(workflow)
    run = await scene.start(workflow)
    state = await run.state()
    assert (state.status, state.activity) == ("running", "queued")
    ended = await scene.ended(run)
    assert ended.status == "failed"
    assert ended.error is not None
    assert (ended.error.type, ended.error.details) == ("TIMEOUT", {"timeout": "schedule_to_start"})
    assert await scene.rows(run) == ["step_completed failed llm_call", "failed"]


@differs("missing-worker-waits")
async def test_scenario_19_a_worker_that_comes_later_takes_the_effect(scene: Scene) -> None:
    await scene.register(calling())
    run = await scene.start("calling")
    wait = pb.WaitRunRequest(namespace=scene.namespace, run_id=run.run_id, wait=to_duration(NO_WORKER_US / 500_000))
    seen = await scene.runs.WaitRun(wait)
    assert (seen.reached, seen.run.step.blocked) == (False, "NO_WORKER")
    await scene.work(llm_call=Echo())
    assert (await scene.ended(run)).output == {"result": {"n": 1}}


@pytest.mark.promise("P1", "P5")
@pytest.mark.parametrize("point", [KILL_AFTER, KILL_BEFORE])
async def test_scenario_21_a_crash_at_the_result_neither_loses_nor_repeats_the_effect(lives: Lives, point: str) -> None:
    """The commit that holds the result holds the run's next state too; its worker reports until it is told so."""
    first = await lives.begin()
    await first.register(calling())
    run = await first.start("calling")
    await lives.kill()
    echo = Echo()
    # The first commit hands the effect out, the second has its result.
    second = await lives.begin({point: "2"})
    await second.work(llm_call=echo)
    (commit,) = await lives.died()
    kinds = [RecordKind.from_wire(kind) for kind, _, _ in commit["records"]]
    assert kinds == ["step_completed", "step_completed", "completed"], "the result, the last node, the end: one commit"
    after = await lives.begin()
    state = await after.ended(after.client.run(run.run_id))
    assert (state.status, state.output) == ("completed", {"result": {"n": 1}})
    assert echo.calls == 1
    assert await after.rows(run.run_id) == [
        "step_started started llm_call #1",
        "step_completed completed llm_call #1",
        "completed",
    ]


@differs("loops-repeat", "keys-format", "ledger-rows")
async def test_scenario_23_the_same_effect_in_a_loop_is_executed_each_time(scene: Scene) -> None:
    echo = Echo()
    workflow = _three_times()
    await scene.work(workflow, llm_call=echo)
    run = await scene.start(workflow)
    assert (await scene.ended(run)).output == {"result": {"n": 3}}
    assert echo.calls == 3
    rows = await scene.rows(run)
    assert rows == ["step_started started llm_call #1", "step_completed completed llm_call #1"] * 3 + ["completed"]
    keys = [context.idempotency_key for context in echo.contexts]
    assert keys == [effect_key(scene.namespace, run.run_id, "call", visit) for visit in (1, 2, 3)]
    assert all(one != other for one, other in pairwise(keys))


@differs("loops-repeat")
async def test_scenario_23_a_crash_in_the_loop_repeats_no_visit(lives: Lives) -> None:
    scene = await lives.begin()
    gate = Gate()
    calls: list[int] = []

    async def call(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        calls.append(ctx.visit)
        if len(calls) == 2:
            await gate(ctx, payload)
        return {"n": len(calls)}

    workflow = _three_times()
    await scene.work(workflow, llm_call=call)
    run = await scene.start(workflow)
    await soon(gate.started)
    await lives.kill()
    after = await lives.begin()
    gate.open.set()
    state = await after.ended(after.client.run(run.run_id))
    assert (state.status, calls) == ("completed", [1, 2, 3])
    assert await after.rows(run.run_id) == [
        *["step_started started llm_call #1", "step_completed completed llm_call #1"] * 3,
        "completed",
    ]


def _three_times() -> Workflow:
    workflow = Workflow("loop")
    workflow.effect_node("call", "llm_call", {"prompt": "the same"}, result_key="result", next="again")

    @workflow.node("again")
    async def again(ctx: NodeContext) -> Plan:
        return plan.next("call" if ctx.visit < 3 else "done")

    workflow.complete_node("done", {"result": "${vars.result}"})
    return workflow


@pytest.mark.promise("P5")
async def test_scenario_26_two_workers_on_one_run_execute_its_effect_once(scene: Scene) -> None:
    echo = Echo()
    workflow = calling()
    await scene.work(workflow, llm_call=echo)
    await scene.work(workflow, llm_call=echo)
    runs = [await scene.start(workflow) for _ in range(20)]
    for run in runs:
        await scene.ended(run)
        assert await scene.rows(run) == [
            "step_started started llm_call #1",
            "step_completed completed llm_call #1",
            "completed",
        ]
    assert echo.calls == len(runs)
    assert {context.run_id for context in echo.contexts} == {run.run_id for run in runs}
