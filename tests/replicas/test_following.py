"""A run that moves at one replica is seen at the others: states, watchers, waits for a seq (P6)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from perdure.v1 import model_pb2
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import (
    CancelRunCommand,
    RequestId,
    ResumeRunCommand,
    StartRunCommand,
    TickRunCommand,
)
from perdure_server.engine.resume_run import resume_run
from perdure_server.engine.start_run import start_run
from perdure_server.engine.tick_run import tick_run
from perdure_server.engine.wait_run import wait_run
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import Activity, Drive, RunStatus
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import Commit, RunKey, Verdict
from tests.dispatch.rig import one_effect
from tests.ledger.rig import give_turns
from tests.replicas.rig import NAMESPACE, open_replicas, set_by, wait_of

pytestmark = pytest.mark.promise("P6")

KEY = RunKey(NAMESPACE, "r1")


def asking(times: int = 1) -> model_pb2.WorkflowSpec:
    """Asks a person some times, then ends."""
    spec = one_effect('{"type":"ask_user","payload":{"prompt":"?"}}', "ask")
    for number in range(1, times):
        following = spec.nodes[f"again-{number}"]
        following.CopyFrom(spec.nodes["only"])
        before = "only" if number == 1 else f"again-{number - 1}"
        spec.nodes[before].next = f"again-{number}"
    return spec


async def test_a_state_in_memory_is_not_served_after_another_replica_moved_the_run() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await a.start("ask", "r1")
        assert (await b.run("r1")).activity is Activity.WAITING
        await cancel_run(a.engine, CancelRunCommand(KEY))
        assert (await b.run("r1")).activity is Activity.WAITING, "known when the follower has looked"
        await replicas.pump(2)
        assert (await b.run("r1")).status is RunStatus.CANCELLED


async def test_who_waits_at_one_replica_hears_of_what_another_one_did() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await a.start("ask", "r1")
        await b.run("r1")
        waiting = asyncio.ensure_future(wait_run(b.engine, KEY, ended_only=True, min_seq=0, wait_us=3600 * SECOND_US))
        await replicas.pump(2)
        assert not waiting.done()
        wait_id = wait_of(await a.run("r1")).wait_id
        await resume_run(a.engine, ResumeRunCommand(KEY, Leaf.of({"x": 1}), wait_id=wait_id))
        await replicas.until(waiting.done)
        run, reached = await waiting
        assert (run.status, reached) == (RunStatus.COMPLETED, True)


async def test_an_answer_to_a_wait_that_this_replica_has_not_heard_of_is_taken() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking(2))
        await a.start("ask", "r1")
        first = wait_of(await b.run("r1"))
        await resume_run(a.engine, ResumeRunCommand(KEY, Leaf.of(1), wait_id=first.wait_id))
        second = wait_of(await a.run("r1"))
        await resume_run(b.engine, ResumeRunCommand(KEY, Leaf.of(2), wait_id=second.wait_id))
        assert (await b.run("r1")).status is RunStatus.COMPLETED
        assert replicas.kinds("r1").count("resumed") == 2


async def test_two_answers_at_two_replicas_one_is_taken() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking(2))
        wait = wait_of(await a.start("ask", "r1"))
        await b.run("r1")
        command = ResumeRunCommand(KEY, Leaf.of(1), wait_id=wait.wait_id)
        results = await asyncio.gather(
            resume_run(a.engine, command), resume_run(b.engine, command), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, Rejection)]
        assert [rejection.reason for rejection in refused] == [Reason.WAIT_ENDED]
        assert replicas.kinds("r1").count("resumed") == 1
        assert a.engine.counters["conflicts"] + b.engine.counters["conflicts"] <= 1


async def test_a_state_that_was_read_before_it_was_outdated_is_read_again() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await a.start("ask", "r1")
        await replicas.pump(2)
        has_read, may_go_on = threading.Event(), threading.Event()

        def slowly(_snapshot: object) -> None:
            has_read.set()
            may_go_on.wait(30)

        b.store.after_load = slowly
        reading = asyncio.ensure_future(b.run("r1"))
        await set_by(has_read)
        await cancel_run(a.engine, CancelRunCommand(KEY))
        assert b.runtime.follower is not None
        await b.runtime.follower.follow()
        may_go_on.set()
        await reading
        assert (await b.engine.refresh(KEY, 0)).status is RunStatus.CANCELLED
        assert (await b.run("r1")).status is RunStatus.CANCELLED


async def test_a_commit_that_another_replica_follows_up_before_it_is_answered_leaves_no_old_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        committed, may_go_on = threading.Event(), threading.Event()
        commit = a.store.commit

        def answered_late(batch: Sequence[Commit]) -> list[Verdict]:
            verdicts = commit(batch)
            committed.set()
            may_go_on.wait(30)
            return verdicts

        monkeypatch.setattr(a.store, "commit", answered_late)
        starting = asyncio.ensure_future(a.start("ask", "r1"))
        await set_by(committed)
        await cancel_run(b.engine, CancelRunCommand(KEY))
        assert a.runtime.follower is not None
        following = asyncio.ensure_future(a.runtime.follower.follow())
        await give_turns(200)
        may_go_on.set()
        await starting
        await following
        assert (await a.run("r1")).status is RunStatus.CANCELLED


async def test_a_read_with_min_seq_sees_what_its_caller_was_told_elsewhere() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking(2))
        wait = wait_of(await a.start("ask", "r1"))
        await b.run("r1")
        replicas.data.hints = False
        reply = await resume_run(a.engine, ResumeRunCommand(KEY, Leaf.of(1), wait_id=wait.wait_id))
        run, reached = await wait_run(b.engine, KEY, ended_only=False, min_seq=reply.seq, wait_us=0)
        assert reached
        assert run.waiting is not None
        assert run.waiting.wait_id > wait.wait_id


async def test_a_tick_that_is_repeated_at_another_replica_tells_what_came_of_the_first() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        await start_run(a.engine, StartRunCommand(NAMESPACE, "ask", Leaf.of({}), run_id="r1", drive=Drive.MANUAL))
        assert (await b.run("r1")).activity is Activity.IDLE
        replicas.data.hints = False
        tick = TickRunCommand(KEY, 1, SECOND_US, RequestId("TickRun", "tick", b""))
        first = await tick_run(a.engine, tick)
        assert first.activity == Activity.WAITING
        assert await tick_run(b.engine, tick) == first


async def test_a_seq_that_no_run_has_yet_is_waited_for() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking(2))
        wait = wait_of(await a.start("ask", "r1"))
        seq = (await b.run("r1")).seq + 1
        waiting = asyncio.ensure_future(
            wait_run(b.engine, KEY, ended_only=False, min_seq=seq, wait_us=3600 * SECOND_US)
        )
        await replicas.pump(2)
        assert not waiting.done()
        await resume_run(a.engine, ResumeRunCommand(KEY, Leaf.of(1), wait_id=wait.wait_id))
        await replicas.until(waiting.done)
        assert (await waiting)[0].seq >= seq


async def test_without_hints_it_is_known_after_the_poll_interval() -> None:
    async with open_replicas() as replicas:
        a, b = replicas.all
        replicas.data.hints = False
        await replicas.register(asking())
        await a.start("ask", "r1")
        await b.run("r1")
        await cancel_run(a.engine, CancelRunCommand(KEY))
        follower = b.runtime.follower
        assert follower is not None
        replicas.clock.advance(SECOND_US)
        await replicas.until(lambda: follower.position == replicas.data.store.horizon())
        assert (await b.run("r1")).status is RunStatus.CANCELLED


async def test_a_replica_far_behind_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure_server.engine.follower.PAGE", 2)
    monkeypatch.setattr("perdure_server.engine.follower.PAGES", 2)
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        for number in range(9):
            await a.start("ask", f"r{number}")
        await replicas.pump()
        for number in range(9):
            await b.run(f"r{number}")
        for number in range(9):
            await cancel_run(a.engine, CancelRunCommand(RunKey(NAMESPACE, f"r{number}")))
        await replicas.pump(2)
        assert b.engine.counters["follower_restarts"] >= 1
        for number in range(9):
            assert (await b.run(f"r{number}")).status is RunStatus.CANCELLED


async def test_who_waits_hears_of_another_replica_while_an_input_is_under_way_here() -> None:
    """Both move the run, and the other one's commit is taken: this one looks who did, and reads the run again."""
    async with open_replicas() as replicas:
        a, b = replicas.all
        await replicas.register(asking())
        wait = wait_of(await a.start("ask", "r1"))
        waiting = asyncio.ensure_future(wait_run(b.engine, KEY, ended_only=True, min_seq=0, wait_us=3600 * SECOND_US))
        await replicas.pump(2)
        reads_again, has_followed = threading.Event(), threading.Event()

        def slowly(_snapshot: object) -> None:
            reads_again.set()
            has_followed.wait(30)

        b.store.after_load = slowly
        b.store.gate.clear()
        resuming = asyncio.ensure_future(resume_run(b.engine, ResumeRunCommand(KEY, Leaf.of(1), wait_id=wait.wait_id)))
        await give_turns(20)
        await cancel_run(a.engine, CancelRunCommand(KEY))
        b.store.gate.set()
        await set_by(reads_again)
        assert b.runtime.follower is not None
        await b.runtime.follower.follow()
        await give_turns(20)
        has_followed.set()
        with pytest.raises(Rejection):
            await resuming
        await give_turns(20)
        assert waiting.done(), "nothing more will happen to the run"
        assert (await waiting)[0].status is RunStatus.CANCELLED
