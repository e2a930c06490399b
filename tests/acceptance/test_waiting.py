"""Scenarios C: waiting and resuming."""

import asyncio

import grpc
import pytest

from perdure import FailedPrecondition, InvalidArgument, Json, NodeContext, Plan, Workflow, plan
from perdure.instants import to_duration
from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.differences import differs
from tests.acceptance.lives import Lives
from tests.acceptance.scene import WITHIN_S, Scene, asking


@differs("wait-effects-waiting-row", "kernel-effects-not-started", "resume-names-wait")
async def test_scenario_27_an_answer_ends_the_wait_and_is_a_row_of_its_own(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    assert (wait.reason, wait.wait_key) == ("user", f"user:{run.run_id}:ask")
    assert (wait.prompt, wait.choices, wait.allow_free_text) == ("Continue?", ("y", "n"), True)
    assert (wait.resume_to_node, wait.result_key, wait.node_id) == ("done", "answer", "ask")
    assert (await run.state()).current_node == "ask"
    await run.resume({"response": "y"}, wait_id=wait.wait_id, resumed_by="ann")
    state = await scene.ended(run)
    assert (state.status, state.vars) == ("completed", {"answer": {"response": "y"}})
    assert state.output == {"answer": {"response": "y"}}
    assert await scene.rows(run) == ["waiting waiting user", "resumed completed answer", "completed"]
    waiting, resumed = [entry for entry in await scene.records(run) if entry.kind in ("waiting", "resumed")]
    body = resumed.record.resumed
    assert (body.wait_id, body.next.node_id, body.resumed_by) == (waiting.seq, "done", "ann")
    assert resumed.payload_json(body.payload) == {"response": "y"}
    asked = waiting.record.waiting
    assert (asked.wait_key, asked.resume_to_node, asked.result_key) == (wait.wait_key, "done", "answer")
    assert state.visits["ask"] == 1


async def test_scenario_29_a_run_that_does_not_wait_is_not_resumed(scene: Scene) -> None:
    workflow = Workflow("busy")
    workflow.effect_node("work", "nobody", next="ask")
    workflow.effect_node("ask", "ask_user", {"prompt": "?"})
    await scene.register(workflow)
    run = await scene.start("busy")
    with pytest.raises(FailedPrecondition) as running:
        await run.resume("y", any_wait=True)
    assert running.value.reason == "RUN_NOT_WAITING"
    await scene.register(asking())
    done = await scene.start("asking")
    await done.resume("y", wait_id=(await scene.waiting(done)).wait_id)
    seq = (await scene.ended(done)).seq
    with pytest.raises(FailedPrecondition) as completed:
        await done.resume("y", any_wait=True)
    assert completed.value.reason == "RUN_ENDED"
    assert (await done.state()).seq == seq


@pytest.mark.promise("P2")
async def test_scenario_30_a_restart_between_wait_and_resume_changes_nothing(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(asking())
    run = await scene.start("asking", {"order": 7, "nested": {"a": [1, 2.5, "é", None]}})
    wait = await scene.waiting(run)
    before = await run.state()
    await lives.kill()
    after = await lives.begin()
    again = after.client.run(run.run_id)
    assert await again.state() == before
    await again.resume("y", wait_id=wait.wait_id)
    state = await after.ended(again)
    assert (state.status, state.output) == ("completed", {"answer": "y"})
    assert state.vars == {"order": 7, "nested": {"a": [1, 2.5, "é", None]}, "answer": "y"}


@differs("wait-effects-waiting-row", "ledger-rows")
async def test_scenario_31_an_answer_without_a_next_node_is_the_output(scene: Scene) -> None:
    await scene.register(asking(next=""))
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    assert wait.resume_to_node == ""
    await run.resume({"response": "hi"}, wait_id=wait.wait_id)
    state = await scene.ended(run)
    assert (state.status, state.output) == ("completed", {"success": True, "result": {"response": "hi"}})
    assert state.vars == {"answer": {"response": "hi"}}
    assert await scene.rows(run) == ["waiting waiting user", "resumed completed answer", "completed"]


async def test_scenario_33_a_resume_without_budget_enters_the_node_and_does_not_execute_it(scene: Scene) -> None:
    workflow = Workflow("asking")
    workflow.effect_node("ask", "ask_user", {"prompt": "?"}, result_key="answer", next="after")
    executed: list[str] = []

    @workflow.node("after")
    async def after(ctx: NodeContext) -> Plan:
        executed.append(ctx.vars["answer"])
        return plan.complete({"answer": ctx.vars["answer"]})

    await scene.work(workflow)
    run = await scene.start("asking", drive="manual")
    assert (await run.tick(1)).status == "waiting"
    await run.resume("y", wait_id=(await scene.waiting(run)).wait_id)
    state = await run.wait(timeout=WITHIN_S)
    assert (state.status, state.activity, state.current_node) == ("running", "idle", "after")
    assert executed == []
    assert (await run.tick(1)).status == "completed"
    assert executed == ["y"]


@pytest.mark.promise("P5")
@differs("resume-names-wait")
async def test_scenario_34_the_same_resume_applies_once_also_when_sent_at_the_same_time(scene: Scene) -> None:
    workflow = Workflow("twice")
    workflow.effect_node("first", "ask_user", {"prompt": "one?"}, result_key="one", next="second")
    workflow.effect_node("second", "ask_user", {"prompt": "two?"}, result_key="two", next="done")
    workflow.complete_node("done", {"one": "${vars.one}", "two": "${vars.two}"})
    await scene.register(workflow)
    run = await scene.start("twice")
    wait = await scene.waiting(run)
    request = pb.ResumeRunRequest(
        namespace=scene.namespace,
        request_id="answer-1",
        run_id=run.run_id,
        wait_id=wait.wait_id,
        payload_json='"y"',
    )
    replies = await asyncio.gather(*(scene.runs.ResumeRun(request) for _ in range(10)))
    second = await scene.waiting(run, min_seq=replies[0].seq)
    assert second.node_id == "second"
    replies.append(await scene.runs.ResumeRun(request))
    assert {reply.SerializeToString(deterministic=True) for reply in replies} == {
        replies[0].SerializeToString(deterministic=True)
    }
    assert await scene.waiting(run) == second
    assert (await scene.rows(run)).count("resumed completed answer") == 1
    await run.resume("z", wait_id=second.wait_id)
    assert (await scene.ended(run)).output == {"one": "y", "two": "z"}
    assert (await scene.runs.ResumeRun(request)).seq == replies[0].seq


@differs("choices-checked")
@pytest.mark.parametrize("answer", ["maybe", {"response": "maybe"}, {"other": "y"}, 1, None, ["y"]])
async def test_scenario_35_an_answer_outside_the_choices_is_refused(scene: Scene, answer: Json) -> None:
    await scene.register(asking(allow_free_text=False))
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    with pytest.raises(InvalidArgument) as refused:
        await run.resume(answer, wait_id=wait.wait_id)
    assert (refused.value.reason, refused.value.code) == ("ANSWER_NOT_ALLOWED", grpc.StatusCode.INVALID_ARGUMENT)
    assert [problem.field for problem in refused.value.fields] == ["payload_json"]
    assert await scene.waiting(run) == wait
    await run.resume({"response": "n"}, wait_id=wait.wait_id)
    assert (await scene.ended(run)).output == {"answer": {"response": "n"}}


async def test_scenario_35_free_text_is_accepted_beside_choices_unless_forbidden(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    await run.resume("maybe", wait_id=(await scene.waiting(run)).wait_id)
    assert (await scene.ended(run)).output == {"answer": "maybe"}


async def test_a_resume_of_a_wait_that_has_ended_is_told_who_ended_it(scene: Scene) -> None:
    workflow = Workflow("twice")
    workflow.effect_node("first", "ask_user", {"prompt": "one?"}, next="second")
    workflow.effect_node("second", "wait_event", {"name": "go"}, next="third")
    workflow.effect_node("third", "wait_until", {"delay_seconds": 0.05}, next="fourth")
    workflow.effect_node("fourth", "ask_user", {"prompt": "four?", "timeout_seconds": 3600}, next="done")
    workflow.complete_node("done")
    await scene.register(workflow)
    run = await scene.start("twice", session_id="s")
    waits = [await scene.waiting(run)]
    reply = await run.resume("y", wait_id=waits[0].wait_id, resumed_by="ann")
    waits.append(await scene.waiting(run, min_seq=reply.seq))
    event = await scene.client.emit_event("go", scope_id="s")
    waiting = await scene.record(run, "waiting", nth=3)
    waits.append(await scene.waiting(run, min_seq=(await scene.record(run, "waiting", nth=4)).seq))
    await run.cancel("enough", cancelled_by="bob")
    expected = {
        waits[0].wait_id: ("resumed", "ann"),
        waits[1].wait_id: ("event_consumed", event.event_id),
        waiting.seq: ("resumed", ""),
        waits[2].wait_id: ("cancelled", "bob"),
    }
    for wait_id, (ended_by, by) in expected.items():
        with pytest.raises(FailedPrecondition) as caught:
            await run.resume("late", wait_id=wait_id)
        facts = caught.value.metadata
        assert (caught.value.reason, facts["wait_id"]) == ("WAIT_ENDED", str(wait_id))
        assert (facts["ended_by"], facts.get("by", "")) == (ended_by, by)
        assert int(facts["ended_seq"]) > wait_id
    with pytest.raises(FailedPrecondition) as never:
        await run.resume("late", wait_id=1)
    assert never.value.reason == "RUN_ENDED"


async def test_a_wait_for_an_instant_is_ended_early_by_its_id_only(scene: Scene) -> None:
    workflow = Workflow("later")
    workflow.effect_node("wait", "wait_until", {"delay_seconds": 3600}, result_key="woken", next="done")
    workflow.complete_node("done", {"woken": "${vars.woken}"})
    await scene.register(workflow)
    run = await scene.start("later")
    wait = await scene.waiting(run)
    with pytest.raises(FailedPrecondition) as refused:
        await run.resume("now", any_wait=True)
    assert refused.value.reason == "WAIT_NOT_RESUMABLE"
    await run.resume("now", wait_id=wait.wait_id)
    assert (await scene.ended(run)).output == {"woken": "now"}


async def test_wait_run_with_min_seq_does_not_see_the_wait_that_was_answered(scene: Scene) -> None:
    workflow = Workflow("slow")
    workflow.effect_node("ask", "ask_user", {"prompt": "?"}, next="sleep")
    workflow.effect_node("sleep", "nobody")
    await scene.register(workflow)
    run = await scene.start("slow")
    wait = await scene.waiting(run)
    at_once = await scene.runs.WaitRun(pb.WaitRunRequest(namespace=scene.namespace, run_id=run.run_id))
    assert (at_once.reached, at_once.run.waiting.wait_id) == (True, wait.wait_id)
    later = pb.WaitRunRequest(
        namespace=scene.namespace, run_id=run.run_id, min_seq=wait.wait_id + 1, wait=to_duration(0.05)
    )
    not_yet = await scene.runs.WaitRun(later)
    assert (not_yet.reached, not_yet.run.seq) == (False, wait.wait_id)
    later.wait.CopyFrom(to_duration(WITHIN_S))
    held = asyncio.ensure_future(scene.runs.WaitRun(later))
    reply = await run.resume("y", wait_id=wait.wait_id)
    assert reply.seq > wait.wait_id
    await run.cancel()
    seen = await held
    assert (seen.reached, seen.run.status) == (True, common_pb2.RUN_STATUS_CANCELLED)
