"""Events and waits find each other, whichever comes first (P6)."""

from __future__ import annotations

import pytest

from perdure.v1 import model_pb2
from perdure_server.engine.commands import PauseRunCommand, UnpauseRunCommand
from perdure_server.engine.pause_run import pause_run
from perdure_server.engine.unpause_run import unpause_run
from perdure_server.kernel.instants import format_instant
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import EventScope, RunStatus
from perdure_server.kernel.values import Json
from perdure_server.storage.port import RunKey
from tests.dispatch.rig import Rig, one_effect, open_rig

pytestmark = pytest.mark.promise("P6")

SESSION = EventScope.SESSION


def listener(name: str = "go", workflow_id: str = "listen", scope: str = "session") -> model_pb2.WorkflowSpec:
    """Waits for one event and ends with it."""
    payload = f'{{"event_name":"{name}","scope":"{scope}"}}'
    return one_effect(f'{{"type":"wait_event","payload":{payload}}}', workflow_id)


async def result_of(rig: Rig, run_id: str) -> dict[str, Json]:
    """What the run's wait received."""
    run = await rig.run(run_id)
    assert run.status is RunStatus.COMPLETED
    found = run.vars["result"]
    assert isinstance(found, dict)
    return found


async def test_an_event_ends_the_wait_and_the_run_gets_the_envelope() -> None:
    async with open_rig() as rig:
        await rig.register(listener())
        await rig.start("listen", "r1")
        at = format_instant(rig.clock.now())
        await rig.emit(SESSION, "r1", "go", {"x": [1, 2]})
        found = await result_of(rig, "r1")
        event_id = found.pop("event_id")
        assert isinstance(event_id, str)
        assert found == {
            "name": "go",
            "scope": "session",
            "session_id": "r1",
            "payload": {"x": [1, 2]},
            "emitted_at": at,
            "emitter": {"run_id": "", "workflow_id": "", "node_id": ""},
        }


def late_listener(seconds: int) -> model_pb2.WorkflowSpec:
    """The same, after a while; registered as "slow"."""
    sleeper = listener("go", "slow")
    sleeper.entry_node = "first"
    first = sleeper.nodes["first"]
    first.kind = model_pb2.NODE_KIND_EFFECT
    first.template_json = f'{{"type":"wait_until","payload":{{"delay_seconds":{seconds}}}}}'
    first.next = "only"
    return sleeper


async def test_an_event_before_the_wait_counts() -> None:
    async with open_rig() as rig:
        await rig.register(late_listener(1))
        await rig.start("slow", "r1")
        await rig.emit(SESSION, "r1", "go", {"n": 1})
        await rig.emit(SESSION, "r1", "go", {"n": 2})
        await rig.advance(2)
        assert (await result_of(rig, "r1"))["payload"] == {"n": 1}


@pytest.mark.parametrize(("days", "kept"), [(6, True), (8, False)])
async def test_an_event_that_retention_took_before_the_wait_is_gone_and_not_counted(days: int, kept: bool) -> None:
    """What docs/adr/0015 says, until deleted events are counted: the wait does not tell of it."""
    async with open_rig() as rig:
        await rig.register(late_listener(9 * 86_400))
        await rig.start("slow", "r1")
        await rig.emit(SESSION, "r1", "go", {"n": 1})
        rig.clock.advance(days * 86_400 * SECOND_US)
        await rig.scheduler.retention.loop.next_pass()
        await rig.scheduler.retention.loop.stop()
        await rig.advance((9 - days) * 86_400)
        run = await rig.run("r1")
        assert (run.status is RunStatus.COMPLETED) == kept
        assert run.waiting is None or run.waiting.missed_events == 0


async def test_an_event_before_the_run_does_not_count() -> None:
    async with open_rig() as rig:
        await rig.register(listener())
        await rig.emit(SESSION, "r1", "go", {"n": 0})
        await rig.start("listen", "r1")
        await rig.settle()
        assert (await rig.run("r1")).status is RunStatus.WAITING


async def test_each_event_is_consumed_once_and_in_order() -> None:
    spec = listener("go", "twice")
    spec.nodes["only"].next = "second"
    spec.nodes["second"].CopyFrom(spec.nodes["only"])
    spec.nodes["second"].next = ""
    spec.nodes["second"].result_key = "second"
    async with open_rig() as rig:
        await rig.register(spec)
        await rig.start("twice", "r1")
        await rig.emit(SESSION, "r1", "go", {"n": 1})
        assert (await rig.run("r1")).current_node == "second"
        await rig.emit(SESSION, "r1", "go", {"n": 2})
        run = await rig.run("r1")
        assert run.status is RunStatus.COMPLETED
        seconds = run.vars["second"]
        assert isinstance(seconds, dict)
        assert seconds["payload"] == {"n": 2}


async def test_one_event_reaches_every_run_that_waits_for_it() -> None:
    async with open_rig() as rig:
        await rig.register(listener("go", "listen", "global"))
        await rig.register(listener("*", "any", "global"))
        await rig.register(listener("other", "deaf", "global"))
        for number in range(600):
            await rig.start("listen", f"r{number}")
        await rig.start("any", "any")
        await rig.start("deaf", "deaf")
        await rig.emit(EventScope.GLOBAL, "", "go", {})
        await rig.settle()
        for number in range(600):
            assert (await rig.run(f"r{number}")).status is RunStatus.COMPLETED
        assert (await result_of(rig, "any"))["name"] == "go"
        assert (await rig.run("deaf")).status is RunStatus.WAITING


async def test_an_event_reaches_a_paused_run() -> None:
    async with open_rig() as rig:
        spec = listener()
        spec.nodes["only"].next = "end"
        spec.nodes["end"].kind = model_pb2.NODE_KIND_COMPLETE
        spec.nodes["end"].template_json = "{}"
        await rig.register(spec)
        await rig.start("listen", "r1")
        key = RunKey("default", "r1")
        await pause_run(rig.engine, PauseRunCommand(key))
        await rig.emit(SESSION, "r1", "go", {})
        run = await rig.run("r1")
        assert (run.current_node, run.waiting, run.ended) == ("end", None, False)
        await unpause_run(rig.engine, UnpauseRunCommand(key))
        await rig.settle()
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


async def test_an_emit_effect_of_another_run_names_its_emitter() -> None:
    emitter = one_effect('{"type":"emit_event","payload":{"name":"go","scope":"global","payload":{"a":1}}}', "shout")
    async with open_rig() as rig:
        await rig.register(listener("go", "listen", "global"))
        await rig.register(emitter)
        await rig.start("listen", "r1")
        await rig.start("shout", "r2")
        await rig.settle()
        found = await result_of(rig, "r1")
        assert found["emitter"] == {"run_id": "r2", "workflow_id": "shout", "node_id": "only"}
        assert found["payload"] == {"a": 1}


async def test_a_lost_signal_is_made_good_by_the_sweeper() -> None:
    async with open_rig() as rig:
        await rig.register(listener())
        await rig.start("listen", "r1")
        rig.fan_out.muted = True
        await rig.emit(SESSION, "r1", "go", {})
        rig.fan_out.muted = False
        assert (await rig.run("r1")).status is RunStatus.WAITING
        await rig.scheduler.sweeper.loop.next_pass()
        await rig.settle()
        assert (await rig.run("r1")).status is RunStatus.COMPLETED


async def test_a_crash_between_the_commits_of_event_and_match_loses_nothing() -> None:
    async with open_rig() as rig:
        await rig.register(listener())
        await rig.start("listen", "r1")
        rig.fan_out.muted = True
        await rig.emit(SESSION, "r1", "go", {})
    async with open_rig(store=rig.store, clock=rig.clock) as rig:
        await rig.scheduler.sweeper.loop.ready()
        await rig.settle()
        assert (await rig.run("r1")).status is RunStatus.COMPLETED
