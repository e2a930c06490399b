"""Reports: each is merged once, whoever sends it how often, and answered by what became of it (P5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.dispatch.messages import AckStatus, Begin, Refusal, Release, TaskToken
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand, ResolveStepCommand
from perdure_server.engine.errors import StoreUnavailableError
from perdure_server.engine.resolve_step import resolve_step
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import (
    Activity,
    EffectResult,
    Failure,
    RunStatus,
    StepFailure,
    StepPlan,
    WaitReason,
    WaitRequest,
)
from perdure_server.kernel.records import LateResult, Resolution
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import Rig, chain, irreversible, nodes, one_effect, open_rig
from tests.dispatch.stream_worker import StreamWorker, node_profile, outcome, plan, profile, report, result

pytestmark = pytest.mark.promise("P5")


async def leased(rig: Rig, worker: StreamWorker) -> TaskToken:
    """The token of a new run's only task."""
    await rig.start("one", "r1")
    return (await worker.task()).token


async def test_a_repeated_report_is_a_duplicate() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await worker.report(result(token, 1), result(token, 1))
        assert [(await worker.ack()).status, (await worker.ack()).status] == [
            AckStatus.ACCEPTED,
            AckStatus.DUPLICATE,
        ]
        assert (await rig.kinds("r1")).count("completed") == 1


@pytest.mark.parametrize(
    "how",
    [
        EffectResult(Leaf.of("x")),
        WaitRequest(WaitReason.JOB),
        StepFailure(Failure("E", retryable=False)),
        StepFailure(Failure("E", retryable=True), retry_after_us=1),
    ],
    ids=["result", "wait", "failure", "retried-failure"],
)
async def test_a_report_repeated_to_another_process_is_a_duplicate(
    how: EffectResult | WaitRequest | StepFailure,
) -> None:
    spec = one_effect()
    spec.nodes["only"].retry.max_attempts = 2
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await worker.report(outcome(token, how))
        assert (await worker.ack()).status is AckStatus.ACCEPTED
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        worker = await rig.connect(profile("w2"))
        before = await rig.kinds("r1")
        await worker.report(outcome(token, how))
        assert (await worker.ack()).status is AckStatus.DUPLICATE
        assert await rig.kinds("r1") == before


async def test_a_repeated_release_is_a_duplicate() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await worker.report(report(token, Release(SECOND_US)))
        assert (await worker.ack()).status is AckStatus.ACCEPTED
        assert (await rig.run("r1")).activity is Activity.BACKOFF
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        worker = await rig.connect(profile("w2"))
        await worker.report(report(token, Release(SECOND_US)))
        assert (await worker.ack()).status is AckStatus.DUPLICATE


async def test_a_report_after_its_lease_was_lost_is_stale_and_changes_nothing() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        slow = await rig.connect(profile("slow"), credit=1)
        token = await leased(rig, slow)
        quick = await rig.connect(profile("quick"), credit=1)
        await rig.advance(31)
        task = await quick.task()
        assert task.token.attempt == 2
        await slow.report(result(token, "late"))
        ack = await slow.ack()
        assert (ack.status, ack.reason) == (AckStatus.STALE, "STALE_ATTEMPT")
        assert (await quick.finish(task, "in time")).status is AckStatus.ACCEPTED
        await slow.report(result(token, "late"))
        ack = await slow.ack()
        assert (ack.status, ack.reason) == (AckStatus.STALE, "RUN_ENDED")
        assert (await rig.run("r1")).vars == {"result": "in time"}


async def test_a_report_after_a_timeout_is_stale_not_a_duplicate() -> None:
    spec = one_effect()
    spec.nodes["only"].timeouts.start_to_close.seconds = 5
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await rig.advance(6)
        assert (await rig.run("r1")).status is RunStatus.FAILED
        await worker.report(result(token))
        ack = await worker.ack()
        assert (ack.status, ack.reason) == (AckStatus.STALE, "RUN_ENDED")


async def test_a_report_after_somebody_else_resolved_the_step_is_stale() -> None:
    async with open_rig(replace(DEFAULT_LIMITS, max_lapses=1)) as rig:
        await rig.register(one_effect())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await rig.advance(31)
        run = await rig.run("r1")
        assert run.activity is Activity.PARKED
        key = RunKey("default", "r1")
        await resolve_step(
            rig.engine,
            ResolveStepCommand(key, token.step_id, Resolution.COMPLETED, result=Leaf.of("by hand")),
        )
        await worker.report(result(token, "by worker"))
        assert (await worker.ack()).status is AckStatus.STALE
        assert (await rig.run("r1")).vars == {"result": "by hand"}


async def test_the_report_of_a_cancelled_attempt_is_stale_and_kept_once() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "r1"), "enough"))
        for _ in range(2):
            await worker.report(result(token, "late"))
            ack = await worker.ack()
            assert (ack.status, ack.reason) == (AckStatus.STALE, "RUN_ENDED")
        kept = [record.body for record in await rig.ledger("r1") if isinstance(record.body, LateResult)]
        assert kept == [LateResult(b"as sent")]


async def test_a_failure_is_the_nodes_or_the_effects() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        await rig.register(nodes("flow", "a"))
        worker = await rig.connect(profile(), credit=1)
        runner = await rig.connect(node_profile("w2", "flow"), credit=1)
        token = await leased(rig, worker)
        await rig.start("flow", "r2")
        failure = StepFailure(Failure("BROKEN", "no"))
        await worker.report(report(token, failure))
        await runner.report(report((await runner.task()).token, failure))
        assert (await worker.ack()).status is AckStatus.ACCEPTED
        assert (await runner.ack()).status is AckStatus.ACCEPTED
        for run_id in ("r1", "r2"):
            error = (await rig.run(run_id)).error
            assert error is not None
            assert error.type == "BROKEN"


async def test_a_refused_report_leaves_the_lease() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        await worker.report(
            plan(token, StepPlan(next_node="only")),
            report(token, Refusal("INVALID_JSON", "effect.result_json: not JSON")),
        )
        refused = [await worker.ack(), await worker.ack()]
        assert {(ack.status, ack.reason) for ack in refused} == {
            (AckStatus.REFUSED, "BAD_REPORT"),
            (AckStatus.REFUSED, "INVALID_JSON"),
        }
        await worker.report(result(token))
        assert (await worker.ack()).status is AckStatus.ACCEPTED


async def test_foreign_tokens_are_answered() -> None:
    async with open_rig() as rig:
        worker = await rig.connect(profile())
        elsewhere = TaskToken("other", "r1", 2, 1)
        unknown = rig.token("nobody", 2, 1)
        await worker.report(report(b"nonsense", Release()), result(elsewhere), result(unknown))
        acks = {(ack.token, ack.status, ack.reason) for ack in [await worker.ack() for _ in range(3)]}
        assert acks == {
            (b"nonsense", AckStatus.REFUSED, "INVALID_TASK_TOKEN"),
            (elsewhere, AckStatus.REFUSED, "INVALID_TASK_TOKEN"),
            (unknown, AckStatus.STALE, "RUN_NOT_FOUND"),
        }


@pytest.mark.parametrize("epoch", [b"restored", b""])
async def test_what_was_given_out_in_another_epoch_is_stale(epoch: bytes) -> None:
    async with open_rig() as rig:
        await rig.register(irreversible())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        earlier = replace(token, epoch=epoch)
        for _ in range(2):  # also while the attempt has begun
            begins, reports = await rig.dispatcher.report("default", "w1", [Begin(earlier)], [result(earlier)])
            assert {(ack.status, ack.reason) for ack in begins + reports} == {(AckStatus.STALE, "STALE_ATTEMPT")}
            assert "before the store was restored" in begins[0].message
            await rig.dispatcher.report("default", "w1", [Begin(token)], [])
        assert (await rig.kinds("r1"))[-2:] == ["step_started", "step_begun"]
        await worker.report(result(token))
        assert (await worker.ack()).status is AckStatus.ACCEPTED


async def test_an_irreversible_effect_is_begun_before_its_report() -> None:
    async with open_rig() as rig:
        await rig.register(irreversible())
        worker = await rig.connect(profile(), credit=1)
        await rig.start("one", "r1")
        task = await worker.task()
        assert (await worker.finish(task)).reason == "BAD_REPORT"
        await worker.begin(task)
        assert (await worker.begin_ack()).status is AckStatus.ACCEPTED
        await worker.begin(task)
        assert (await worker.begin_ack()).status is AckStatus.DUPLICATE
        assert (await worker.finish(task)).status is AckStatus.ACCEPTED
        await worker.begin(task)
        ack = await worker.begin_ack()
        assert (ack.status, ack.reason) == (AckStatus.STALE, "RUN_ENDED")
        assert (await rig.kinds("r1")).count("step_begun") == 1


async def test_the_unary_way_answers_in_order() -> None:
    async with open_rig() as rig:
        await rig.register(irreversible())
        worker = await rig.connect(profile(), credit=1)
        token = await leased(rig, worker)
        begin_acks, acks = await rig.dispatcher.report(
            "default", "w1", [Begin(token), Begin(b"?")], [result(token, 1), report(b"?", Release())]
        )
        assert [ack.status for ack in begin_acks] == [AckStatus.ACCEPTED, AckStatus.REFUSED]
        assert [ack.status for ack in acks] == [AckStatus.ACCEPTED, AckStatus.REFUSED]
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


async def test_a_report_that_the_store_does_not_take_is_left_undecided() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        task = await worker.task()
        rig.store.close()
        with pytest.raises(StoreUnavailableError):
            await rig.dispatcher.report("default", "w1", [], [result(task.token), result(task.token)])
        await worker.report(result(task.token))
        with pytest.raises(StoreUnavailableError):
            await worker.ack()
