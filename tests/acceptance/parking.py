"""A run whose irreversible effect began and was never reported."""

from __future__ import annotations

from perdure import RunHandle, Timeouts
from perdure.v1 import worker_service_pb2 as worker
from tests.acceptance.hand import HandWorker
from tests.acceptance.scene import WITHIN_S, Scene, calling


async def parked_run(scene: Scene) -> RunHandle:
    """Starts one and lets its time run out; it is parked IN_DOUBT."""
    workflow = calling("doubtful", type="charge", risk="irreversible", timeouts=Timeouts(start_to_close=0.2))
    await scene.register(workflow)
    run = await scene.start(workflow)
    hand = HandWorker(scene.client, "charge")
    assert (await hand.begin(await hand.task())).status == worker.ACK_STATUS_ACCEPTED
    state = await run.wait(timeout=WITHIN_S)
    assert state.step is not None
    assert (state.activity, state.step.park_reason) == ("parked", "IN_DOUBT")
    return run
