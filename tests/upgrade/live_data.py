"""Runs in every activity, made on one server and brought to their ends on another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from perdure import Client, EffectContext, Worker, Workflow
from perdure.json_text import JsonObject
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub

ACTIVITIES = {
    "asks": "waiting",
    "hears": "waiting",
    "sleeps": "waiting",
    "parent": "waiting",
    "queued": "queued",
    "held": "leased",
    "paused": "queued",
    "doubt": "parked",
    "later": "backoff",
    "manual": "idle",
    "ended": "",
}
"""Runs of the live data, and what each does when the old server goes."""


def workflows() -> list[Workflow]:
    """What the runs follow."""
    return [
        _of("asking", "ask_user", {"prompt": "Go on?"}),
        _of("hearing", "wait_event", {"name": "go", "scope": "global"}),
        _of("sleeping", "wait_until", {"delay_seconds": 10}),
        _of("parenting", "start_subworkflow", {"workflow_id": "asking"}),
        _of("working", "work", {}),
        _of("holding", "hold", {}),
        _of("paying", "pay", {}, risk="irreversible"),
        _of("telling", "answer_user", {"message": "hello"}),
    ]


def _of(workflow_id: str, effect_type: str, payload: JsonObject, **options: Any) -> Workflow:
    workflow = Workflow(workflow_id)
    workflow.effect_node("first", effect_type, payload, result_key="found", next="done", **options)
    workflow.complete_node("done", {"found": "${vars.found}"})
    return workflow


async def make(client: Client) -> None:
    """Brings every run of ACTIVITIES to where it is meant to be, and leaves "held" leased to a worker that is gone."""
    for workflow in workflows():
        await client.register_workflow(workflow)
    for run_id, workflow_id in (
        ("asks", "asking"),
        ("hears", "hearing"),
        ("parent", "parenting"),
        ("queued", "working"),
        ("paused", "working"),
        ("doubt", "paying"),
        ("held", "holding"),
        ("ended", "telling"),
    ):
        await client.start_run(workflow_id, {"of": run_id}, run_id=run_id, labels={"made": "before"})
    await client.start_run("telling", run_id="manual", drive="manual")
    await client.pause_run("paused", reason="upgrade")
    await _leave_in_doubt(client)
    await _take(client, "hold")
    await client.wait_run("parent", until="settled")
    await client.start_run("telling", run_id="later", start_at=datetime.now(UTC) + timedelta(seconds=10))
    await client.start_run("sleeping", run_id="sleeps")
    await client.wait_run("sleeps", until="settled")


async def _take(client: Client, effect_type: str) -> bytes:
    """Leases a task to a worker of which nobody hears again; returns its token."""
    stub: Any = WorkerServiceStub(client.connection.channel)
    profile = pb.Hello(worker_id=f"gone-{effect_type}", effect_types=[effect_type])
    reply = await stub.PollTasks(pb.PollTasksRequest(worker=profile, request_id=effect_type, max_tasks=1))
    return reply.tasks[0].task_token


async def _leave_in_doubt(client: Client) -> None:
    """Begins an irreversible effect, and then forgets it, as a worker that was killed does."""
    stub: Any = WorkerServiceStub(client.connection.channel)
    token = await _take(client, "pay")
    begin = pb.Begin(task_token=token)
    await stub.ReportTasks(pb.ReportTasksRequest(worker_id="gone-pay", begins=[begin]))
    call = stub.Work()
    hello = pb.Hello(worker_id="gone-pay", stream_epoch=1, effect_types=["pay"])
    await call.write(pb.WorkRequest(hello=hello))
    await call.read()
    call.cancel()


async def activities(client: Client) -> dict[str, str]:
    """What every run of ACTIVITIES does now; "" for one that has ended."""
    found: dict[str, str] = {}
    for run_id in ACTIVITIES:
        run = await client.get_run(run_id)
        found[run_id] = "" if run.ended_at else str(run.activity)
    return found


async def finish(client: Client) -> None:
    """Does for every run what it waits for, and returns when all have completed."""
    worker = Worker(client)
    for effect_type in ("work", "hold", "pay"):

        @worker.effect(effect_type)
        async def work(context: EffectContext, payload: JsonObject) -> str:
            return "done"

    await client.resume_run("asks", "yes", any_wait=True)
    await client.emit_event("go", {"n": 1}, scope="global")
    children = [child.run_id for child in (await client.get_run("parent")).children]
    for child in children:
        await client.resume_run(child, "yes", any_wait=True)
    await client.unpause_run("paused")
    doubt = await client.get_run("doubt")
    assert doubt.step is not None
    await client.resolve_step("doubt", doubt.step.step_id, "rerun")
    await client.tick_run("manual", 5)
    async with worker:
        for run_id in ACTIVITIES:
            run = await client.wait_run(run_id, until="ended")
            assert str(run.status) == "completed", (run_id, run)


async def audited(client: Client) -> int:
    """How many runs are what their ledgers say, chains included. Raises: AssertionError if one is not."""
    audit = await client.audit_all_runs()
    assert not audit.findings
    for run_id in ACTIVITIES:
        assert (await client.verify_run(run_id)).intact
    return audit.runs_checked
