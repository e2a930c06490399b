"""TickRun: a manual run moves as far as it is told to, and no further."""

import asyncio

import grpc
import pytest

from perdure import FailedPrecondition, JsonObject, NodeContext, Plan, RunHandle, Workflow, plan
from perdure.instants import to_duration
from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.hand import HandWorker
from tests.acceptance.lives import Lives
from tests.acceptance.scene import WITHIN_S, Echo, Gate, Scene, calling

IDLE = common_pb2.RUN_ACTIVITY_IDLE


def counting(nodes: int = 5) -> Workflow:
    """Notes each node it goes through in vars.seen."""
    workflow = Workflow("counting")

    async def visit(ctx: NodeContext) -> Plan:
        ctx.vars.setdefault("seen", []).append(ctx.node_id)
        number = int(ctx.node_id[1:])
        return plan.next(f"n{number + 1}") if number < nodes - 1 else plan.complete({"seen": ctx.vars["seen"]})

    for number in range(nodes):
        workflow.node(f"n{number}")(visit)
    return workflow


async def seen(run: RunHandle) -> list[str]:
    """The nodes that were executed."""
    found: JsonObject = (await run.state()).vars or {}
    return found.get("seen", [])


async def test_a_manual_run_stands_still_until_it_is_ticked(scene: Scene) -> None:
    await scene.work(counting())
    run = await scene.start("counting", drive="manual")
    state = await run.wait(timeout=WITHIN_S)
    assert (state.status, state.activity, state.step_budget, state.drive) == ("running", "idle", 0, "manual")
    assert await seen(run) == []
    reply = await run.tick(2)
    assert (reply.status, reply.activity, reply.step_budget) == ("running", "idle", 0)
    assert await seen(run) == ["n0", "n1"]
    done = await run.tick(100)
    assert (done.status, done.step_budget) == ("completed", 0)
    rows = await scene.rows(run)
    assert rows == ["budget_added", "budget_added", "completed"]
    budgets = [entry.record.budget_added.steps for entry in await scene.records(run) if entry.kind == "budget_added"]
    assert budgets == [2, 100]


async def test_a_tick_returns_when_the_run_waits_and_keeps_what_is_left(scene: Scene) -> None:
    workflow = Workflow("w")
    workflow.effect_node("ask", "ask_user", {"prompt": "?"}, next="a")
    workflow.effect_node("a", "answer_user", {"message": "x"}, next="b")
    workflow.complete_node("b")
    await scene.register(workflow)
    run = await scene.start("w", drive="manual")
    reply = await run.tick(2)
    assert (reply.status, reply.activity, reply.step_budget) == ("waiting", "waiting", 1)
    await run.resume("y", any_wait=True)
    state = await run.wait(timeout=WITHIN_S, min_seq=reply.seq + 1)
    assert (state.status, state.activity, state.current_node, state.step_budget) == ("running", "idle", "b", 0)
    assert (await run.tick(1)).status == "completed"


async def test_a_tick_whose_time_is_up_tells_how_the_run_stands(scene: Scene) -> None:
    await scene.register(calling())
    run = await scene.start("calling", drive="manual")
    reply = await run.tick(1, wait=0.05)
    assert (reply.status, reply.activity, reply.step_budget) == ("running", "queued", 0)
    hand = HandWorker(scene.client)
    held = asyncio.create_task(run.tick(0, wait=WITHIN_S))
    await hand.report(await hand.task(), "1")
    settled = await held
    assert (settled.status, settled.activity) == ("running", "idle")
    assert (await run.state()).current_node == "done"


@pytest.mark.promise("P5")
async def test_the_same_tick_adds_none_and_waits_again(scene: Scene) -> None:
    await scene.work(counting())
    run = await scene.start("counting", drive="manual")
    request = pb.TickRunRequest(namespace=scene.namespace, request_id="tick-1", run_id=run.run_id, max_steps=2)
    replies = await asyncio.gather(*(scene.runs.TickRun(request) for _ in range(5)))
    assert {(reply.seq, reply.activity, reply.step_budget) for reply in replies} == {(replies[0].seq, IDLE, 0)}
    assert await seen(run) == ["n0", "n1"]
    request.wait.CopyFrom(to_duration(1))
    again = await scene.runs.TickRun(request)
    assert (again.seq, again.activity) == (replies[0].seq, IDLE), "how long to wait is no part of the request"
    request.max_steps = 3
    with pytest.raises(grpc.aio.AioRpcError) as reused:
        await scene.runs.TickRun(request)
    assert reused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert await seen(run) == ["n0", "n1"]


@pytest.mark.promise("P2")
async def test_a_repeated_tick_waits_for_the_steps_of_the_first_also_after_a_crash(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(calling())
    run = await scene.start("calling", drive="manual")
    request = pb.TickRunRequest(request_id="tick-1", run_id=run.run_id, max_steps=2, wait=to_duration(0.05))
    assert (await scene.runs.TickRun(request)).activity == common_pb2.RUN_ACTIVITY_QUEUED
    await lives.kill()
    after = await lives.begin()
    await after.work(llm_call=Echo())
    request.wait.CopyFrom(to_duration(WITHIN_S))
    reply = await after.runs.TickRun(request)
    assert (reply.status, reply.step_budget) == (common_pb2.RUN_STATUS_COMPLETED, 0)
    assert (await after.rows(run.run_id)).count("budget_added") == 1


@pytest.mark.promise("P5")
async def test_two_drivers_of_one_run_execute_its_effect_once(scene: Scene) -> None:
    gate = Gate()
    await scene.work(calling(), llm_call=gate)
    run = await scene.start("calling", drive="manual")
    ticks = asyncio.gather(*(run.tick(1) for _ in range(4)))
    await scene.record(run, "budget_added", nth=4)
    gate.open.set()
    assert {reply.status for reply in await ticks} == {"completed"}
    assert (await scene.ended(run)).output == {"result": {"n": 1}}
    assert len(gate.contexts) == 1
    rows = await scene.rows(run)
    assert rows.count("step_completed completed llm_call #1") == rows.count("completed") == 1


async def test_only_a_manual_run_that_has_not_ended_is_ticked(scene: Scene) -> None:
    await scene.register(calling())
    auto = await scene.start("calling")
    with pytest.raises(FailedPrecondition) as refused:
        await auto.tick(1)
    assert refused.value.reason == "RUN_NOT_MANUAL"
    manual = await scene.start("calling", drive="manual")
    await manual.cancel()
    with pytest.raises(FailedPrecondition) as ended:
        await manual.tick(1)
    assert ended.value.reason == "RUN_ENDED"
