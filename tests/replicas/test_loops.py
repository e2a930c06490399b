"""Timers, leases, mail, the sweeper and audits, found by several replicas at once (P7)."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from perdure.v1 import model_pb2
from perdure_server.engine.audit_runs import audit_run
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import RunStatus
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import one_effect
from tests.dispatch.stream_worker import profile
from tests.replicas.rig import NAMESPACE, Replica, Replicas, ignored, open_replicas, set_by
from tests.replicas.test_events import ended

pytestmark = pytest.mark.promise("P7")

KEY = RunKey(NAMESPACE, "r1")
HOUR_US = 3_600 * SECOND_US


def sleeper(seconds: int = 1) -> model_pb2.WorkflowSpec:
    """Sleeps, then ends."""
    return one_effect(f'{{"type":"wait_until","payload":{{"delay_seconds":{seconds}}}}}', "sleep")


def parent() -> model_pb2.WorkflowSpec:
    """Waits for a child that sleeps."""
    payload = '{"workflow_id":"sleep","wait":true}'
    return one_effect(f'{{"type":"start_subworkflow","payload":{payload}}}', "parent")


async def all_ended(replicas: Replicas, count: int) -> bool:
    """Whether these runs have ended."""
    return all([await ended(replicas.all[-1], f"r{number}") for number in range(count)])


async def test_timers_that_all_replicas_see_are_mostly_taken_by_the_one_that_set_them() -> None:
    async with open_replicas(3) as replicas:
        await replicas.register(sleeper())
        for number in range(90):
            await replicas.all[number % 3].start("sleep", f"r{number}")
        await replicas.pump()
        replicas.clock.advance(SECOND_US)
        await replicas.until(lambda: all_ended(replicas, 90))
        conflicts = sum(replica.engine.counters["conflicts"] for replica in replicas.all)
        assert conflicts <= 5
        loads = sum(replica.store.calls.count("load_run") for replica in replicas.all)
        assert loads <= 90 * 2 + 20, "the states of ended runs, and little else"


async def test_timers_of_a_replica_that_died_are_taken_by_one_of_the_others() -> None:
    async with open_replicas(3) as replicas:
        a, b, c = replicas.all
        await replicas.register(sleeper())
        for number in range(60):
            await a.start("sleep", f"r{number}")
        await replicas.pump()
        a.store.failing = "this process is dead"
        replicas.clock.advance(SECOND_US)
        await replicas.until(lambda: all_ended(replicas, 60), passes=15)
        for number in range(60):
            assert replicas.kinds(f"r{number}").count("completed") == 1
        conflicts = sum(replica.engine.counters["conflicts"] for replica in (b, c))
        assert conflicts <= 30
        a.store.failing = ""


async def test_a_child_that_ends_at_another_replica_wakes_its_parent() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(sleeper())
        await replicas.register(parent())
        await a.engine.catalog.find(NAMESPACE, "sleep", "")
        await a.start("parent", "r1")
        await replicas.pump(2)
        (child,) = (await a.run("r1")).children
        await b.run("r1")
        await b.run(child)
        a.store.failing = "this process is dead"
        replicas.clock.advance(SECOND_US)
        await replicas.until(lambda: ended(b))
        assert (await b.run("r1")).status is RunStatus.COMPLETED
        a.store.failing = ""


async def test_mail_about_an_end_of_which_this_replica_has_not_heard_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(sleeper())
        await replicas.register(parent())
        await a.start("parent", "r1")
        (child,) = (await a.run("r1")).children
        await b.run("r1")
        assert not (await b.run(child)).ended
        monkeypatch.setattr(a.runtime.scheduler.due, "mail_sent", ignored)
        monkeypatch.setattr(b.engine, "outdate", ignored)
        await cancel_run(a.engine, CancelRunCommand(RunKey(NAMESPACE, child)))
        a.store.failing = "this process is dead"
        await replicas.until(lambda: ended(b))
        a.store.failing = ""


async def test_leases_are_in_the_clock_of_the_store() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        a.store.offset, b.store.offset = HOUR_US, -5 * HOUR_US
        await replicas.register(one_effect())
        worker = await a.connect(profile(), credit=1)
        await a.start("one", "r1")
        await worker.task()
        assert replicas.task("r1").lease_expires_at == a.clock.monotonic() + HOUR_US + DEFAULT_LIMITS.lease_us


async def test_no_replica_gives_leases_a_fresh_ttl_as_it_starts() -> None:
    async with open_replicas() as replicas:
        a, _ = replicas.all
        await replicas.register(one_effect())
        worker = await a.connect(profile(), credit=1)
        await a.start("one", "r1")
        await worker.task()
        before = replicas.rows("r1")
        replicas.clock.advance(SECOND_US)
        late = Replica(replicas.data.view(), replicas.clock, DEFAULT_LIMITS)
        await late.runtime.start()
        try:
            assert replicas.rows("r1") == before
            assert "reset_leases" not in late.store.calls
        finally:
            await late.runtime.stop()


@pytest.mark.parametrize("jump_us", [HOUR_US, -HOUR_US], ids=["forward", "back"])
async def test_a_jump_of_the_stores_clock_takes_no_lease_from_a_worker_that_renews(jump_us: int) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await a.connect(profile(), credit=1)
        await a.start("one", "r1")
        task = await worker.task()
        await replicas.pump(2)
        b.store.offset = jump_us
        await replicas.pump(2)
        a.store.offset = jump_us
        await replicas.pump(2)
        for _ in range(12):
            replicas.clock.advance(8 * SECOND_US)
            await replicas.pump(2)
            await worker.heartbeat(task.token)
            await replicas.pump(2)
        assert "requeued" not in replicas.kinds("r1")


async def test_a_replica_that_has_not_heard_of_a_jump_takes_no_lease_for_lapsed_that_others_renew() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        b.store.offset = a.store.offset = HOUR_US
        await replicas.pump(2)
        replicas.clock.advance(2 * DEFAULT_LIMITS.lease_us)
        await replicas.pump(2)
        a.store.offset = 0
        await replicas.register(one_effect())
        worker = await a.connect(profile(), credit=1)
        await a.start("one", "r1")
        await worker.task()
        await replicas.pump(20)
        assert "requeued" not in replicas.kinds("r1")
        b.store.offset = 0
        await replicas.pump(20)
        assert "requeued" not in replicas.kinds("r1")


async def test_after_a_jump_back_a_dead_workers_lease_lapses_within_two_ttls() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await a.connect(profile(), credit=1)
        await a.start("one", "r1")
        await worker.task()
        await worker.leave()
        await replicas.pump(2)
        a.store.offset = b.store.offset = -HOUR_US
        await replicas.pump(2)
        replicas.clock.advance(2 * DEFAULT_LIMITS.lease_us)
        await replicas.until(lambda: "requeued" in replicas.kinds("r1"))


async def test_a_sweeper_with_a_stale_view_makes_no_second_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its repair is decided, then another replica leases the task, then the repair is written."""
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        await a.start("one", "r1")
        seq = (await b.run("r1")).seq
        assert replicas.data.store.install(KEY, seq, replace(replicas.rows("r1"), task=None), None)
        install, decided, may_go_on = b.store.data.store.install, threading.Event(), threading.Event()

        def slowly(*args: Any) -> bool:
            decided.set()
            may_go_on.wait(30)
            return install(*args)

        monkeypatch.setattr(b.store, "install", slowly, raising=False)
        sweeping = asyncio.ensure_future(b.runtime.scheduler.sweeper.sweep_run(KEY))
        await set_by(decided)
        worker = await a.connect(profile(), credit=1)
        task = await worker.task()
        may_go_on.set()
        assert not await sweeping
        stored = replicas.task("r1")
        assert (stored.leased, stored.attempt) == (True, task.token.attempt)
        other = await b.connect(profile("w2"), credit=1)
        await replicas.pump(10)
        assert await other.hears_nothing()


async def test_a_lost_row_is_repaired_by_the_sweepers_of_all_replicas_once() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        await a.start("one", "r1")
        seq = (await b.run("r1")).seq
        assert replicas.data.store.install(KEY, seq, replace(replicas.rows("r1"), task=None), None)
        await asyncio.gather(*(replica.runtime.scheduler.sweeper.sweep_run(KEY) for replica in replicas.all))
        assert replicas.task("r1").attempt == 0
        worker = await b.connect(profile(), credit=1)
        await replicas.until(lambda: "step_started" in replicas.kinds("r1"))
        await worker.finish(await worker.task())
        await replicas.until(lambda: ended(a))


async def test_an_audit_behind_a_lagging_horizon_finds_nothing_wrong() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(sleeper())
        replicas.data.hold_horizon()
        await a.start("sleep", "r1")
        assert (await audit_run(b.engine, KEY)).findings == ()
        replicas.data.release_horizon()
