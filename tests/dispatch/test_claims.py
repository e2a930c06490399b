"""Tasks that wait for a worker: found, handed out best first, and never in each other's way."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.dispatch import routes
from perdure_server.dispatch.messages import FromWorker, Profile, ServedWorkflow
from perdure_server.dispatch.registry import MAX_OVERTAKING
from perdure_server.dispatch.routes import ReadyTask, Route, effect_route, node_route, serves
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import (
    CancelRunCommand,
    MigrateRunCommand,
    PauseRunCommand,
    UnpauseRunCommand,
)
from perdure_server.engine.migrate_run import migrate_run
from perdure_server.engine.pause_run import pause_run
from perdure_server.engine.unpause_run import unpause_run
from perdure_server.kernel.model import Activity, RunState
from perdure_server.kernel.records import Record, RecordKind
from perdure_server.storage.port import RunKey, StoredPayload
from tests.dispatch.rig import Rig, chain, nodes, one_effect, open_rig
from tests.dispatch.stream_worker import StreamWorker, node_profile, profile


async def heard_runs(worker: StreamWorker, count: int) -> list[str]:
    """The runs of the next tasks."""
    return [(await worker.task()).run.run_id for _ in range(count)]


async def start_many(rig: Rig, workflow_id: str, names: list[str]) -> None:
    """Starts runs one after the other, each a millisecond later."""
    for name in names:
        await rig.start(workflow_id, name)
        rig.clock.advance(1_000)


async def test_a_waiting_task_is_handed_out_when_a_worker_comes() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await rig.start("chain", "r1")
        worker = await rig.connect(profile(), credit=1)
        assert await heard_runs(worker, 1) == ["r1"]
        assert rig.engine.counters["claims"] == 1


async def test_claims_made_together_share_their_commit() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await start_many(rig, "chain", [f"r{number}" for number in range(40)])
        batches = rig.engine.counters["commit_batches"]
        worker = await rig.connect(profile(), credit=40)
        assert len(await heard_runs(worker, 40)) == 40
        assert rig.engine.counters["commit_batches"] - batches <= 2


async def test_the_highest_priority_goes_first_then_the_longest_waiting() -> None:
    async with open_rig() as rig:
        for priority in (0, 5, -5):
            spec = one_effect('{"type":"echo","payload":{}}', f"p{priority}")
            spec.nodes["only"].priority = priority
            await rig.register(spec)
        other = one_effect('{"type":"cook","payload":{}}', "cook")
        other.nodes["only"].priority = 3
        await rig.register(other)
        await start_many(rig, "p0", ["r1"])
        await start_many(rig, "p-5", ["r2"])
        await start_many(rig, "p5", ["r3"])
        await start_many(rig, "p0", ["r4"])
        await start_many(rig, "cook", ["r5"])
        worker = await rig.connect(profile("w1", "echo", "cook"))
        heard: list[str] = []
        for _ in range(5):
            await worker.grant(1)
            heard += await heard_runs(worker, 1)
        assert heard == ["r3", "r5", "r1", "r4", "r2"]


async def test_tasks_that_nobody_serves_are_in_nobodys_way() -> None:
    async with open_rig() as rig:
        await rig.register(nodes("flow", "a", "b"))
        await rig.register(nodes("other", "a"))
        await start_many(rig, "other", [f"x{number:03}" for number in range(300)])
        await start_many(rig, "flow", ["r1"])
        worker = await rig.connect(node_profile("w1", "flow", "a"), credit=5)
        assert await heard_runs(worker, 1) == ["r1"]
        await rig.settle()
        assert await worker.hears_nothing()


async def test_the_same_after_a_restart_with_more_waiting_tasks_than_a_page() -> None:
    async with open_rig() as rig:
        await rig.register(nodes("flow", "a", "b"))
        spec = nodes("flow-b", "b")
        await rig.register(spec)
        await start_many(rig, "flow", [f"x{number:04}" for number in range(1_200)])
        await start_many(rig, "flow-b", ["r1"])
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        worker = await rig.connect(node_profile("w1", "flow-b"), credit=5)
        assert await heard_runs(worker, 1) == ["r1"]


async def test_a_full_route_finds_the_rest_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_READY", 10)
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        names = [f"r{number:03}" for number in range(60)]
        await start_many(rig, "chain", names)
        worker = await rig.connect(profile())
        heard: list[str] = []
        for _ in range(60):
            await worker.grant(1)
            heard += await heard_runs(worker, 1)
        assert sorted(heard) == names
        assert heard[:10] == names[:10]


async def test_a_lost_signal_is_made_good_by_a_look_at_the_store() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        rig.fan_out.muted = True
        await rig.start("chain", "r1")
        rig.fan_out.muted = False
        worker = await rig.connect(profile(), credit=1)
        assert await worker.hears_nothing()
        await rig.advance(5)
        assert await heard_runs(worker, 1) == ["r1"]


async def test_a_newborn_task_overtakes_waiting_ones_a_few_times_only() -> None:
    async with open_rig() as rig:
        await rig.register(chain("long", steps=50))
        await rig.register(chain("short", steps=1))
        worker = await rig.connect(profile(), credit=1)
        await rig.start("long", "busy")
        await start_many(rig, "short", ["w1", "w2"])
        served: list[str] = []
        for _ in range(12):
            task = await worker.task()
            served.append(task.run.run_id)
            await worker.finish_and_grant(task)
            await rig.settle()
        waits = [index for index, run_id in enumerate(served) if run_id != "busy"]
        assert len(waits) == 2
        assert waits[0] <= MAX_OVERTAKING + 1
        assert waits[1] - waits[0] <= MAX_OVERTAKING + 2


async def test_a_newborn_task_never_overtakes_a_higher_priority() -> None:
    async with open_rig() as rig:
        await rig.register(chain("long", steps=5))
        urgent = one_effect(workflow_id="urgent")
        urgent.nodes["only"].priority = 1
        await rig.register(urgent)
        worker = await rig.connect(profile(), credit=1)
        await rig.start("long", "busy")
        task = await worker.task()
        await rig.start("urgent", "r1")
        await worker.finish_and_grant(task)
        assert (await worker.task()).run.run_id == "r1"


async def test_a_claim_that_comes_to_nothing_gives_its_credit_back() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await start_many(rig, "chain", ["r1", "r2"])
        rig.fan_out.muted = True
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "r1")))
        rig.fan_out.muted = False
        worker = await rig.connect(profile(), credit=1)
        assert await heard_runs(worker, 1) == ["r2"]


class PoisonedCodec(EngineCodec):
    """Cannot write the first attempts of runs whose name begins with "bad"."""

    def encode_record(
        self, run: RunState, record: Record, new_salts: Callable[[int], list[bytes]]
    ) -> tuple[bytes, tuple[StoredPayload, ...]]:
        """See `Codec`."""
        if run.run_id.startswith("bad") and record.kind is RecordKind.STEP_STARTED:
            raise ValueError("poison")
        return super().encode_record(run, record, new_salts)


async def test_a_birth_or_claim_that_cannot_be_written_gives_its_credit_back() -> None:
    async with open_rig(codec=PoisonedCodec()) as rig:
        await rig.register(chain(steps=1))
        await rig.start("chain", "bad1")
        worker = await rig.connect(profile(), credit=1)
        with pytest.raises(ValueError, match="poison"):
            await rig.start("chain", "bad2")
        await rig.start("chain", "good")
        assert await heard_runs(worker, 1) == ["good"]


async def test_a_paused_task_is_not_handed_out_until_it_is_unpaused() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.start("chain", "r1")
        await pause_run(rig.engine, PauseRunCommand(RunKey("default", "r1")))
        worker = await rig.connect(profile(), credit=1)
        await rig.advance(6)
        assert (await rig.run("r1")).activity is Activity.QUEUED
        await unpause_run(rig.engine, UnpauseRunCommand(RunKey("default", "r1")))
        assert await heard_runs(worker, 1) == ["r1"]


async def test_idle_workers_take_turns() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        workers = [await rig.connect(profile(f"w{number}"), credit=5) for number in range(3)]
        await start_many(rig, "chain", [f"r{number}" for number in range(6)])
        await rig.settle()
        assert [len(await heard_runs(worker, 2)) for worker in workers] == [2, 2, 2]


async def test_queues_keep_workers_apart() -> None:
    spec = one_effect()
    spec.nodes["only"].queue = "gpu"
    async with open_rig() as rig:
        await rig.register(spec)
        await rig.start("one", "r1")
        plain = await rig.connect(profile("w1"), credit=1)
        await rig.settle()
        assert await plain.hears_nothing()
        gpu = await rig.connect(profile("w2", queues=("default", "gpu")), credit=1)
        assert await heard_runs(gpu, 1) == ["r1"]


async def test_blocked_after_a_minute_without_anybody_who_serves() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        await rig.start("chain", "r1")
        run = await rig.run("r1")
        assert not rig.dispatcher.blocked_run(run)
        await rig.advance(61)
        assert rig.dispatcher.blocked_run(run)
        other = await rig.connect(profile("w1", "something-else"), credit=1)
        assert rig.dispatcher.blocked_run(run)
        busy = await rig.connect(profile("w2"))
        assert not rig.dispatcher.blocked_run(run)
        await busy.leave()
        await rig.advance(59)
        assert not rig.dispatcher.blocked_run(run)
        await rig.advance(2)
        assert rig.dispatcher.blocked_run(run)
        await other.leave()
        summary = rig.store.read_obligations(RunKey("default", "r1"))
        assert summary is not None
        assert summary.task is not None
        assert rig.dispatcher.blocked_task("default", summary.task)


async def test_workers_are_listed_with_what_they_hold() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), epoch=7, credit=3)
        await rig.start("chain", "r1")
        view = rig.dispatcher.workers("default")[0]
        assert (view.profile.worker_id, view.stream_epoch, view.credit, view.held_tasks, view.draining) == (
            "w1",
            7,
            2,
            1,
            False,
        )
        await worker.session.receive(FromWorker(drain=True))
        view = rig.dispatcher.workers("default")[0]
        assert (view.credit, view.draining) == (0, True)
        assert rig.dispatcher.workers("other") == []
        await worker.finish(await worker.task())
        await worker.leave()
        await rig.advance(61)
        assert rig.dispatcher.workers("default") == []


@pytest.mark.parametrize(
    ("key", "served"),
    [
        (effect_route("default", "q", "echo"), True),
        (effect_route("default", "q", "other"), False),
        (effect_route("default", "p", "echo"), False),
        (effect_route("elsewhere", "q", "echo"), False),
        (node_route("default", "q", "any", "v9", "n9"), True),
        (node_route("default", "q", "some", "v1", "a"), True),
        (node_route("default", "q", "some", "v2", "a"), False),
        (node_route("default", "q", "some", "v1", "b"), False),
        (node_route("default", "q", "none", "v1", "a"), False),
    ],
)
def test_what_a_profile_serves(key: routes.RouteKey, served: bool) -> None:
    workflows = (ServedWorkflow("any"), ServedWorkflow("some", ("v1",), ("a",)))
    assert serves(Profile("default", "w", queues=("q",), workflows=workflows, effect_types=("echo",)), key) is served


def test_a_star_serves_every_effect() -> None:
    assert serves(Profile("default", "w", effect_types=("*",)), effect_route("default", "default", "x"))


@pytest.mark.parametrize("seed", range(20))
def test_a_route_hands_out_like_a_sorted_list(seed: int) -> None:
    chance = random.Random(seed)
    route = Route(effect_route("default", "default", "echo"), 0)
    model: dict[str, ReadyTask] = {}
    for _ in range(400):
        run_id = f"r{chance.randrange(40)}"
        action = chance.random()
        if action < 0.5:
            task = ReadyTask(-chance.randrange(3), chance.randrange(50), run_id, chance.randrange(1, 5))
            route.add(task)
            model[run_id] = task
        elif action < 0.7:
            route.forget(run_id)
            model.pop(run_id, None)
        else:
            best = min(model.values(), default=None)
            assert route.head() == best
            assert route.pop() == best
            if best is not None:
                del model[best.run_id]
        assert route.waiting == len(model)


@pytest.mark.parametrize("told", [True, False])
async def test_a_waiting_task_of_a_run_that_moved_is_for_workers_of_its_new_node(told: bool) -> None:
    """Also where the move was made by another process, which does not tell."""
    async with open_rig() as rig:
        await rig.register(nodes("flow", "old"))
        await rig.start("flow", "r1")
        await rig.start("flow", "r2")
        await rig.register(nodes("flow", "new"))
        move = MigrateRunCommand(RunKey("default", "r1"), "", {"old": "new"})
        rig.fan_out.muted = not told
        assert (await migrate_run(rig.engine, move)).current_node == "new"
        rig.fan_out.muted = False
        former = await rig.connect(node_profile("former", "flow", "old"), credit=2)
        latter = await rig.connect(node_profile("latter", "flow", "new"), credit=2)
        assert await heard_runs(former, 1) == ["r2"]
        await rig.advance(10)  # what nobody told is found by a poll
        assert await heard_runs(latter, 1) == ["r1"]
        assert [run.step.worker_id for run in [await rig.run("r1")] if run.step] == ["latter"]
        assert rig.engine.counters["claims_lost"] == (0 if told else 1)
