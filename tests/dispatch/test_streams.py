"""A worker's stream: tasks, reports, acks."""

from __future__ import annotations

from perdure_server.dispatch.messages import AckStatus
from perdure_server.kernel.model import RunStatus
from tests.dispatch.rig import chain, open_rig
from tests.dispatch.stream_worker import profile


async def test_a_run_goes_from_step_to_step() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=3))
        worker = await rig.connect(profile(), credit=4)
        await rig.start("chain", "r1")
        for number in range(3):
            task = await worker.task()
            step = task.run.step
            assert step is not None
            assert (step.node_id, step.attempt) == (f"step-{number}", 1)
            assert (await worker.finish(task, number)).status is AckStatus.ACCEPTED
        run = await rig.run("r1")
        assert run.status is RunStatus.COMPLETED
        assert run.vars["results"] == {"s0": 0, "s1": 1, "s2": 2}
        assert rig.engine.counters["commits"] == 4
        assert rig.engine.counters["claims"] == 0
