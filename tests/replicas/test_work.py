"""Tasks, leases and reports over several replicas (P5, P7)."""

from __future__ import annotations

import pytest

from perdure_server.dispatch.messages import AckStatus, LeaseState
from perdure_server.dispatch.workers import Worker
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import Activity, RunStatus
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import chain, one_effect
from tests.dispatch.stream_worker import StreamWorker, profile, result
from tests.replicas.rig import NAMESPACE, Replica, Replicas, open_replicas

pytestmark = pytest.mark.promise("P5")

KEY = RunKey(NAMESPACE, "r1")
ONE_EFFECT = ["run_started", "step_completed", "step_started", "step_completed", "completed"]


async def completed(replicas: Replicas, run_id: str = "r1") -> bool:
    """Whether the run has completed, as every replica knows it."""
    runs = [await replica.run(run_id) for replica in replicas.all if not replica.engine.closing]
    return all(run.status is RunStatus.COMPLETED for run in runs)


def known(replica: Replica, worker_id: str) -> Worker:
    """What the replica knows of a worker."""
    worker = replica.runtime.registry.worker(NAMESPACE, worker_id)
    assert worker is not None
    return worker


async def test_a_task_born_at_one_replica_goes_to_the_worker_of_another() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await b.connect(profile("w1"), credit=1)
        await a.start("one", "r1")
        await replicas.until(lambda: _leased(replicas))
        task = await worker.task()
        assert (await worker.finish(task)).status is AckStatus.ACCEPTED
        await replicas.until(lambda: completed(replicas))
        seat = known(b, "w1").seats[0]
        assert (seat.sent, seat.reserved) == (1, 0)
        assert replicas.kinds("r1") == ONE_EFFECT


async def _leased(replicas: Replicas) -> bool:
    return (await replicas.all[1].run("r1")).activity is Activity.LEASED


async def test_a_hint_is_enough_and_so_is_the_poll() -> None:
    for hints in (True, False):
        async with open_replicas() as replicas:
            a, b = replicas.all
            replicas.data.hints = hints
            await replicas.register(one_effect())
            await b.connect(profile("w1"), credit=1)
            await replicas.pump()
            await a.start("one", "r1")
            replicas.clock.advance(40_000 if hints else 260_000)
            for _ in range(3):
                await b.pass_on()
                replicas.clock.advance(40_000)
            assert b.engine.counters["claims"] == 1


async def test_many_tasks_and_two_replicas_with_workers_are_shared_out_once_each() -> None:
    async with open_replicas(3) as replicas:
        a, b, c = replicas.all
        await replicas.register(one_effect())
        for number in range(200):
            await a.start("one", f"r{number}")
        workers = [await replica.connect(profile(name), credit=20) for replica, name in ((b, "wb"), (c, "wc"))]

        async def work() -> bool:
            for worker in workers:
                await _has_task(worker)
                tasks, worker.tasks = worker.tasks, []
                for task in tasks:
                    await worker.finish(task)
                await worker.grant(len(tasks))
            return len([k for n in range(200) for k in replicas.kinds(f"r{n}") if k == "completed"]) == 200

        await replicas.until(work)
        for number in range(200):
            assert replicas.kinds(f"r{number}") == ONE_EFFECT
        assert b.engine.counters["claims"] >= 20
        assert c.engine.counters["claims"] >= 20
        lost = b.engine.counters["claims_lost"] + c.engine.counters["claims_lost"]
        assert lost <= 100, "what another one took is mostly not tried"


async def _has_task(worker: StreamWorker) -> bool:
    message = await worker.hear_now()
    if message is not None:
        worker.tasks += message.tasks
        worker.acks += message.acks
    return bool(worker.tasks)


async def test_a_cancel_at_one_replica_reaches_the_worker_at_another() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await b.connect(profile("w1"), credit=1)
        await b.start("one", "r1")
        task = await worker.task()
        await cancel_run(a.engine, CancelRunCommand(KEY))
        await replicas.pump(2)
        update = await worker.update()
        assert (update.token, update.state) == (task.token, LeaseState.CANCELLED)
        assert "r1" not in known(b, "w1").held


async def test_a_cancel_reaches_the_worker_although_its_run_has_left_memory() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await b.connect(profile("w1"), credit=1)
        await b.start("one", "r1")
        task = await worker.task()
        b.engine.outdate_all()
        assert not b.engine.knows(KEY)
        await cancel_run(a.engine, CancelRunCommand(KEY))
        await replicas.pump(2)
        assert (await worker.update()).token == task.token


async def test_a_report_at_a_replica_that_holds_an_old_state_is_decided_by_the_new_one() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(chain(steps=3))
        worker = await a.connect(profile("w1"), credit=3)
        await a.start("chain", "r1")
        first = await worker.task()
        await b.run("r1")
        await worker.finish(first)
        second = await worker.task()
        replicas.data.hints = False
        acks, reports = await b.runtime.dispatcher.report(NAMESPACE, "w1", (), [result(second.token)])
        assert [ack.status for ack in reports] == [AckStatus.ACCEPTED]
        acks, reports = await a.runtime.dispatcher.report(NAMESPACE, "w1", (), [result(second.token)])
        assert [ack.status for ack in reports] == [AckStatus.DUPLICATE]
        acks, reports = await b.runtime.dispatcher.report(NAMESPACE, "w1", (), [result(first.token)])
        assert [ack.status for ack in reports] == [AckStatus.DUPLICATE]
        assert acks == []
        assert replicas.kinds("r1").count("step_completed") == 5, "three plans, two results"


async def test_a_report_is_known_as_committed_although_the_horizon_lags() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(chain())
        worker = await a.connect(profile("w1"), credit=1)
        await a.start("chain", "r1")
        task = await worker.task()
        replicas.data.hold_horizon()
        await worker.finish(task)
        _, reports = await b.runtime.dispatcher.report(NAMESPACE, "w1", (), [result(task.token)])
        assert [ack.status for ack in reports] == [AckStatus.DUPLICATE]


async def test_a_worker_that_goes_to_another_replica_keeps_what_it_names_and_gives_back_the_rest() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await a.connect(profile("w1"), credit=2)
        await a.start("one", "r1")
        await a.start("one", "r2")
        kept, lost = await worker.task(), await worker.task()
        replicas.data.hints = False
        await worker.leave()
        again = await b.connect(profile("w1"), epoch=2, held=[kept.token], credit=1)
        assert again.welcome is not None
        assert [(update.token, update.state) for update in again.welcome.held] == [(kept.token, LeaseState.HELD)]
        await replicas.until(lambda: _has_task(again))
        task = await again.task()
        assert (task.token.run_id, task.token.attempt) == (lost.token.run_id, lost.token.attempt + 1)
        for one in (kept, task):
            assert (await again.finish(one)).status is AckStatus.ACCEPTED


async def test_the_lease_of_a_worker_whose_replica_died_lapses_at_another_one() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        dead = await a.connect(profile("w1"), credit=1)
        await a.start("one", "r1")
        await dead.task()
        a.store.failing = "this process is dead"
        worker = await b.connect(profile("w2"), credit=1)
        replicas.clock.advance(DEFAULT_LIMITS.lease_us)
        await replicas.until(lambda: _has_task(worker))
        task = await worker.task()
        assert task.token.attempt == 2
        assert (await worker.finish(task)).status is AckStatus.ACCEPTED
        a.store.failing = ""


async def test_a_lease_that_another_replica_renews_does_not_lapse() -> None:
    async with open_replicas() as replicas:
        a, _ = replicas.all
        await replicas.register(one_effect())
        worker = await a.connect(profile("w1"), credit=1)
        await a.start("one", "r1")
        task = await worker.task()
        for _ in range(10):
            replicas.clock.advance(8 * SECOND_US)
            await worker.heartbeat(task.token)
            await replicas.pump()
        assert "requeued" not in replicas.kinds("r1")
        assert (await worker.finish(task)).status is AckStatus.ACCEPTED
