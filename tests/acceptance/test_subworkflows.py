"""Scenarios F, first part: subworkflows."""

import asyncio
from datetime import timedelta

import pytest

from perdure import JsonObject, NodeContext, Plan, RunFilter, RunHandle, RunState, Workflow, plan
from perdure_server.storage.faults import KILL_AFTER, KILL_BEFORE
from tests.acceptance.differences import differs
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Scene, asking

PROMPTLY = timedelta(seconds=5)


def parent(
    child: str = "child", *, on_error_node: str = "", in_background: bool = False, wait: bool = False
) -> Workflow:
    """Starts a child at `spawn`, then completes with what the effect gave; `sorry` completes with the error."""
    workflow = Workflow("parent")
    payload: JsonObject = {"workflow_id": child, "vars": {"n": 1}, "async": in_background, "wait": wait}
    workflow.effect_node(
        "spawn", "start_subworkflow", payload, result_key="child", next="done", on_error_node=on_error_node
    )
    workflow.complete_node("done", {"child": "${vars.child}"})
    workflow.complete_node("sorry", {"success": False, "error": "${vars.child}"})
    return workflow


def child(workflow_id: str = "child") -> Workflow:
    """Completes with its own var at once."""
    workflow = Workflow(workflow_id)
    workflow.complete_node("end", {"n": "${vars.n}"})
    return workflow


async def only_child(scene: Scene, run: RunHandle) -> RunState:
    """The one child of a run."""
    (found,) = await scene.client.list_runs(RunFilter(parent_run_id=run.run_id)).all()
    return await scene.client.get_run(found.run_id)


@differs("child-ends-wake", "wait-effects-waiting-row", "kernel-effects-not-started")
async def test_scenario_51_a_sync_child_gives_its_output_to_its_parent(scene: Scene) -> None:
    await scene.register(parent(), child())
    run = await scene.start("parent", actor_id="A", session_id="S")
    state = await scene.ended(run)
    found = await only_child(scene, run)
    assert state.output == {"child": {"sub_run_id": found.run_id, "output": {"n": 1}}}
    assert (found.parent_run_id, found.root_run_id, found.depth) == (run.run_id, run.run_id, 1)
    assert (found.actor_id, found.session_id, found.status) == ("A", "S", "completed")
    assert await scene.rows(run) == ["waiting waiting subworkflow", "child_ended completed completed", "completed"]


@pytest.mark.promise("P6")
@differs("child-ends-wake")
@pytest.mark.parametrize("end", ["answer", "cancel"])
async def test_scenario_53_a_childs_end_wakes_its_parent_without_another_call(scene: Scene, end: str) -> None:
    await scene.register(parent("asking"), asking())
    run = await scene.start("parent")
    wait = await scene.waiting(run)
    assert wait.reason == "subworkflow"
    found = scene.client.run(wait.child_run_id)
    await scene.waiting(found)
    await (found.resume("y", any_wait=True) if end == "answer" else found.cancel("not today"))
    state, childs_end = await scene.ended(run), await scene.ended(found)
    woken = await scene.record(run, "child_ended")
    assert childs_end.ended_at is not None
    assert woken.at - childs_end.ended_at < PROMPTLY, "woken by its child's end, not by a sweep"
    if end == "answer":
        assert state.output == {"child": {"sub_run_id": found.run_id, "output": {"answer": "y"}}}
        return
    assert state.error is not None
    assert (state.status, state.error.type) == ("failed", "CHILD_CANCELLED")
    assert "not today" in state.error.message
    assert state.error.details is not None
    assert await scene.rows(run) == [
        "waiting waiting subworkflow",
        "child_ended cancelled",
        "step_completed failed start_subworkflow",
        "failed",
    ]


@differs("child-ends-wake")
async def test_scenario_53_a_parent_with_an_error_node_goes_on_with_the_childs_error(scene: Scene) -> None:
    failing = Workflow("child")
    failing.fail_node("no", "NO", "it cannot be")
    await scene.register(parent(on_error_node="sorry"), failing)
    run = await scene.start("parent")
    state = await scene.ended(run)
    assert state.output is not None
    assert (state.status, state.output["success"]) == ("completed", False)
    error = state.output["error"]
    assert error["type"] == "CHILD_FAILED"
    assert error["details"]["error"]["type"] == "NO"
    assert error["details"]["sub_run_id"] == (await only_child(scene, run)).run_id


async def test_scenario_54_a_failed_child_fails_its_parent_with_its_error(scene: Scene) -> None:
    failing = Workflow("child")
    failing.fail_node("no", "NO", "it cannot be")
    await scene.register(parent(), failing)
    run = await scene.start("parent")
    state = await scene.ended(run)
    assert state.error is not None
    assert (state.status, state.error.type) == ("failed", "CHILD_FAILED")
    assert "it cannot be" in state.error.message
    assert await scene.rows(run) == [
        "waiting waiting subworkflow",
        "child_ended failed",
        "step_completed failed start_subworkflow",
        "failed",
    ]


async def test_scenario_54_an_unknown_workflow_or_none_at_all_fails(scene: Scene) -> None:
    await scene.register(parent("nowhere"))
    run = await scene.start("parent")
    state = await scene.ended(run)
    assert state.error is not None
    assert (state.status, state.error.type) == ("failed", "WORKFLOW_NOT_FOUND")
    assert "nowhere" in state.error.message
    rendered = Workflow("rendered")
    rendered.effect_node("spawn", "start_subworkflow", {"workflow_id": "${vars.missing}"})
    await scene.register(rendered)
    nameless = await scene.ended(await scene.start("rendered"))
    assert nameless.error is not None
    assert (nameless.status, nameless.error.type) == ("failed", "BAD_PLAN")
    assert "workflow_id" in nameless.error.message


async def test_scenario_55_an_async_child_leaves_its_parent_alone(scene: Scene) -> None:
    await scene.register(parent("asking", in_background=True), asking())
    run = await scene.start("parent")
    state = await scene.ended(run)
    found = await only_child(scene, run)
    assert state.output == {"child": {"sub_run_id": found.run_id, "async": True}}
    assert await scene.rows(run) == ["step_completed completed start_subworkflow", "completed"]
    await scene.client.run(found.run_id).resume("y", wait_id=(await _wait_of(scene, found.run_id)))
    assert (await scene.ended(scene.client.run(found.run_id))).status == "completed"


async def _wait_of(scene: Scene, run_id: str) -> int:
    return (await scene.waiting(scene.client.run(run_id))).wait_id


@differs("child-ends-wake")
async def test_scenario_55_an_awaited_async_child_lets_its_parent_wait(scene: Scene) -> None:
    busy = Workflow("busy")
    busy.effect_node("work", "nobody", next="end")
    busy.complete_node("end")
    await scene.register(parent("busy", in_background=True, wait=True), busy)
    run = await scene.start("parent")
    wait = await scene.waiting(run)
    assert (wait.reason, wait.wait_key) == ("subworkflow", f"subworkflow:{wait.child_run_id}")
    found = await scene.client.get_run(wait.child_run_id)
    assert (found.status, found.activity, found.current_node) == ("running", "queued", "work")
    assert [row for row in await scene.rows(found.run_id) if "nobody" in row] == []


async def test_scenario_57_a_child_of_150_steps_completes(scene: Scene) -> None:
    long = Workflow("child")

    @long.node("step")
    async def step(ctx: NodeContext) -> Plan:
        return plan.next("step") if ctx.visit < 150 else plan.complete({"steps": ctx.visit})

    await scene.work(long)
    await scene.register(parent())
    run = await scene.start("parent")
    state = await scene.ended(run)
    assert state.output is not None
    assert state.output["child"]["output"] == {"steps": 150}


@pytest.mark.promise("P1", "P6")
@pytest.mark.parametrize("point", [KILL_AFTER, KILL_BEFORE])
async def test_scenario_58_a_crash_while_a_child_is_started_leaves_exactly_one(lives: Lives, point: str) -> None:
    """Parent and child are one commit: both are there after it, none before it, and the repeat starts no second."""
    first = await lives.begin()
    await first.register(parent("asking"), asking())
    await lives.kill()
    second = await lives.begin({point: "1"})
    starting = asyncio.create_task(second.start("parent", run_id="p", request_id="start-p"))
    (commit,) = await lives.died()
    assert [run_id for run_id, _ in commit["new_runs"]] == ["p", "*"], "the run that was asked for and its child"
    assert not starting.done()
    third = await lives.begin()
    # The SDK repeats the call until it is answered.
    run = await starting
    wait = await third.waiting(run)
    found = await only_child(third, run)
    assert wait.child_run_id == found.run_id
    assert (await third.client.count_runs()).count == 2
    await third.client.run(found.run_id).resume("y", wait_id=await _wait_of(third, found.run_id))
    assert (await third.ended(run)).output == {"child": {"sub_run_id": found.run_id, "output": {"answer": "y"}}}
