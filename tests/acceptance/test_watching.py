"""WatchRun and WaitRun: what a caller that waits for a run is told."""

import asyncio
import signal
from typing import Any

import grpc
import pytest

from perdure import NotFound
from perdure.instants import to_duration
from perdure.v1 import common_pb2, ledger_service_pb2, model_pb2
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.hand import HandWorker
from tests.acceptance.lives import Lives
from tests.acceptance.parking import parked_run
from tests.acceptance.scene import WITHIN_S, Scene, asking, calling
from tests.api.served import rest_of

CHANGES = 100


async def next_state(watch: Any) -> model_pb2.RunState:
    """The run of a watch's next message."""
    message: pb.WatchRunResponse = await watch.read()
    assert message.HasField("run"), message
    return message.run


async def test_a_watch_begins_with_the_run_as_it_stands_and_ends_with_goodbye(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking", {"a": 1})
    wait = await scene.waiting(run)
    watch = scene.runs.WatchRun(pb.WatchRunRequest(namespace=scene.namespace, run_id=run.run_id))
    first = await next_state(watch)
    assert (first.seq, first.status, first.vars_json) == (wait.wait_id, common_pb2.RUN_STATUS_WAITING, '{"a":1}')
    await run.pause()
    paused = await next_state(watch)
    assert (paused.seq, paused.paused) == (first.seq + 1, True)
    await run.resume("y", wait_id=wait.wait_id)
    await run.unpause()
    *states, goodbye = await rest_of(watch)
    assert goodbye.goodbye.reason == ledger_service_pb2.Goodbye.REASON_COMPLETE
    assert all(state.WhichOneof("event") == "run" for state in states)
    last = states[-1].run
    assert last == (await scene.runs.GetRun(pb.GetRunRequest(namespace=scene.namespace, run_id=run.run_id))).run
    assert last.status == common_pb2.RUN_STATUS_COMPLETED
    assert await watch.code() is grpc.StatusCode.OK


async def test_a_watch_of_an_ended_run_is_its_end_and_goodbye(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    await run.cancel()
    request = pb.WatchRunRequest(namespace=scene.namespace, run_id=run.run_id, view=pb.RUN_VIEW_BASIC)
    state, goodbye = await rest_of(scene.runs.WatchRun(request))
    assert (state.run.status, state.run.vars_json) == (common_pb2.RUN_STATUS_CANCELLED, "")
    assert goodbye.goodbye.reason == ledger_service_pb2.Goodbye.REASON_COMPLETE
    with pytest.raises(NotFound):
        async with scene.client.watch("nobody"):
            pass


async def test_a_watch_never_goes_back_and_never_misses_the_last_change(scene: Scene) -> None:
    """Changes that come faster than they are read may be one message; the newest always comes."""
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    watch = scene.runs.WatchRun(pb.WatchRunRequest(namespace=scene.namespace, run_id=run.run_id))
    states = [await next_state(watch)]
    for _ in range(CHANGES // 2):
        await run.pause()
        await run.unpause()
    await run.cancel()
    *rest, goodbye = await rest_of(watch)
    assert goodbye.HasField("goodbye")
    states += [message.run for message in rest]
    seqs = [state.seq for state in states]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == seqs[0] + CHANGES + 1
    assert len(seqs) <= CHANGES + 2


async def test_a_watch_of_a_server_that_goes_away_is_told_so(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    watch = scene.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id))
    assert (await next_state(watch)).run_id == run.run_id
    assert lives.server is not None
    stopped = asyncio.create_task(lives.server.stop(signal.SIGTERM))
    (goodbye,) = await rest_of(watch)
    assert goodbye.goodbye.reason == ledger_service_pb2.Goodbye.REASON_DRAINING
    assert await stopped == 0


@pytest.mark.parametrize("how", ["waiting", "ended", "parked", "idle", "paused"])
async def test_wait_run_returns_once_the_run_is_settled(scene: Scene, how: str) -> None:
    await scene.register(asking(), calling())
    if how == "parked":
        run = await parked_run(scene)
    else:
        run = await scene.start(
            "asking" if how == "waiting" else "calling", drive="manual" if how == "idle" else "auto"
        )
    request = pb.WaitRunRequest(namespace=scene.namespace, run_id=run.run_id, wait=to_duration(WITHIN_S))
    held = asyncio.ensure_future(scene.runs.WaitRun(request))
    if how == "ended":
        await run.cancel()
    elif how == "paused":
        await run.pause()
    seen = await held
    assert seen.reached
    state = await run.state()
    expected = {"ended": "unspecified", "paused": "queued"}.get(how, how)
    assert (state.seq, state.activity, state.paused) == (seen.run.seq, expected, how == "paused")


async def test_wait_run_does_not_take_a_leased_attempt_of_a_paused_run_for_settled(scene: Scene) -> None:
    await scene.register(calling())
    run = await scene.start("calling")
    hand = HandWorker(scene.client)
    task = await hand.task()
    await run.pause()
    request = pb.WaitRunRequest(namespace=scene.namespace, run_id=run.run_id, wait=to_duration(0.05))
    assert not (await scene.runs.WaitRun(request)).reached
    request.wait.CopyFrom(to_duration(WITHIN_S))
    held = asyncio.ensure_future(scene.runs.WaitRun(request))
    await hand.report(task, "1")
    assert (await held).run.activity == common_pb2.RUN_ACTIVITY_QUEUED


async def test_wait_run_until_ended_looks_past_a_wait(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    request = pb.WaitRunRequest(
        namespace=scene.namespace, run_id=run.run_id, until=pb.WAIT_RUN_UNTIL_ENDED, wait=to_duration(0.05)
    )
    seen = await scene.runs.WaitRun(request)
    assert (seen.reached, seen.run.status) == (False, common_pb2.RUN_STATUS_WAITING)
    request.wait.CopyFrom(to_duration(WITHIN_S))
    held = asyncio.ensure_future(scene.runs.WaitRun(request))
    await run.resume("y", any_wait=True)
    assert (await held).run.status == common_pb2.RUN_STATUS_COMPLETED
