"""Scenarios A: start, steps, completion."""

import grpc
import pytest

from perdure import (
    JsonObject,
    LedgerEntry,
    NodeContext,
    NotFound,
    Plan,
    RunFailed,
    Workflow,
    effect,
    plan,
)
from perdure.v1 import records_pb2
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.differences import differs
from tests.acceptance.scene import WITHIN_S, Echo, Scene, calling
from tests.api.served import refusal


@differs("no-limits-seed", "ledger-rows")
async def test_scenario_01_a_started_run_stands_at_its_entry_with_its_vars_and_no_row(scene: Scene) -> None:
    workflow = Workflow("w")

    @workflow.node("a")
    async def a(ctx: NodeContext) -> Plan:
        return plan.complete()

    await scene.register(workflow)
    run = await scene.start("w", {"x": 1}, actor_id="A", session_id="S")
    state = await run.state()
    assert (state.status, state.activity, state.current_node) == ("running", "queued", "a")
    assert (state.actor_id, state.session_id) == ("A", "S")
    assert state.vars == {"x": 1}
    assert await scene.rows(run) == []
    assert [entry.kind for entry in await scene.records(run)] == ["run_started"]


@differs("ledger-rows")
async def test_scenario_03_pure_transitions_leave_only_the_end_of_the_run(scene: Scene) -> None:
    workflow = Workflow("w")

    @workflow.node("a", next="b")
    async def a(ctx: NodeContext) -> None: ...

    @workflow.node("b")
    async def b(ctx: NodeContext) -> Plan:
        return plan.complete({"ok": True})

    await scene.work(workflow)
    run = await scene.start("w")
    state = await scene.ended(run)
    assert (state.status, state.output) == ("completed", {"ok": True})
    assert await scene.rows(run) == ["completed"]
    last = (await scene.records(run))[-1]
    assert last.payload_json(last.record.completed.output) == {"ok": True}


async def test_scenario_03_an_empty_output_completes_too(scene: Scene) -> None:
    workflow = Workflow("w")
    workflow.complete_node("a", {})
    await scene.register(workflow)
    run = await scene.start("w")
    assert (await scene.ended(run)).output == {}
    assert await scene.rows(run) == ["completed"]


@differs("step-budget")
async def test_scenario_05_a_step_budget_ends_without_an_error(scene: Scene) -> None:
    workflow = Workflow("w")

    @workflow.node("a")
    async def a(ctx: NodeContext) -> Plan:
        ctx.vars["entered"] = ctx.visit
        return plan.next("a")

    await scene.work(workflow)
    run = await scene.start("w", drive="manual")
    reply = await run.tick(5)
    assert (reply.status, reply.activity, reply.step_budget) == ("running", "idle", 0)
    state = await run.state()
    assert (state.status, state.error, state.vars, state.visits["a"]) == ("running", None, {"entered": 5}, 6)
    nothing = await run.tick(0)
    assert (nothing.seq, nothing.status, nothing.activity) == (reply.seq, "running", "idle")
    negative = await refusal(
        scene.runs.TickRun(pb.TickRunRequest(namespace=scene.namespace, run_id=run.run_id, max_steps=-1))
    )
    assert (negative.code, negative.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert negative.fields == ("max_steps",)
    assert (await run.state()).seq == reply.seq


async def test_scenario_06_an_unknown_run_is_not_found_and_has_an_empty_ledger(scene: Scene) -> None:
    nobody = scene.client.run("nobody")
    calls = {
        "get": nobody.state(),
        "tick": nobody.tick(1),
        "resume": nobody.resume("y", any_wait=True),
        "cancel": nobody.cancel(),
        "pause": nobody.pause(),
        "unpause": nobody.unpause(),
        "wait": nobody.wait(timeout=WITHIN_S),
    }
    for name, call in calls.items():
        with pytest.raises(NotFound) as caught:
            await call
        assert (name, caught.value.reason) == (name, "RUN_NOT_FOUND")
    assert await nobody.ledger().all() == []


@pytest.mark.parametrize(
    ("node_id", "error_type"), [("to_nowhere", "BAD_PLAN"), ("throws", "ValueError"), ("says_nothing", "BAD_PLAN")]
)
@differs("bad-node-fails")
async def test_scenario_07_a_bad_node_fails_the_run_with_an_error_that_names_it(
    scene: Scene, node_id: str, error_type: str
) -> None:
    workflow = Workflow("w")

    @workflow.node("to_nowhere")
    async def to_nowhere(ctx: NodeContext) -> Plan:
        return plan.next("nowhere")

    @workflow.node("throws")
    async def throws(ctx: NodeContext) -> Plan:
        raise ValueError("broken")

    @workflow.node("says_nothing")
    async def says_nothing(ctx: NodeContext) -> None: ...

    await scene.work(workflow)
    run = await scene.start("w", entry_node=node_id)
    state = await scene.ended(run)
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.type == error_type
    assert node_id in state.error.message
    assert await scene.rows(run) == ["step_completed failed #1", "failed"]


def told_by_the_ledger(entries: list[LedgerEntry]) -> tuple[str, object, str, str]:
    """Final status, output, type and message of the error, from the records alone."""
    last = entries[-1]
    if last.kind == "completed":
        return "completed", last.payload_json(last.record.completed.output), "", ""
    if last.kind == "cancelled":
        return "cancelled", None, "CANCELLED", (last.payload(last.record.cancelled.reason) or b"").decode()
    assert last.kind == "failed"
    failure = last.record.failed.failure
    text = records_pb2.FailureText.FromString(last.payload(failure.text) or b"")
    return "failed", None, failure.type, text.message


@pytest.mark.parametrize("entry_node", ["plans_the_end", "terminal_effect", "fails", "throws", "effect_fails", "waits"])
@differs("ledger-rows", "cancelled-error")
async def test_scenario_09_the_ledger_alone_tells_how_a_run_ended(scene: Scene, entry_node: str) -> None:
    workflow = Workflow("w")

    @workflow.node("throws")
    async def throws(ctx: NodeContext) -> Plan:
        raise ValueError("broken")

    workflow.complete_node("plans_the_end", {"ok": True})
    workflow.effect_node("terminal_effect", "answer_user", {"message": "bye"}, result_key="r")
    workflow.fail_node("fails", "NO", "it cannot be", details={"why": 1})
    workflow.effect_node("effect_fails", "echo")
    workflow.effect_node("waits", "ask_user", {"prompt": "?"})
    await scene.work(workflow, echo=Echo(failures=1))
    run = await scene.start("w", entry_node=entry_node)
    if entry_node == "waits":
        await scene.waiting(run)
        await run.cancel("enough")
    state = await scene.ended(run)
    error = (state.error.type, state.error.message) if state.error is not None else ("", "")
    assert told_by_the_ledger(await scene.records(run)) == (state.status, state.output, *error)
    assert (await scene.rows(run))[-1] == state.status
    if entry_node == "terminal_effect":
        assert state.output == {"success": True, "result": {"level": "message", "message": "bye"}}


@pytest.mark.parametrize(
    ("result_key", "result", "vars_after"),
    [
        ("a.b.c", {"n": 1}, {"a": {"b": {"c": {"n": 1}}}}),
        ("r", [1, None], {"a": 5, "r": [1, None]}),
        ("a.b.c", None, {"a": 5}),
        ("", {"n": 1}, {"a": 5}),
    ],
)
async def test_scenario_10_a_result_goes_to_its_dotted_key(
    scene: Scene, result_key: str, result: JsonObject | None, vars_after: JsonObject
) -> None:
    workflow = Workflow("w")
    workflow.effect_node("call", "answer", result_key=result_key, next="end")
    workflow.complete_node("end")

    async def answer(ctx: object, payload: JsonObject) -> JsonObject | None:
        return result

    await scene.work(workflow, answer=answer)
    run = await scene.start("w", {"a": 5})
    state = await scene.ended(run)
    assert (state.status, state.vars) == ("completed", vars_after)


async def test_scenario_10_a_plan_of_a_worker_stores_its_result_alike(scene: Scene) -> None:
    workflow = Workflow("w")

    @workflow.node("call", next="end")
    async def call(ctx: NodeContext) -> effect.Effect:
        return effect.custom("echo", result_key="a.b.c")

    workflow.complete_node("end")
    await scene.work(workflow, echo=Echo())
    run = await scene.start("w", {"a": 5})
    assert (await scene.ended(run)).vars == {"a": {"b": {"c": {"n": 1}}}}


async def test_a_failed_run_raises_what_its_ledger_says(scene: Scene) -> None:
    await scene.work(calling(), llm_call=Echo(failures=1))
    run = await scene.start("calling")
    with pytest.raises(RunFailed, match="ConnectionError: Effect failed after 1 attempts: no answer 1"):
        await run.result(timeout=WITHIN_S)
