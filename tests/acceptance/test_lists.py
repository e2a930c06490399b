"""ListRuns and CountRuns: each filter by itself, together, and in pages."""

from datetime import UTC, datetime

import pytest

from perdure import RunFilter, RunHandle, RunState, Workflow
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.hand import HandWorker
from tests.acceptance.parking import parked_run
from tests.acceptance.scene import Scene, asking, calling, listening


async def one_of_each(scene: Scene) -> dict[str, RunHandle]:
    """A run in each status and activity, by name."""
    ending, spawning, held = Workflow("ending"), Workflow("spawning"), calling("held", type="held")
    ending.complete_node("completed", {"secret": "output"})
    ending.fail_node("failed", "NO", "it cannot be", details={"secret": "details"})
    spawning.effect_node("spawn", "start_subworkflow", {"workflow_id": "listening", "session_id": "own"})
    await scene.register(ending, spawning, held, asking(assignee="ann"), listening(), calling())
    runs = {
        "completed": await scene.start("ending", entry_node="completed"),
        "failed": await scene.start("ending", entry_node="failed"),
        "asking": await scene.start("asking", labels={"team": "blue", "tier": "1"}, session_id="S"),
        "cancelled": await scene.start("asking", labels={"team": "blue"}),
        "parent": await scene.start("spawning", labels={"team": "red"}),
        "parked": await parked_run(scene),
        "leased": await scene.start("held"),
    }
    for name in ("completed", "failed"):
        await scene.ended(runs[name])
    for name in ("asking", "cancelled", "parent"):
        await scene.waiting(runs[name])
    await runs["cancelled"].cancel()
    await HandWorker(scene.client, "held").task()
    runs["queued"] = await scene.start("calling", {"secret": "vars"}, session_id="S")
    runs["idle"] = await scene.start("calling", drive="manual")
    runs["backoff"] = await scene.start("calling", start_at=datetime(2099, 1, 1, tzinfo=UTC))
    await runs["queued"].pause()
    runs["child"] = scene.client.run((await scene.waiting(runs["parent"])).child_run_id)
    await scene.waiting(runs["child"])
    return runs


def filters(states: dict[str, RunState]) -> list[tuple[RunFilter, set[str]]]:
    """Each filter with the runs it keeps."""
    asked, everything = states["asking"], set(states)
    created = sorted(states, key=lambda name: states[name].created_at or datetime.min.replace(tzinfo=UTC))
    middle = states[created[5]].created_at
    ended = ("completed", "failed", "cancelled")
    first_end = states["failed"].ended_at
    assert middle is not None
    assert first_end is not None
    later = {name for name in created if (states[name].created_at or middle) >= middle}
    ends = {name: states[name].ended_at or first_end for name in ended}
    return [
        (RunFilter(), everything),
        *((RunFilter(statuses=[name]), {name}) for name in ended),
        (RunFilter(statuses=["waiting"]), {"asking", "parent", "child"}),
        (RunFilter(statuses=["completed", "failed"]), {"completed", "failed"}),
        *((RunFilter(activities=[name]), {name}) for name in ("queued", "leased", "parked", "idle", "backoff")),
        (RunFilter(activities=["waiting", "idle"]), {"asking", "parent", "child", "idle"}),
        (RunFilter(workflow_id="asking"), {"asking", "cancelled"}),
        (RunFilter(workflow_version=asked.workflow_version), {"asking", "cancelled"}),
        (RunFilter(workflow_id="asking", workflow_version="0" * 64), set()),
        (RunFilter(session_id="S"), {"asking", "queued"}),
        (RunFilter(session_id="own"), {"child"}),
        (RunFilter(root_run_id=states["parent"].run_id), {"parent", "child"}),
        (RunFilter(parent_run_id=states["parent"].run_id), {"child"}),
        (RunFilter(roots_only=True), everything - {"child"}),
        (RunFilter(labels={"team": "blue"}), {"asking", "cancelled"}),
        (RunFilter(labels={"team": "blue", "tier": "1"}), {"asking"}),
        (RunFilter(labels={"team": "1"}), set()),
        (RunFilter(wait_reason="user"), {"asking"}),
        (RunFilter(wait_reason="event"), {"child"}),
        (RunFilter(wait_key=f"user:{asked.run_id}:ask"), {"asking"}),
        (RunFilter(assignee="ann"), {"asking"}),
        (RunFilter(created_from=middle), later),
        (RunFilter(created_before=middle), everything - later),
        (RunFilter(ended_from=first_end), {name for name, at in ends.items() if at >= first_end}),
        (RunFilter(ended_before=first_end), {name for name, at in ends.items() if at < first_end}),
        (RunFilter(paused_only=True), {"queued"}),
        (RunFilter(labels={"team": "blue"}, statuses=["cancelled"]), {"cancelled"}),
        (RunFilter(session_id="S", paused_only=True), {"queued"}),
        (RunFilter(session_id="S", roots_only=True, activities=["waiting"]), {"asking"}),
        (RunFilter(assignee="ann", statuses=["failed"]), set()),
    ]


async def test_each_filter_keeps_what_it_names_in_lists_and_counts(scene: Scene) -> None:
    runs = await one_of_each(scene)
    states = {name: await run.state() for name, run in runs.items()}
    cases = filters(states)
    named = {field.name for filter, _ in cases for field, _ in filter.to_wire().ListFields()}
    assert named == set(pb.RunFilter.DESCRIPTOR.fields_by_name), "a filter has no case here"
    for filter, names in cases:
        found = [run.run_id for run in await scene.client.list_runs(filter).all()]
        assert sorted(found) == sorted(states[name].run_id for name in names), filter
        count = await scene.client.count_runs(filter)
        assert (count.count, count.at_least) == (len(names), False), filter
        by_pages = [run.run_id for run in await scene.client.list_runs(filter, page_size=2).all()]
        assert by_pages == found, filter


async def test_lists_leave_out_what_may_be_large(scene: Scene) -> None:
    runs = await one_of_each(scene)
    names = {run.run_id: name for name, run in runs.items()}
    whole = {name: await run.state() for name, run in runs.items()}
    assert whole["queued"].vars == {"secret": "vars"}
    listed = await scene.client.list_runs().all()
    assert "secret" not in repr(listed)
    for run in listed:
        full = whole[names[run.run_id]]
        assert (run.vars, run.output) == (None, None)
        assert (run.status, run.activity, run.paused, run.seq) == (full.status, full.activity, full.paused, full.seq)
        assert (run.current_node, run.labels, run.session_id) == (full.current_node, full.labels, full.session_id)
        assert (run.error is None) == (full.error is None)
    order = [(run.created_at, run.run_id) for run in listed if run.created_at is not None]
    assert order == sorted(order, reverse=True)
    assert len(order) == len(whole)


@pytest.mark.parametrize("page_size", [1, 3, 10, 5_000])
async def test_runs_come_in_pages_that_hold_every_run_once(scene: Scene, page_size: int) -> None:
    await scene.register(asking())
    runs = {(await scene.start("asking")).run_id for _ in range(10)}
    pages = scene.client.list_runs(RunFilter(workflow_id="asking"), page_size=page_size)
    first = await pages.page()
    assert len(first.items) == min(page_size, 10)
    late = await scene.start("asking")
    rest: list[str] = []
    token = first.next_page_token
    while token:
        page = await pages.page(token)
        rest += [run.run_id for run in page.items]
        token = page.next_page_token
    found = [run.run_id for run in first.items] + rest
    assert sorted(found) == sorted(runs), "each once, and none that began while the list was read"
    assert late.run_id not in found
