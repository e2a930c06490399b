"""StartRun with an event: start if absent, else deliver."""

import asyncio

import pytest

from perdure import AlreadyExists, StartEvent, Workflow
from perdure.runs import StartOptions
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Scene, asking, listening


def collecting(count: int, workflow_id: str = "collecting") -> Workflow:
    """Takes `count` events named "go" of its own scope, one after the other, then completes with them all."""
    workflow = Workflow(workflow_id)
    payload = {"name": "go", "scope": "run"}
    for number in range(count):
        following = f"take-{number + 1}" if number + 1 < count else "done"
        workflow.effect_node(f"take-{number}", "wait_event", payload, result_key=f"got.n{number}", next=following)
    workflow.complete_node("done", {"got": "${vars.got}"})
    return workflow


@pytest.mark.promise("P6")
async def test_an_absent_run_is_started_and_sees_the_event_that_came_with_its_start(scene: Scene) -> None:
    await scene.register(listening(scope="run"))
    reply = await scene.client.start_run("listening", run_id="r", event=StartEvent("go", {"n": 1}, "e1", "ann"))
    assert (reply.created, reply.event_id, reply.event_duplicate) == (True, "e1", False)
    state = await scene.ended(scene.client.run("r"))
    assert state.output is not None
    assert (state.output["heard"]["payload"], state.output["heard"]["event_id"]) == ({"n": 1}, "e1")
    (event,) = await scene.client.list_events(scope="run", scope_id="r").all()
    assert (event.position, event.emitted_by) == (reply.event_position, "ann")
    assert reply.event_position > state.event_floor


@pytest.mark.promise("P6")
async def test_a_live_run_gets_the_event_and_no_second_run_starts(scene: Scene) -> None:
    await scene.register(listening(scope="run"), asking())
    run = await scene.start("listening", run_id="r")
    wait = await scene.waiting(run)
    reply = await scene.client.start_run("asking", {"x": 1}, run_id="r", event=StartEvent("go"))
    assert (reply.created, reply.run_id, reply.seq) == (False, "r", wait.wait_id)
    state = await scene.ended(run)
    assert (state.status, state.workflow_id) == ("completed", "listening")
    assert state.vars is not None
    assert "x" not in state.vars
    assert (await scene.client.count_runs()).count == 1


async def test_an_ended_run_takes_no_event_and_on_existing_decides(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking", run_id="r")
    await run.cancel()
    with pytest.raises(AlreadyExists) as taken:
        await scene.client.start_run("asking", run_id="r", event=StartEvent("go"))
    assert taken.value.reason == "RUN_EXISTS"
    reply = await scene.client.start_run("asking", run_id="r", event=StartEvent("go"), on_existing="return")
    assert (reply.created, reply.status, reply.event_id, reply.event_position) == (False, "cancelled", "", 0)
    assert await scene.client.list_events(scope="run", scope_id="r").all() == []


async def test_a_paused_run_takes_the_event_and_goes_on_after_the_pause(scene: Scene) -> None:
    await scene.register(collecting(1))
    run = await scene.start("collecting", run_id="r")
    await scene.waiting(run)
    await run.pause()
    await scene.client.start_run("collecting", run_id="r", event=StartEvent("go", 7))
    await run.unpause()
    state = await scene.ended(run)
    assert state.output is not None
    assert state.output["got"]["n0"]["payload"] == {"value": 7}


@pytest.mark.promise("P5")
@pytest.mark.promise("P6")
async def test_callers_at_the_same_time_start_one_run_that_gets_the_events_of_all(scene: Scene) -> None:
    count = 12
    await scene.register(collecting(count))
    replies = await asyncio.gather(
        *(
            scene.client.start_run("collecting", run_id="r", event=StartEvent("go", {"n": n}, f"e{n}"))
            for n in range(count)
        )
    )
    assert [reply.created for reply in replies].count(True) == 1
    state = await scene.ended(scene.client.run("r"))
    assert state.output is not None
    assert sorted(got["payload"]["n"] for got in state.output["got"].values()) == list(range(count))
    assert len({reply.event_position for reply in replies}) == count


@pytest.mark.promise("P5")
async def test_a_repeat_of_either_way_gets_the_first_reply(scene: Scene) -> None:
    await scene.register(collecting(3))
    for created in (True, False):
        options: StartOptions = {"run_id": "r", "request_id": f"q-{created}", "event": StartEvent("go", created)}
        first = await scene.client.start_run("collecting", **options)
        again = await scene.client.start_run("collecting", **options)
        assert first.created is created
        assert again == first
    assert len(await scene.client.list_events(scope="run", scope_id="r").all()) == 2


async def test_an_event_id_is_taken_once_by_a_run(scene: Scene) -> None:
    await scene.register(collecting(2))
    first = await scene.client.start_run("collecting", run_id="r", event=StartEvent("go", 1, "same"))
    again = await scene.client.start_run("collecting", run_id="r", event=StartEvent("go", 2, "same"))
    assert (again.created, again.event_duplicate, again.event_position) == (False, True, first.event_position)
    assert len(await scene.client.list_events(scope="run", scope_id="r").all()) == 1


@pytest.mark.promise("P2")
async def test_start_and_event_outlive_the_server_together(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(listening(scope="run", name="later"), asking())
    await scene.client.start_run("listening", run_id="r", event=StartEvent("go", {"n": 1}))
    await lives.kill()
    after = await lives.begin()
    (event,) = await after.client.list_events(scope="run", scope_id="r").all()
    assert (event.name, event.payload) == ("go", {"n": 1})
    assert (await after.client.get_run("r")).status == "waiting"
