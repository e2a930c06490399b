"""The client for scripts. The transport is grpcio-testing's: a test takes each call as the server would."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
import grpc_testing
import pytest
from google.protobuf.message import Message

from perdure import (
    AlreadyExists,
    CompletedEffect,
    Failure,
    NotFound,
    RunCancelled,
    RunFailed,
    RunFilter,
    RunReply,
    Unavailable,
    Workflow,
    plan,
)
from perdure.client import Client as AsyncClient
from perdure.connection import Connection
from perdure.portal import Portal
from perdure.sync import Client, RunHandle
from perdure.v1 import (
    admin_service_pb2,
    common_pb2,
    ledger_service_pb2,
    model_pb2,
    run_service_pb2,
    workflow_service_pb2,
)
from perdure.v1.ledger_service_pb2 import Goodbye
from tests.sdk.fake_server import WITHIN_S, FakeServer, Running
from tests.sdk.test_call_errors import failure, info
from tests.sdk.test_subscription import COMPLETE, batch, entry, running_at, subscribed

SERVICES = {
    name: descriptor
    for module in (run_service_pb2, workflow_service_pb2, ledger_service_pb2, admin_service_pb2)
    for name, descriptor in module.DESCRIPTOR.services_by_name.items()
}


class AioChannel:
    """A synchronous channel with the unary half of the asynchronous interface."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Callable[..., Any]:
        """A method whose calls are awaited in a thread."""
        channel: Any = self._channel
        multi_callable = channel.unary_unary(method)

        async def call(request: Message, *, timeout: float, metadata: Any) -> Any:
            future = multi_callable.future(request, timeout=timeout, metadata=metadata)
            try:
                return await asyncio.to_thread(future.result)
            except grpc.RpcError as error:
                refused: Any = error
                trailers = grpc.aio.Metadata(*refused.trailing_metadata())
                raise grpc.aio.AioRpcError(refused.code(), grpc.aio.Metadata(), trailers, refused.details()) from None

        return call

    def unary_stream(self, *_: Any, **__: Any) -> None:
        """Streams are not for this transport."""

    async def close(self) -> None:
        """Nothing to close."""


class Server:
    """The server's end: takes calls in the order they are made."""

    def __init__(self) -> None:
        testing: Any = grpc_testing  # it has no types
        self.channel = testing.channel(SERVICES.values(), testing.strict_real_time())
        self._pool = ThreadPoolExecutor(1)

    def client(self) -> Client:
        """A client over this transport."""

        async def make() -> AsyncClient:
            channel: Any = AioChannel(self.channel)
            return AsyncClient(Connection(channel, namespace="shop", token="secret"))

        return Client(make)

    def during(self, work: Callable[[], Any]) -> "Future[Any]":
        """Starts what the script does."""
        return self._pool.submit(work)

    def take(self, method: str) -> tuple[Any, Any]:
        """The next call of a method, and its request."""
        service, name = method.split(".")
        metadata, request, rpc = self.channel.take_unary_unary(SERVICES[service].methods_by_name[name])
        assert ("authorization", "Bearer secret") in metadata
        rpc.send_initial_metadata(())
        return request, rpc

    def reply(self, method: str, reply: Message) -> Any:
        """Answers the next call of a method; its request."""
        request, rpc = self.take(method)
        rpc.terminate(reply, (), grpc.StatusCode.OK, "")
        return request

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> Any:
        """Refuses the next call of a method; its request."""
        request, rpc = self.take(method)
        trailers = failure(code, info(reason)).trailing_metadata()
        rpc.terminate(None, tuple(trailers), code, reason)
        return request


@pytest.fixture
def server() -> Server:
    """The transport."""
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client over it."""
    with server.client() as client:
        yield client


def outcome(working: "Future[Any]") -> Any:
    """What the script got."""
    return working.result(WITHIN_S)


RUNNING = common_pb2.RUN_STATUS_RUNNING
QUEUED = common_pb2.RUN_ACTIVITY_QUEUED


def test_start_and_result(server: Server, client: Client) -> None:
    started = server.during(lambda: client.start("order", {"n": 1}, run_id="r", labels={"a": "b"}, drive="manual"))
    request = server.reply("RunService.StartRun", run_service_pb2.StartRunResponse(run_id="r", seq=1))
    assert (request.namespace, request.workflow_id, request.vars_json, request.run_id) == (
        "shop",
        "order",
        '{"n":1}',
        "r",
    )
    assert request.drive == common_pb2.DRIVE_MODE_MANUAL
    assert dict(request.labels) == {"a": "b"}
    assert len(request.request_id) == 32
    run = outcome(started)
    assert run.run_id == "r"
    result = server.during(run.result)
    pending = run_service_pb2.WaitRunResponse(run=model_pb2.RunState(run_id="r", status=RUNNING))
    assert server.reply("RunService.WaitRun", pending).wait.seconds == 50
    ended = model_pb2.RunState(run_id="r", status=common_pb2.RUN_STATUS_COMPLETED, output_json='{"ok":true}')
    server.reply("RunService.WaitRun", run_service_pb2.WaitRunResponse(run=ended, reached=True))
    assert outcome(result) == {"ok": True}


@pytest.mark.parametrize(
    ("status", "error"),
    [(common_pb2.RUN_STATUS_FAILED, RunFailed), (common_pb2.RUN_STATUS_CANCELLED, RunCancelled)],
)
def test_a_run_without_a_result(
    server: Server, client: Client, status: common_pb2.RunStatus.ValueType, error: type[RunFailed]
) -> None:
    working = server.during(client.run("r").result)
    run = model_pb2.RunState(run_id="r", status=status, error=common_pb2.Failure(type="SOLD_OUT", message="none left"))
    server.reply("RunService.WaitRun", run_service_pb2.WaitRunResponse(run=run, reached=True))
    with pytest.raises(error, match="SOLD_OUT: none left") as caught:
        outcome(working)
    assert type(caught.value) is error
    assert caught.value.run.run_id == "r"


def test_a_wait_has_an_end(server: Server, client: Client) -> None:
    working = server.during(lambda: client.wait_run("r", timeout=0, min_seq=7))
    run = model_pb2.RunState(run_id="r", current_node="pay")
    request = server.reply("RunService.WaitRun", run_service_pb2.WaitRunResponse(run=run))
    assert request.min_seq == 7
    with pytest.raises(TimeoutError, match="'pay'"):
        outcome(working)


RESUMED = {"payload_json": '{"a":1}', "wait_id": 7, "resumed_by": "ann"}
RERUN = {"step_id": 4, "rerun": run_service_pb2.RerunStep()}
DONE = {"completed": run_service_pb2.CompletedStep(result_json="[1]")}
PLANNED = {"completed": run_service_pb2.CompletedStep(plan=model_pb2.StepPlan(next_node="b"))}

Move = Callable[[RunHandle], RunReply]

MOVES: list[tuple[str, Move, dict[str, Any]]] = [
    ("ResumeRun", lambda run: run.resume({"a": 1}, wait_id=7, resumed_by="ann"), RESUMED),
    ("ResumeRun", lambda run: run.resume(any_wait=True), {"payload_json": "null", "any_wait": True}),
    ("CancelRun", lambda run: run.cancel("no", cancelled_by="ann"), {"reason": "no", "cancelled_by": "ann"}),
    ("PauseRun", lambda run: run.pause("later"), {"reason": "later"}),
    ("UnpauseRun", lambda run: run.unpause(unpaused_by="ann"), {"unpaused_by": "ann"}),
    ("TickRun", lambda run: run.tick(3), {"max_steps": 3}),
    ("ResolveStep", lambda run: run.resolve(4, "rerun"), RERUN),
    ("ResolveStep", lambda run: run.resolve(4, CompletedEffect([1])), DONE),
    ("ResolveStep", lambda run: run.resolve(4, plan.next("b")), PLANNED),
    ("ResolveStep", lambda run: run.resolve(4, Failure("BAD")), {"failed": common_pb2.Failure(type="BAD")}),
]


@pytest.mark.parametrize(("method", "call", "sent"), MOVES)
def test_moves(server: Server, client: Client, method: str, call: Move, sent: dict[str, Any]) -> None:
    working = server.during(lambda: call(client.run("r")))
    response = getattr(run_service_pb2, f"{method}Response")(run_id="r", seq=9, status=RUNNING, activity=QUEUED)
    request = server.reply(f"RunService.{method}", response)
    assert (request.namespace, request.run_id) == ("shop", "r")
    assert len(request.request_id) == 32
    assert {name: getattr(request, name) for name in sent} == sent
    reply = outcome(working)
    assert (reply.run_id, reply.seq, reply.status, reply.activity) == ("r", 9, "running", "queued")


def test_events(server: Server, client: Client) -> None:
    working = server.during(lambda: client.emit_event("paid", [1], scope="run", scope_id="r", event_id="e"))
    response = run_service_pb2.EmitEventResponse(event_id="e", position=3, duplicate=True, delivered_run_ids=["r"])
    request = server.reply("RunService.EmitEvent", response)
    assert (request.name, request.payload_json, request.scope_id) == ("paid", "[1]", "r")
    assert request.scope == common_pb2.EVENT_SCOPE_RUN
    emitted = outcome(working)
    assert (emitted.event_id, emitted.position, emitted.duplicate, emitted.delivered_run_ids) == ("e", 3, True, ("r",))
    listing = server.during(lambda: client.list_events(scope="global").all())
    event = run_service_pb2.Event(event_id="e", name="paid", position=3, payload_json='{"value":1}')
    server.reply("RunService.ListEvents", run_service_pb2.ListEventsResponse(events=[event]))
    (found,) = outcome(listing)
    assert (found.event_id, found.payload) == ("e", {"value": 1})


def test_lists_are_read_page_by_page(server: Server, client: Client) -> None:
    working = server.during(
        lambda: [run.run_id for run in client.list_runs(RunFilter(statuses=["failed"]), page_size=2)]
    )
    runs = [model_pb2.RunState(run_id=name) for name in "abc"]
    first = server.reply("RunService.ListRuns", run_service_pb2.ListRunsResponse(runs=runs[:2], next_page_token="more"))
    second = server.reply("RunService.ListRuns", run_service_pb2.ListRunsResponse(runs=runs[2:]))
    assert (first.page_token, second.page_token, second.page_size) == ("", "more", 2)
    assert list(second.filter.statuses) == [common_pb2.RUN_STATUS_FAILED]
    assert outcome(working) == ["a", "b", "c"]


def test_waits_counts_and_records(server: Server, client: Client) -> None:
    working = server.during(lambda: client.list_waits(reasons=["user"], assignee="ann").page())
    wait = model_pb2.WaitState(wait_id=5, prompt="Ship?", choices=["yes"], details_json='{"n":1}')
    line = run_service_pb2.RunWait(run_id="r", wait=wait, paused=True)
    request = server.reply("RunService.ListWaits", run_service_pb2.ListWaitsResponse(waits=[line], next_page_token="t"))
    assert list(request.reasons) == [common_pb2.WAIT_REASON_USER]
    page = outcome(working)
    assert page.next_page_token == "t"
    assert (page.items[0].wait.wait_id, page.items[0].wait.details, page.items[0].paused) == (5, {"n": 1}, True)
    counting = server.during(client.count_runs)
    server.reply("RunService.CountRuns", run_service_pb2.CountRunsResponse(count=10_000, at_least=True))
    assert (outcome(counting).count, outcome(counting).at_least) == (10_000, True)
    reading = server.during(lambda: client.run("r").ledger(after_seq=1).all())
    first = ledger_service_pb2.ListRecordsResponse(entries=[entry("r", 2)], next_page_token="more")
    second = ledger_service_pb2.ListRecordsResponse(entries=[entry("r", 3)])
    assert server.reply("LedgerService.ListRecords", first).after_seq == 1
    last = server.reply("LedgerService.ListRecords", second)
    assert (last.after_seq, last.page_token) == (0, "more")
    assert [each.seq for each in outcome(reading)] == [2, 3]
    verifying = server.during(lambda: client.verify_run("r"))
    server.reply("LedgerService.VerifyRun", ledger_service_pb2.VerifyRunResponse(intact=True, seq=3, head_hash=b"h"))
    assert (outcome(verifying).intact, outcome(verifying).head_hash) == (True, b"h")


def test_a_full_run_state(server: Server, client: Client) -> None:
    working = server.during(lambda: client.get_run("r"))
    run = model_pb2.RunState(
        run_id="r",
        status=common_pb2.RUN_STATUS_WAITING,
        activity=common_pb2.RUN_ACTIVITY_WAITING,
        vars_json='{"n":18446744073709551615}',
        waiting=model_pb2.WaitState(wait_id=4, reason=common_pb2.WAIT_REASON_USER),
        step=model_pb2.StepState(step_id=3, last_failure=common_pb2.Failure(type="BUSY", retryable=True)),
        visits={"pay": 2},
        consumed=[model_pb2.ConsumedMark(name="*", position=8)],
        children=[model_pb2.ChildState(run_id="c", awaited=True)],
        labels={"a": "b"},
    )
    run.created_at.FromMicroseconds(1_767_225_600_000_001)
    server.reply("RunService.GetRun", run_service_pb2.GetRunResponse(run=run))
    state = outcome(working)
    assert (state.status, state.activity, state.is_ended) == ("waiting", "waiting", False)
    assert state.vars == {"n": 2**64 - 1}
    assert state.output is None
    assert state.error is None
    assert state.waiting is not None
    assert (state.waiting.wait_id, state.waiting.reason, state.waiting.deadline) == (4, "user", None)
    assert state.step is not None
    assert state.step.last_failure == Failure("BUSY", retryable=True)
    assert state.visits == {"pay": 2}
    assert state.consumed[0].position == 8
    assert state.children[0].awaited
    assert state.created_at is not None
    assert state.created_at.microsecond == 1
    assert state.ended_at is None


def test_workflows(server: Server, client: Client) -> None:
    order = Workflow("order")
    order.complete_node("done")
    working = server.during(lambda: client.register_workflow(order))
    response = workflow_service_pb2.RegisterWorkflowResponse(
        workflow_id="order", version="v", created=True, is_default=True
    )
    request = server.reply("WorkflowService.RegisterWorkflow", response)
    assert request.spec.entry_node == "done"
    assert request.set_default is False
    assert outcome(working).version == "v"
    checking = server.during(lambda: client.validate_workflow(order.spec()))
    problem = workflow_service_pb2.SpecProblem(field="nodes[done].next", description="no such node")
    server.reply("WorkflowService.ValidateWorkflow", workflow_service_pb2.ValidateWorkflowResponse(problems=[problem]))
    assert outcome(checking).valid is False
    assert outcome(checking).problems[0].field == "nodes[done].next"
    fetching = server.during(lambda: client.get_workflow("order"))
    stored = workflow_service_pb2.RegisteredWorkflow(spec=order.spec(), is_default=True)
    server.reply("WorkflowService.GetWorkflow", workflow_service_pb2.GetWorkflowResponse(workflow=stored))
    assert outcome(fetching).spec == order.spec()
    listing = server.during(lambda: client.list_workflows(defaults_only=True).all())
    summary = workflow_service_pb2.WorkflowSummary(workflow_id="order", version="v", node_count=1)
    server.reply("WorkflowService.ListWorkflows", workflow_service_pb2.ListWorkflowsResponse(workflows=[summary]))
    assert outcome(listing)[0].node_count == 1
    moving = server.during(lambda: client.set_default_version("order", "v2"))
    moved = workflow_service_pb2.SetDefaultVersionResponse(previous_version="v")
    server.reply("WorkflowService.SetDefaultVersion", moved)
    assert outcome(moving) == "v"


def test_administration(server: Server, client: Client) -> None:
    working = server.during(client.get_server_info)
    response = admin_service_pb2.GetServerInfoResponse(
        server_version="1", capabilities=["x"], limits={"depth": 128}, counters={"commits": 5}, process_id=7
    )
    server.reply("AdminService.GetServerInfo", response)
    about = outcome(working)
    assert (about.limits, about.counters, about.capabilities, about.process_id) == (
        {"depth": 128},
        {"commits": 5},
        ("x",),
        7,
    )
    auditing = server.during(client.audit_all_runs)
    finding = admin_service_pb2.AuditFinding(run_id="r", kind="SEQ_GAP", seq=4)
    first = admin_service_pb2.AuditRunsResponse(
        runs_checked=2, records_checked=9, next_page_token="more", findings=[finding]
    )
    server.reply("AdminService.AuditRuns", first)
    assert (
        server.reply("AdminService.AuditRuns", admin_service_pb2.AuditRunsResponse(runs_checked=1)).page_token == "more"
    )
    audit = outcome(auditing)
    assert (audit.runs_checked, audit.records_checked, [found.kind for found in audit.findings]) == (3, 9, ["SEQ_GAP"])
    listing = server.during(client.list_workers)
    worker = admin_service_pb2.WorkerInfo(worker_id="w", queues=["q"], held_tasks=2)
    server.reply("AdminService.ListWorkers", admin_service_pb2.ListWorkersResponse(workers=[worker]))
    assert (outcome(listing)[0].worker_id, outcome(listing)[0].held_tasks) == ("w", 2)
    creating = server.during(lambda: client.create_namespace("new"))
    server.reply("AdminService.CreateNamespace", admin_service_pb2.CreateNamespaceResponse(namespace="new"))
    assert outcome(creating) == "new"


def test_a_refusal_is_raised_where_the_call_was_made(server: Server, client: Client) -> None:
    working = server.during(lambda: client.get_run("r"))
    server.refuse("RunService.GetRun", grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    with pytest.raises(NotFound) as caught:
        outcome(working)
    assert caught.value.reason == "RUN_NOT_FOUND"


def test_a_repeat_carries_the_same_request_id(server: Server, client: Client) -> None:
    working = server.during(lambda: client.start_run("order"))
    first = server.refuse("RunService.StartRun", grpc.StatusCode.UNAVAILABLE, "DRAINING")
    second = server.refuse("RunService.StartRun", grpc.StatusCode.ALREADY_EXISTS, "RUN_EXISTS")
    assert first == second
    with pytest.raises(AlreadyExists):
        outcome(working)


# The thread.


def test_all_clients_share_one_thread_which_ends_with_the_last(server: Server) -> None:
    def portals() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "perdure-sync"]

    with server.client() as one, server.client() as other:
        assert one.portal is other.portal
        assert len(portals()) == 1
        one.close()
        assert len(portals()) == 1
    assert portals() == []


def test_nobody_there_leaves_no_thread() -> None:
    with pytest.raises(Unavailable):
        Client.connect("127.0.0.1:1", connect_timeout=0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "perdure-sync"]


def test_it_cannot_wait_for_itself() -> None:
    portal = Portal.acquire()

    async def nothing() -> None:
        """Never runs."""

    async def inside() -> None:
        portal.run(nothing())

    try:
        with pytest.raises(RuntimeError, match="its own event loop"):
            portal.run(inside())
    finally:
        portal.release()


# Streams, over real gRPC: grpcio-testing has no asynchronous half.


async def test_a_subscription_and_a_watch_are_iterated(fake: FakeServer, server_at: Running) -> None:
    def script() -> tuple[list[int], list[int], str, list[int]]:
        with Client.connect(server_at.target) as client:
            with client.run("r").follow() as following:
                batches = following.batches()
                first = [each.seq for each in next(batches).entries]
                rest = [each.seq for each in following]
                cursor = following.cursor
            with client.watch("r") as watch:
                return first, rest, cursor, [run.seq for run in watch]

    working = asyncio.create_task(asyncio.to_thread(script))
    stream, request = await fake.opened(fake.subscriptions)
    assert request.stop_when_terminal is True
    for message in (subscribed(), batch("c2", entry("r", 1), entry("r", 2))):
        stream.send(message)
    for message in (batch("c3", entry("r", 3)), COMPLETE):
        stream.send(message)
    watching, _ = await fake.opened(fake.watches)
    watching.send(running_at(4))
    watching.send(run_service_pb2.WatchRunResponse(goodbye=Goodbye(reason=Goodbye.REASON_COMPLETE)))
    assert await asyncio.wait_for(working, WITHIN_S) == ([1, 2], [3], "c3", [4])


@pytest.fixture
async def server_at(fake: FakeServer) -> Any:
    """The fake of the other tests, listening."""
    listening = Running(fake)
    await listening.start()
    yield listening
    await listening.stop()
