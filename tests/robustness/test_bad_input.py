"""Whatever a client sends, it gets an answer that it can act on, and the store is as it was."""

from collections.abc import AsyncGenerator
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.robustness.bad_input.answers import refusal
from tests.robustness.bad_input.calls import Method, methods
from tests.robustness.bad_input.mutations import Mutation, mutations, touches
from tests.robustness.bad_input.right_requests import RIGHT
from tests.robustness.bad_input.store_state import StoreState
from tests.robustness.bad_input.world import World
from tests.robustness.server_process import Servers

pytestmark = [pytest.mark.promise("P10"), pytest.mark.timeout(600)]

on_one_server = pytest.mark.asyncio(loop_scope="module")

METHODS = {method.key: method for method in methods()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """One server for the module."""
    directory: Path = tmp_path_factory.mktemp("bad-input")
    async with Servers(directory) as servers:
        server = await servers.start()
        async with server.channel() as channel:
            world = World(channel, directory / "perdure.db")
            await world.found()
            yield world
        assert await server.stop() == 0
        assert "Traceback" not in server.log.read_text(), "the server met a defect; its log tells which"


def test_every_method_has_right_requests() -> None:
    assert RIGHT.keys() == METHODS.keys()


@on_one_server
@pytest.mark.parametrize("key", sorted(METHODS))
async def test_a_right_request_is_accepted(world: World, key: str) -> None:
    """Otherwise the wrong ones might be refused for another reason than what is wrong with them."""
    for make in RIGHT[key]:
        request = await make(world)
        answer = await METHODS[key].call(world.channel, request.SerializeToString())
        assert answer is not None
        assert _refused_acks(answer) == []


@on_one_server
@pytest.mark.parametrize("key", sorted(METHODS))
async def test_each_wrong_field_is_answered(world: World, key: str) -> None:
    problems: list[str] = []
    state = StoreState(world.store)
    for make in RIGHT[key]:
        for must_refuse in (True, False):
            wrong = _wrong(await make(world), must_refuse=must_refuse)
            for index in range(len(wrong)):
                found, accepted = await _try(METHODS[key], wrong[index], world, state)
                problems += [f"{wrong[index]}: {problem}" for problem in found]
                if accepted:
                    # What it spoke of is not what it was: the rest is about something new.
                    wrong = _wrong(await make(world), must_refuse=must_refuse)
    state.close()
    assert not problems, "\n".join([f"{len(problems)} problems", *problems[:40]])
    audit = await AdminServiceStub(world.channel).AuditRuns(admin.AuditRunsRequest(page_size=1_000))
    assert list(audit.findings) == []


def _wrong(request: Message, *, must_refuse: bool) -> list[Mutation]:
    return [mutation for mutation in mutations(request) if mutation.must_refuse is must_refuse]


async def _try(method: Method, mutation: Mutation, world: World, state: StoreState) -> tuple[list[str], bool]:
    """What is wrong with the answer to a wrong request, and whether it was accepted."""
    before = state.version()
    try:
        answer = await method.call(world.channel, mutation.data)
    except grpc.aio.AioRpcError as error:
        found = refusal(error, method.request)
        problems = list(found.problems)
        if mutation.must_refuse and found.fields and mutation.path:
            if not any(touches(field, mutation.path) for field in found.fields):
                problems.append(f"{found.reason} blames {found.fields}")
        if state.version() != before:
            problems.append(f"refused with {found.reason}, and yet the store has changed")
        return problems, False
    refused = _refused_acks(answer) if answer is not None else []
    if refused:
        return (["refused in an ack, and yet the store has changed"] if state.version() != before else []), False
    if mutation.must_refuse and _is_accepted(answer):
        return ["was accepted"], True
    return [], True


def _refused_acks(answer: Message) -> list[str]:
    """Reasons of the acks that refuse something. A worker's mistakes are answered one by one."""
    if not isinstance(answer, worker.ReportTasksResponse):
        return []
    acks = [*answer.begin_acks, *answer.acks]
    return [ack.reason for ack in acks if ack.status in (worker.ACK_STATUS_REFUSED, worker.ACK_STATUS_STALE)]


def _is_accepted(answer: Message | None) -> bool:
    """Validation's answer to a bad workflow is not an error but a list of its problems."""
    return not (isinstance(answer, workflows.ValidateWorkflowResponse) and not answer.valid)
