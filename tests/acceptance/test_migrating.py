"""MigrateRun over gRPC: runs under way go on in another version of their workflow."""

from __future__ import annotations

import asyncio

import pytest

from perdure import (
    FailedPrecondition,
    InvalidArgument,
    JsonObject,
    NodeContext,
    NotFound,
    Plan,
    RunFilter,
    RunHandle,
    Workflow,
    plan,
)
from tests.acceptance.scene import Echo, Gate, Scene, asking, calling, soon


def renamed(*, next: str = "end") -> Workflow:
    """The workflow `asking` with other names."""
    workflow = Workflow("asking")
    workflow.effect_node("question", "ask_user", {"prompt": "Go on?"}, result_key="answer", next=next)
    workflow.complete_node(next, {"answer": "${vars.answer}", "version": 2})
    return workflow


async def _register(scene: Scene, workflow: Workflow) -> str:
    return (await scene.client.register_workflow(workflow)).version


@pytest.mark.promise("P6")
async def test_a_waiting_run_moves_with_its_wait(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    before = await run.state()
    version = await _register(scene, renamed())
    names = {"ask": "question", "done": "end"}
    look = await scene.client.migrate_run(run.run_id, version, node_map=names, dry_run=True)
    assert (look.faults, look.current_node, look.to_version, look.seq) == ((), "question", version, before.seq)
    assert await run.state() == before, "a dry run changes nothing"
    reply = await scene.client.migrate_run(run.run_id, version, node_map=names, migrated_by="ann", request_id="once")
    assert (reply.from_version, reply.to_version) == (before.workflow_version, version)
    assert (reply.current_node, reply.requeued, reply.activity, reply.seq) == ("question", False, "waiting", 4)
    again = await scene.client.migrate_run(run.run_id, version, node_map=names, migrated_by="ann", request_id="once")
    assert again == reply
    state = await run.state()
    assert state.waiting is not None
    assert (state.waiting.wait_id, state.waiting.resume_to_node) == (wait.wait_id, "end")
    (inbox,) = await scene.client.list_waits().all()
    assert (inbox.wait.wait_id, inbox.wait.resume_to_node) == (wait.wait_id, "end")
    assert [listed.run_id for listed in await scene.client.list_runs(RunFilter(workflow_version=version)).all()] == [
        run.run_id
    ]
    old = RunFilter(workflow_version=before.workflow_version)
    assert await scene.client.list_runs(old).all() == []
    await run.resume("y", wait_id=wait.wait_id)
    done = await scene.ended(run)
    assert (done.output, done.workflow_version) == ({"answer": "y", "version": 2}, version)
    record = await scene.record(run, "migrated")
    assert (record.record.migrated.migrated_by, dict(record.record.migrated.node_map)) == ("ann", names)
    assert (await scene.client.verify_run(run.run_id)).intact
    assert (await scene.client.audit_all_runs()).findings == []


async def test_all_that_stands_in_the_way_is_named_and_nothing_changes(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    before = await run.state()
    version = await _register(scene, renamed())
    with pytest.raises(FailedPrecondition) as refused:
        await run.migrate(version)
    assert refused.value.reason == "MIGRATION_REFUSED"
    assert refused.value.metadata["faults"] == "3"
    look = await run.migrate(version, dry_run=True)
    assert [(fault.node_id, fault.place) for fault in look.faults] == [
        ("ask", "current_node"),
        ("done", "effect.next_node"),
        ("done", "waiting.resume_to_node"),
    ]
    assert (look.current_node, look.left_behind) == ("", ("done",))
    assert await run.state() == before


@pytest.mark.promise("P5")
async def test_a_leased_node_goes_to_a_worker_of_the_new_version(scene: Scene) -> None:
    first, second = Workflow("w"), Workflow("w")
    started, may_end = asyncio.Event(), asyncio.Event()

    @first.node("go")
    async def go(ctx: NodeContext) -> Plan:
        started.set()
        await may_end.wait()
        return plan.complete({"by": "the old version"})

    @second.node("run")
    async def run_node(ctx: NodeContext) -> Plan:
        return plan.complete({"by": f"attempt {ctx.attempt} of the new version"})

    await scene.register(first)
    await scene.work(first)
    run = await scene.start(first)
    await soon(started)
    version = await _register(scene, second)
    reply = await run.migrate(version, node_map={"go": "run"})
    assert (reply.requeued, reply.activity, reply.current_node) == (True, "queued", "run")
    may_end.set()
    await scene.work(second)
    done = await scene.ended(run)
    assert done.output == {"by": "attempt 2 of the new version"}


async def test_an_effect_under_way_goes_on(scene: Scene) -> None:
    gate = Gate()
    await scene.register(calling())
    await scene.work(llm_call=gate)
    run = await scene.start("calling")
    await soon(gate.started)
    target = calling(next="finish")
    version = await _register(scene, target)
    reply = await run.migrate(version, node_map={"done": "finish"})
    assert (reply.requeued, reply.activity) == (False, "leased")
    gate.open.set()
    done = await scene.ended(run)
    assert (done.status, done.current_node, done.output) == ("completed", "finish", {"result": {"n": 1}})
    assert len(gate.contexts) == 1


async def test_a_failed_run_is_opened_paused_then_moved(scene: Scene) -> None:
    await scene.register(calling())
    await scene.work(llm_call=Echo(failures=1))
    run = await scene.start("calling")
    await scene.ended(run)
    version = await _register(scene, calling(next="finish"))
    with pytest.raises(FailedPrecondition) as refused:
        await run.migrate(version)
    assert refused.value.reason == "RUN_ENDED"
    await run.retry(pause=True)
    await run.migrate(version, node_map={"done": "finish"})
    await run.unpause()
    done = await scene.ended(run)
    assert (done.status, done.workflow_version) == ("completed", version)


async def test_without_a_version_it_is_the_default_one_and_the_own_one_changes_nothing(scene: Scene) -> None:
    await scene.register(asking(next=""))
    run = await scene.start("asking")
    await scene.waiting(run)
    before = await run.state()
    reply = await run.migrate()
    assert (reply.from_version, reply.to_version, reply.seq) == (reply.to_version, before.workflow_version, before.seq)
    with pytest.raises(InvalidArgument) as refused:
        await run.migrate(node_map={"ask": "ask"})
    assert [problem.field for problem in refused.value.fields] == ["node_map"]
    with pytest.raises(NotFound) as missing:
        await run.migrate("0" * 64)
    assert missing.value.reason == "WORKFLOW_NOT_FOUND"


def asking_each(node: str, leaf: str, greeting: str) -> Workflow:
    """Asks something of every item, one at a time."""
    flow = Workflow("each")
    vars_: JsonObject = {"text": f"${{'{greeting} ' + item}}"}
    flow.foreach_node(node, "vars.items", leaf, vars_, max_concurrency=1, next="done", result_key="said")
    flow.effect_node(leaf, "ask_user", {"prompt": "${vars.text}"}, result_key="a", next="end")
    flow.complete_node("end", {"text": "${vars.text}", "a": "${vars.a}"})
    flow.complete_node("done", {"said": "${vars.said}"})
    return flow


async def the_answer(scene: Scene, parent: RunHandle, branch: str, answer: str) -> None:
    """Answers an item's question, once it waits."""
    async with asyncio.timeout(30):
        while True:
            open_ = await scene.client.list_runs(RunFilter(parent_run_id=parent.run_id)).all()
            if found := [each for each in open_ if each.branch == branch]:
                break
            await parent.wait(min_seq=(await parent.state()).seq + 1)
    item = scene.client.run(found[0].run_id)
    await scene.waiting(item)
    await item.resume(answer, any_wait=True)


async def test_a_join_goes_on_in_the_new_version_and_its_next_items_are_made_by_it(scene: Scene) -> None:
    await scene.register(asking_each("each", "ask", "hello"))
    run = await scene.start("each", {"items": ["Ann", "Bob"]})
    await scene.record(run, "branches_started")
    version = await _register(scene, asking_each("every", "inquire", "good day"))
    reply = await run.migrate(version, node_map={"each": "every", "ask": "inquire"})
    assert (reply.current_node, reply.activity) == ("every", "waiting")
    await the_answer(scene, run, "each/0", "old")
    await the_answer(scene, run, "every/1", "new")
    state = await scene.ended(run)
    assert state.output == {"said": [{"text": "hello Ann", "a": "old"}, {"text": "good day Bob", "a": "new"}]}
    items = await scene.client.list_runs(RunFilter(parent_run_id=run.run_id)).all()
    assert {each.branch: each.workflow_version == version for each in items} == {"each/0": False, "every/1": True}
    assert not (await scene.client.audit_runs()).findings


async def test_a_join_with_items_left_to_start_needs_a_node_that_makes_them(scene: Scene) -> None:
    await scene.register(asking_each("each", "ask", "hello"))
    run = await scene.start("each", {"items": ["Ann", "Bob"]})
    await scene.record(run, "branches_started")
    other = asking_each("every", "ask", "hello")
    other.complete_node("each")
    version = await _register(scene, other)
    look = await run.migrate(version, dry_run=True)
    assert [(fault.node_id, fault.place) for fault in look.faults] == [("each", "effect.type")]
    assert "has items left to start" in look.faults[0].problem
    with pytest.raises(FailedPrecondition) as refused:
        await run.migrate(version)
    assert refused.value.reason == "MIGRATION_REFUSED"
