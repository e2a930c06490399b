"""Leases: renewed by heartbeats, lost to others, taken away by a cancel."""

from __future__ import annotations

from dataclasses import replace

from perdure_server.dispatch.messages import AckStatus, Heartbeat, LeaseState, TaskToken
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.model import Activity, RunStatus, StepPlan
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import Rig, chain, nodes, one_effect, open_rig
from tests.dispatch.stream_worker import StreamWorker, node_profile, plan, profile


async def two_tasks(rig: Rig) -> tuple[StreamWorker, list[TaskToken]]:
    """A worker with two leases."""
    await rig.register(chain())
    worker = await rig.connect(profile(), credit=2)
    await rig.start("chain", "r1")
    await rig.start("chain", "r2")
    return worker, [(await worker.task()).token for _ in range(2)]


async def test_heartbeats_keep_leases_in_one_write() -> None:
    async with open_rig() as rig:
        worker, tokens = await two_tasks(rig)
        for _ in range(5):
            await rig.advance(20)
            await worker.heartbeat(*tokens)
            updates = [await worker.update() for _ in tokens]
            assert [(update.token, update.state, update.lease_us) for update in updates] == [
                (token, LeaseState.HELD, DEFAULT_LIMITS.lease_us) for token in tokens
            ]
        await rig.advance(31)
        for run_id in ("r1", "r2"):
            assert (await rig.run(run_id)).activity is Activity.QUEUED


async def test_a_lost_lease_is_told_at_once_and_when_asked() -> None:
    async with open_rig() as rig:
        worker, tokens = await two_tasks(rig)
        await rig.advance(20)
        await worker.heartbeat(tokens[0])
        assert (await worker.update()).state is LeaseState.HELD
        await rig.advance(11)
        told = await worker.update()
        assert (told.token, told.state) == (tokens[1], LeaseState.LOST)
        await worker.heartbeat(tokens[1], rig.token("nobody", 2, 1))
        assert [(await worker.update()).state for _ in range(2)] == [LeaseState.LOST, LeaseState.LOST]


async def test_a_cancel_is_told_at_once_and_when_asked() -> None:
    async with open_rig() as rig:
        worker, tokens = await two_tasks(rig)
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "r1")))
        told = await worker.update()
        assert (told.token, told.state) == (tokens[0], LeaseState.CANCELLED)
        await worker.heartbeat(*tokens)
        assert [(await worker.update()).state for _ in range(2)] == [LeaseState.CANCELLED, LeaseState.HELD]


async def test_a_cancel_path_is_told_as_a_cancel_too() -> None:
    spec = nodes("flow", "a", "tidy")
    spec.on_cancel_node = "tidy"
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(node_profile("w1", "flow"), credit=2)
        await rig.start("flow", "r1")
        token = (await worker.task()).token
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "r1")))
        told = await worker.update()
        assert (told.token, told.state) == (token, LeaseState.CANCELLED)
        assert (await worker.task()).run.current_node == "tidy"


async def test_a_worker_hears_nothing_of_leases_it_ended_itself() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect())
        worker = await rig.connect(profile(), credit=1)
        await rig.start("one", "r1")
        await worker.finish(await worker.task())
        await rig.settle()
        assert await worker.hears_nothing()
        assert worker.updates == []


async def test_only_progress_keeps_a_heartbeat_timeout_away() -> None:
    spec = one_effect()
    spec.nodes["only"].timeouts.heartbeat.seconds = 5
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(profile(), credit=2)
        await rig.start("one", "r1")
        await rig.start("one", "r2")
        tokens = [(await worker.task()).token for _ in range(2)]
        for _ in range(3):
            await rig.advance(2)
            await worker.heartbeat(tokens[0], progress=True)
            await worker.heartbeat(tokens[1])
            await rig.settle()
        assert (await rig.run("r1")).activity is Activity.LEASED
        run = await rig.run("r2")
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error.type == "TIMEOUT"


async def test_progress_counts_for_a_lease_that_an_older_process_gave() -> None:
    spec = one_effect()
    spec.nodes["only"].timeouts.heartbeat.seconds = 5
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(profile(), credit=1)
        await rig.start("one", "r1")
        token = (await worker.task()).token
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        worker = await rig.connect(profile(), epoch=2, held=(token,))
        await worker.heartbeat(token, progress=True)
        assert (await worker.update()).state is LeaseState.HELD
        await rig.advance(4)
        assert (await rig.run("r1")).activity is Activity.LEASED
        await rig.advance(2)
        assert (await rig.run("r1")).status is RunStatus.FAILED


async def test_leases_get_one_fresh_ttl_when_the_server_starts() -> None:
    async with open_rig() as rig:
        worker, tokens = await two_tasks(rig)
        await worker.leave()
        await rig.advance(25)
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        await rig.advance(25)
        worker = await rig.connect(profile(), epoch=2, held=tokens[:1])
        assert worker.welcome is not None
        assert [update.state for update in worker.welcome.held] == [LeaseState.HELD]
        assert (await rig.run("r1")).activity is Activity.LEASED
        assert (await rig.run("r2")).activity is Activity.QUEUED  # not named: handed out again at once


async def test_the_unary_way_answers_in_order() -> None:
    async with open_rig() as rig:
        _, tokens = await two_tasks(rig)
        asked = [Heartbeat(b"?"), Heartbeat(tokens[1]), Heartbeat(TaskToken("other", "r1", 2, 1))]
        updates = await rig.dispatcher.heartbeat("default", "w1", asked)
        assert [update.token for update in updates] == [beat.token for beat in asked]
        assert [update.state for update in updates] == [LeaseState.LOST, LeaseState.HELD, LeaseState.LOST]


async def test_a_refused_report_does_not_keep_news_of_its_lease_away() -> None:
    async with open_rig() as rig:
        worker, tokens = await two_tasks(rig)
        await worker.report(plan(tokens[0], StepPlan(next_node="step-1")))
        assert (await worker.ack()).status is AckStatus.REFUSED
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "r1")))
        assert (await worker.update()).state is LeaseState.CANCELLED


async def test_a_token_of_another_epoch_holds_nothing() -> None:
    async with open_rig() as rig:
        _, tokens = await two_tasks(rig)
        earlier = replace(tokens[0], epoch=b"restored")
        updates = await rig.dispatcher.heartbeat("default", "w1", [Heartbeat(earlier, progress=True)])
        assert [(update.token, update.state) for update in updates] == [(earlier, LeaseState.LOST)]
        again = await rig.connect(profile(), epoch=2, held=(earlier, tokens[1]))
        assert again.welcome is not None
        assert [update.state for update in again.welcome.held] == [LeaseState.LOST, LeaseState.HELD]
        assert (await rig.run("r1")).activity is Activity.QUEUED  # not named: handed out again at once
        assert (await rig.run("r2")).activity is Activity.LEASED
