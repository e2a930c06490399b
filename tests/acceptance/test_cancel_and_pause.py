"""Scenarios F, second part: cancel and pause."""

import asyncio
from datetime import UTC, datetime

import pytest

from perdure import Effect, FailedPrecondition, NodeContext, Plan, RunFilter, RunHandle, Workflow, effect, plan
from perdure.runs import StartOptions
from perdure.v1 import worker_service_pb2 as worker
from tests.acceptance.differences import differs
from tests.acceptance.hand import HandWorker
from tests.acceptance.scene import WITHIN_S, Echo, Scene, asking, calling, listening


@differs("cancelled-error", "ledger-rows")
@pytest.mark.parametrize("activity", ["queued", "leased", "waiting", "idle", "backoff"])
async def test_scenario_61_a_cancel_ends_a_run_at_once_with_its_reason(scene: Scene, activity: str) -> None:
    await scene.register(calling(), asking())
    options: StartOptions = {"drive": "manual"} if activity == "idle" else {}
    if activity == "backoff":
        options["start_at"] = datetime(2099, 1, 1, tzinfo=UTC)
    run = await scene.start("asking" if activity == "waiting" else "calling", **options)
    if activity == "leased":
        await HandWorker(scene.client).task()
    elif activity == "waiting":
        await scene.waiting(run)
    assert (await run.state()).activity == activity
    reply = await run.cancel("changed my mind", cancelled_by="ann")
    assert (reply.status, reply.activity) == ("cancelled", "unspecified")
    state = await run.state()
    assert state.error is not None
    assert (state.status, state.waiting, state.step) == ("cancelled", None, None)
    assert (state.error.type, state.error.message) == ("CANCELLED", "changed my mind")
    last = (await scene.records(run))[-1]
    assert (last.kind, last.record.cancelled.cancelled_by) == ("cancelled", "ann")
    assert last.payload(last.record.cancelled.reason) == b"changed my mind"


@differs("ended-runs", "cancelled-error")
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_scenario_61_a_cancel_of_an_ended_run_changes_nothing(scene: Scene, end: str) -> None:
    workflow = Workflow("w")
    workflow.complete_node("completed", {"ok": True})
    workflow.fail_node("failed", "NO", "it cannot be")
    workflow.effect_node("cancelled", "ask_user", {"prompt": "?"})
    await scene.register(workflow)
    run = await scene.start("w", entry_node=end)
    if end == "cancelled":
        await scene.waiting(run)
        await run.cancel()
    before = await scene.ended(run)
    assert before.status == end
    if end == "cancelled":
        assert before.error is not None
        assert before.error.message == "Cancelled"
    reply = await run.cancel("again")
    assert (reply.status, reply.seq) == (end, before.seq)
    assert await run.state() == before
    for refused in (run.tick(1), run.pause(), run.resume("y", any_wait=True)):
        with pytest.raises(FailedPrecondition) as caught:
            await refused
        assert caught.value.reason == "RUN_ENDED"
    assert await run.state() == before


@differs("cancel-cascades")
async def test_scenario_62_a_cancel_takes_all_active_descendants_along(scene: Scene) -> None:
    root = Workflow("root")
    root.effect_node("beside", "start_subworkflow", {"workflow_id": "middle", "async": True}, next="kept")
    kept = {"workflow_id": "asking", "async": True, "on_parent_cancel": "abandon"}
    root.effect_node("kept", "start_subworkflow", kept, result_key="kept", next="spawn")
    root.effect_node("spawn", "start_subworkflow", {"workflow_id": "middle"})
    middle = Workflow("middle")
    middle.effect_node("quick", "start_subworkflow", {"workflow_id": "quick"}, next="spawn")
    middle.effect_node("spawn", "start_subworkflow", {"workflow_id": "asking"})
    quick = Workflow("quick")
    quick.complete_node("end")
    await scene.register(root, middle, quick, asking())
    run = await scene.start("root")
    await scene.waiting(run)
    tree = RunFilter(root_run_id=run.run_id)
    await _settled(scene, tree, 8)
    found = (await run.state()).vars
    assert found is not None
    kept_id = found["kept"]["sub_run_id"]
    assert (await run.cancel("enough")).status == "cancelled"
    for member in await scene.client.list_runs(tree).all():
        if member.run_id != kept_id:
            state = await scene.ended(scene.client.run(member.run_id))
            assert state.status == ("completed" if state.workflow_id == "quick" else "cancelled")
    left = await scene.client.list_runs(RunFilter(root_run_id=run.run_id, statuses=["waiting", "running"])).all()
    assert [each.run_id for each in left] == [kept_id]


async def _settled(scene: Scene, tree: RunFilter, runs: int) -> None:
    """Returns once the tree has this many runs and all of them are settled."""
    seen: set[str] = set()
    async with asyncio.timeout(WITHIN_S):
        while len(seen) < runs:
            seen = {each.run_id for each in await scene.client.list_runs(tree).all()}
            await asyncio.gather(*(scene.client.run(run_id).wait(timeout=WITHIN_S) for run_id in seen))
    assert len(seen) == runs


@pytest.mark.promise("P5")
@differs("ledger-rows")
async def test_scenario_63_a_late_result_is_recorded_and_changes_nothing(scene: Scene) -> None:
    await scene.register(calling())
    run = await scene.start("calling")
    hand = HandWorker(scene.client)
    task = await hand.task()
    assert (await run.cancel("enough")).status == "cancelled"
    before = await run.state()
    ack = await hand.report(task, '{"n":1}')
    assert (ack.status, ack.reason) == (worker.ACK_STATUS_STALE, "RUN_ENDED")
    after = await run.state()
    assert (after.status, after.vars, after.output, after.error) == ("cancelled", {}, None, before.error)
    assert after.seq == before.seq + 1
    assert await scene.rows(run) == ["step_started started llm_call #1", "cancelled", "late_result"]


@pytest.mark.promise("P1", "P5")
async def test_scenario_63_a_cancel_at_the_moment_of_the_result_never_loses_to_it_afterwards(scene: Scene) -> None:
    """Whichever is first decides; both callers are told so, and the run stays what they were told."""
    await scene.register(calling())
    outcomes: set[str] = set()
    for number in range(30):
        run = await scene.start("calling")
        hand = HandWorker(scene.client)
        task = await hand.task()
        calls = [run.cancel("enough"), hand.report(task, '{"n":1}')]
        order = calls if number % 2 else calls[::-1]
        answers = await asyncio.gather(*order)
        reply, ack = answers if number % 2 else answers[::-1]
        assert not isinstance(reply, worker.Ack)
        assert isinstance(ack, worker.Ack)
        state = await run.state()
        outcomes.add(state.status)
        assert reply.status == state.status
        accepted = ack.status == worker.ACK_STATUS_ACCEPTED
        assert accepted == (state.status == "completed"), (state, ack)
        assert (await scene.rows(run)).count(str(state.status)) == 1
    assert outcomes <= {"completed", "cancelled"}


async def test_a_cancel_goes_through_the_workflows_cancel_node(scene: Scene) -> None:
    workflow = Workflow("w", on_cancel_node="undo")
    workflow.effect_node("ask", "ask_user", {"prompt": "?"})
    workflow.effect_node("undo", "undo", result_key="undone", next="end")
    workflow.complete_node("end", {"undone": "${vars.undone}"})
    await scene.register(workflow)
    run = await scene.start("w")
    await scene.waiting(run)
    reply = await run.cancel("enough")
    assert reply.status == "running"
    assert (await run.state()).cancelling
    hand = HandWorker(scene.client)
    await hand.report(await hand.task(), "true")
    state = await scene.ended(run)
    assert (state.status, state.output) == ("cancelled", {"undone": True})
    assert await scene.rows(run) == [
        "waiting waiting user",
        "cancel_requested",
        "step_started started undo #1",
        "step_completed completed undo #1",
        "cancelled",
    ]


@differs("pause-flag")
async def test_scenario_65_a_pause_of_a_question_sets_the_flag_and_keeps_the_question(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    await run.pause("lunch", paused_by="ann")
    state = await run.state()
    assert (state.status, state.paused, state.waiting) == ("waiting", True, wait)
    (line,) = await scene.client.list_waits().all()
    assert (line.run_id, line.paused) == (run.run_id, True)
    await run.resume("y", wait_id=wait.wait_id)
    held = await run.state()
    assert (held.status, held.activity, held.paused, held.current_node) == ("running", "queued", True, "done")
    await run.unpause()
    assert (await scene.ended(run)).output == {"answer": "y"}
    assert await scene.rows(run) == [
        "waiting waiting user",
        "paused",
        "resumed completed answer",
        "unpaused",
        "completed",
    ]


@differs("pause-flag")
async def test_scenario_65_a_pause_of_a_wait_for_an_event_keeps_the_wait(scene: Scene) -> None:
    await scene.register(listening())
    run = await scene.start("listening", session_id="S")
    wait = await scene.waiting(run)
    seq = (await run.pause()).seq
    state = await run.state()
    assert (state.status, state.activity, state.paused, state.waiting) == ("waiting", "waiting", True, wait)
    assert (await run.pause()).seq == seq, "pausing a paused run changes nothing"
    await run.unpause()
    again = await run.state()
    assert (again.paused, again.waiting) == (False, wait)
    assert (await run.unpause()).seq == again.seq


@differs("pause-flag")
async def test_nothing_starts_while_a_run_is_paused(scene: Scene) -> None:
    workflow = Workflow("w")
    executed: list[str] = []

    @workflow.node("first")
    async def first(ctx: NodeContext) -> Effect:
        executed.append(ctx.node_id)
        return effect.custom("work", next="second")

    @workflow.node("second")
    async def second(ctx: NodeContext) -> Plan:
        executed.append(ctx.node_id)
        return plan.complete()

    hand = HandWorker(scene.client)
    await scene.work(workflow)
    run: RunHandle = await scene.start("w")
    task = await hand.task()
    await run.pause()
    assert (await run.state()).activity == "leased"
    await hand.report(task, "1")
    settled = await run.wait(timeout=WITHIN_S)
    assert (settled.paused, settled.activity, settled.current_node, executed) == (True, "queued", "second", ["first"])
    await run.unpause()
    assert (await scene.ended(run)).status == "completed"
    assert executed == ["first", "second"]


@pytest.mark.promise("P7")
@differs("pause-flag")
async def test_a_paused_task_is_not_handed_out_while_a_later_one_is(scene: Scene) -> None:
    echo = Echo()
    await scene.register(calling())
    paused = await scene.start("calling")
    await paused.pause()
    later = await scene.start("calling")
    await scene.work(llm_call=echo)
    await scene.ended(later)
    assert (await paused.state()).activity == "queued"
    assert {context.run_id for context in echo.contexts} == {later.run_id}
    await paused.unpause()
    assert (await scene.ended(paused)).output == {"result": {"n": 2}}
