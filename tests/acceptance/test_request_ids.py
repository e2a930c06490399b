"""request_id of every changing call: a repeat gets the first reply and changes nothing, another body is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from perdure import Client, LedgerScope, Workflow
from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.acceptance.lives import Lives
from tests.acceptance.parking import parked_run
from tests.acceptance.scene import Scene, asking, calling
from tests.api.served import refusal

SERVICES = {
    "RunService": (runs.DESCRIPTOR, RunServiceStub),
    "WorkflowService": (workflows.DESCRIPTOR, WorkflowServiceStub),
    "AdminService": (admin.DESCRIPTOR, AdminServiceStub),
}
ID = "request-1"


@dataclass(frozen=True)
class Case:
    """A changing call that can be accepted, and the same one with another body."""

    request: Message
    other: Message


Prepare = Callable[[Scene], Awaitable[Case]]


def case(request: Any, **changes: Any) -> Case:
    """A call whose other body has these fields instead."""
    request.request_id = ID
    other = type(request)()
    other.CopyFrom(request)
    for name, value in changes.items():
        if isinstance(value, Message):
            getattr(other, name).CopyFrom(value)
        else:
            setattr(other, name, value)
    return Case(request, other)


async def start_run(scene: Scene) -> Case:
    """A run with a generated id."""
    await scene.register(calling())
    return case(runs.StartRunRequest(namespace=scene.namespace, workflow_id="calling"), vars_json='{"a":1}')


async def tick_run(scene: Scene) -> Case:
    """One node entry, after which the run waits."""
    workflow = asking()
    await scene.register(workflow)
    run = await scene.start(workflow, drive="manual")
    return case(runs.TickRunRequest(namespace=scene.namespace, run_id=run.run_id, max_steps=1), max_steps=2)


async def resume_run(scene: Scene) -> Case:
    """An answer."""
    await scene.register(asking())
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    request = runs.ResumeRunRequest(
        namespace=scene.namespace, run_id=run.run_id, wait_id=wait.wait_id, payload_json='"y"'
    )
    return case(request, payload_json='"n"')


async def cancel_run(scene: Scene) -> Case:
    """A cancel of a run that stands still."""
    await scene.register(calling())
    run = await scene.start("calling")
    return case(runs.CancelRunRequest(namespace=scene.namespace, run_id=run.run_id), reason="another")


async def pause_run(scene: Scene) -> Case:
    """A pause."""
    await scene.register(calling())
    run = await scene.start("calling")
    return case(runs.PauseRunRequest(namespace=scene.namespace, run_id=run.run_id), reason="another")


async def unpause_run(scene: Scene) -> Case:
    """An unpause."""
    await scene.register(calling())
    run = await scene.start("calling")
    await run.pause()
    return case(runs.UnpauseRunRequest(namespace=scene.namespace, run_id=run.run_id), unpaused_by="another")


async def resolve_step(scene: Scene) -> Case:
    """A decision about a parked step."""
    run = await parked_run(scene)
    step = (await run.state()).step
    assert step is not None
    request = runs.ResolveStepRequest(namespace=scene.namespace, run_id=run.run_id, step_id=step.step_id)
    request.completed.result_json = '"it was charged"'
    return case(request, failed=common_pb2.Failure(type="NO"))


async def retry_run(scene: Scene) -> Case:
    """A failed run is opened again, paused."""
    await scene.register(failing())
    run = await scene.start("failing")
    assert (await scene.ended(run)).status == "failed"
    request = runs.RetryRunRequest(namespace=scene.namespace, run_id=run.run_id, pause=True)
    return case(request, retried_by="another")


async def retry_runs(scene: Scene) -> Case:
    """Two failed runs are opened again, paused."""
    workflow = failing("failing-too")
    await scene.register(workflow)
    for run in [await scene.start(workflow) for _ in range(2)]:
        assert (await scene.ended(run)).status == "failed"
    chosen = runs.RunFilter(workflow_id="failing-too")
    return case(runs.RetryRunsRequest(namespace=scene.namespace, filter=chosen, pause=True), retried_by="another")


async def migrate_run(scene: Scene) -> Case:
    """A waiting run moves to another version."""
    await scene.client.register_workflow(asking("moving"))
    run = await scene.start("moving")
    await scene.waiting(run)
    target = await scene.client.register_workflow(asking("moving", prompt="Another?"))
    request = runs.MigrateRunRequest(namespace=scene.namespace, run_id=run.run_id, workflow_version=target.version)
    return case(request, migrated_by="another")


async def emit_event(scene: Scene) -> Case:
    """An event with a generated id."""
    request = runs.EmitEventRequest(namespace=scene.namespace, scope_id="S", name="go", payload_json='{"n":1}')
    return case(request, payload_json='{"n":2}')


async def register_workflow(scene: Scene) -> Case:
    """A workflow."""
    request = workflows.RegisterWorkflowRequest(namespace=scene.namespace, spec=asking().spec())
    return case(request, spec=calling().spec())


async def set_default_version(scene: Scene) -> Case:
    """The default moves from the first version to the second."""
    first = await scene.client.register_workflow(asking())
    second = await scene.client.register_workflow(asking(prompt="Another?"))
    request = workflows.SetDefaultVersionRequest(
        namespace=scene.namespace, workflow_id="asking", version=second.version
    )
    return case(request, version=first.version)


async def create_namespace(scene: Scene) -> Case:
    """Another namespace."""
    request = admin.CreateNamespaceRequest(namespace=f"{scene.namespace[:100]}-other")
    return case(request, description="another")


def failing(workflow_id: str = "failing") -> Workflow:
    """Fails at once; no worker is needed."""
    workflow = Workflow(workflow_id)
    workflow.fail_node("no", "NO", "not today")
    return workflow


CASES: dict[str, Prepare] = {
    "RunService/StartRun": start_run,
    "RunService/TickRun": tick_run,
    "RunService/ResumeRun": resume_run,
    "RunService/CancelRun": cancel_run,
    "RunService/PauseRun": pause_run,
    "RunService/UnpauseRun": unpause_run,
    "RunService/ResolveStep": resolve_step,
    "RunService/RetryRun": retry_run,
    "RunService/RetryRuns": retry_runs,
    "RunService/MigrateRun": migrate_run,
    "RunService/EmitEvent": emit_event,
    "WorkflowService/RegisterWorkflow": register_workflow,
    "WorkflowService/SetDefaultVersion": set_default_version,
    "AdminService/CreateNamespace": create_namespace,
}
OBSERVATIONS = ("delivered_run_ids", "is_default")
"""Fields of replies that tell what was seen within one call, or what is so now."""


def test_every_changing_call_has_a_case() -> None:
    found = {
        f"{name}/{method.name}"
        for name, (descriptor, _) in SERVICES.items()
        for method in descriptor.services_by_name[name].methods
        if "request_id" in method.input_type.fields_by_name
    }
    assert found == set(CASES)


def bound(channel: grpc.aio.Channel, name: str) -> Callable[[Message], Awaitable[Message]]:
    """The method of a stub."""
    service, method = name.split("/")
    return getattr(SERVICES[service][1](channel), method)


def told(reply: Message) -> bytes:
    """What a reply says, but for observations."""
    for name in OBSERVATIONS:
        if name in reply.DESCRIPTOR.fields_by_name:
            reply.ClearField(name)
    return reply.SerializeToString(deterministic=True)


async def everything(scene: Scene) -> tuple[object, ...]:
    """All that is in the namespace: records, events of the session S, workflows."""
    records = await scene.client.list_records(LedgerScope.all()).all()
    events = await scene.client.list_events(scope_id="S").all()
    versions = await scene.client.list_workflows().all()
    return [entry.record_hash for entry in records], events, versions


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", CASES)
async def test_a_repeat_gets_the_first_reply_and_changes_nothing(scene: Scene, name: str) -> None:
    prepared = await CASES[name](scene)
    call = bound(scene.client.connection.channel, name)
    first = await call(prepared.request)
    after = await everything(scene)
    repeats = await asyncio.gather(*(call(prepared.request) for _ in range(5)))
    assert {told(reply) for reply in repeats} == {told(first)}
    assert await everything(scene) == after


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", CASES)
async def test_repeats_at_the_same_time_are_one(scene: Scene, name: str) -> None:
    prepared = await CASES[name](scene)
    call = bound(scene.client.connection.channel, name)
    before = await everything(scene)
    replies = await asyncio.gather(*(call(prepared.request) for _ in range(10)))
    assert len({told(reply) for reply in replies}) == 1
    after = await everything(scene)
    assert (after != before) == (name != "AdminService/CreateNamespace")
    assert told(await call(prepared.request)) == told(replies[0])
    assert await everything(scene) == after


@pytest.mark.parametrize("name", CASES)
async def test_another_body_under_the_same_id_is_refused_and_changes_nothing(scene: Scene, name: str) -> None:
    prepared = await CASES[name](scene)
    call = bound(scene.client.connection.channel, name)
    first = await call(prepared.request)
    after = await everything(scene)
    answer = await refusal(call(prepared.other))
    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert answer.fields == ("request_id",)
    assert await everything(scene) == after
    assert told(await call(prepared.request)) == told(first)


@pytest.mark.promise("P2", "P5")
async def test_repeats_get_the_first_replies_after_a_crash_too(lives: Lives) -> None:
    scene = await lives.begin()
    replies: dict[str, tuple[Case, bytes]] = {}
    for name, prepare in CASES.items():
        prepared = await prepare(scene)
        request: Any = prepared.request
        other: Any = prepared.other
        request.request_id = other.request_id = f"{ID}-{name}"
        reply = await bound(scene.client.connection.channel, name)(prepared.request)
        replies[name] = prepared, told(reply)
    before = await everything(scene)
    await lives.kill()
    after = await lives.begin()
    for name, (prepared, reply) in replies.items():
        call = bound(after.client.connection.channel, name)
        assert told(await call(prepared.request)) == reply, name
        assert (await refusal(call(prepared.other))).reason == "REQUEST_ID_REUSED"
    assert await everything(after) == before


async def test_ids_are_apart_by_method_and_by_namespace(scene: Scene, address: str) -> None:
    await scene.register(calling())
    run = await scene.start("calling", request_id=ID)
    await scene.client.pause_run(run.run_id, request_id=ID)
    await scene.client.unpause_run(run.run_id, request_id=ID)
    await scene.client.cancel_run(run.run_id, request_id=ID)
    other = f"{scene.namespace[:100]}-other"
    await scene.client.create_namespace(other)
    async with Client.connect(address, namespace=other) as client:
        await client.register_workflow(calling())
        elsewhere = await client.start_run("calling", request_id=ID)
    assert elsewhere.created
    assert elsewhere.run_id != run.run_id


async def test_a_refused_call_does_not_use_its_id_up(scene: Scene) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    wait = await scene.waiting(run)
    request = runs.ResumeRunRequest(
        namespace=scene.namespace, request_id=ID, run_id=run.run_id, wait_id=wait.wait_id + 1, payload_json='"y"'
    )
    assert (await refusal(scene.runs.ResumeRun(request))).code is grpc.StatusCode.FAILED_PRECONDITION
    request.wait_id = wait.wait_id
    await scene.runs.ResumeRun(request)
    assert (await scene.ended(run)).status == "completed"


async def test_an_id_of_more_than_128_bytes_is_refused(scene: Scene) -> None:
    for name, prepare in CASES.items():
        prepared = await prepare(scene)
        request: Any = prepared.request
        request.request_id = "é" * 65
        answer = await refusal(bound(scene.client.connection.channel, name)(request))
        assert (name, answer.reason, answer.fields) == (name, "INVALID_FIELD", ("request_id",))


@pytest.mark.promise("P5")
async def test_changes_of_one_workflow_at_the_same_time_are_told_again_what_they_were_told_first(scene: Scene) -> None:
    versions = [(await scene.client.register_workflow(asking(prompt=f"{n}?"))).version for n in range(3)]
    for number in range(10):
        await scene.client.set_default_version("asking", versions[0])
        targets = [(version, f"move-{number}-{version}") for version in versions[1:]]

        async def move(version: str, request_id: str) -> str:
            return await scene.client.set_default_version("asking", version, request_id=request_id)

        first = await asyncio.gather(*(move(*target) for target in targets))
        assert [await move(*target) for target in targets] == first
        assert len(set(first)) == 2, "one of them came second, and was told so"
        new = asking(f"new-{number}")
        ids = [f"register-{number}-{n}" for n in range(2)]
        told_first = await asyncio.gather(*(scene.client.register_workflow(new, request_id=each) for each in ids))
        assert [await scene.client.register_workflow(new, request_id=each) for each in ids] == told_first
        assert sorted(each.created for each in told_first) == [False, True]
