"""Whatever a client sends, it gets an answer that it can act on, and the store is as it was."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from tests.robustness.bad_input.answers import refusal
from tests.robustness.bad_input.calls import Method, methods
from tests.robustness.bad_input.mutations import Mutation, mutations, touches
from tests.robustness.bad_input.right_requests import RIGHT
from tests.robustness.bad_input.store_state import StoreState
from tests.robustness.bad_input.world import ASKING, World
from tests.robustness.server_process import Nursery, Servers

pytestmark = [pytest.mark.promise("P10"), pytest.mark.timeout(600)]

on_one_server = pytest.mark.asyncio(loop_scope="module")

REPEATS = 4
NOISE = 60

TOKEN_REASONS = ("INVALID_PAGE_TOKEN", "INVALID_CURSOR")
METHODS = {method.key: method for method in methods()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """One server for the module."""
    directory: Path = tmp_path_factory.mktemp("bad-input")
    async with Servers(nursery, directory) as servers:
        server = await servers.start()
        async with server.channel() as channel:
            world = World(channel, directory / "perdure.db", server)
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
    """What is wrong with the answer to a wrong request, and whether it was accepted.

    The server has other things to write down, lapsed leases for example: a refused request is held to have changed
    the store if the store changes whenever it is sent.
    """
    found, accepted, changed = await _try_once(method, mutation, world, state)
    for _ in range(REPEATS):
        if accepted or not changed:
            return found, accepted
        found, accepted, changed = await _try_once(method, mutation, world, state)
    return [*found, "refused, and yet the store has changed"], False


async def _try_once(
    method: Method, mutation: Mutation, world: World, state: StoreState
) -> tuple[list[str], bool, bool]:
    """What is wrong with the answer, whether the request was accepted, whether the store has changed."""
    before = state.version()
    try:
        # What follows the hello is read after the welcome has been sent.
        is_later = mutation.must_refuse and mutation.path.startswith("credit")
        answer = await method.call(world.channel, mutation.data, answers=2 if is_later else 1)
    except grpc.aio.AioRpcError as error:
        found = refusal(error, method.request)
        problems = list(found.problems)
        blamed = not found.fields or not mutation.path or any(touches(name, mutation.path) for name in found.fields)
        if mutation.must_refuse and not blamed:
            problems.append(f"{found.reason} blames {found.fields}")
        return problems, False, state.version() != before
    if answer is not None and _refused_acks(answer):
        return [], False, state.version() != before
    if mutation.must_refuse and _is_accepted(answer):
        return ["was accepted"], True, True
    return [], True, True


def _refused_acks(answer: Message) -> list[str]:
    """Reasons of the acks that refuse something. A worker's mistakes are answered one by one."""
    if not isinstance(answer, worker.ReportTasksResponse):
        return []
    acks = [*answer.begin_acks, *answer.acks]
    return [ack.reason for ack in acks if ack.status in (worker.ACK_STATUS_REFUSED, worker.ACK_STATUS_STALE)]


def _is_accepted(answer: Message | None) -> bool:
    """Validation's answer to a bad workflow is not an error but a list of its problems."""
    return not (isinstance(answer, workflows.ValidateWorkflowResponse) and not answer.valid)


@on_one_server
@pytest.mark.parametrize("key", sorted(METHODS))
async def test_noise_is_answered(world: World, key: str) -> None:
    """Right requests with some bytes changed at random, and bytes that never were a request."""
    random = Random(f"noise/{key}")
    problems: list[str] = []
    for make in RIGHT[key][:3]:
        whole = (await make(world)).SerializeToString()
        for _ in range(NOISE):
            data = bytearray(whole or b"\0")
            for _ in range(random.randint(1, 4)):
                data[random.randrange(len(data))] = random.randrange(256)
            if random.random() < 0.2:
                data = bytearray(random.randbytes(random.randint(1, 200)))
            try:
                await METHODS[key].call(world.channel, bytes(data))
            except grpc.aio.AioRpcError as error:
                problems += [f"{data.hex()}: {problem}" for problem in refusal(error, METHODS[key].request).problems]
    assert not problems, "\n".join(problems[:20])


@on_one_server
@pytest.mark.parametrize("key", sorted(METHODS))
async def test_a_message_of_9_mib_is_refused(world: World, key: str) -> None:
    """gRPC refuses it itself, without a reason: nothing of the server sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await METHODS[key].call(world.channel, b"\xfa\x3f\x80\x80\xc0\x04" + bytes(9 * 1024 * 1024))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@on_one_server
@pytest.mark.parametrize("key", sorted(METHODS))
async def test_a_message_of_7_mib_gets_a_reason(world: World, key: str) -> None:
    """Below the receive limit the answer is the server's own: this one is no message of the method."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await METHODS[key].call(world.channel, b"\x0b" + bytes(7 * 1024 * 1024))
    found = refusal(caught.value, METHODS[key].request)
    assert (found.reason, found.problems) == ("MALFORMED_MESSAGE", ())


@on_one_server
async def test_four_thousand_calls_at_once_are_all_answered(world: World) -> None:
    """Each is served, or told to come back; nothing is dropped, and then the server goes on as before."""
    run_id = await world.asking_run()
    request = runs.GetRunRequest(run_id=run_id)
    channels = [world.another_channel() for _ in range(4)]
    calls = [RunServiceStub(channels[number % 4]).GetRun(request, timeout=120) for number in range(4_000)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    served = [answer for answer in answers if isinstance(answer, runs.GetRunResponse)]
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    problems = [problem for error in refused for problem in refusal(error, request.DESCRIPTOR).problems]
    assert len(served) + len(refused) == 4_000
    assert not problems, problems[:5]
    assert {refusal(error, request.DESCRIPTOR).reason for error in refused} <= {"TOO_MANY_CALLS"}
    assert all(refusal(error, request.DESCRIPTOR).retry_after_s > 0 for error in refused)
    assert len(served) >= 1_000
    assert (await RunServiceStub(world.channel).GetRun(request)).run.run_id == run_id
    for channel in channels:
        await channel.close()


@on_one_server
async def test_four_thousand_starts_at_once_are_kept_or_refused(world: World) -> None:
    """What was answered is there; what was refused is not."""
    names = [world.name("crowd") for _ in range(4_000)]
    stub = RunServiceStub(world.channel)
    calls = [stub.StartRun(runs.StartRunRequest(workflow_id=ASKING, run_id=name), timeout=120) for name in names]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for _name, answer in zip(names, answers, strict=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            found = refusal(answer, runs.StartRunRequest.DESCRIPTOR)
            assert (found.reason, found.problems) == ("TOO_MANY_CALLS", ())
        assert isinstance(answer, runs.StartRunResponse | grpc.aio.AioRpcError)
    kept = {name for name, answer in zip(names, answers, strict=True) if isinstance(answer, runs.StartRunResponse)}
    listed: set[str] = set()
    request = runs.ListRunsRequest(filter=runs.RunFilter(workflow_id=ASKING), page_size=1_000)
    while True:
        page = await stub.ListRuns(request)
        listed |= {run.run_id for run in page.runs}
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert listed & set(names) == kept


# Tokens that are real, but not for this.


@on_one_server
async def test_tokens_of_something_else_are_refused(world: World) -> None:
    for _ in range(3):
        await world.asking_run()
    run_stub, ledger_stub = RunServiceStub(world.channel), LedgerServiceStub(world.channel)
    runs_token = (await run_stub.ListRuns(runs.ListRunsRequest(page_size=1))).next_page_token
    everything = ledger.LedgerScope(all=True)
    records_token = (
        await ledger_stub.ListRecords(ledger.ListRecordsRequest(scope=everything, page_size=1))
    ).next_page_token
    assert runs_token
    assert records_token
    foreign = [
        (run_stub.ListRuns, runs.ListRunsRequest(page_token=records_token)),
        (
            run_stub.ListRuns,
            runs.ListRunsRequest(page_token=runs_token, filter=runs.RunFilter(roots_only=True)),
        ),
        (run_stub.ListWaits, runs.ListWaitsRequest(page_token=runs_token)),
        (ledger_stub.ListRecords, ledger.ListRecordsRequest(scope=everything, page_token=runs_token)),
        (
            ledger_stub.ListRecords,
            ledger.ListRecordsRequest(scope=ledger.LedgerScope(session_id="s"), page_token=records_token),
        ),
        (
            ledger_stub.ListRecords,
            ledger.ListRecordsRequest(
                scope=everything, page_token=records_token, filter=ledger.LedgerFilter(node_ids=["ask"])
            ),
        ),
        (
            ledger_stub.ListRecords,
            ledger.ListRecordsRequest(scope=everything, page_token=records_token[:-4] + "AAAA"),
        ),
    ]
    for method, request in foreign:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(request)
        found = refusal(caught.value, request.DESCRIPTOR)
        assert (found.reason in TOKEN_REASONS, found.problems) == (True, ()), request


async def test_a_cursor_of_another_store_is_refused(servers: Servers) -> None:
    first, second = [await servers.start(store=f"{name}.db") for name in ("one", "two")]
    request = ledger.ListRecordsRequest(scope=ledger.LedgerScope(all=True), page_size=1)
    cursors: list[str] = []
    for server in (first, second):
        async with server.channel() as channel:
            world = World(channel, servers.directory, server)
            await world.found()
            await world.asking_run()
            cursors.append((await LedgerServiceStub(channel).ListRecords(request)).next_page_token)
    async with second.channel() as channel:
        request.page_token = cursors[0]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await LedgerServiceStub(channel).ListRecords(request)
    found = refusal(caught.value, request.DESCRIPTOR)
    assert (found.reason, found.problems) == ("CURSOR_FROM_OTHER_STORE", ())
