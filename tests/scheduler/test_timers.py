"""Timers, lapsed leases, heartbeats: what happens when an instant comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.clock import VirtualClock
from perdure_server.kernel.instants import format_instant
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import Activity, Failure, ParkReason, RunState, RunStatus, StepFailure
from perdure_server.kernel.records import Record, RecordKind, RequeueCause, Requeued
from perdure_server.storage.port import RunKey, StoredPayload
from tests.dispatch.rig import Rig, chain, one_effect, open_rig
from tests.dispatch.stream_worker import outcome, profile

DAY = 86_400


def until_text(clock: VirtualClock, seconds: float) -> str:
    """An instant so many seconds from now, as text."""
    return format_instant(clock.now() + round(seconds * SECOND_US))


async def sleepers(rig: Rig) -> None:
    """Registers the workflow that `sleeping` starts."""
    await rig.register(one_effect('{"type":"wait_until","payload":{"until":"${vars.until}"}}', "sleep"))


async def sleeping(rig: Rig, run_id: str, seconds: float) -> None:
    """A run that sleeps so long."""
    await rig.start("sleep", run_id, {"until": until_text(rig.clock, seconds)})
    assert (await rig.run(run_id)).activity is Activity.WAITING


async def test_a_timer_fires_when_its_instant_comes_and_not_before() -> None:
    async with open_rig() as rig:
        await sleepers(rig)
        await sleeping(rig, "r1", 3 * DAY)
        await rig.advance(3 * DAY - 0.001)
        assert (await rig.run("r1")).status is RunStatus.WAITING
        await rig.advance(0.001)
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


async def test_an_earlier_timer_wakes_the_loop_that_sleeps_for_a_later_one() -> None:
    async with open_rig() as rig:
        await sleepers(rig)
        await sleeping(rig, "late", 4)
        await rig.settle()
        await sleeping(rig, "early", 1)
        rig.clock.advance(SECOND_US)
        with rig.engine.watchers.watch(RunKey("default", "early")) as signal:
            await signal.wait()  # nobody asks the loop to look
        assert (await rig.run("early")).status is RunStatus.COMPLETED
        assert (await rig.run("late")).status is RunStatus.WAITING


async def test_thousands_of_timers_of_one_instant_all_fire() -> None:
    async with open_rig() as rig:
        await sleepers(rig)
        await asyncio.gather(*(sleeping(rig, f"r{number}", 1 + number / 1e6) for number in range(1_200)))
        await rig.advance(2)
        ended = [(await rig.run(f"r{number}")).status for number in range(1_200)]
        assert set(ended) == {RunStatus.COMPLETED}


@pytest.mark.promise("P6")
async def test_a_timer_outlives_the_process() -> None:
    async with open_rig() as rig:
        await sleepers(rig)
        await sleeping(rig, "r1", DAY)
    rig.clock.advance(2 * DAY * SECOND_US)
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        await rig.settle()
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


@pytest.mark.promise("P6")
async def test_a_timer_whose_signal_was_lost_fires_late_but_fires() -> None:
    async with open_rig() as rig:
        await sleepers(rig)
        rig.fan_out.muted = True
        await sleeping(rig, "r1", 1)
        rig.fan_out.muted = False
        rig.clock.advance(5 * SECOND_US)
        with rig.engine.watchers.watch(RunKey("default", "r1")) as signal:
            await signal.wait()
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


class PoisonedCodec(EngineCodec):
    """Cannot write the end of a wait of runs whose name begins with "bad"."""

    def encode_record(
        self, run: RunState, record: Record, new_salts: Callable[[int], list[bytes]]
    ) -> tuple[bytes, tuple[StoredPayload, ...]]:
        """See `Codec`."""
        if run.run_id.startswith("bad") and record.kind is RecordKind.RESUMED:
            raise ValueError("poison")
        return super().encode_record(run, record, new_salts)


async def test_a_thousand_poisoned_runs_are_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    """D15: runs that fail again and again starve a good one no longer."""
    async with open_rig(codec=PoisonedCodec()) as rig:
        await sleepers(rig)
        await asyncio.gather(*(sleeping(rig, f"bad{number}", 1) for number in range(1_100)))
        await sleeping(rig, "good", 2)
        await rig.advance(3)
        assert (await rig.run("good")).status is RunStatus.COMPLETED
        assert rig.scheduler.due.chores.failures >= 1_100
        assert rig.scheduler.due.loop.failures == 0
        named = {getattr(record, "run_id", "") for record in caplog.records}
        assert len([run_id for run_id in named if run_id.startswith("bad")]) == 1_100


async def test_a_retry_comes_after_its_backoff_and_is_born_leased() -> None:
    spec = one_effect()
    retry = spec.nodes["only"].retry
    retry.max_attempts = 3
    retry.initial_interval.seconds = 10
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(profile(), credit=3)
        await rig.start("one", "r1")
        for attempt, backoff in ((1, 10), (2, 20)):
            task = await worker.task()
            assert task.token.attempt == attempt
            await worker.report(outcome(task.token, StepFailure(Failure("E", retryable=True))))
            await worker.ack()
            assert (await rig.run("r1")).activity is Activity.BACKOFF
            await rig.advance(backoff - 1)
            assert (await rig.run("r1")).activity is Activity.BACKOFF
            await rig.advance(1)
        assert (await worker.task()).token.attempt == 3
        assert rig.engine.counters["claims"] == 0


async def test_a_lease_lapses_and_after_five_the_task_is_poison() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        workers = [await rig.connect(profile(f"w{number}"), credit=9) for number in range(2)]
        await rig.start("chain", "r1")
        for attempt in range(1, DEFAULT_LIMITS.max_lapses + 1):
            step = (await rig.run("r1")).step
            assert step is not None
            assert step.attempt == attempt
            await rig.advance(29)
            assert (await rig.run("r1")).activity is Activity.LEASED
            await rig.advance(1)
        run = await rig.run("r1")
        assert run.activity is Activity.PARKED
        assert run.step is not None
        assert run.step.park_reason is ParkReason.POISON
        requeued = [record.body for record in await rig.ledger("r1") if isinstance(record.body, Requeued)]
        assert [body.cause for body in requeued] == [RequeueCause.LAPSED] * 4
        assert {worker.session.profile.worker_id for worker in workers} == {"w0", "w1"}


async def test_leases_are_held_for_one_ttl_when_the_clock_jumps() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        token = (await worker.task()).token
        await rig.advance(DAY)  # nobody could renew anything meanwhile
        assert (await rig.run("r1")).activity is Activity.LEASED
        await worker.heartbeat(token)
        await worker.update()
        await rig.advance(29)
        assert (await rig.run("r1")).activity is Activity.LEASED
        await rig.advance(2)
        assert (await rig.run("r1")).activity is Activity.QUEUED


async def test_a_lease_nobody_renews_after_a_jump_lapses_when_the_hold_ends() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        await rig.advance(DAY)
        rig.clock.advance(30 * SECOND_US)
        with rig.engine.watchers.watch(RunKey("default", "r1")) as signal:
            await signal.wait()
        assert (await rig.run("r1")).activity is Activity.QUEUED


async def test_a_task_that_nobody_takes_times_out() -> None:
    spec = one_effect()
    spec.nodes["only"].timeouts.schedule_to_start.seconds = 10
    async with open_rig() as rig:
        await rig.register(spec)
        await rig.start("one", "r1")
        await rig.advance(11)
        assert (await rig.run("r1")).status is RunStatus.FAILED


async def test_a_short_heartbeat_timeout_is_noticed_in_time() -> None:
    spec = one_effect()
    spec.nodes["only"].timeouts.heartbeat.nanos = 200_000_000
    async with open_rig() as rig:
        await rig.register(spec)
        await rig.connect(profile(), credit=1)
        await rig.settle()
        await rig.start("one", "r1")
        rig.clock.advance(200_000)
        with rig.engine.watchers.watch(RunKey("default", "r1")) as signal:
            await signal.wait()
        assert (await rig.run("r1")).status is RunStatus.FAILED
