"""Replicas start, drain, die and come back; the store fails now and then (P7)."""

from __future__ import annotations

import asyncio

import pytest

from perdure_server.dispatch.messages import AckStatus, GoodbyeReason, Task
from perdure_server.engine.commands import RequestId, ResumeRunCommand
from perdure_server.engine.errors import DrainingError, StoreUnavailableError
from perdure_server.engine.resume_run import resume_run
from perdure_server.engine.set_default_version import set_default_version
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import chain, one_effect
from tests.dispatch.stream_worker import profile
from tests.replicas.rig import NAMESPACE, Replica, open_replicas, wait_of, work
from tests.replicas.test_events import ended
from tests.replicas.test_following import asking
from tests.replicas.test_loops import parent, sleeper

pytestmark = pytest.mark.promise("P7")

KEY = RunKey(NAMESPACE, "r1")


async def all_ended(replica: Replica, count: int) -> bool:
    """Whether these runs have ended."""
    return all([await ended(replica, f"r{number}") for number in range(count)])


async def test_a_draining_replica_gives_out_nothing_and_its_workers_go_on_elsewhere() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(chain())
        worker = await a.connect(profile("w1"), credit=5)
        await a.start("chain", "r1")
        task = await worker.task()
        a.runtime.drain(SECOND_US)
        for number in range(2, 6):
            await b.start("chain", f"r{number}")
        await replicas.pump(20)
        assert a.engine.counters["claims"] == 0
        assert await worker.finish(task)
        await replicas.pump(20)
        assert (await b.run("r1")).activity.name == "QUEUED", "its next step is given to nobody here"
        with pytest.raises(DrainingError):
            await a.connect(profile("w1"), epoch=2)
        again = await b.connect(profile("w1"), epoch=2, credit=5)

        async def done() -> bool:
            await work(again)
            return all([await ended(b, f"r{number}") for number in range(1, 6)])

        await replicas.until(done)
        assert a.engine.counters["claims"] == 0
        for number in range(1, 6):
            assert replicas.kinds(f"r{number}").count("step_started") == 2


async def test_a_replica_that_starts_takes_nothing_that_another_one_is_doing() -> None:
    async with open_replicas() as replicas:
        a, _ = replicas.all
        await replicas.register(chain())
        worker = await a.connect(profile("w1"), credit=5)
        for number in range(5):
            await a.start("chain", f"r{number}")
        tasks = [await worker.task() for _ in range(5)]
        late = Replica(replicas.data.view(), replicas.clock, DEFAULT_LIMITS)
        await late.runtime.start()
        replicas.all.append(late)
        try:
            other = await late.connect(profile("w2"), credit=5)
            await replicas.pump(30)
            assert await other.hears_nothing()
            for task in tasks:
                assert (await worker.finish(task)).status is AckStatus.ACCEPTED
        finally:
            replicas.all.remove(late)
            await late.runtime.stop()


@pytest.mark.parametrize("calls", range(1, 12))
async def test_a_store_that_fails_while_a_replica_recovers_strands_nothing(calls: int) -> None:
    """It answers so many calls, then none for a while."""
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(sleeper())
        await replicas.register(parent())
        await replicas.register(one_effect())
        for number in range(0, 9, 3):
            await a.start("one", f"r{number}")
            await a.start("sleep", f"r{number + 1}")
            await a.start("parent", f"r{number + 2}")
        a.store.failing = "this process is dead"
        b.store.failing = "this process is dead, too"
        replicas.clock.advance(2 * SECOND_US)
        late = Replica(replicas.data.view(), replicas.clock, DEFAULT_LIMITS)
        late.store.fail_after(calls)
        starting = asyncio.ensure_future(late.runtime.start())
        while not starting.done():
            replicas.clock.advance(SECOND_US // 10)
            await asyncio.wait([starting], timeout=0)
        if starting.exception() is not None:  # it says so and ends; whoever supervises it starts it again
            assert isinstance(starting.exception(), StoreUnavailableError)
            late.store.failing = ""
            await late.runtime.start()
        late.store.failing = ""
        replicas.all[:] = [late]
        worker = await late.connect(profile("w"), credit=3)

        async def done() -> bool:
            await work(worker)
            return await all_ended(late, 9)

        await replicas.until(done)
        await late.runtime.stop()
        a.store.failing = b.store.failing = ""


async def test_a_store_that_fails_for_a_while_drops_nothing() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(chain())
        await replicas.register(sleeper())
        workers = [await replica.connect(profile(name), credit=3) for replica, name in ((a, "wa"), (b, "wb"))]
        for number in range(0, 20, 2):
            await a.start("chain", f"r{number}")
            await b.start("sleep", f"r{number + 1}")
        a.store.failing = b.store.failing = "the database restarts"
        for _ in range(20):
            replicas.clock.advance(SECOND_US // 5)
            for loop in (a.runtime.scheduler.due.loop, b.runtime.scheduler.due.loop):
                await loop.next_pass()
        a.store.failing = b.store.failing = ""

        async def done() -> bool:
            for worker in workers:
                await work(worker)
            return await all_ended(a, 20) and await all_ended(b, 20)

        await replicas.until(done)
        for number in range(0, 20, 2):
            assert replicas.kinds(f"r{number}").count("completed") == 1


async def test_an_older_stream_of_a_worker_at_another_replica_does_no_harm() -> None:
    """Two streams of one worker at two replicas: leases are fenced by attempt, so each report counts once."""
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        older = await a.connect(profile("w1"), epoch=1, credit=1)
        await a.start("one", "r1")
        task = await older.task()
        newer = await b.connect(profile("w1"), epoch=2, credit=1)
        again: list[Task] = []

        async def handed_out() -> bool:
            message = await newer.hear_now()
            again.extend(message.tasks if message else ())
            return bool(again)

        await replicas.until(handed_out)
        (second,) = again
        assert second.token.attempt == task.token.attempt + 1
        assert (await older.update()).token == task.token, "it hears that its lease is over"
        assert (await older.finish(task)).status is AckStatus.STALE
        assert (await newer.finish(second)).status is AckStatus.ACCEPTED
        assert replicas.kinds("r1").count("completed") == 1


async def test_a_request_id_counts_at_all_replicas() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking(2))
        wait = wait_of(await a.start("ask", "r1"))
        await b.run("r1")
        request = RequestId("ResumeRun", "q1", b"\1" * 32)
        command = ResumeRunCommand(KEY, Leaf.of(1), wait_id=wait.wait_id, request=request)
        first = await resume_run(a.engine, command)
        assert await resume_run(b.engine, command) == first
        assert replicas.kinds("r1").count("resumed") == 1


async def test_workflows_registered_at_one_replica_are_known_at_the_others() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        first, second = sleeper(), sleeper(3_600)
        await replicas.register(first, a)
        run = await b.start("sleep", "r1")
        await replicas.register(second, a)
        assert (await b.start("sleep", "r2")).workflow_version != run.workflow_version
        await replicas.register(parent(), a)
        (child,) = (await a.start("parent", "r0")).children
        assert (await a.run(child)).workflow_version != run.workflow_version
        await set_default_version(b.engine, NAMESPACE, "sleep", run.workflow_version)
        replicas.clock.advance(SECOND_US)
        (child,) = (await a.start("parent", "r3")).children
        assert (await a.run(child)).workflow_version == run.workflow_version


async def test_workers_of_a_replica_that_stops_hear_goodbye() -> None:
    async with open_replicas() as replicas:
        a, _ = replicas.all
        worker = await a.connect(profile("w1"), credit=1)
        await a.runtime.stop()
        assert await worker.ended() is GoodbyeReason.DRAINING
