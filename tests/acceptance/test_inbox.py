"""ListWaits, the inbox: who waits for what, filtered and in pages."""

import grpc
import pytest

from perdure import EffectContext, InvalidArgument, JsonObject, RunFilter, Waiting, Workflow
from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.scene import Scene, asking, calling, listening


async def waiting_runs(scene: Scene) -> dict[str, str]:
    """One run of each kind of wait; their ids by name."""

    async def job(ctx: EffectContext, payload: JsonObject) -> Waiting:
        return Waiting("job", wait_key="job-7", terms={"assignee": "farm"})

    later, spawning, keyed = Workflow("later"), Workflow("spawning"), Workflow("keyed")
    later.effect_node("sleep", "wait_until", {"delay_seconds": 3600})
    spawning.effect_node("spawn", "start_subworkflow", {"workflow_id": "keyed", "session_id": "child"})
    keyed.effect_node("wait", "wait_event", {"wait_key": "free-key", "prompt": "say when"})
    asks, listens = asking(assignee="ann"), listening()
    await scene.work(asks, listens, later, spawning, keyed, calling(type="job"), job=job)
    plan = {
        "user": ("asking", "S"),
        "event": ("listening", "S"),
        "until": ("later", "T"),
        "job": ("calling", "T"),
        "subworkflow": ("spawning", "T"),
    }
    runs: dict[str, str] = {}
    for name, (workflow, session) in plan.items():
        run = await scene.start(workflow, session_id=session, actor_id=f"for-{name}")
        wait = await scene.waiting(run)
        runs[name] = run.run_id
        if name == "subworkflow":
            child = scene.client.run(wait.child_run_id)
            await scene.waiting(child)
            runs["keyed"] = child.run_id
    return runs


async def test_the_inbox_shows_what_somebody_can_answer_the_oldest_first(scene: Scene) -> None:
    runs = await waiting_runs(scene)
    lines = await scene.client.list_waits().all()
    assert [line.run_id for line in lines] == [runs[name] for name in ("user", "event", "job", "keyed")]
    first = lines[0]
    assert (first.workflow_id, first.session_id, first.actor_id, first.paused) == ("asking", "S", "for-user", False)
    assert (first.wait.prompt, first.wait.choices, first.wait.assignee) == ("Continue?", ("y", "n"), "ann")
    assert first.wait == (await scene.client.get_run(first.run_id)).waiting
    since = [line.wait.since for line in lines if line.wait.since is not None]
    assert since == sorted(since)
    assert len(since) == len(lines)


async def test_each_filter_of_the_inbox_keeps_what_it_names(scene: Scene) -> None:
    runs = await waiting_runs(scene)
    own_key = f"user:{runs['user']}:ask"
    cases: list[tuple[pb.ListWaitsRequest, set[str]]] = [
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_EVENT]), {"event", "keyed"}),
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_UNTIL]), {"until"}),
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_USER]), {"user"}),
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_JOB]), {"job"}),
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_SUBWORKFLOW]), {"subworkflow"}),
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_JOIN]), set()),
        (pb.ListWaitsRequest(reasons=[common_pb2.WAIT_REASON_USER, common_pb2.WAIT_REASON_JOB]), {"user", "job"}),
        (pb.ListWaitsRequest(wait_key="job-7"), {"job"}),
        (pb.ListWaitsRequest(wait_key="free-key"), {"keyed"}),
        (pb.ListWaitsRequest(wait_key=own_key), {"user"}),
        (pb.ListWaitsRequest(wait_key="nobody's"), set()),
        (pb.ListWaitsRequest(assignee="ann"), {"user"}),
        (pb.ListWaitsRequest(assignee="farm"), {"job"}),
        (pb.ListWaitsRequest(workflow_id="listening"), {"event"}),
        (pb.ListWaitsRequest(workflow_id="later"), set()),
        (pb.ListWaitsRequest(session_id="S"), {"user", "event"}),
        (pb.ListWaitsRequest(session_id="child"), {"keyed"}),
        (pb.ListWaitsRequest(session_id="S", assignee="ann"), {"user"}),
        (pb.ListWaitsRequest(session_id="S", assignee="farm"), set()),
    ]
    named = {field.name for request, _ in cases for field, _ in request.ListFields()}
    paging = {"namespace", "page_size", "page_token"}
    assert named == set(pb.ListWaitsRequest.DESCRIPTOR.fields_by_name) - paging, "a filter has no case here"
    for request, names in cases:
        request.namespace = scene.namespace
        found = {wait.run_id for wait in (await scene.runs.ListWaits(request)).waits}
        assert found == {runs[name] for name in names}, request


async def test_a_wait_leaves_the_inbox_when_it_ends_and_tells_of_a_pause(scene: Scene) -> None:
    await scene.register(asking())
    runs = [await scene.start("asking") for _ in range(3)]
    for run in runs:
        await scene.waiting(run)
    await runs[0].resume("y", any_wait=True)
    await runs[1].cancel()
    await runs[2].pause()
    assert [(line.run_id, line.paused) for line in await scene.client.list_waits().all()] == [(runs[2].run_id, True)]


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 1_000])
async def test_the_inbox_comes_in_pages_that_hold_every_wait_once(scene: Scene, page_size: int) -> None:
    await scene.register(asking())
    runs = [(await scene.start("asking")).run_id for _ in range(7)]
    for run_id in runs:
        await scene.waiting(scene.client.run(run_id))
    pages = scene.client.list_waits(reasons=["user"], page_size=page_size)
    whole = [line.run_id for line in await scene.client.list_waits().all()]
    assert sorted(whole) == sorted(runs)
    assert [line.run_id for line in await pages.all()] == whole
    first = await pages.page()
    assert len(first.items) == min(page_size, 7)
    assert bool(first.next_page_token) == (page_size < 7)


async def test_a_page_goes_on_where_it_stopped_while_waits_end_and_begin(scene: Scene) -> None:
    await scene.register(asking())
    runs = [await scene.start("asking") for _ in range(4)]
    for run in runs:
        await scene.waiting(run)
    pages = scene.client.list_waits(page_size=2)
    first = await pages.page()
    shown = [line.run_id for line in first.items]
    rest = [run.run_id for run in runs if run.run_id not in shown]
    await scene.client.run(shown[0]).cancel()
    newest = await scene.start("asking")
    await scene.waiting(newest)
    second = await pages.page(first.next_page_token)
    assert sorted(line.run_id for line in second.items) == sorted(rest)
    third = await pages.page(second.next_page_token)
    assert [line.run_id for line in third.items] == [newest.run_id]


async def test_a_page_token_belongs_to_its_list_and_filter(scene: Scene) -> None:
    await scene.register(asking())
    for _ in range(3):
        await scene.waiting(await scene.start("asking", session_id="S"))
    waits = await scene.client.list_waits(session_id="S", page_size=1).page()
    runs = await scene.client.list_runs(RunFilter(session_id="S"), page_size=1).page()
    assert waits.next_page_token
    assert runs.next_page_token
    refused = {
        "another filter": scene.client.list_waits(session_id="T", page_size=1).page(waits.next_page_token),
        "no filter": scene.client.list_waits(page_size=1).page(waits.next_page_token),
        "another list": scene.client.list_waits(session_id="S", page_size=1).page(runs.next_page_token),
        "garbage": scene.client.list_waits(session_id="S", page_size=1).page("garbage"),
        "another filter of runs": scene.client.list_runs(RunFilter(session_id="T")).page(runs.next_page_token),
        "no filter of runs": scene.client.list_runs().page(runs.next_page_token),
        "waits for runs": scene.client.list_runs(RunFilter(session_id="S")).page(waits.next_page_token),
    }
    for what, call in refused.items():
        with pytest.raises(InvalidArgument) as caught:
            await call
        assert (what, caught.value.reason) == (what, "INVALID_PAGE_TOKEN")
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    again = await scene.client.list_waits(session_id="S", page_size=2).page(waits.next_page_token)
    assert len(again.items) == 2, "the page size may change on the way"
