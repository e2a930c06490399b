"""Children tell their parents that they have ended, and cancels go down the tree (P6)."""

from __future__ import annotations

import pytest

from perdure.v1 import model_pb2
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand
from perdure_server.kernel.decision import Mail, MailKind
from perdure_server.kernel.model import RunStatus
from perdure_server.storage.port import Commit, RunKey
from tests.dispatch.rig import Rig, chain, one_effect, open_rig
from tests.dispatch.stream_worker import profile

pytestmark = pytest.mark.promise("P6")


def parent(child: str = "chain", **payload: str) -> model_pb2.WorkflowSpec:
    """Starts a child and waits for it."""
    more = "".join(f',"{name}":{value}' for name, value in payload.items())
    return one_effect(f'{{"type":"start_subworkflow","payload":{{"workflow_id":"{child}"{more}}}}}', "parent")


async def child_of(rig: Rig, run_id: str) -> str:
    """The id of the run's open child."""
    return next(iter((await rig.run(run_id)).children))


async def mail(rig: Rig) -> list[tuple[str, str, str]]:
    """Messages that wait in the store."""
    due = await rig.engine.read(rig.store.due_work, rig.clock.now(), rig.engine.lease_now(), 100)
    return [(row.key.run_id, row.kind, row.from_run_id) for row in due.mail]


async def test_a_parent_goes_on_when_its_child_has_ended() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        worker = await rig.connect(profile(), credit=5)
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        await rig.settle()
        await worker.finish(await worker.task(), "done")
        await rig.settle()
        run = await rig.run("p1")
        assert run.status is RunStatus.COMPLETED
        result = run.vars["result"]
        assert isinstance(result, dict)
        assert result["sub_run_id"] == child
        assert await mail(rig) == []


async def test_a_cancel_goes_down_the_tree() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "p1"), "no longer wanted"))
        await rig.settle()
        run = await rig.run(child)
        assert (run.status, run.cancel_reason) == (RunStatus.CANCELLED, "no longer wanted")
        assert await mail(rig) == []


@pytest.mark.parametrize("event", ["end", "cancel"])
async def test_a_message_whose_signal_was_lost_is_found(event: str) -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        rig.fan_out.muted = True
        target = child if event == "end" else "p1"
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", target)))
        rig.fan_out.muted = False
        assert len(await mail(rig)) == 1
        await rig.settle()
        assert (await rig.run(child)).status is RunStatus.CANCELLED
        assert (await rig.run("p1")).ended
        assert await mail(rig) == []


async def test_a_message_outlives_the_process() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        rig.fan_out.muted = True
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", child)))
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        await rig.settle()
        error = (await rig.run("p1")).error
        assert error is not None
        assert error.type == "CHILD_CANCELLED"
        assert await mail(rig) == []


async def test_a_message_to_an_ended_run_is_dropped_without_a_record() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        rig.fan_out.muted = True
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "p1")))
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", child)))
        rig.fan_out.muted = False
        before = await rig.kinds("p1"), await rig.kinds(child)
        assert len(await mail(rig)) == 2
        await rig.settle()
        assert await mail(rig) == []
        assert (await rig.kinds("p1"), await rig.kinds(child)) == before


async def test_the_sweeper_tells_of_an_end_whose_message_is_gone() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        rig.fan_out.muted = True
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", child)))
        rig.fan_out.muted = False
        key = RunKey("default", "p1")
        snapshot = rig.store.load_run(key)
        assert snapshot is not None
        taken = Commit(
            "default",
            key,
            expected_seq=snapshot.head.seq,
            head=snapshot.head,
            mail_consumed=((MailKind.CHILD_ENDED.value, child),),
        )
        await rig.engine.commit(taken)
        assert await mail(rig) == []
        await rig.settle()
        assert not (await rig.run("p1")).ended
        await rig.scheduler.sweeper.loop.next_pass()
        await rig.settle()
        assert (await rig.run("p1")).status is RunStatus.FAILED


async def test_a_message_about_a_run_that_has_not_ended_is_tried_again() -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(parent())
        await rig.start("parent", "p1")
        child = await child_of(rig, "p1")
        rig.scheduler.mail_sent("default", [Mail("p1", MailKind.CHILD_ENDED, child)])
        await rig.scheduler.due.chores.idle()
        assert rig.scheduler.due.chores.failures == 1
        await rig.advance(1)
        assert not (await rig.run("p1")).ended
