"""Concurrency keys: at most so many runs of a key move at a time, and what becomes of the surplus."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import Concurrency, InvalidArgument, ResourceExhausted, RunHandle, Workflow
from perdure.v1 import admin_service_pb2
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.acceptance.lives import Lives
from tests.acceptance.scene import WITHIN_S, Scene, asking

ONE = Concurrency("k")


async def moving(scene: Scene, run_id: str) -> None:
    """Returns when the run waits for its person: it had its slot."""
    async with asyncio.timeout(WITHIN_S):
        await scene.waiting(scene.client.run(run_id))


async def places(scene: Scene, *run_ids: str) -> list[str]:
    """Where runs stand with their key."""
    found: list[str] = []
    for run_id in run_ids:
        state = await scene.client.get_run(run_id)
        assert state.concurrency is not None
        found.append(str(state.concurrency.state))
    return found


async def audited(scene: Scene) -> None:
    """AuditRuns finds nothing wrong (P3, P7)."""
    admin = AdminServiceStub(scene.client.connection.channel)
    reply = await scene.client.connection.unary(
        admin.AuditRuns, admin_service_pb2.AuditRunsRequest(namespace=scene.namespace)
    )
    assert list(reply.findings) == []
    assert reply.runs_checked > 0


async def start(scene: Scene, run_id: str, concurrency: Concurrency = ONE) -> RunHandle:
    """Starts a run that asks a person."""
    return await scene.start("asking", run_id=run_id, concurrency=concurrency)


@pytest.mark.promise("P7")
async def test_the_surplus_waits_in_line_and_starts_in_the_order_of_creation(scene: Scene) -> None:
    await scene.register(asking())
    runs = [await start(scene, f"r{n}") for n in range(4)]
    await moving(scene, "r0")
    state = await scene.client.get_run("r2")
    assert (state.status, state.activity) == ("running", "backoff")
    assert state.concurrency is not None
    assert (state.concurrency.ahead, state.concurrency.holder_run_id) == (1, "r0")
    assert await places(scene, "r0", "r1", "r2", "r3") == ["held", "in_line", "in_line", "in_line"]
    listed = {run.run_id: run.concurrency for run in await scene.client.list_runs().all()}
    assert [str(found.state) for found in (listed["r0"], listed["r1"]) if found] == ["held", "in_line"]
    await audited(scene)
    for n in range(3):
        await runs[n].resume("y", any_wait=True)
        await moving(scene, f"r{n + 1}")
        assert (await scene.client.get_run(f"r{n}")).status == "completed"
    assert (await scene.rows("r3"))[0] == "requeued slot_granted"
    await audited(scene)


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "deadline"])
async def test_a_slot_is_free_when_its_run_has_ended_however_that_was(scene: Scene, end: str) -> None:
    failing = Workflow("failing")
    failing.effect_node("ask", "ask_user", {"prompt": "?"}, result_key="a", next="no")
    failing.fail_node("no", "NO")
    await scene.register(asking(), failing)
    deadline = datetime.now(UTC) + timedelta(seconds=0.5 if end == "deadline" else 1_000)
    workflow = "failing" if end == "failed" else "asking"
    first = await scene.start(workflow, run_id="first", concurrency=ONE, deadline=deadline)
    await start(scene, "second")
    await scene.waiting(first)
    assert await places(scene, "second") == ["in_line"]
    if end == "cancelled":
        await first.cancel()
    elif end != "deadline":
        await first.resume("y", any_wait=True)
    await moving(scene, "second")
    assert (await first.state()).is_ended


async def test_reject_refuses_the_surplus_and_names_who_holds_the_slot(scene: Scene) -> None:
    await scene.register(asking())
    first = await start(scene, "first")
    with pytest.raises(ResourceExhausted) as refused:
        await start(scene, "second", Concurrency("k", 1, "reject"))
    assert (refused.value.reason, refused.value.metadata["holder_run_id"]) == ("CONCURRENCY_LIMIT", "first")
    assert (await scene.client.count_runs()).count == 1
    await first.cancel()
    await start(scene, "second", Concurrency("k", 1, "reject"))
    await moving(scene, "second")


async def test_the_newest_wins_over_the_oldest(scene: Scene) -> None:
    await scene.register(asking())
    for n in range(3):
        await start(scene, f"r{n}", Concurrency("k", 2, "cancel_oldest"))
    await moving(scene, "r2")
    states = [await scene.client.get_run(f"r{n}") for n in range(3)]
    assert [str(state.status) for state in states] == ["cancelled", "waiting", "waiting"]
    assert states[0].error is not None
    assert states[0].error.message == "Superseded by run r2"


async def test_a_run_that_gives_way_ends_its_own_way_before_its_slot_is_free(scene: Scene) -> None:
    polite = Workflow("polite", on_cancel_node="bye")
    polite.effect_node("ask", "ask_user", {"prompt": "?"}, result_key="a", next="done")
    polite.effect_node("bye", "ask_user", {"prompt": "bye?"}, result_key="b", next="done")
    polite.complete_node("done", {})
    await scene.register(polite, asking())
    old = await scene.start("polite", concurrency=ONE)
    await scene.waiting(old)
    for n in range(2):
        await start(scene, f"new{n}", Concurrency("k", 1, "cancel_oldest"))
    async with asyncio.timeout(WITHIN_S):
        while (await scene.client.get_run("new0")).status != "cancelled":
            await scene.client.wait_run("new0", until="ended")
    assert (await old.state()).cancelling, "the second one does not cut the way of the first one's cancel short"
    assert await places(scene, "new1") == ["in_line"]
    await old.resume("y", any_wait=True)
    await moving(scene, "new1")
    assert (await old.state()).status == "cancelled"


async def test_a_paused_run_in_line_is_passed_and_keeps_its_place(scene: Scene) -> None:
    await scene.register(asking())
    holder = await start(scene, "holder")
    first, second = await start(scene, "first"), await start(scene, "second")
    await first.pause()
    await audited(scene)
    await holder.cancel()
    await moving(scene, "second")
    await first.unpause()
    await start(scene, "third")
    await second.cancel()
    await moving(scene, "first")
    assert await places(scene, "third") == ["in_line"]


async def test_a_run_in_line_can_be_cancelled_and_has_its_deadline(scene: Scene) -> None:
    await scene.register(asking())
    await start(scene, "holder")
    first = await start(scene, "first")
    late = await scene.start("asking", concurrency=ONE, deadline=datetime.now(UTC) + timedelta(seconds=0.3))
    assert (await first.cancel()).status == "cancelled"
    assert (await scene.ended(late)).status == "failed"
    await audited(scene)


async def test_start_at_asks_for_the_slot_only_then(scene: Scene) -> None:
    await scene.register(asking())
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    later = await scene.start("asking", concurrency=ONE, start_at=soon)
    now = await start(scene, "now")
    await moving(scene, "now")
    await scene.record(later, "requeued")
    assert await places(scene, later.run_id) == ["in_line"]
    await now.cancel()
    await moving(scene, later.run_id)
    with pytest.raises(InvalidArgument) as refused:
        await scene.start("asking", concurrency=Concurrency("k", 1, "reject"), start_at=soon)
    assert [problem.field for problem in refused.value.fields] == ["concurrency.on_limit"]


@pytest.mark.promise("P5")
async def test_of_many_starts_at_the_same_time_no_more_than_the_limit_hold_a_slot(scene: Scene) -> None:
    await scene.register(asking())
    await asyncio.gather(*(start(scene, f"r{n}", Concurrency("k", 3)) for n in range(20)))
    for _ in range(5):
        found = await places(scene, *(f"r{n}" for n in range(20)))
        assert found.count("held") <= 3
        held = [f"r{n}" for n, place in enumerate(found) if place == "held"]
        await asyncio.gather(*(moving(scene, run_id) for run_id in held))
        await asyncio.gather(*(scene.client.run(run_id).cancel() for run_id in held))
    await audited(scene)


@pytest.mark.promise("P6")
async def test_the_line_moves_on_after_the_server_was_killed(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(asking())
    first = await start(scene, "first")
    for n in range(3):
        await start(scene, f"r{n}")
    await first.cancel()
    await lives.kill()
    after = await lives.begin()
    for n in range(3):
        await moving(after, f"r{n}")
        await after.client.run(f"r{n}").cancel()
    await audited(after)


@pytest.mark.promise("P5")
async def test_a_run_that_would_end_in_the_commit_that_starts_it_needs_a_slot_too(scene: Scene) -> None:
    quick = Workflow("quick")
    quick.complete_node("done", {"ok": True})
    await scene.register(asking(), quick)
    holder = await start(scene, "holder")
    with pytest.raises(ResourceExhausted):
        await scene.start("quick", concurrency=Concurrency("k", 1, "reject"))
    later = await scene.start("quick", run_id="later", concurrency=ONE)
    assert await places(scene, "later") == ["in_line"]
    await holder.cancel()
    assert (await scene.ended(later)).status == "completed"
