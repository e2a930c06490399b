"""RetryRun and RetryRuns over gRPC: failed runs go on where they failed."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    AlreadyExists,
    EffectContext,
    FailedPrecondition,
    InvalidArgument,
    JsonObject,
    NodeContext,
    Plan,
    RunFilter,
    Workflow,
    plan,
)
from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as pb
from perdure_server.api.codec.keyframes import encode_state
from perdure_server.kernel.model import RunState, RunStatus
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Echo, Scene, asking, calling


@pytest.mark.promise("P5")
async def test_a_failed_effect_is_executed_again_with_its_key_and_the_run_completes(scene: Scene) -> None:
    echo = Echo(failures=1)
    await scene.register(calling())
    await scene.work(llm_call=echo)
    run = await scene.start("calling")
    failed = await scene.ended(run)
    assert (failed.status, failed.reopened) == ("failed", 0)
    assert failed.failed_step is not None
    assert (failed.failed_step.node_id, failed.failed_step.effect_type) == ("call", "llm_call")
    reply = await run.retry(retried_by="ann")
    assert reply.status == "running"
    assert reply.seq > failed.seq
    done = await scene.ended(run)
    assert (done.status, done.output, done.error, done.reopened) == ("completed", {"result": {"n": 2}}, None, 1)
    first, second = echo.contexts
    assert (first.idempotency_key, first.attempt, second.attempt) == (second.idempotency_key, 1, 2)
    record = await scene.record(run, "reopened")
    assert record.record.reopened.retried_by == "ann"
    assert (await scene.client.verify_run(run.run_id)).intact
    assert (await scene.client.audit_all_runs()).findings == []


async def test_a_run_is_open_in_every_list_again(scene: Scene) -> None:
    await scene.register(calling())
    await scene.work(llm_call=Echo(failures=1))
    run = await scene.start("calling")
    await scene.ended(run)
    await run.retry(pause=True)
    (listed,) = await scene.client.list_runs(RunFilter(paused_only=True)).all()
    assert (listed.run_id, listed.status, listed.ended_at, listed.error) == (run.run_id, "running", None, None)
    assert await scene.client.list_runs(RunFilter(statuses=["failed"])).all() == []
    since = datetime(2020, 1, 1, tzinfo=UTC)
    assert await scene.client.list_runs(RunFilter(ended_from=since)).all() == []
    await run.unpause()
    assert (await scene.ended(run)).status == "completed"


async def test_the_vars_are_repaired_and_the_node_plans_anew(scene: Scene) -> None:
    workflow = Workflow("paying")

    @workflow.node("pay")
    async def pay(ctx: NodeContext) -> Plan:
        return plan.complete({"paid": ctx.vars["amount"]})

    await scene.register(workflow)
    await scene.work(workflow)
    run = await scene.start(workflow, {"wrong": 1})
    assert (await scene.ended(run)).status == "failed"
    await scene.client.retry_run(run.run_id, set_vars={"/amount": 7}, remove_vars=["/wrong"], from_node=True)
    done = await scene.ended(run)
    assert (done.output, done.vars, done.visits) == ({"paid": 7}, {"amount": 7}, {"pay": 1})


async def test_a_repeat_of_a_retry_changes_nothing(scene: Scene) -> None:
    await scene.register(asking(next=""))
    run = await scene.start("asking", deadline=datetime(2020, 1, 1, tzinfo=UTC))
    later = datetime.now(UTC) + timedelta(hours=1)
    first = await scene.client.retry_run(run.run_id, request_id="once", deadline=later)
    assert await scene.client.retry_run(run.run_id, request_id="once", deadline=later) == first
    with pytest.raises(AlreadyExists) as reused:
        await scene.client.retry_run(run.run_id, request_id="once", deadline=later, pause=True)
    assert reused.value.reason == "REQUEST_ID_REUSED"
    assert (await run.state()).deadline == later
    (listed,) = await scene.client.list_runs().all()
    assert listed.deadline == later


@pytest.mark.parametrize("end", ["waiting", "completed", "cancelled"])
async def test_only_failed_runs_are_retried(scene: Scene, end: str) -> None:
    await scene.register(asking(next=""))
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    if end == "completed":
        await run.resume("y", wait_id=wait.wait_id)
    elif end == "cancelled":
        await run.cancel()
    with pytest.raises(FailedPrecondition) as refused:
        await run.retry()
    assert (refused.value.reason, refused.value.metadata["status"]) == ("RUN_NOT_FAILED", end.upper())


async def test_a_passed_deadline_is_named(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking", deadline=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(FailedPrecondition) as refused:
        await run.retry()
    assert refused.value.reason == "DEADLINE_PASSED"
    assert [problem.field for problem in refused.value.fields] == ["deadline"]


@pytest.mark.promise("P6")
async def test_a_parent_hears_of_a_retried_child_only_if_it_still_waits_for_it(scene: Scene) -> None:
    echo = Echo(failures=1)
    parent = Workflow("parent")
    parent.effect_node("sub", "start_subworkflow", {"workflow_id": "calling"}, result_key="sub", next="done")
    parent.complete_node("done", {"sub": "${vars.sub}"})
    await scene.register(calling(), parent)
    await scene.work(llm_call=echo)
    run = await scene.start("parent")
    failed = await scene.ended(run)
    assert failed.error is not None
    assert failed.error.type == "CHILD_FAILED"
    (child,) = await scene.client.list_runs(RunFilter(parent_run_id=run.run_id)).all()
    await scene.client.retry_run(child.run_id)
    assert (await scene.client.wait_run(child.run_id, until="ended", timeout=30)).status == "completed"
    assert await run.state() == failed, "it has taken the failure"
    await run.retry()
    assert (await scene.ended(run)).status == "completed"
    assert len(await scene.client.list_runs(RunFilter(parent_run_id=run.run_id)).all()) == 2


async def test_an_effect_in_doubt_is_parked(scene: Scene) -> None:
    workflow = Workflow("charging")
    workflow.effect_node("charge", "charge", {}, risk="irreversible", result_key="charge", next="done")
    workflow.complete_node("done", {"charge": "${vars.charge}"})
    calls = 0

    async def charge(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        nonlocal calls
        calls += 1
        raise ConnectionError("who knows")

    await scene.register(workflow)
    await scene.work(charge=charge)
    run = await scene.start(workflow)
    assert (await scene.ended(run)).status == "failed"
    with pytest.raises(FailedPrecondition) as refused:
        await run.retry(from_node=True)
    assert refused.value.reason == "EFFECT_IN_DOUBT"
    reply = await run.retry()
    assert reply.activity == "parked"
    state = await run.state()
    assert state.step is not None
    assert state.step.park_reason == "IN_DOUBT"
    assert calls == 1


async def _failed_runs(scene: Scene, count: int) -> list[str]:
    await scene.register(calling())
    await scene.work(llm_call=Echo(failures=count))
    runs = [await scene.start("calling", labels={"n": str(number % 2)}) for number in range(count)]
    for run in runs:
        assert (await scene.ended(run)).status == "failed"
    return [run.run_id for run in runs]


async def test_many_are_retried_page_by_page(scene: Scene) -> None:
    run_ids = await _failed_runs(scene, 7)
    await scene.register(asking())
    await scene.start("asking")
    told = [outcome async for outcome in scene.client.retry_runs(rate=3, dry_run=True)]
    assert {outcome.run_id for outcome in told} == set(run_ids)
    assert all(outcome.retried and outcome.status == "failed" for outcome in told)
    assert len(await scene.client.list_runs(RunFilter(statuses=["failed"])).all()) == 7
    half = RunFilter(labels={"n": "0"})
    done = [outcome async for outcome in scene.client.retry_runs(half, rate=1_000, retried_by="ann")]
    assert {outcome.run_id for outcome in done} == set(run_ids[::2])
    assert all(outcome.retried and outcome.reason == "" for outcome in done)
    for run_id in run_ids[::2]:
        assert (await scene.client.wait_run(run_id, until="ended", timeout=30)).status == "completed"
    assert len(await scene.client.list_runs(RunFilter(statuses=["failed"])).all()) == 3


async def test_pages_go_on_after_the_last_run_looked_at(scene: Scene) -> None:
    run_ids = await _failed_runs(scene, 3)
    first = await scene.client.retry_runs_page(page_size=2)
    assert [outcome.run_id for outcome in first.items] == run_ids[:0:-1]
    second = await scene.client.retry_runs_page(page_size=2, page_token=first.next_page_token)
    assert ([outcome.run_id for outcome in second.items], second.next_page_token) == (run_ids[:1], "")
    other = RunFilter(workflow_id="calling")
    with pytest.raises(InvalidArgument) as refused:
        await scene.client.retry_runs_page(other, page_size=2, page_token=first.next_page_token)
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.promise("P5")
async def test_a_repeat_of_a_page_retries_no_run_twice(scene: Scene) -> None:
    await scene.register(calling())
    await scene.work(llm_call=Echo(failures=2))
    run = await scene.start("calling")
    await scene.ended(run)
    first = await scene.client.retry_runs_page(request_id="page")
    assert (await scene.ended(run)).reopened == 1
    again = await scene.client.retry_runs_page(request_id="page")
    assert again == first
    assert (await run.state()).reopened == 1, "it failed again, and stays so"


async def test_one_that_is_refused_does_not_stop_the_others(scene: Scene) -> None:
    (good,) = await _failed_runs(scene, 1)
    await scene.register(asking())
    bad = await scene.start("asking", deadline=datetime(2020, 1, 1, tzinfo=UTC))
    outcomes = {outcome.run_id: outcome for outcome in (await scene.client.retry_runs_page()).items}
    assert outcomes[good].retried
    refused = outcomes[bad.run_id]
    assert (refused.retried, refused.reason, refused.status) == (False, "DEADLINE_PASSED", "failed")
    assert "deadline" in refused.message


async def test_a_filter_names_failed_runs(scene: Scene) -> None:
    for wanted, field in (
        (pb.RunFilter(statuses=[common_pb2.RUN_STATUS_RUNNING]), "filter.statuses[0]"),
        (pb.RunFilter(activities=[common_pb2.RUN_ACTIVITY_QUEUED]), "filter.activities"),
    ):
        request = pb.RetryRunsRequest(namespace=scene.namespace, filter=wanted)
        with pytest.raises(InvalidArgument) as refused:
            await scene.client.connection.unary(scene.runs.RetryRuns, request)
        assert [problem.field for problem in refused.value.fields] == [field]


@pytest.mark.promise("P8")
async def test_a_subscription_goes_past_a_failure_that_was_retried(scene: Scene) -> None:
    await scene.register(calling())
    await scene.work(llm_call=Echo(failures=1))
    run = await scene.start("calling")
    await scene.ended(run)
    await run.retry()
    done = await scene.ended(run)
    async with run.follow() as subscription:
        seqs = [entry.seq async for entry in subscription]
    assert seqs == list(range(1, done.seq + 1))
    async with run.follow(after_seq=done.seq - 2) as subscription:
        assert [entry.seq async for entry in subscription] == [done.seq - 1, done.seq]


@pytest.mark.promise("P3")
async def test_a_run_that_failed_under_an_older_release_is_folded_anew_and_retried(lives: Lives) -> None:
    """Keyframes of 0.1 do not know at which step a run failed. Its ledger does, and it alone is believed then."""
    scene = await lives.begin()
    await scene.register(calling())
    await scene.work(llm_call=Echo(failures=1))
    run = await scene.start("calling", {"kept": True})
    failed = await scene.ended(run)
    await lives.kill()
    old = RunState("default", run.run_id, run.run_id, "calling", failed.workflow_version, "call")
    old.seq, old.status = failed.seq, RunStatus.FAILED
    with sqlite3.connect(lives.store) as store:
        (run_no,) = store.execute("SELECT run_no FROM runs WHERE run_id = ?", (run.run_id,)).fetchone()
        store.execute("INSERT OR REPLACE INTO keyframes VALUES (?, ?, ?)", (run_no, old.seq, encode_state(old)))
    store.close()
    scene = await lives.begin()
    echo = Echo()
    await scene.work(llm_call=echo)
    run = scene.client.run(run.run_id)
    again = await scene.client.get_run(run.run_id)
    assert (again.vars, again.failed_step) == (failed.vars, failed.failed_step)
    await run.retry()
    assert (await scene.ended(run)).status == "completed"
    assert echo.contexts[0].attempt == 2
