"""Workflows without a worker: choices, changes, branches, items, and what becomes of them when things go wrong."""

from __future__ import annotations

import asyncio

import pytest

from perdure import ALL, ANY, Branch, Join, Json, JsonObject, RunFilter, RunHandle, RunState, Set, Workflow
from perdure_server.storage.faults import KILL_AFTER, KILL_BEFORE
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Scene


async def branches_of(scene: Scene, run: RunHandle) -> list[RunState]:
    """The child runs of a run, by branch."""
    found = await scene.client.list_runs(RunFilter(parent_run_id=run.run_id)).all()
    return sorted(found, key=lambda each: each.branch)


def fan(join: Join = ALL, **fields: str) -> Workflow:
    """Three branches: one is done at once, one asks, one is done after its own branches are."""
    flow = Workflow("fan")
    flow.parallel_node(
        "fan",
        {
            "quick": Branch("quick", {"n": "${vars.n + 1}"}),
            "asks": "ask",
            "deep": "deep",
        },
        join=join,
        next="done",
        result_key="found",
        on_error_node=fields.get("on_error_node", ""),
    )
    flow.complete_node("quick", {"n": "${vars.n * 10}", "branch": "${run.branch}"})
    flow.effect_node("ask", "ask_user", {"prompt": "?"}, result_key="answer", next="answered")
    flow.complete_node("answered", {"said": "${vars.answer}"})
    flow.parallel_node("deep", {"a": "leaf", "b": "leaf"}, result_key="both", next="deep_done")
    flow.complete_node("leaf", {"branch": "${run.branch}", "depth": "${run.depth}"})
    flow.complete_node("deep_done", {"both": "${vars.both}"})
    flow.complete_node("done", {"found": "${vars.found}"})
    flow.complete_node("sorry", {"why": "${vars.found.type}", "message": "${vars.found.message}"})
    return flow


QUICK: JsonObject = {"n": 20, "branch": "fan/quick"}
LEAVES: JsonObject = {
    "both": {"a": {"branch": "fan/deep/deep/a", "depth": 2}, "b": {"branch": "fan/deep/deep/b", "depth": 2}}
}


async def asking(scene: Scene, run: RunHandle) -> RunHandle:
    """The branch of a run that asks, once it waits."""
    wait = await scene.waiting(run)
    assert (wait.reason, wait.needed) == ("join", 3)
    [branch] = [each for each in await branches_of(scene, run) if each.branch == "fan/asks"]
    handle = scene.client.run(branch.run_id)
    await scene.waiting(handle)
    return handle


async def test_a_parallel_runs_branches_side_by_side_and_keeps_their_outputs_in_order(scene: Scene) -> None:
    await scene.register(fan())
    run = await scene.start("fan", {"n": 1})
    branch = await asking(scene, run)
    await branch.resume("yes", any_wait=True)
    state = await scene.ended(run)
    assert state.output == {"found": {"quick": QUICK, "asks": {"said": "yes"}, "deep": LEAVES}}
    assert [each.status for each in await branches_of(scene, run)] == ["completed"] * 3


async def test_any_takes_the_first_and_cancels_the_rest(scene: Scene) -> None:
    await scene.register(fan(ANY))
    run = await scene.start("fan", {"n": 1})
    state = await scene.ended(run)
    assert state.output is not None
    [(winner, _)] = dict(state.output["found"]).items()
    for branch in await branches_of(scene, run):
        ended = await scene.ended(scene.client.run(branch.run_id))
        assert ended.status == ("completed" if ended.branch == f"fan/{winner}" else ended.status)
    asks = [each for each in await branches_of(scene, run) if each.branch == "fan/asks"]
    assert [each.status for each in asks] == ["cancelled"], "a loser is cancelled, whatever it waits for"


async def test_a_branch_that_is_cancelled_fails_a_join_of_all(scene: Scene) -> None:
    await scene.register(fan(on_error_node="sorry"))
    run = await scene.start("fan", {"n": 1})
    await (await asking(scene, run)).cancel("not today")
    state = await scene.ended(run)
    assert state.output == {"why": "CHILD_CANCELLED", "message": "Branch 'asks' was cancelled: not today"}


async def test_a_cancel_of_the_parent_reaches_branches_of_branches(scene: Scene) -> None:
    flow = Workflow("deep")
    flow.parallel_node("top", {"a": "mid", "b": "mid"})
    flow.parallel_node("mid", {"c": "ask", "d": "ask"})
    flow.effect_node("ask", "ask_user", {"prompt": "?"})
    await scene.register(flow)
    run = await scene.start("deep")
    await scene.waiting(run)
    tree = RunFilter(root_run_id=run.run_id)
    async with asyncio.timeout(30):
        while len(found := await scene.client.list_runs(tree).all()) < 7:
            await scene.waiting(scene.client.run(found[0].run_id))
    await run.cancel("enough")
    ended = [await scene.ended(scene.client.run(each.run_id)) for each in found]
    assert [each.status for each in ended] == ["cancelled"] * 7


def each(max_concurrency: int = 2, join: Join | None = None) -> Workflow:
    """For every item a choice: double it, or fail it."""
    flow = Workflow("each")
    options: dict[str, Join] = {} if join is None else {"join": join}
    flow.foreach_node(
        "each",
        "vars.items.filter(i, i > 0)",
        "judge",
        {"n": "${item}", "place": "${index}", "base": "${vars.base}"},
        max_concurrency=max_concurrency,
        next="done",
        result_key="results",
        on_error_node="sorry",
        **options,
    )
    flow.choice_node("judge", ("vars.n >= 100", "refuse"), otherwise="double")
    flow.assign_node("double", Set("/n", "${vars.n * 2 + vars.base}"), next="end")
    flow.complete_node("end", {"n": "${vars.n}", "place": "${vars.place}"})
    flow.fail_node("refuse", "TOO_BIG", "no")
    flow.complete_node("done", {"results": "${vars.results}"})
    flow.complete_node("sorry", {"why": "${vars.results.message}"})
    return flow


async def test_a_foreach_gives_results_in_the_order_of_its_items(scene: Scene) -> None:
    await scene.register(each())
    run = await scene.start("each", {"items": [5, -1, 3, 2, 9], "base": 1})
    state = await scene.ended(run)
    assert state.output == {
        "results": [{"n": 11, "place": 0}, {"n": 7, "place": 1}, {"n": 5, "place": 2}, {"n": 19, "place": 3}]
    }
    assert {branch.branch for branch in await branches_of(scene, run)} == {f"each/{place}" for place in range(4)}


async def test_a_foreach_over_nothing_has_an_empty_result(scene: Scene) -> None:
    await scene.register(each())
    state = await scene.ended(await scene.start("each", {"items": [], "base": 1}))
    assert state.output == {"results": []}


async def test_an_item_that_fails_fails_all_unless_enough_others_do(scene: Scene) -> None:
    await scene.register(each())
    state = await scene.ended(await scene.start("each", {"items": [1, 100, 2], "base": 0}))
    assert state.output == {"why": "Item '1' failed: no"}
    await scene.register(each(1, Join(2)))
    state = await scene.ended(await scene.start("each", {"items": [1, 100, 2], "base": 0}))
    assert state.output == {"results": [{"n": 2, "place": 0}, None, {"n": 4, "place": 2}]}


@pytest.mark.parametrize(
    ("items", "why"), [(5, "no such operation"), (["x"], "no such operation on values of these types: _>_")]
)
async def test_items_that_cannot_be_made_fail_the_node(scene: Scene, items: Json, why: str) -> None:
    await scene.register(each())
    state = await scene.ended(await scene.start("each", {"items": items, "base": 0}))
    assert state.output is not None
    told = str(state.output["why"])
    assert told.startswith("foreach.items: vars.items.filter(i, i > 0): ")
    assert why in told


async def test_vars_of_an_item_that_cannot_be_made_fail_the_join(scene: Scene) -> None:
    flow = Workflow("odd")
    vars_: JsonObject = {"half": "${10 / item}"}
    flow.foreach_node("each", "vars.items", "end", vars_, next="end", result_key="r", on_error_node="sorry")
    flow.complete_node("end", {})
    flow.complete_node("sorry", {"why": "${vars.r}"})
    await scene.register(flow)
    state = await scene.ended(await scene.start("odd", {"items": [1, 0]}))
    assert state.output is not None
    why = state.output["why"]
    assert isinstance(why, dict)
    assert why["type"] == "EXPRESSION_FAILED"
    assert why["message"] == "item 1: foreach.vars_json: half: ${10 / item}: divide by zero"


@pytest.mark.promise("P6")
async def test_nothing_starts_while_the_parent_is_paused(scene: Scene) -> None:
    flow = Workflow("slow")
    flow.foreach_node("each", "vars.items", "ask", max_concurrency=1, next="done", result_key="r")
    flow.effect_node("ask", "ask_user", {"prompt": "?"}, result_key="a", next="end")
    flow.complete_node("end", {"a": "${vars.a}", "item": "${vars.item}"})
    flow.complete_node("done", {"r": "${vars.r}"})
    await scene.register(flow)
    run = await scene.start("slow", {"items": ["x", "y"]})
    await scene.waiting(run)
    [first] = await branches_of(scene, run)
    await scene.waiting(scene.client.run(first.run_id))
    await run.pause()
    await scene.client.run(first.run_id).resume(1, any_wait=True)
    await scene.record(run, "child_ended")
    assert len(await branches_of(scene, run)) == 1
    await run.unpause()
    await scene.record(run, "branches_started", nth=2)
    second = (await branches_of(scene, run))[1]
    await scene.waiting(scene.client.run(second.run_id))
    await scene.client.run(second.run_id).resume(2, any_wait=True)
    state = await scene.ended(run)
    assert state.output == {"r": [{"a": 1, "item": "x"}, {"a": 2, "item": "y"}]}


@pytest.mark.promise("P10")
async def test_hundreds_of_items_are_started_in_bounded_commits(scene: Scene) -> None:
    flow = Workflow("wide")
    flow.foreach_node("each", "vars.items", "end", max_concurrency=1_000, next="done", result_key="r")
    flow.complete_node("end", {"n": "${vars.item}"})
    flow.complete_node("done", {"n": "${vars.r.size()}", "last": "${vars.r[349].n}"})
    await scene.register(flow)
    run = await scene.start("wide", {"items": list(range(350))})
    state = await scene.ended(run)
    assert state.output == {"n": 350, "last": 349}
    records = await scene.records(run)
    started = [entry.record.branches_started for entry in records if entry.kind == "branches_started"]
    assert sum(len(body.run_ids) for body in started) == 350
    assert max(len(body.run_ids) for body in started) <= 100


async def test_a_run_that_goes_round_in_the_server_ends(scene: Scene) -> None:
    flow = Workflow("round")
    flow.assign_node("a", Set("/n", 1), next="b")
    flow.choice_node("b", ("vars.n == 1", "a"))
    await scene.register(flow)
    state = await scene.ended(await scene.start("round"))
    assert state.error is not None
    assert state.error.type == "LOOP_LIMIT"
    assert state.seq > 10_000


@pytest.mark.promise("P1", "P6")
@pytest.mark.parametrize("point", [KILL_BEFORE, KILL_AFTER])
@pytest.mark.parametrize("group", [1, 2, 3, 4])
async def test_a_kill_inside_a_join_neither_loses_nor_doubles_an_item(lives: Lives, point: str, group: int) -> None:
    first = await lives.begin()
    await first.register(each(1))
    await lives.kill()
    second = await lives.begin({point: str(group)})
    vars_: JsonObject = {"items": [5, 3, 2], "base": 1}
    starting = asyncio.create_task(second.start("each", vars_, run_id="p", request_id="start-p"))
    await lives.died()
    third = await lives.begin()
    run = await starting
    state = await third.ended(run)
    assert state.output == {"results": [{"n": 11, "place": 0}, {"n": 7, "place": 1}, {"n": 5, "place": 2}]}
    assert (await third.client.count_runs()).count == 4
    audit = await third.client.audit_runs()
    assert not audit.findings
