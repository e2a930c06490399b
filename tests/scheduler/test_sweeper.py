"""The sweeper puts right what should never be wrong (P7); retention forgets what has been kept long enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.engine.commands import RequestId, StartRunCommand
from perdure_server.engine.start_run import start_run
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import Activity, EventScope, RunStatus
from perdure_server.kernel.values import Leaf
from perdure_server.scheduler.sweeper import PAGE, Sweeper
from perdure_server.storage.port import ObligationRows, RunKey, TimerRow
from tests.dispatch.rig import Rig, chain, one_effect, open_rig
from tests.dispatch.stream_worker import profile

NOTHING = ObligationRows(None, None, ())
LEFT_OVER = ObligationRows(None, True, (TimerRow(5, 1),))


async def damage(rig: Rig, run_id: str, rows: ObligationRows) -> RunKey:
    """Gives a run rows that are not its obligations."""
    key = RunKey("default", run_id)
    snapshot = rig.store.load_run(key)
    assert snapshot is not None
    assert await rig.engine.write(rig.store.install, key, snapshot.head.seq, rows, snapshot.head.wait)
    return key


@pytest.mark.promise("P7")
@pytest.mark.parametrize("rows", [NOTHING, LEFT_OVER], ids=["lost", "left-over"])
async def test_a_task_without_its_row_is_found_again(rows: ObligationRows, caplog: pytest.LogCaptureFixture) -> None:
    async with open_rig(dispatch=False) as rig:
        await rig.register(chain())
        await rig.start("chain", "r1")
        await damage(rig, "r1", rows)
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        await rig.scheduler.sweeper.loop.ready()
        assert rig.engine.counters["repairs"] == 1
        assert {getattr(record, "run_id", "r1") for record in caplog.records} == {"r1"}
        worker = await rig.connect(profile(), credit=1)
        assert (await worker.task()).run.run_id == "r1"


@pytest.mark.promise("P7")
async def test_a_timer_without_its_row_fires_after_the_repair() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect('{"type":"wait_until","payload":{"delay_seconds":3600}}'))
        await rig.start("one", "r1")
        await damage(rig, "r1", NOTHING)
        await rig.scheduler.sweeper.loop.next_pass()
        await rig.advance(3_600)
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


@pytest.mark.promise("P7")
async def test_a_turn_row_left_by_a_crash_is_taken_up() -> None:
    limits = replace(DEFAULT_LIMITS, chained_records=4)
    spec = chain(steps=12)
    for name in spec.nodes:
        spec.nodes[name].template_json = '{"type":"answer_user","payload":{"message":"m"}}'
    async with open_rig(limits) as rig:
        await rig.register(spec)
        starting = start_run(rig.engine, StartRunCommand("default", "chain", Leaf.of({}), run_id="r1"))
        await starting
    async with open_rig(limits, store=rig.store, clock=rig.clock) as rig:
        await rig.settle()
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


async def test_a_repair_leaves_a_lease_that_stands() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        await worker.task()
        await rig.advance(20)
        key = RunKey("default", "r1")
        stored = rig.store.read_obligations(key)
        assert stored is not None
        await damage(rig, "r1", ObligationRows(stored.task, None, LEFT_OVER.timers))
        await rig.scheduler.sweeper.loop.next_pass()
        assert rig.engine.counters["repairs"] == 1
        assert rig.store.read_obligations(key) == stored
        await rig.advance(11)
        assert (await rig.run("r1")).activity is Activity.QUEUED  # it lapsed when it was to lapse


async def test_what_is_right_is_left_alone() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await rig.register(one_effect('{"type":"wait_until","payload":{"delay_seconds":3600}}', "sleep"))
        await rig.register(one_effect('{"type":"ask_user","payload":{"prompt":"?"}}', "ask"))
        await rig.connect(profile(), credit=1)
        for workflow_id in ("chain", "chain", "sleep", "ask"):
            await rig.start(workflow_id, f"{workflow_id}{rig.engine.counters['commits']}")
        commits = rig.engine.counters["commits"]
        await rig.scheduler.sweeper.loop.next_pass()
        assert rig.engine.counters["repairs"] == 0
        assert rig.engine.counters["commits"] == commits


async def test_passes_go_through_all_runs_and_begin_again() -> None:
    async with open_rig(scheduler=False, dispatch=False) as rig:
        await rig.register(chain())
        names = [f"r{number:03}" for number in range(2 * PAGE + 50)]
        for name in names:
            await rig.start("chain", name)
        sweeper = Sweeper(rig.engine, runs_a_pass=PAGE + 20)
        sweeper.loop.start()
        await sweeper.loop.ready()
        for name in names:
            await damage(rig, name, NOTHING)
        for _ in range(2):
            await sweeper.loop.next_pass()
        repaired = rig.engine.counters["repairs"]
        assert repaired == len(names) - (PAGE + 20)  # the first pass had gone by those
        await sweeper.loop.next_pass()
        assert rig.engine.counters["repairs"] == len(names)
        await sweeper.loop.stop()
        assert sweeper.loop.failures == 0


async def test_a_run_that_cannot_be_read_does_not_stop_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    async with open_rig(scheduler=False, dispatch=False) as rig:
        await rig.register(chain())
        for name in ("r1", "r2", "r3"):
            await rig.start("chain", name)
            await damage(rig, name, NOTHING)
    async with open_rig(store=rig.store, clock=rig.clock, scheduler=False, dispatch=False) as rig:
        healthy = rig.store.read_obligations

        def broken(key: RunKey) -> ObligationRows | None:
            if key.run_id == "r2":
                raise ValueError("unreadable")
            return healthy(key)

        rig.store.read_obligations = broken
        sweeper = Sweeper(rig.engine)
        sweeper.loop.start()
        await sweeper.loop.ready()
        await sweeper.loop.stop()
        assert rig.engine.counters["repairs"] == 2
        assert "r2" in {getattr(record, "run_id", "") for record in caplog.records}


async def test_replies_and_events_are_forgotten_in_time() -> None:
    async with open_rig() as rig:
        await rig.register(one_effect('{"type":"ask_user","payload":{"prompt":"?"}}', "ask"))
        request = RequestId("StartRun", "q1", b"h" * 32)
        command = StartRunCommand("default", "ask", Leaf.of({}), run_id="r1", request=request)
        await start_run(rig.engine, command)
        await rig.emit(EventScope.GLOBAL, "", "go", {})
        day = 86_400
        for days, replies, events in ((0.9, 1, 1), (0.2, 0, 1), (5.8, 0, 1), (0.2, 0, 0)):
            rig.clock.advance(round(days * day * SECOND_US))
            await rig.scheduler.retention.loop.next_pass()
            assert (rig.store.find_request("default", "StartRun", "q1") is not None) == bool(replies)
            assert len(rig.store.read_events("default", 4, "", "go", 0, 10**9, 10)) == events
