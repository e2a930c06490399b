"""A worker is cut off in the middle of an effect: killed, or stopped and brought back too late.

Its task is handed out again after its lease, under a higher attempt; whatever it says afterwards changes nothing.
An irreversible effect that had begun is not handed out again: a person decides.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, LedgerEntry, RecordKind
from tests.e2e.effect_worker import job_workflow, payment_workflow
from tests.e2e.outside import Outside
from tests.e2e.processes import Program, Server, run_perdure, running

pytestmark = pytest.mark.promise("P5", "P7")

LEASE_SECONDS = 2.0


@dataclass
class World:
    """A server with short leases, a client of it, the world outside, and workers as they are started."""

    server: Server
    client: Client
    outside: Outside
    stack: AsyncExitStack

    async def worker(self, name: str) -> Program:
        """An SDK worker process that has been welcomed."""
        program = await self._start("effect_worker", name)
        await program.line(lambda line: "ready" in line, "line that it is ready")
        return program

    async def stubborn_worker(self, name: str, *flags: str) -> Program:
        """A worker process of generated stubs only."""
        return await self._start("stubborn_worker", name, *flags)

    async def _start(self, module: str, name: str, *flags: str) -> Program:
        arguments = ("--address", self.server.address, "--outside", str(self.outside.path), "--id", name)
        program = await Program.module(name, f"tests.e2e.{module}", *arguments, *flags)
        return await self.stack.enter_async_context(running(program))

    async def ledger_until(self, run_id: str, kind: RecordKind) -> list[LedgerEntry]:
        """The run's records as they are committed, up to the first of this kind."""
        entries: list[LedgerEntry] = []
        async with self.client.subscribe(run_id) as subscription:
            async for entry in subscription:
                entries.append(entry)
                if entry.kind is kind:
                    return entries
        raise AssertionError(f"the ledger of {run_id} ended without {kind}")

    async def register(self) -> None:
        """Registers the workflows without a worker that would take their tasks."""
        for workflow in (job_workflow(), payment_workflow()):
            await self.client.register_workflow(workflow)

    async def perdure(self, *arguments: str) -> dict[str, Any]:
        """Runs the command, which has to succeed, and returns the JSON object that it prints."""
        program = await run_perdure(*arguments, "--json", address=self.server.address)
        assert await program.ended() == 0, program.lines
        return json.loads(program.lines[-1])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(Outside.open(tmp_path / "outside.sock"))
        store = f"sqlite:///{tmp_path}/perdure.sqlite"
        server = await Server.serve(store, "--lease-seconds", str(LEASE_SECONDS))
        await stack.enter_async_context(running(server))
        client = await stack.enter_async_context(Client.connect(server.address))
        yield World(server, client, outside, stack)


def told(entries: list[LedgerEntry]) -> list[tuple[str, int, str]]:
    """What each record tells of the effect step: kind, attempt, worker."""
    step = {"step_started", "step_begun", "requeued", "parked", "unparked"}
    return [
        (str(entry.kind), entry.attempt, entry.record.worker_id)
        for entry in entries
        if str(entry.kind) in step or entry.record.step_completed.effect_type
    ]


async def begin_run(world: World, workflow: str) -> str:
    """Starts a run of a workflow; its effect is taken by a worker that is connected or to come."""
    return (await world.client.start_run(workflow, {"of": "coal"})).run_id


async def expect_sound(world: World, run_id: str) -> None:
    """The run's chain and state are what its ledger says."""
    assert (await world.client.verify_run(run_id)).intact
    assert (await world.client.audit_runs()).findings == []


async def test_a_killed_workers_task_is_handed_out_again(world: World) -> None:
    first = await world.worker("first")
    run_id = await begin_run(world, "job")
    lost = await world.outside.call()
    assert (lost.asked["worker"], lost.asked["attempt"]) == ("first", 1)
    await world.worker("second")
    await first.kill()

    again = await world.outside.call()
    assert (again.asked["worker"], again.asked["attempt"]) == ("second", 2)
    assert again.asked["key"] == lost.asked["key"]
    await again.answer({"by": "second"})

    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"by": "second"}}
    entries = await world.client.list_records(run_id).all()
    assert told(entries) == [
        ("step_started", 1, "first"),
        ("requeued", 1, "first"),
        ("step_started", 2, "second"),
        ("step_completed", 2, "second"),
    ]
    assert run.step is None
    await expect_sound(world, run_id)


async def test_a_stopped_workers_late_report_is_stale(world: World) -> None:
    await world.register()
    zombie = await world.stubborn_worker("zombie")
    run_id = await begin_run(world, "job")
    held = await world.outside.call()
    assert held.asked == {"worker": "zombie", "attempt": 1}
    zombie.send(signal.SIGSTOP)

    await world.worker("second")
    again = await world.outside.call()
    assert (again.asked["worker"], again.asked["attempt"]) == ("second", 2)

    # It wakes up with its answer while the second attempt is still under way, and reports.
    await held.answer({"by": "zombie"})
    zombie.send(signal.SIGCONT)
    assert await zombie.ended() == 0
    reports = [json.loads(line) for line in zombie.lines if "report" in line]
    assert reports == [{"event": "report", "status": "stale", "reason": "STALE_ATTEMPT"}] * 2

    await again.answer({"by": "second"})
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"by": "second"}}
    entries = await world.client.list_records(run_id).all()
    assert told(entries)[-1] == ("step_completed", 2, "second")
    assert [entry for entry in entries if entry.kind is RecordKind.LATE_RESULT] == []
    await expect_sound(world, run_id)


async def test_a_report_after_the_runs_end_is_stale(world: World) -> None:
    await world.register()
    zombie = await world.stubborn_worker("zombie")
    run_id = await begin_run(world, "job")
    held = await world.outside.call()
    zombie.send(signal.SIGSTOP)
    await world.worker("second")
    again = await world.outside.call()
    await again.answer({"by": "second"})
    before = await world.client.wait_run(run_id, until="ended", timeout=30)

    await held.answer({"by": "zombie"})
    zombie.send(signal.SIGCONT)
    assert await zombie.ended() == 0
    assert [json.loads(line)["status"] for line in zombie.lines if "report" in line] == ["stale", "stale"]
    after = await world.client.get_run(run_id)
    assert (after.output, after.status) == (before.output, before.status)
    await expect_sound(world, run_id)


async def test_a_stopped_sdk_worker_comes_back_and_goes_on(world: World) -> None:
    zombie = await world.worker("zombie")
    run_id = await begin_run(world, "job")
    held = await world.outside.call()
    zombie.send(signal.SIGSTOP)
    second = await world.worker("second")
    again = await world.outside.call()
    assert (again.asked["worker"], again.asked["attempt"]) == ("second", 2)
    await held.answer({"by": "zombie"})
    zombie.send(signal.SIGCONT)
    await again.answer({"by": "second"})
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"by": "second"}}
    entries = await world.client.list_records(run_id).all()
    assert told(entries)[-1] == ("step_completed", 2, "second")

    # With the other one gone, the one that came back takes the next task.
    await second.kill()
    next_run = await begin_run(world, "job")
    call = await world.outside.call()
    while call.asked["worker"] != "zombie":
        call = await world.outside.call()
    await call.answer({"by": "zombie"})
    ended = await world.client.wait_run(next_run, until="ended", timeout=30)
    assert ended.output == {"result": {"by": "zombie"}}


async def test_an_attempt_that_had_not_begun_is_handed_out_again(world: World) -> None:
    await world.register()
    zombie = await world.stubborn_worker("zombie")
    run_id = await begin_run(world, "payment")
    await world.outside.call()
    await zombie.kill()
    await world.worker("second")
    again = await world.outside.call()
    assert (again.asked["worker"], again.asked["attempt"]) == ("second", 2)
    await again.answer({"paid": True})
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"paid": True}}
    entries = await world.client.list_records(run_id).all()
    assert told(entries) == [
        ("step_started", 1, "zombie"),
        ("requeued", 1, "zombie"),
        ("step_started", 2, "second"),
        ("step_begun", 2, "second"),
        ("step_completed", 2, "second"),
    ]


async def test_a_failure_before_an_irreversible_effect_begins_is_tried_again(world: World) -> None:
    await world.register()
    first = await world.stubborn_worker("first", "--declines")
    run_id = await begin_run(world, "payment")
    assert await first.ended() == 0
    assert json.loads(first.lines[-1]) == {"event": "report", "status": "accepted", "reason": ""}
    await world.worker("second")
    again = await world.outside.call()
    assert (again.asked["worker"], again.asked["attempt"]) == ("second", 2)
    await again.answer({"paid": True})
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"paid": True}}
    entries = await world.client.list_records(run_id).all()
    assert told(entries) == [
        ("step_started", 1, "first"),
        ("step_completed", 1, "first"),
        ("requeued", 1, ""),
        ("step_started", 2, "second"),
        ("step_begun", 2, "second"),
        ("step_completed", 2, "second"),
    ]


async def parked_payment(world: World) -> str:
    """A payment whose worker was killed after it had begun, with another worker at hand."""
    first = await world.worker("first")
    run_id = await begin_run(world, "payment")
    await world.outside.call()
    await world.worker("second")
    await first.kill()
    entries = await world.ledger_until(run_id, RecordKind.PARKED)
    assert told(entries) == [
        ("step_started", 1, "first"),
        ("step_begun", 1, "first"),
        ("parked", 1, "first"),
    ]
    run = await world.client.get_run(run_id)
    assert run.activity == "parked"
    assert run.step is not None
    assert run.step.park_reason == "IN_DOUBT"
    return run_id


async def test_a_begun_irreversible_effect_parks_and_resolve_completes_it(world: World) -> None:
    run_id = await parked_payment(world)
    listed = await world.perdure("run", "list", "--activity", "parked")
    assert listed["run_id"] == run_id
    await world.perdure("run", "resolve", run_id, "--completed", '{"paid": "by phone"}', "--by", "ada")
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"paid": "by phone"}}
    entries = await world.client.list_records(run_id).all()
    assert [str(entry.kind) for entry in entries].count("step_begun") == 1
    assert next(e for e in entries if e.kind is RecordKind.UNPARKED).record.unparked.resolved_by == "ada"
    await expect_sound(world, run_id)


async def test_resolve_hands_a_parked_effect_out_again(world: World) -> None:
    run_id = await parked_payment(world)
    await world.perdure("run", "resolve", run_id, "--rerun")
    again = await world.outside.call()
    assert (again.asked["worker"], again.asked["attempt"]) == ("second", 2)
    await again.answer({"paid": True})
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.output == {"result": {"paid": True}}


async def test_resolve_gives_a_parked_effect_up(world: World) -> None:
    run_id = await parked_payment(world)
    await world.perdure("run", "resolve", run_id, "--failed", "NOT_PAID: the bank knows nothing of it")
    run = await world.client.wait_run(run_id, until="ended", timeout=30)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.type == "NOT_PAID"
    assert run.error.message.endswith("the bank knows nothing of it")


async def test_a_late_report_of_a_parked_attempt_changes_nothing(world: World) -> None:
    await world.register()
    zombie = await world.stubborn_worker("zombie", "--begins")
    run_id = await begin_run(world, "payment")
    held = await world.outside.call()
    zombie.send(signal.SIGSTOP)
    await world.ledger_until(run_id, RecordKind.PARKED)
    await world.perdure("run", "resolve", run_id, "--completed", '{"paid": "by phone"}')
    await world.client.wait_run(run_id, until="ended", timeout=30)
    await held.answer({"paid": "by zombie"})
    zombie.send(signal.SIGCONT)
    assert await zombie.ended() == 0
    facts = [json.loads(line) for line in zombie.lines]
    assert facts[1] == {"event": "begin", "status": "accepted", "reason": ""}
    assert [fact["status"] for fact in facts[2:]] == ["stale", "stale"]
    run = await world.client.get_run(run_id)
    assert run.output == {"result": {"paid": "by phone"}}
