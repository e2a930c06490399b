"""StartRun: each of its options."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import AlreadyExists, InvalidArgument, NotFound, RunFilter, StartEvent, TraceContext, Workflow
from perdure.runs import StartOptions
from perdure.v1 import run_service_pb2 as pb
from perdure.values import OnExisting
from tests.acceptance.hand import HandWorker
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Scene, asking, calling, listening


async def test_start_at_makes_the_first_step_due_then_and_not_before(scene: Scene) -> None:
    await scene.register(asking())
    start_at = datetime.now(UTC) + timedelta(seconds=0.5)
    reply = await scene.client.start_run("asking", start_at=start_at)
    assert (reply.status, reply.activity) == ("running", "backoff")
    run = scene.client.run(reply.run_id)
    wait = await scene.waiting(run)
    due = await scene.record(run, "requeued")
    assert due.at >= start_at
    assert wait.since is not None
    assert wait.since >= start_at
    assert (await scene.rows(run))[0] == "requeued start_due"


async def test_start_at_in_the_past_is_now(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking", start_at=datetime(2020, 1, 1, tzinfo=UTC))
    await scene.waiting(run)
    assert await scene.rows(run) == ["waiting waiting user"]


@pytest.mark.promise("P6")
async def test_start_at_outlives_the_server(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(asking())
    start_at = datetime.now(UTC) + timedelta(seconds=1)
    run = await scene.start("asking", start_at=start_at)
    await lives.kill()
    after = await lives.begin()
    wait = await after.waiting(after.client.run(run.run_id))
    assert wait.since is not None
    assert wait.since >= start_at


@pytest.mark.parametrize("activity", ["waiting", "leased", "queued", "paused", "idle"])
async def test_a_deadline_fails_the_run_whatever_it_does(scene: Scene, activity: str) -> None:
    await scene.register(asking(), calling())
    deadline = datetime.now(UTC) + timedelta(seconds=0.5)
    run = await scene.start(
        "asking" if activity == "waiting" else "calling",
        deadline=deadline,
        drive="manual" if activity == "idle" else "auto",
    )
    if activity == "leased":
        await HandWorker(scene.client).task()
    elif activity == "paused":
        await run.pause()
    state = await scene.ended(run)
    assert state.error is not None
    assert (state.status, state.error.type) == ("failed", "RUN_DEADLINE")
    assert state.ended_at is not None
    assert state.ended_at >= deadline
    assert (await scene.rows(run))[-1] == "failed"


async def test_a_run_that_ends_in_time_has_no_deadline_left(scene: Scene) -> None:
    await scene.register(asking())
    deadline = datetime.now(UTC) + timedelta(hours=1)
    run = await scene.start("asking", deadline=deadline)
    await scene.waiting(run)
    assert (await run.state()).deadline == deadline
    await run.resume("y", any_wait=True)
    assert (await scene.ended(run)).status == "completed"


async def test_entry_node_starts_elsewhere_and_must_exist(scene: Scene) -> None:
    workflow = Workflow("w")
    workflow.fail_node("first", "NO")
    workflow.complete_node("second", {"here": True})
    await scene.register(workflow)
    run = await scene.start("w", entry_node="second")
    state = await scene.ended(run)
    assert (state.status, state.output, state.entry_node) == ("completed", {"here": True}, "second")
    with pytest.raises(NotFound) as missing:
        await scene.start("w", run_id="r", entry_node="third")
    assert missing.value.reason == "NODE_NOT_FOUND"
    with pytest.raises(NotFound) as unborn:
        await scene.client.get_run("r")
    assert unborn.value.reason == "RUN_NOT_FOUND"


async def test_a_run_id_names_one_run_for_ever(scene: Scene) -> None:
    await scene.register(asking(), listening())
    first = await scene.client.start_run("asking", {"a": 1}, run_id="r")
    assert (first.created, first.run_id) == (True, "r")
    for on_existing in (OnExisting.UNSPECIFIED, OnExisting.FAIL):
        with pytest.raises(AlreadyExists) as taken:
            await scene.client.start_run("asking", {"a": 1}, run_id="r", on_existing=on_existing)
        assert taken.value.reason == "RUN_EXISTS"
    other = await scene.client.start_run("listening", {"b": 2}, run_id="r", on_existing="return")
    assert (other.created, other.workflow_version) == (False, first.workflow_version)
    state = await scene.client.get_run("r")
    assert (state.workflow_id, state.vars) == ("asking", {"a": 1})
    assert other.seq == state.seq
    await scene.client.run("r").cancel()
    ended = await scene.client.start_run("asking", run_id="r", on_existing="return")
    assert (ended.created, ended.status) == (False, "cancelled")


async def test_a_run_that_exists_is_returned_whatever_else_is_asked_for(scene: Scene) -> None:
    """Nothing has to be created, so nothing that a new run would need has to be there."""
    await scene.register(asking())
    first = await scene.client.start_run("asking", run_id="r")
    again = StartOptions(run_id="r", on_existing="return")
    wishes: list[tuple[str, StartOptions]] = [
        ("nothing", again),
        ("asking", {**again, "workflow_version": "0" * 64}),
        ("asking", {**again, "entry_node": "nowhere"}),
        ("nothing", {**again, "event": StartEvent("go")}),
    ]
    for workflow_id, options in wishes:
        reply = await scene.client.start_run(workflow_id, **options)
        assert (reply.created, reply.workflow_version) == (False, first.workflow_version)
    assert [event.name for event in await scene.client.list_events(scope="run", scope_id="r").all()] == ["go"]
    for options in (StartOptions(run_id="r"), StartOptions(run_id="new", on_existing="return")):
        with pytest.raises(NotFound) as unknown:
            await scene.client.start_run("nothing", **options)
        assert unknown.value.reason == "WORKFLOW_NOT_FOUND"


@pytest.mark.promise("P5")
async def test_one_of_many_starts_at_the_same_time_creates_the_run(scene: Scene) -> None:
    await scene.register(asking())
    replies = await asyncio.gather(
        *(scene.client.start_run("asking", {"n": n}, run_id="r", on_existing="return") for n in range(20))
    )
    assert [reply.created for reply in replies].count(True) == 1
    assert (await scene.client.count_runs()).count == 1
    winner = [reply.created for reply in replies].index(True)
    assert (await scene.client.get_run("r")).vars == {"n": winner}


async def test_labels_trace_and_actor_stay_with_the_run(scene: Scene) -> None:
    await scene.register(calling())
    trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b")
    labels = {"team": "blue", "größe": "mittel", "empty": ""}
    run = await scene.start("calling", labels=labels, trace_context=trace, actor_id="ann")
    state = await run.state()
    assert (state.labels, state.trace_context, state.actor_id) == (labels, trace, "ann")
    assert (state.session_id, state.root_run_id, state.drive) == (run.run_id, run.run_id, "auto")
    (found,) = await scene.client.list_runs(RunFilter(labels={"größe": "mittel"})).all()
    assert (found.run_id, found.labels) == (run.run_id, labels)
    task = await HandWorker(scene.client).task()
    assert (task.trace_context.traceparent, task.trace_context.tracestate) == (trace.traceparent, "a=b")
    assert (task.run.actor_id, task.run.session_id) == ("ann", run.run_id)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.StartRunRequest(), "workflow_id"),
        (pb.StartRunRequest(workflow_id="asking", run_id="a b"), "run_id"),
        (pb.StartRunRequest(workflow_id="asking", vars_json="[]"), "vars_json"),
        (pb.StartRunRequest(workflow_id="asking", vars_json="{"), "vars_json"),
        (pb.StartRunRequest(workflow_id="asking", labels={f"l{n}": "" for n in range(33)}), "labels"),
        (pb.StartRunRequest(workflow_id="asking", entry_node="a/b"), "entry_node"),
        (pb.StartRunRequest(workflow_id="asking", actor_id="x" * 129), "actor_id"),
    ],
)
async def test_an_option_that_cannot_be_names_its_field(scene: Scene, request_: pb.StartRunRequest, field: str) -> None:
    await scene.register(asking())
    request = pb.StartRunRequest(namespace=scene.namespace)
    request.MergeFrom(request_)
    with pytest.raises(InvalidArgument) as refused:
        await scene.client.connection.unary(scene.runs.StartRun, request)
    assert [problem.field.partition("[")[0] for problem in refused.value.fields] == [field]
    assert (await scene.client.count_runs()).count == 0


async def test_a_manual_start_is_idle_and_a_version_is_pinned(scene: Scene) -> None:
    first = await scene.client.register_workflow(asking())
    second = await scene.client.register_workflow(asking(prompt="Another?"), set_default=True)
    old = await scene.start("asking", workflow_version=first.version, drive="manual")
    new = await scene.start("asking")
    state = await old.state()
    assert (state.workflow_version, state.activity) == (first.version, "idle")
    assert (await scene.waiting(new)).prompt == "Another?"
    assert (await new.state()).workflow_version == second.version
    await old.tick(1)
    assert (await scene.waiting(old)).prompt == "Continue?"
    with pytest.raises(NotFound) as unknown:
        await scene.start("asking", workflow_version="0" * 64)
    assert unknown.value.reason == "WORKFLOW_NOT_FOUND"
    with pytest.raises(NotFound):
        await scene.start("nothing")
