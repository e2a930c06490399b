"""Schedules over days of a calendar that the test turns, on a server in this process."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    AlreadyExists,
    Concurrency,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RunFilter,
    ScheduleSpec,
    Workflow,
)
from perdure.testing import Environment, server
from perdure.values import ScheduleOverlap
from tests.acceptance.lives import Lives
from tests.acceptance.scene import asking

DAILY = ScheduleSpec("quick", crons=["0 12 * * *"])
HOURLY = ScheduleSpec("asking", every=[timedelta(hours=1)])


def quick() -> Workflow:
    """Ends at once."""
    workflow = Workflow("quick")
    workflow.complete_node("done", {"ok": True})
    return workflow


@pytest.fixture
async def env() -> AsyncGenerator[Environment]:
    async with server() as environment:
        await environment.client.register_workflow(quick())
        await environment.client.register_workflow(asking())
        yield environment


async def runs(env: Environment, schedule_id: str = "s") -> list[str]:
    """The instants of a schedule's runs, oldest first."""
    found = await env.client.list_runs(RunFilter(labels={"perdure.schedule": schedule_id})).all()
    return sorted(run.labels["perdure.scheduled_at"][:16] for run in found)


async def end_one(env: Environment) -> None:
    """Ends the oldest run that waits for a person."""
    waits = await env.client.list_waits().all()
    await env.client.resume_run(waits[0].run_id, "y", any_wait=True)
    await env.settle()


@pytest.mark.promise("P5")
async def test_each_instant_starts_one_run_that_tells_where_it_comes_from(env: Environment) -> None:
    spec = ScheduleSpec("quick", crons=["0 12 * * *"], vars={"a": 1}, labels={"team": "blue"}, actor_id="ann")
    made = await env.client.create_schedule("s", spec, note="noon")
    assert [each.day for each in made.next_times[:3]] == [1, 2, 3]
    await env.advance(days=3)
    assert await runs(env) == ["2026-01-01T12:00", "2026-01-02T12:00", "2026-01-03T12:00"]
    run = await env.client.get_run("s:20260102T120000Z")
    assert (run.status, run.vars, run.actor_id, run.labels["team"]) == ("completed", {"a": 1}, "ann", "blue")
    found = await env.client.get_schedule("s")
    assert (found.started, found.missed, found.skipped, found.revision, found.note) == (3, 0, 0, 1, "noon")
    assert found.recent[-1].run_id == "s:20260103T120000Z"
    assert found.next_times[0] == datetime(2026, 1, 4, 12, tzinfo=UTC)


async def test_local_time_follows_its_zone(env: Environment) -> None:
    await env.client.create_schedule("s", ScheduleSpec("quick", crons=["30 2 * * *"], time_zone="Europe/Berlin"))
    await env.advance(days=90)
    found = await runs(env)
    assert len(found) == 90
    assert found[86:89] == ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]


@pytest.mark.parametrize(
    ("overlap", "started", "skipped", "waiting"),
    [("skip", 1, 3, 0), ("buffer_one", 1, 2, 1), ("buffer_all", 1, 0, 3), ("allow_all", 4, 0, 0)],
)
async def test_overlap(env: Environment, overlap: str, started: int, skipped: int, waiting: int) -> None:
    spec = ScheduleSpec("asking", every=[timedelta(hours=1)], overlap=ScheduleOverlap(overlap))
    await env.client.create_schedule("s", spec)
    await env.advance(hours=4)
    found = await env.client.get_schedule("s")
    assert (found.started, found.skipped, found.waiting) == (started, skipped, waiting)
    await end_one(env)
    found = await env.client.get_schedule("s")
    assert (found.started, found.waiting) == (started + bool(waiting), max(waiting - 1, 0))


async def test_cancel_other_starts_at_once_and_cancels_the_run_before(env: Environment) -> None:
    await env.client.create_schedule("s", ScheduleSpec("asking", every=[3_600], overlap="cancel_other"))
    await env.advance(hours=3)
    statuses = {run.run_id[-7:-3]: str(run.status) for run in await env.client.list_runs().all()}
    assert statuses == {"0100": "cancelled", "0200": "cancelled", "0300": "waiting"}
    first = await env.client.get_run("s:20260101T010000Z")
    assert first.error is not None
    assert first.error.message == "Superseded by run s:20260101T020000Z"


@pytest.mark.promise("P6")
async def test_a_jump_of_hours_fires_what_the_window_holds_and_counts_the_rest_as_missed(env: Environment) -> None:
    spec = ScheduleSpec("quick", every=[600], catch_up_window=timedelta(minutes=30), overlap="allow_all")
    await env.client.create_schedule("s", spec)
    await env.advance(hours=5, minutes=5, settle=False)
    await env.settle()
    found = await env.client.get_schedule("s")
    assert (found.started, found.missed) == (3, 27)
    assert await runs(env) == ["2026-01-01T04:40", "2026-01-01T04:50", "2026-01-01T05:00"]


async def test_a_long_standstill_does_not_flood(env: Environment) -> None:
    await env.client.create_schedule("s", ScheduleSpec("quick", every=[1]))
    await env.advance(days=30, settle=False)
    await env.settle()
    found = await env.client.get_schedule("s")
    assert found.started <= 61
    assert found.missed == 10_000


async def test_pause_start_end_and_a_number_of_starts(env: Environment) -> None:
    spec = ScheduleSpec(
        "quick",
        crons=["0 12 * * *"],
        start_at=datetime(2026, 1, 2, 12, tzinfo=UTC),
        end_at=datetime(2026, 1, 9, tzinfo=UTC),
        max_starts=3,
    )
    await env.client.create_schedule("s", spec, paused=True)
    await env.advance(days=2)
    assert (await env.client.get_schedule("s")).next_times == ()
    await env.client.unpause_schedule("s", "go")
    await env.advance(days=2)
    await env.client.pause_schedule("s", "stop")
    await env.advance(days=2)
    await env.client.unpause_schedule("s")
    await env.advance(days=9)
    assert await runs(env) == ["2026-01-03T12:00", "2026-01-04T12:00", "2026-01-07T12:00"]
    found = await env.client.get_schedule("s")
    assert (found.starts_left, found.next_times, found.missed) == (0, (), 0)


async def test_update_is_guarded_by_the_revision_that_was_read(env: Environment) -> None:
    made = await env.client.create_schedule("s", DAILY)
    later = await env.client.update_schedule("s", HOURLY, revision=made.revision)
    assert later.revision == made.revision + 1
    with pytest.raises(FailedPrecondition) as changed:
        await env.client.update_schedule("s", DAILY, revision=made.revision)
    assert (changed.value.reason, changed.value.metadata["revision"]) == ("SCHEDULE_CHANGED", "2")
    await env.advance(hours=2)
    assert (await env.client.get_schedule("s")).started == 1


async def test_trigger_and_backfill_start_what_they_are_asked_for_once(env: Environment) -> None:
    await env.client.create_schedule("s", DAILY, paused=True)
    await env.advance(days=10)
    first = await env.client.trigger_schedule("s", request_id="q")
    again = await env.client.trigger_schedule("s", request_id="q")
    assert (str(first.outcome), first) == ("started", again)
    span = (datetime(2026, 1, 2, 12, tzinfo=UTC), datetime(2026, 1, 5, 12, tzinfo=UTC))
    assert await env.client.backfill_schedule("s", *span) == 4
    await env.settle()
    assert await env.client.backfill_schedule("s", *span) == 4
    await env.settle()
    found = await env.client.get_schedule("s")
    assert (found.started, found.waiting, found.paused) == (5, 0, True)
    assert len(await runs(env)) == 5


async def test_a_backfill_behind_each_other_waits_for_each_run(env: Environment) -> None:
    await env.client.create_schedule("s", ScheduleSpec("asking", crons=["0 12 * * *"]), paused=True)
    await env.advance(days=5)
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC)
    assert await env.client.backfill_schedule("s", start, end, overlap="buffer_all") == 3
    for started in (1, 2, 3):
        await env.settle()
        assert (await env.client.get_schedule("s")).started == started
        await end_one(env)


async def test_what_cannot_be_backfilled_is_refused(env: Environment) -> None:
    await env.client.create_schedule("s", ScheduleSpec("quick", every=[1]))
    now = env.now
    with pytest.raises(ResourceExhausted) as many:
        await env.client.backfill_schedule("s", now - timedelta(hours=1), now)
    assert many.value.reason == "LIMIT_REACHED"
    with pytest.raises(InvalidArgument) as future:
        await env.client.backfill_schedule("s", now, now + timedelta(hours=1))
    assert [problem.field for problem in future.value.fields] == ["end"]


async def test_an_instant_that_is_refused_is_counted_and_said(env: Environment) -> None:
    await env.client.start_run("asking", run_id="holder", concurrency=Concurrency("k"))
    spec = ScheduleSpec("quick", every=[3_600], concurrency=Concurrency("k", 1, "reject"))
    await env.client.create_schedule("s", spec)
    await env.advance(hours=2)
    found = await env.client.get_schedule("s")
    assert (found.started, found.refused) == (0, 2)
    assert found.refusal.startswith("CONCURRENCY_LIMIT: ")


async def test_names_lists_and_deletion(env: Environment) -> None:
    for name in ("b", "a"):
        await env.client.create_schedule(name, DAILY, request_id=f"create-{name}")
    await env.client.create_schedule("a", DAILY, request_id="create-a")
    with pytest.raises(AlreadyExists) as taken:
        await env.client.create_schedule("a", DAILY)
    assert taken.value.reason == "SCHEDULE_EXISTS"
    pages = env.client.list_schedules(page_size=1)
    assert [found.schedule_id for found in await pages.all()] == ["a", "b"]
    await env.client.delete_schedule("a")
    with pytest.raises(NotFound) as gone:
        await env.client.get_schedule("a")
    assert gone.value.reason == "SCHEDULE_NOT_FOUND"
    with pytest.raises(NotFound) as unknown:
        await env.client.create_schedule("c", ScheduleSpec("nothing", every=[60]))
    assert unknown.value.reason == "WORKFLOW_NOT_FOUND"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ScheduleSpec("quick", crons=["0 0 30 2 *"]), "spec.crons[0]"),
        (ScheduleSpec("quick", crons=["* * * * *", "61 * * * *"]), "spec.crons[1]"),
        (ScheduleSpec("quick"), "spec.crons"),
        (ScheduleSpec("quick", crons=["* * * * *"], time_zone="Mars/Phobos"), "spec.time_zone"),
        (ScheduleSpec("quick", every=[0.5]), "spec.intervals[0].every"),
        (ScheduleSpec("quick", every=[(60, 60)]), "spec.intervals[0].offset"),
        (ScheduleSpec("quick", every=[60], end_at=datetime(2025, 1, 1, tzinfo=UTC)), "spec.end_at"),
        (ScheduleSpec("quick", every=[60], jitter=timedelta(days=2)), "spec.jitter"),
        (ScheduleSpec("quick", every=[60], catch_up_window=timedelta(days=400)), "spec.catch_up_window"),
        (ScheduleSpec("quick", every=[60], labels={f"l{n}": "" for n in range(31)}), "spec.start.labels"),
        (ScheduleSpec("", every=[60]), "spec.start.workflow_id"),
        (ScheduleSpec("quick", every=[60], max_starts=-1), "spec.max_starts"),
    ],
)
async def test_a_spec_that_cannot_be_names_its_field(env: Environment, spec: ScheduleSpec, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await env.client.create_schedule("s", spec)
    assert field in [problem.field for problem in refused.value.fields]
    assert await env.client.list_schedules().all() == []


async def test_a_preview_needs_no_schedule(env: Environment) -> None:
    times = await env.client.preview_schedule(ScheduleSpec("", crons=["0 0 29 2 *"]), count=2)
    assert times == [datetime(2028, 2, 29, tzinfo=UTC), datetime(2032, 2, 29, tzinfo=UTC)]


@pytest.mark.promise("P5")
async def test_a_killed_server_fires_each_instant_once(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(quick())
    spec = ScheduleSpec("quick", every=[1], overlap="allow_all")
    await scene.client.create_schedule("s", spec)
    labelled = RunFilter(labels={"perdure.schedule": "s"})
    for _ in range(3):
        before = (await scene.client.count_runs(labelled)).count
        async with asyncio.timeout(60):
            while (await scene.client.count_runs(labelled)).count < before + 2:
                newest = (await scene.client.list_runs().all())[:1]
                await (scene.client.wait_run(newest[0].run_id, until="ended") if newest else asyncio.sleep(0))
        await lives.kill()
        scene = await lives.begin()
    await scene.client.pause_schedule("s")
    found = await scene.client.get_schedule("s")
    instants = [run.labels["perdure.scheduled_at"] for run in await scene.client.list_runs(labelled).all()]
    assert len(instants) == len(set(instants)) == found.started
    seconds = [round(datetime.fromisoformat(each).timestamp()) for each in instants]
    assert max(seconds) - min(seconds) + 1 == len(seconds), "none is left out: all are within the catch-up window"
