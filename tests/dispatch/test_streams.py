"""A worker's stream, sentence by sentence of its contract."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perdure_server.dispatch.errors import WorkerSupersededError
from perdure_server.dispatch.messages import (
    AckStatus,
    FromWorker,
    GoodbyeReason,
    Hello,
    LeaseState,
    NodeReport,
    Profile,
)
from perdure_server.engine.errors import DrainingError, NamespaceNotFoundError, TooManyStreamsError
from perdure_server.engine.sealing import genesis_hash
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import (
    Activity,
    Effect,
    EffectResult,
    ParkReason,
    RemoteRequest,
    RunStatus,
    StepPlan,
)
from perdure_server.kernel.records import RequeueCause, Requeued
from perdure_server.kernel.values import Leaf
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import StoreInfo
from tests.dispatch.rig import Rig, chain, irreversible, nodes, one_effect, open_rig, until
from tests.dispatch.stream_worker import StreamWorker, node_profile, plan, profile, report, result


async def test_a_run_goes_from_step_to_step_with_one_commit_a_step() -> None:
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


async def test_acks_and_the_tasks_they_make_due_leave_in_one_message() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=2))
        worker = await rig.connect(profile(), credit=200)
        for number in range(50):
            await rig.start("chain", f"r{number}")
        first = [await worker.task() for _ in range(50)]
        heard = worker.messages
        await worker.report(*(result(task.token, "done") for task in first))
        await rig.settle()
        message = await worker.hear()
        assert (len(message.acks), len(message.tasks)) == (50, 50)
        assert worker.messages == heard + 1
        assert await worker.hears_nothing()


async def test_credit_that_comes_with_a_report_serves_the_task_it_makes_due() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=2))
        worker = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        task = await worker.task()
        await worker.session.receive(FromWorker(reports=(result(task.token),), credit=2))
        assert (await worker.task()).run.seq > task.run.seq
        assert rig.engine.counters["claims"] == 0


async def test_no_more_tasks_than_credit_and_a_lower_limit_changes_nothing() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=2)
        await worker.session.receive(FromWorker(credit=1))
        for number in range(3):
            await rig.start("chain", f"r{number}")
        assert [(await worker.task()).run.run_id for _ in range(2)] == ["r0", "r1"]
        await rig.settle()
        assert await worker.hears_nothing()
        await worker.grant(1)
        assert (await worker.task()).run.run_id == "r2"


async def test_a_node_report_may_settle_its_effect_at_once() -> None:
    async with open_rig() as rig:
        await rig.register(nodes("flow", "a", "b"))
        worker = await rig.connect(node_profile("w1", "flow"), credit=4)
        await rig.start("flow", "r1", {"x": 1})
        task = await worker.task()
        effect = Effect("echo", RemoteRequest(Leaf(b"{}")), result_key="said")
        both = NodeReport(StepPlan(effect=effect), EffectResult(Leaf.of("hi")))
        await worker.report(report(task.token, both))
        assert (await worker.ack()).status is AckStatus.ACCEPTED
        task = await worker.task()
        assert task.run.current_node == "b"
        await worker.report(plan(task.token, StepPlan(complete_output=Leaf.of({"ok": True}))))
        assert (await worker.ack()).status is AckStatus.ACCEPTED
        run = await rig.run("r1")
        assert run.status is RunStatus.COMPLETED
        assert run.vars == {"x": 1, "said": "hi"}


async def test_a_node_task_names_the_inputs_its_node_reads() -> None:
    spec = nodes("flow", "a")
    spec.nodes["a"].inputs.append("/x")
    async with open_rig() as rig:
        await rig.register(spec)
        worker = await rig.connect(node_profile("w1", "flow"), credit=1)
        await rig.start("flow", "r1", {"x": 1, "y": 2})
        assert (await worker.task()).inputs == ("/x",)


async def test_a_message_is_cut_by_its_bytes_and_holds_at_least_one_task() -> None:
    limits = replace(DEFAULT_LIMITS, message_bytes=10_000)
    async with open_rig(limits) as rig:
        await rig.register(nodes("flow", "a"))
        worker = await rig.connect(node_profile("w1", "flow"), credit=9)
        for number, size in enumerate((20_000, 3_000, 3_000, 3_000)):
            await rig.start("flow", f"r{number}", {"x": "x" * size})
        await rig.settle()
        sizes: list[int] = []
        while sum(sizes) < 4:
            sizes.append(len((await worker.hear()).tasks))
        assert sizes == [1, 1, 1, 1]


async def test_many_acks_are_cut_too() -> None:
    limits = replace(DEFAULT_LIMITS, message_bytes=5_120)
    async with open_rig(limits) as rig:
        await rig.register(one_effect('{"type":"echo","payload":{}}'))
        worker = await rig.connect(profile(), credit=25)
        for number in range(25):
            await rig.start("one", f"r{number}")
        tasks = [await worker.task() for _ in range(25)]
        await worker.report(*(result(task.token) for task in tasks))
        await rig.settle()
        assert [len((await worker.hear()).acks) for _ in range(3)] == [10, 10, 5]


async def test_a_draining_worker_gets_nothing_new_and_still_reports() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=2))
        worker = await rig.connect(profile(), credit=4)
        await rig.start("chain", "r1")
        task = await worker.task()
        await worker.session.receive(FromWorker(drain=True))
        await worker.session.receive(FromWorker(credit=100))
        await rig.start("chain", "r2")
        assert (await worker.finish(task)).status is AckStatus.ACCEPTED
        await rig.settle()
        assert await worker.hears_nothing()
        await worker.session.receive(FromWorker(goodbye=True))
        assert await worker.ended() is GoodbyeReason.CLIENT_DONE
        other = await rig.connect(profile("w2"), credit=4)
        assert {(await other.task()).run.run_id for _ in range(2)} == {"r1", "r2"}


async def test_a_draining_server_asks_workers_to_leave_and_lets_none_in() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=2))
        worker = await rig.connect(profile(), credit=4)
        await rig.start("chain", "r1")
        task = await worker.task()
        rig.dispatcher.drain(5 * SECOND_US)
        assert (await worker.hear()).drain_us == 5 * SECOND_US
        with pytest.raises(DrainingError):
            await rig.connect(profile("w2"))
        with pytest.raises(DrainingError):
            await rig.dispatcher.poll(profile("w3"), "q1", 1, 0)
        assert (await worker.finish(task)).status is AckStatus.ACCEPTED
        await rig.dispatcher.stop()
        assert await worker.ended() is GoodbyeReason.DRAINING
        assert worker.tasks == []


async def test_a_ping_is_answered_and_both_sides_keep_talking() -> None:
    async with open_rig() as rig:
        worker = await rig.connect(profile())
        assert await worker.hears_nothing()
        await worker.ping()
        answer = await worker.hear()
        assert [answer.tasks, answer.acks, answer.lease_updates] == [[], [], []]
        await rig.advance(15)
        await rig.dispatcher.settle()
        await worker.hear()


async def test_a_stream_silent_for_three_intervals_is_dead_and_its_leases_stay() -> None:
    async with open_rig(scheduler=False) as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=4)
        await rig.start("chain", "r1")
        await worker.task()
        for _ in range(3):
            await rig.advance(15)
        await worker.ping()
        for _ in range(4):
            await rig.advance(15)
        assert await worker.ended() is None
        assert (await rig.run("r1")).activity is Activity.LEASED
        assert rig.dispatcher.workers("default")[0].stream_epoch == 0


async def test_a_jump_of_the_clock_cuts_no_stream() -> None:
    async with open_rig() as rig:
        worker = await rig.connect(profile(), credit=1)
        await rig.advance(86_400)  # whatever it said meanwhile could not be read
        await rig.register(chain())
        await rig.start("chain", "r1")
        assert (await worker.task()).run.run_id == "r1"


async def test_a_higher_epoch_supersedes_and_the_same_or_a_lower_one_is_refused() -> None:
    async with open_rig() as rig:
        old = await rig.connect(profile(), epoch=5, credit=1)
        for epoch in (5, 4):
            with pytest.raises(WorkerSupersededError) as refused:
                await rig.connect(profile(), epoch=epoch)
            assert refused.value.metadata == {"stream_epoch": "5"}
        new = await rig.connect(profile(), epoch=6, credit=1)
        assert await old.ended() is GoodbyeReason.SUPERSEDED
        await old.leave()
        await rig.register(chain())
        await rig.start("chain", "r1")
        assert (await new.task()).run.run_id == "r1"
        assert [view.stream_epoch for view in rig.dispatcher.workers("default")] == [6]


async def test_a_worker_that_reconnects_within_the_lease_goes_on() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=2))
        old = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        task = await old.task()
        await old.leave()
        await rig.advance(20)
        foreign = rig.token("r1", 999, 1)
        new = await rig.connect(profile(), epoch=2, held=(task.token, foreign, b"nonsense"), credit=1)
        assert new.welcome is not None
        assert [update.state for update in new.welcome.held] == [
            LeaseState.HELD,
            LeaseState.LOST,
            LeaseState.LOST,
        ]
        await rig.advance(20)  # the hello renewed the lease
        assert (await new.finish(task)).status is AckStatus.ACCEPTED
        assert (await new.task()).run.run_id == "r1"


async def test_a_lease_that_the_hello_does_not_name_is_handed_out_again_as_a_lapse() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        old = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        task = await old.task()
        await old.leave()
        new = await rig.connect(profile(), epoch=2, credit=1)
        again = await new.task()
        assert (again.token.step_id, again.token.attempt) == (task.token.step_id, 2)
        requeued = [record.body for record in await rig.ledger("r1") if isinstance(record.body, Requeued)]
        assert [body.cause for body in requeued] == [RequeueCause.LAPSED]
        assert (await new.finish(task)).status is AckStatus.STALE


async def test_a_begun_irreversible_effect_that_the_hello_does_not_name_is_parked() -> None:
    async with open_rig() as rig:
        await rig.register(irreversible())
        old = await rig.connect(profile(), credit=1)
        await rig.start("one", "r1")
        task = await old.task()
        await old.begin(task)
        assert (await old.begin_ack()).status is AckStatus.ACCEPTED
        await old.leave()
        await rig.connect(profile(), epoch=2, credit=1)
        run = await rig.run("r1")
        assert run.activity is Activity.PARKED
        assert run.step is not None
        assert run.step.park_reason is ParkReason.IN_DOUBT


async def test_a_task_that_was_never_sent_goes_back_without_a_lapse() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        await worker.leave()
        await rig.settle()
        run = await rig.run("r1")
        assert run.activity is Activity.QUEUED
        assert run.step is not None
        assert (run.step.attempt, run.step.lapses) == (1, 0)


async def test_a_task_whose_stream_ended_during_its_commit_goes_back() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker = await rig.connect(profile(), credit=1)
        starting = asyncio.ensure_future(rig.start("chain", "r1"))
        await until(lambda: reserved(rig, "w1") == 1)
        await worker.leave()
        await starting
        await rig.settle()
        run = await rig.run("r1")
        assert run.activity is Activity.QUEUED
        assert run.step is not None
        assert run.step.lapses == 0


async def test_a_new_stream_is_not_sent_what_the_old_ones_credit_was_taken_for() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        old = await rig.connect(profile(), credit=1)
        starting = asyncio.ensure_future(rig.start("chain", "r1"))
        await until(lambda: reserved(rig, "w1") == 1)
        new = await rig.connect(profile(), epoch=2)
        await starting
        await rig.settle()
        assert await new.hears_nothing()
        await old.leave()
        await new.grant(1)
        assert (await new.task()).token.attempt == 2


async def test_streams_of_unknown_namespaces_and_too_many_of_one_caller_are_refused() -> None:
    limits = replace(DEFAULT_LIMITS, streams_per_caller=1)
    async with open_rig(limits) as rig:
        with pytest.raises(NamespaceNotFoundError):
            await rig.dispatcher.connect(Hello(Profile("nowhere", "w1"), 1))
        with rig.dispatcher.stream_of("alice"):
            with pytest.raises(TooManyStreamsError), rig.dispatcher.stream_of("alice"):
                pass
            with rig.dispatcher.stream_of("bob"):
                pass
        with rig.dispatcher.stream_of("alice"):
            pass


async def test_nothing_is_sent_after_the_goodbye() -> None:
    async with open_rig() as rig:
        await rig.register(chain())
        worker: StreamWorker = await rig.connect(profile(), credit=1)
        await rig.start("chain", "r1")
        task = await worker.task()
        await rig.connect(profile(), epoch=2, held=(task.token,))
        assert await worker.ended() is GoodbyeReason.SUPERSEDED
        await worker.report(result(task.token))
        await rig.settle()
        assert await worker.session.next() is None
        assert (await rig.run("r1")).current_node == "step-1"


def reserved(rig: Rig, worker_id: str) -> int:
    """Tasks on their way to a worker."""
    worker = rig.registry.worker("default", worker_id)
    return sum(seat.reserved for seat in worker.seats) if worker else 0


async def test_a_worker_that_falls_silent_is_sent_nothing_until_it_is_heard_again() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        silent = await rig.connect(profile("silent"), credit=5)
        other = await rig.connect(profile("other"), credit=5)
        for _ in range(2):
            await rig.advance(14)
            await other.ping()
        for number in range(2):
            await rig.start("chain", f"r{number}")
        await rig.settle()
        assert {(await other.task()).run.run_id for _ in range(2)} == {"r0", "r1"}
        await silent.ping()
        for number in range(2, 4):
            await rig.start("chain", f"r{number}")
        assert (await silent.task()).run.run_id in {"r2", "r3"}


async def test_leases_given_by_another_process_are_reconciled_too() -> None:
    class Shared(MemoryStore):
        """Says that others use it too."""

        def info(self) -> StoreInfo:
            """See `StoreReader`."""
            return replace(super().info(), shared=True)

    store = Shared(genesis=genesis_hash, epoch="0" * 32)
    async with open_rig(store=store) as first, open_rig(store=store, clock=first.clock) as second:
        await first.register(chain())
        old = await first.connect(profile(), credit=2)
        await first.start("chain", "r1")
        await first.start("chain", "r2")
        tokens = [(await old.task()).token for _ in range(2)]
        await old.leave()
        new = await second.connect(profile(), epoch=2, held=tokens[:1])
        assert new.welcome is not None
        assert [update.state for update in new.welcome.held] == [LeaseState.HELD]
        assert (await second.run("r1")).activity is Activity.LEASED
        run = await second.run("r2")
        assert run.activity is Activity.QUEUED
        assert run.step is not None
        assert run.step.lapses == 1
