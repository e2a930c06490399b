"""An event at one replica and a wait at another find each other, whatever the order and the lag (P6)."""

from __future__ import annotations

import asyncio
import threading

import pytest

from perdure.v1 import model_pb2
from perdure_server.kernel.model import RunStatus
from perdure_server.kernel.values import Json
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import one_effect
from tests.dispatch.stream_worker import profile
from tests.replicas.rig import NAMESPACE, Replica, Replicas, ignored, open_replicas
from tests.scheduler.test_events import listener

pytestmark = pytest.mark.promise("P6")

KEY = RunKey(NAMESPACE, "r1")


def late_listener() -> model_pb2.WorkflowSpec:
    """A worker's effect first, then a wait for the event."""
    spec = listener("go", "late")
    spec.entry_node = "first"
    spec.nodes["first"].CopyFrom(one_effect().nodes["only"])
    spec.nodes["first"].next = "only"
    return spec


async def ended(replica: Replica, run_id: str = "r1") -> bool:
    """Whether the run has ended as this replica knows it."""
    return (await replica.run(run_id)).ended


async def received(replica: Replica, run_id: str = "r1") -> Json:
    """The payload that ended the run's wait."""
    run = await replica.run(run_id)
    assert run.status is RunStatus.COMPLETED
    found = run.vars["result"]
    assert isinstance(found, dict)
    return found["payload"]


@pytest.mark.parametrize("known", [True, False], ids=["known-there", "unknown-there"])
async def test_an_event_after_the_wait(known: bool) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(listener())
        await b.start("listen", "r1")
        if known:
            await a.run("r1")
        await a.emit("go", {"n": 1}, session_id="r1")
        await replicas.until(lambda: ended(b))
        assert await received(b) == {"n": 1}


async def test_an_event_after_a_wait_of_which_the_other_replica_has_an_older_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(late_listener())
        worker = await b.connect(profile(), credit=1)
        await b.start("late", "r1")
        assert (await a.run("r1")).waiting is None
        monkeypatch.setattr(a.engine, "outdate", ignored)
        monkeypatch.setattr(b.runtime.scheduler.matching, "match", ignored)
        await worker.finish(await worker.task())
        await a.emit("go", {"n": 1}, session_id="r1")
        await a.runtime.scheduler.matching.loop.next_pass()
        await a.runtime.scheduler.matching.chores.idle()
        assert await received(a) == {"n": 1}


async def test_an_event_before_the_wait() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(late_listener())
        worker = await b.connect(profile(), credit=1)
        await b.start("late", "r1")
        await a.emit("go", {"n": 1}, session_id="r1")
        await a.emit("go", {"n": 2}, session_id="r1")
        await worker.finish(await worker.task())
        await replicas.until(lambda: ended(a))
        assert await received(a) == {"n": 1}


@pytest.mark.parametrize("seconds", [1, 30], ids=["shortly", "long"])
async def test_an_event_above_the_horizon_is_taken_when_nothing_can_come_before_it(seconds: int) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(late_listener())
        worker = await b.connect(profile(), credit=1)
        await b.start("late", "r1")
        replicas.data.hold_horizon()
        await a.emit("go", {"n": 1}, session_id="r1")
        await worker.finish(await worker.task())
        for _ in range(seconds):
            replicas.clock.advance(1_000_000)
            await replicas.pump()
        assert not await ended(b)
        assert not await ended(a)
        replicas.data.release_horizon()
        await replicas.until(lambda: ended(b))
        assert await received(b) == {"n": 1}


async def test_an_event_at_the_moment_of_the_wait() -> None:
    """Both commits are under way at once; in each order of the two, and of the looks after them."""
    for first in ("wait", "event"):
        async with open_replicas() as replicas:
            a, b = replicas.all
            await replicas.register(late_listener())
            worker = await b.connect(profile(), credit=1)
            await b.start("late", "r1")
            task = await worker.task()
            gates = {"event": threading.Event(), "wait": threading.Event()}
            a.store.gate, b.store.gate = gates["event"], gates["wait"]
            emitting = asyncio.ensure_future(a.emit("go", {"n": 1}, session_id="r1"))
            finishing = asyncio.ensure_future(worker.finish(task))
            for _ in range(20):
                await asyncio.sleep(0)
            gates[first].set()
            await (finishing if first == "wait" else emitting)
            for gate in gates.values():
                gate.set()
            await asyncio.gather(emitting, finishing)
            await replicas.until(lambda b=b: ended(b))
            assert await received(b) == {"n": 1}


async def test_a_replica_that_dies_after_the_event_leaves_it_to_the_sweeper_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(listener())
        await b.start("listen", "r1")
        monkeypatch.setattr(a.runtime.scheduler.matching.loop, "wake", ignored)
        await a.emit("go", {"n": 1}, session_id="r1")
        a.store.failing = "this process is dead"
        await b.runtime.scheduler.sweeper.sweep_run(KEY)
        await replicas.until(lambda: ended(b))
        a.store.failing = ""


async def test_an_event_acknowledged_before_the_run_began_does_not_count_at_any_replica() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(listener())
        replicas.data.hints = False
        await a.emit("go", {"n": 0}, session_id="r1")
        await b.start("listen", "r1")
        await replicas.pump(5)
        assert not await ended(b)
        await a.emit("go", {"n": 1}, session_id="r1")
        await replicas.until(lambda: ended(b))
        assert await received(b) == {"n": 1}


async def test_a_wait_for_events_from_now_on_hears_none_that_was_acknowledged_elsewhere_before() -> None:
    spec = late_listener()
    template = '{"type":"wait_event","payload":{"event_name":"go","scope":"session","since_now":true}}'
    spec.nodes["only"].template_json = template
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(spec)
        worker = await b.connect(profile(), credit=1)
        await b.start("late", "r1")
        replicas.data.hints = False
        await a.emit("go", {"n": 0}, session_id="r1")
        await worker.finish(await worker.task())
        await replicas.pump(5)
        assert not await ended(b)
        await a.emit("go", {"n": 1}, session_id="r1")
        await replicas.until(lambda: ended(b))
        assert await received(b) == {"n": 1}


async def test_the_floor_of_a_run_never_is_above_the_horizon() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(listener())
        replicas.data.hold_horizon()
        held = replicas.data.held_horizon
        await a.emit("other", {}, session_id="x")
        run = await b.start("listen", "r1")
        assert run.event_floor == held
        replicas.data.release_horizon()


async def completed_by_all(replicas: Replicas, count: int) -> bool:
    """Whether these runs have ended, as every replica knows."""
    return all([await ended(replica, f"r{number}") for replica in replicas.all for number in range(count)])


async def test_many_at_once_miss_nothing() -> None:
    async with open_replicas(3) as replicas:
        a, b, c = replicas.all
        await replicas.register(listener())
        waits = [replica.start("listen", f"r{number}") for number, replica in enumerate([a, b, c] * 20)]
        await asyncio.gather(*waits)
        events = [
            replica.emit("go", {"n": number}, session_id=f"r{number}") for number, replica in enumerate([b, c, a] * 20)
        ]
        await asyncio.gather(*events)
        await replicas.until(lambda: completed_by_all(replicas, 60))
        for number in range(60):
            assert await received(a, f"r{number}") == {"n": number}
            assert replicas.kinds(f"r{number}").count("event_consumed") == 1
