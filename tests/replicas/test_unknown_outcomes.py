"""A commit was kept, and its replica cannot learn that: callers and workers ask again and get the first answer, and
every observer sees what was committed, once (P2, P5, P8)."""

from __future__ import annotations

import pytest

from perdure_server.dispatch.messages import AckStatus
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand, RequestId, StartRunCommand
from perdure_server.engine.errors import StoreUnavailableError
from perdure_server.engine.start_run import start_run
from perdure_server.kernel.model import RunStatus
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import one_effect
from tests.dispatch.stream_worker import profile
from tests.replicas.rig import NAMESPACE, Replica, Replicas, open_replicas, work
from tests.replicas.test_ledger import read_all, subscribe
from tests.replicas.test_work import completed

KEY = RunKey(NAMESPACE, "r1")


async def start(replica: Replica, run_id: str) -> str:
    """Starts a run under a request id; the id that the reply names."""
    request = RequestId("StartRun", "q1", b"h" * 32)
    command = StartRunCommand(NAMESPACE, "one", Leaf.of({}), run_id=run_id, request=request)
    return (await start_run(replica.engine, command)).run_id


async def check_observers(replicas: Replicas) -> None:
    """All replicas show the whole ledger, each record once."""
    horizon = replicas.data.store.horizon()
    positions = [change.position for change in replicas.data.store.read_changes(0, horizon, 1_000)]
    for replica in replicas.all:
        stream = await subscribe(replica)
        assert await read_all(replicas, stream, positions[-1]) == positions
        stream.subscription.close()


@pytest.mark.promise("P2")
@pytest.mark.promise("P8")
async def test_a_start_that_is_repeated_gets_its_first_reply() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        live = await subscribe(a)
        a.store.answers_lost = 1
        with pytest.raises(StoreUnavailableError):
            await start(a, "r1")
        assert await start(a, "r1") == "r1"
        assert await start(b, "r1") == "r1"
        await replicas.pump()
        assert replicas.kinds("r1") == ["run_started", "step_completed"]
        assert await read_all(replicas, live, replicas.data.store.horizon()) == [1, 2]
        live.subscription.close()
        await check_observers(replicas)


@pytest.mark.promise("P2")
async def test_a_change_that_is_repeated_is_not_made_twice() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        await start(a, "r1")
        await replicas.pump()
        cancel = CancelRunCommand(KEY, reason="enough", request=RequestId("CancelRun", "q2", b"h" * 32))
        a.store.answers_lost = 1
        with pytest.raises(StoreUnavailableError):
            await cancel_run(a.engine, cancel)
        await replicas.pump(2)
        # No cached state from before is left at the replica that does not know.
        assert [(await replica.run("r1")).status for replica in replicas.all] == [RunStatus.CANCELLED] * 2
        for replica in (a, b):
            await cancel_run(replica.engine, cancel)
        assert replicas.kinds("r1").count("cancelled") == 1
        await check_observers(replicas)


@pytest.mark.promise("P5")
async def test_a_report_whose_commit_is_unknown_is_repeated_and_counts_once() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        worker = await a.connect(profile("w1"), credit=1)
        await start(a, "r1")
        await replicas.pump()
        task = await worker.task()
        a.store.answers_lost = 1
        with pytest.raises(StoreUnavailableError):
            await worker.finish(task)
        again = await (await b.connect(profile("w1"))).finish(task)
        assert again.status is AckStatus.DUPLICATE
        await replicas.until(lambda: completed(replicas))
        assert replicas.kinds("r1") == ["run_started", "step_completed", "step_started", "step_completed", "completed"]
        await check_observers(replicas)


@pytest.mark.promise("P5")
async def test_a_task_whose_claim_is_unknown_comes_back_by_its_lease() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(one_effect())
        await a.connect(profile("w1"), credit=1)
        await start(b, "r1")
        a.store.answers_lost = 1
        await replicas.until(lambda: replicas.task("r1").leased)
        assert a.store.answers_lost == 0
        other = await b.connect(profile("w2"), credit=1)
        await replicas.pump(3)
        assert replicas.kinds("r1").count("step_started") == 1, "nobody else gets it while the lease stands"

        async def done() -> bool:
            await other.ping()
            await work(other)
            return await completed(replicas)

        await replicas.until(done, passes=4_000)
        assert replicas.kinds("r1").count("completed") == 1
        await check_observers(replicas)
