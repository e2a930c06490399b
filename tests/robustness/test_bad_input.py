"""Whatever a client sends, it gets an answer that it can act on, and the store is as it was."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

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
from tests.robustness.bad_input.answers import CODES, refusal
from tests.robustness.bad_input.calls import Method, methods
from tests.robustness.bad_input.coverage import never_wrong
from tests.robustness.bad_input.mutations import Mutation, descriptor_of, mutations, touches
from tests.robustness.bad_input.right_requests import RIGHT
from tests.robustness.bad_input.store_state import StoreState, told
from tests.robustness.bad_input.world import ASKING, CONFIG, World
from tests.robustness.server_process import Nursery, Servers

pytestmark = [pytest.mark.promise("P10"), pytest.mark.timeout(600)]

on_one_server = pytest.mark.asyncio(loop_scope="module")

NOISE = 60

TOKEN_REASONS = ("INVALID_PAGE_TOKEN", "INVALID_CURSOR")
METHODS = {method.key: method for method in methods()}

of_each_method = pytest.mark.parametrize("key", sorted(METHODS))


@asynccontextmanager
async def founded(nursery: Nursery, directory: Path, defect: str = "") -> AsyncGenerator[World]:
    """A server with the workflows of the right requests."""
    async with Servers(nursery, directory) as servers:
        server = await servers.start(CONFIG, defect=defect)
        async with server.channel() as channel:
            world = World(channel, directory / "perdure.db", server)
            await world.found()
            yield world
        assert await server.stop() == 0
        assert defect or "Traceback" not in server.log.read_text(), "the server met a defect; its log tells which"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """A server for the module."""
    async with founded(nursery, tmp_path_factory.mktemp("bad-input")) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quiet(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """Another one, on which nothing happens by itself: no timer, no lease that ends."""
    async with founded(nursery, tmp_path_factory.mktemp("quiet")) as world:
        yield world


async def send(
    world: World, method: Method, request: Message, data: bytes, state: StoreState | None = None
) -> Message | None:
    """Sends bytes where the right request would go. Raises: AioRpcError.

    Args:
        state: notes what the store holds just before.
    """
    mark = state.mark if state else lambda: None
    mark()
    # A worker's hello renews its leases, in the store.
    return await method.call(world.channel, data, world.opening(request), mark)


def refused_acks(answer: Message | None) -> list[worker.Ack]:
    """The acks that refuse something. A worker's mistakes are answered one by one."""
    if not isinstance(answer, worker.ReportTasksResponse | worker.WorkResponse):
        return []
    acks = [*answer.begin_acks, *answer.acks]
    return [ack for ack in acks if ack.status in (worker.ACK_STATUS_REFUSED, worker.ACK_STATUS_STALE)]


def is_accepted(answer: Message | None) -> bool:
    """Validation's answer to a bad workflow is not an error but a list of its problems."""
    invalid = isinstance(answer, workflows.ValidateWorkflowResponse) and not answer.valid
    return not invalid and not refused_acks(answer)


async def problems_of(
    world: World, method: Method, request: Message, mutation: Mutation, state: StoreState | None = None
) -> tuple[list[str], bool]:
    """What is wrong with the answer to a wrong request, and whether it was accepted."""
    try:
        answer = await send(world, method, request, mutation.data, state)
    except grpc.aio.AioRpcError as error:
        found = refusal(error, method.request)
        problems = list(found.problems)
        blamed = not found.fields or not mutation.path or any(touches(name, mutation.path) for name in found.fields)
        if mutation.must_refuse and not blamed:
            problems.append(f"{found.reason} blames {found.fields}")
        return [f"{mutation}: {problem}" for problem in problems], False
    bare = [f"{mutation}: an ack without a reason" for ack in refused_acks(answer) if ack.reason not in CODES]
    if not is_accepted(answer):
        return bare, False
    return [f"{mutation}: was accepted"] if mutation.must_refuse else [], True


def told_of(problems: list[str]) -> str:
    """The first problems, for an assertion."""
    return "\n".join([f"{len(problems)} problems", *problems[:40]])


def test_every_method_has_right_requests() -> None:
    assert RIGHT.keys() == METHODS.keys()


@on_one_server
@of_each_method
async def test_every_field_of_every_request_is_made_wrong(quiet: World, key: str) -> None:
    """The fields are those of the contract's descriptors: a new one needs a right request that sets it."""
    wrong = [mutation for make in RIGHT[key] for mutation in mutations(await make(quiet))]
    assert never_wrong(METHODS[key].request, wrong) == []


@on_one_server
@of_each_method
async def test_a_right_request_is_accepted(world: World, key: str) -> None:
    """Otherwise the wrong ones might be refused for another reason than what is wrong with them."""
    for make in RIGHT[key]:
        request = await make(world)
        answer = await send(world, METHODS[key], request, request.SerializeToString())
        assert answer is not None
        assert is_accepted(answer), answer


@on_one_server
@of_each_method
async def test_what_the_contract_forbids_is_refused_and_changes_nothing(quiet: World, key: str) -> None:
    """Not one commit, and the API tells the same as before."""
    problems: list[str] = []
    with StoreState(quiet.store) as state:
        for make in RIGHT[key]:
            request = await make(quiet)
            before = await told(quiet.channel)
            for mutation in mutations(request):
                if mutation.must_refuse:
                    problems += (await problems_of(quiet, METHODS[key], request, mutation, state))[0]
                    if state.has_changed():
                        problems.append(f"{mutation}: the store has changed")
            if await told(quiet.channel) != before:
                problems.append(f"after {request}: the API tells something else")
    assert not problems, told_of(problems)


@on_one_server
@of_each_method
async def test_what_the_contract_may_allow_is_answered(world: World, key: str) -> None:
    """Accepted or refused; and no run is left in a state that it cannot leave."""
    problems: list[str] = []
    for make in RIGHT[key]:
        doubtful = _doubtful(request := await make(world))
        for index in range(len(doubtful)):
            found, accepted = await problems_of(world, METHODS[key], request, doubtful[index])
            problems += found
            if accepted:
                # What it spoke of is not what it was: the rest is about something new.
                doubtful = _doubtful(request := await make(world))
    assert not problems, told_of(problems)
    audit = await AdminServiceStub(world.channel).AuditRuns(admin.AuditRunsRequest(page_size=1_000))
    assert list(audit.findings) == []


def _doubtful(request: Message) -> list[Mutation]:
    return [mutation for mutation in mutations(request) if not mutation.must_refuse]


# What these tests would see.


@on_one_server
@pytest.mark.parametrize(
    "key",
    [
        "RunService/StartRun",
        "RunService/ResumeRun",
        "RunService/CancelRun",
        "RunService/PauseRun",
        "RunService/ResolveStep",
        "RunService/EmitEvent",
        "WorkflowService/RegisterWorkflow",
        "WorkerService/ReportTasks",
        "WorkerService/Work",
    ],
)
async def test_a_change_of_the_store_would_be_seen(world: World, key: str) -> None:
    request = await RIGHT[key][-1](world)
    with StoreState(world.store) as state:
        before = await told(world.channel)
        await send(world, METHODS[key], request, request.SerializeToString(), state)
        assert state.has_changed()
        assert await told(world.channel) != before


@pytest.mark.parametrize(
    ("defect", "problem"),
    [("bare_errors", "without a reason"), ("any_json", "was accepted"), ("open_errors", "tells of its insides")],
)
async def test_a_planted_defect_is_found(nursery: Nursery, tmp_path: Path, defect: str, problem: str) -> None:
    async with founded(nursery, tmp_path, defect) as world:
        request = await RIGHT["RunService/EmitEvent"][0](world)
        problems: list[str] = []
        for mutation in mutations(request):
            if mutation.must_refuse:
                problems += (await problems_of(world, METHODS["RunService/EmitEvent"], request, mutation))[0]
    assert any(problem in found for found in problems), told_of(problems)


@on_one_server
@of_each_method
async def test_noise_is_answered(world: World, key: str) -> None:
    """Right requests with some bytes changed at random, and bytes that never were a request."""
    random = Random(f"noise/{key}")
    problems: list[str] = []
    for make in RIGHT[key][:3]:
        request = await make(world)
        whole = request.SerializeToString()
        for _ in range(NOISE):
            data = bytearray(whole or b"\0")
            for _ in range(random.randint(1, 4)):
                data[random.randrange(len(data))] = random.randrange(256)
            if random.random() < 0.2:
                data = bytearray(random.randbytes(random.randint(1, 200)))
            try:
                await send(world, METHODS[key], request, bytes(data))
            except grpc.aio.AioRpcError as error:
                problems += [f"{data.hex()}: {problem}" for problem in refusal(error, METHODS[key].request).problems]
    assert not problems, "\n".join(problems[:20])


@on_one_server
@of_each_method
async def test_a_message_of_9_mib_is_refused(world: World, key: str) -> None:
    """gRPC refuses it itself, without a reason: nothing of the server sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await METHODS[key].call(world.channel, b"\xfa\x3f\x80\x80\xc0\x04" + bytes(9 * 1024 * 1024))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@on_one_server
@of_each_method
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
    foreign: list[tuple[Any, Message]] = [
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
        found = refusal(caught.value, descriptor_of(request))
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
