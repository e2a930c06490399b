"""The unary way to tasks."""

from __future__ import annotations

import asyncio

import pytest

from perdure_server.dispatch.messages import AckStatus, Profile, Task
from perdure_server.engine.errors import NamespaceNotFoundError
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import Activity
from tests.dispatch.rig import Rig, chain, open_rig, until
from tests.dispatch.stream_worker import profile, result

WAIT_US = 30 * SECOND_US


def polling(rig: Rig, request_id: str, wanted: int = 1, worker_id: str = "w1") -> asyncio.Task[list[Task]]:
    """A poll under way."""
    return asyncio.ensure_future(rig.dispatcher.poll(profile(worker_id), request_id, wanted, WAIT_US))


def pending(rig: Rig, worker_id: str = "w1") -> int:
    """Seats of a worker."""
    worker = rig.registry.worker("default", worker_id)
    return len(worker.seats) if worker else 0


async def test_waiting_tasks_are_answered_at_once_and_together() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        for number in range(5):
            await rig.start("chain", f"r{number}")
        tasks = await polling(rig, "q1", 4)
        assert sorted(task.run.run_id for task in tasks) == ["r0", "r1", "r2", "r3"]
        assert pending(rig) == 0


async def test_a_task_born_while_a_poll_waits_is_born_leased_to_it() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        poll = polling(rig, "q1")
        await until(lambda: pending(rig) == 1)
        await rig.start("chain", "r1")
        assert [task.run.run_id for task in await poll] == ["r1"]
        assert rig.engine.counters["claims"] == 0


async def test_nothing_within_the_time_is_an_empty_answer() -> None:
    async with open_rig() as rig:
        poll = polling(rig, "q1")
        await until(lambda: pending(rig) == 1)
        await asyncio.sleep(0)
        rig.clock.advance(WAIT_US)
        assert await poll == []
        assert pending(rig) == 0


async def test_a_repeat_within_the_lease_gets_the_same_leases() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await rig.start("chain", "r1")
        await rig.start("chain", "r2")
        first = await polling(rig, "q1", 2)
        again = await polling(rig, "q1", 2)
        assert [task.token for task in again] == [task.token for task in first]
        acks = (await rig.dispatcher.report("default", "w1", [], [result(first[0].token)]))[1]
        assert acks[0].status is AckStatus.ACCEPTED
        assert [task.token for task in await polling(rig, "q1", 2)] == [first[1].token]
        fresh = await polling(rig, "q2", 2)
        assert [task.run.run_id for task in fresh] == [first[0].run.run_id]


async def test_a_repeat_after_the_lease_gets_another_attempt() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await rig.start("chain", "r1")
        first = await polling(rig, "q1")
        await rig.advance(31)
        second = await polling(rig, "q1")
        assert [task.token.attempt for task in first + second] == [1, 2]


async def test_a_repeat_while_the_first_call_waits_shares_its_poll() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        first, second = polling(rig, "q1"), polling(rig, "q1")
        await until(lambda: pending(rig) == 1)
        first.cancel()
        await asyncio.wait([first])
        await rig.start("chain", "r1")
        await rig.start("chain", "r2")
        assert [task.run.run_id for task in await second] == ["r1"]


async def test_the_tasks_of_a_cancelled_call_go_back_at_once() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        poll = polling(rig, "q1")
        await until(lambda: pending(rig) == 1)
        starting = asyncio.ensure_future(rig.start("chain", "r1"))
        await until(lambda: rig.engine.counters["commits"] == 1)
        poll.cancel()
        await asyncio.wait([poll])
        await starting
        await rig.settle()
        run = await rig.run("r1")
        assert run.activity is Activity.QUEUED
        assert run.step is not None
        assert run.step.lapses == 0
        assert [task.token.attempt for task in await polling(rig, "q1")] == [2]


async def test_pollers_are_listed_and_a_namespace_must_exist() -> None:
    async with open_rig() as rig:
        with pytest.raises(NamespaceNotFoundError):
            await rig.dispatcher.poll(Profile("nowhere", "w1"), "q1", 1, 0)
        poll = polling(rig, "q1", 7)
        await until(lambda: pending(rig) == 1)
        view = rig.dispatcher.workers("default")[0]
        assert (view.stream_epoch, view.credit) == (0, 7)
        rig.dispatcher.drain(0)
        assert await poll == []
