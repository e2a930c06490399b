"""Workers that return nonsense, twice, late, or for somebody else's task are answered, and the run goes on or fails
cleanly; by stream and by unary calls alike (P5)."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

import grpc.aio
import pytest

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import records_pb2 as records
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.bad_input.answers import refusal
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import take_export
from tests.robustness.checker.testimony import Testimony
from tests.robustness.server_process import Servers

pytestmark = [pytest.mark.promise("P5"), pytest.mark.timeout(120)]

LEASE_S = 2.0
ACCEPTED, DUPLICATE = worker.ACK_STATUS_ACCEPTED, worker.ACK_STATUS_DUPLICATE
STALE, REFUSED = worker.ACK_STATUS_STALE, worker.ACK_STATUS_REFUSED

Report = Callable[[worker.TaskReport], Awaitable[worker.Ack]]
epochs = count(1)


class Bench:
    """A server with a workflow of one node and one effect, and workers made of stubs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.runs = RunServiceStub(channel)
        self.workers = WorkerServiceStub(channel)
        self._polls = count(1)
        self._held: list[bytes] = []

    async def set_up(self) -> None:
        """Registers the workflow: node "plan" by a worker, then "act" (an effect), then the end."""
        act = json.dumps({"type": "act", "payload": {"a": 1}})
        spec = model_pb2.WorkflowSpec(
            workflow_id="bench",
            entry_node="plan",
            nodes={
                "plan": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_WORKER, next="act"),
                "act": model_pb2.NodeSpec(
                    kind=model_pb2.NODE_KIND_EFFECT, template_json=act, next="end", result_key="result"
                ),
                "end": model_pb2.NodeSpec(
                    kind=model_pb2.NODE_KIND_COMPLETE, template_json='{"result":"${vars.result}"}'
                ),
            },
        )
        await WorkflowServiceStub(self.channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec))

    async def start(self, run_id: str = "run", entry_node: str = "") -> None:
        """Starts a run."""
        request = runs.StartRunRequest(workflow_id="bench", run_id=run_id, entry_node=entry_node)
        await self.runs.StartRun(request)

    async def task(self, worker_id: str = "honest") -> worker.Task:
        """The next task, polled by a worker."""
        while True:
            request = worker.PollTasksRequest(worker=hello(worker_id), request_id=f"poll-{next(self._polls)}")
            reply = await self.workers.PollTasks(request)
            if reply.tasks:
                self._held.append(reply.tasks[0].task_token)
                return reply.tasks[0]

    async def ended(self, run_id: str = "run") -> model_pb2.RunState:
        """The run, once it has ended."""
        request = runs.WaitRunRequest(run_id=run_id, until=runs.WAIT_RUN_UNTIL_ENDED)
        run = (await self.runs.WaitRun(request)).run
        assert run.HasField("ended_at"), run
        return run

    async def unary_report(self, report: worker.TaskReport) -> worker.Ack:
        """Reports by a unary call."""
        request = worker.ReportTasksRequest(worker_id="honest", reports=[report])
        reply = await self.workers.ReportTasks(request)
        return reply.acks[0]

    async def stream_report(self, report: worker.TaskReport) -> worker.Ack:
        """Reports on a stream of the honest worker, which holds whatever was handed out, and the task."""
        async with self.stream("honest", [*self._held, report.task_token]) as call:
            await call.write(worker.WorkRequest(reports=[report]))
            while True:
                response = await call.read()
                for ack in response.acks:
                    if ack.task_token == report.task_token:
                        return ack

    @asynccontextmanager
    async def stream(self, worker_id: str, held: list[bytes], credit: int = 0) -> AsyncGenerator[Any]:
        """A worker's stream, welcomed."""
        call: Any = self.workers.Work()
        who = hello(worker_id)
        who.stream_epoch = next(epochs)
        who.held_task_tokens.extend(held)
        await call.write(worker.WorkRequest(hello=who, credit=worker.Credit(limit=credit)))
        response = await call.read()
        assert response.HasField("welcome")
        try:
            yield call
        finally:
            call.cancel()

    async def audit(self) -> None:
        """The checker finds nothing wrong with what the server holds."""
        run = (await self.runs.GetRun(runs.GetRunRequest(run_id="run"))).run
        export = await take_export(self.channel, "default", [], run.updated_at.ToMicroseconds())
        assert examine(export, Testimony()) == []

    async def kinds(self) -> list[str]:
        """Names of the run's record kinds, but for hand-outs."""
        request = ledger.ListRecordsRequest(scope=ledger.LedgerScope(run_id="run"), page_size=1_000)
        page = await LedgerServiceStub(self.channel).ListRecords(request)
        names = [records.RecordKind.Name(entry.record.kind).removeprefix("RECORD_KIND_") for entry in page.entries]
        return [name for name in names if name not in ("STEP_STARTED", "REQUEUED")]


def hello(worker_id: str) -> worker.Hello:
    """A worker of everything."""
    served = worker.ServedWorkflow(workflow_id="bench")
    return worker.Hello(worker_id=worker_id, workflows=[served], effect_types=["*"])


def goes_on(task: worker.Task) -> worker.TaskReport:
    """A good report of a node."""
    return worker.TaskReport(task_token=task.task_token, node=worker.NodeReport(plan=model_pb2.StepPlan()))


def result(task: worker.Task, text: str) -> worker.TaskReport:
    """A report of an effect."""
    outcome = model_pb2.EffectOutcome(result_json=text)
    return worker.TaskReport(task_token=task.task_token, effect=outcome)


@pytest.fixture
async def bench(servers: Servers) -> AsyncGenerator[Bench]:
    """A server whose leases are short."""
    server = await servers.start({"lease_seconds": LEASE_S})
    async with server.channel() as channel:
        made = Bench(channel)
        await made.set_up()
        yield made
    assert await server.stop() == 0
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(params=["unary", "stream"])
def report(request: pytest.FixtureRequest, bench: Bench) -> Report:
    """Either way of reporting."""
    return bench.unary_report if request.param == "unary" else bench.stream_report


async def test_a_report_twice_is_merged_once(bench: Bench, report: Report) -> None:
    await bench.start(entry_node="act")
    task = await bench.task()
    first, second = await report(result(task, '"first"')), await report(result(task, '"first"'))
    other = await report(result(task, '"another"'))
    assert (first.status, second.status, other.status) == (ACCEPTED, DUPLICATE, DUPLICATE)
    assert json.loads((await bench.ended()).output_json) == {"result": "first"}
    assert await bench.kinds() == ["RUN_STARTED", "STEP_COMPLETED", "STEP_COMPLETED", "STEP_COMPLETED", "COMPLETED"]
    await bench.audit()


async def test_a_late_report_is_stale_and_the_later_attempt_counts(bench: Bench, report: Report) -> None:
    await bench.start(entry_node="act")
    first = await bench.task()
    second = await bench.task("another")
    assert second.attempt > first.attempt
    late = await report(result(first, '"late"'))
    assert (late.status, late.reason) == (STALE, "STALE_ATTEMPT")
    assert (await report(result(second, '"in time"'))).status == ACCEPTED
    assert (await report(result(first, '"later"'))).status == STALE
    assert json.loads((await bench.ended()).output_json) == {"result": "in time"}
    await bench.audit()


async def test_without_the_fence_a_late_report_would_count(servers: Servers) -> None:
    """What the test before relies on: with the defence taken away, its worker's late result is the run's."""
    server = await servers.start({"lease_seconds": LEASE_S}, defect="no_fence")
    async with server.channel() as channel:
        bench = Bench(channel)
        await bench.set_up()
        await bench.start(entry_node="act")
        first = await bench.task()
        await bench.task("another")
        assert (await bench.unary_report(result(first, '"late"'))).status == ACCEPTED
        assert json.loads((await bench.ended()).output_json) == {"result": "late"}


async def test_a_report_after_the_end_is_stale_and_kept(bench: Bench, report: Report) -> None:
    await bench.start(entry_node="act")
    task = await bench.task()
    await bench.runs.CancelRun(runs.CancelRunRequest(run_id="run"))
    for _ in range(2):
        ack = await report(result(task, '"too late"'))
        assert (ack.status, ack.reason) == (STALE, "RUN_ENDED")
    assert (await bench.ended()).status == common_pb2.RUN_STATUS_CANCELLED
    assert (await bench.kinds())[-2:] == ["CANCELLED", "LATE_RESULT"]
    await bench.audit()


SPOILT_TOKENS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda token: token[:-1],
    "another last bit": lambda token: token[:-1] + bytes([token[-1] ^ 1]),
    "empty": lambda _token: b"",
    "zeros": lambda token: b"\0" * len(token),
    "repeated": lambda token: token * 100,
    "another namespace": lambda token: token.replace(b"default", b"another"),
}


@pytest.mark.parametrize("spoilt", SPOILT_TOKENS)
async def test_a_token_of_nobody_is_refused(bench: Bench, spoilt: str) -> None:
    await bench.start(entry_node="act")
    task = await bench.task()
    bad = result(task, '"bad"')
    bad.task_token = SPOILT_TOKENS[spoilt](task.task_token)
    ack = await bench.unary_report(bad)
    assert (ack.status, ack.reason, ack.task_token) == (REFUSED, "INVALID_TASK_TOKEN", bad.task_token)
    assert (await bench.unary_report(result(task, '"good"'))).status == ACCEPTED
    assert json.loads((await bench.ended()).output_json) == {"result": "good"}


async def test_a_token_of_another_store_changes_nothing(bench: Bench, servers: Servers, report: Report) -> None:
    """Its run is not here: somebody else's task."""
    other = await servers.start(store="other.db")
    async with other.channel() as channel:
        elsewhere = Bench(channel)
        await elsewhere.set_up()
        await elsewhere.start("elsewhere", entry_node="act")
        foreign = await elsewhere.task()
    await bench.start(entry_node="act")
    task = await bench.task()
    ack = await report(result(foreign, '"foreign"'))
    assert (ack.status, ack.reason) == (STALE, "STALE_ATTEMPT")
    assert "by another store" in ack.message
    assert (await bench.unary_report(result(task, '"good"'))).status == ACCEPTED
    assert json.loads((await bench.ended()).output_json) == {"result": "good"}
    await bench.audit()


async def test_two_workers_report_one_task(bench: Bench, report: Report) -> None:
    """Whoever knows the token may settle the attempt, once."""
    await bench.start(entry_node="act")
    task = await bench.task()
    request = worker.ReportTasksRequest(worker_id="thief", reports=[result(task, '"stolen"')])
    stolen = (await bench.workers.ReportTasks(request)).acks[0]
    honest = await report(result(task, '"mine"'))
    assert (stolen.status, honest.status) == (ACCEPTED, DUPLICATE)
    assert json.loads((await bench.ended()).output_json) == {"result": "stolen"}
    await bench.audit()


NONSENSE_FOR_EFFECTS = {
    "a plan": worker.TaskReport(node=worker.NodeReport(plan=model_pb2.StepPlan(next_node="end"))),
    "nothing": worker.TaskReport(),
    "no outcome": worker.TaskReport(effect=model_pb2.EffectOutcome()),
    "no JSON": worker.TaskReport(effect=model_pb2.EffectOutcome(result_json="{")),
    "NaN": worker.TaskReport(effect=model_pb2.EffectOutcome(result_json="NaN")),
    "2 MiB": worker.TaskReport(effect=model_pb2.EffectOutcome(result_json='"' + "x" * 2 * 1024 * 1024 + '"')),
    "a failure without type": worker.TaskReport(effect=model_pb2.EffectOutcome(failed=model_pb2.StepFailure())),
    "a wait for a child": worker.TaskReport(
        effect=model_pb2.EffectOutcome(waiting=model_pb2.WaitRequest(reason=common_pb2.WAIT_REASON_SUBWORKFLOW))
    ),
}


@pytest.mark.parametrize("nonsense", NONSENSE_FOR_EFFECTS)
async def test_nonsense_is_refused_and_the_lease_stands(bench: Bench, report: Report, nonsense: str) -> None:
    await bench.start(entry_node="act")
    task = await bench.task()
    bad = worker.TaskReport()
    bad.CopyFrom(NONSENSE_FOR_EFFECTS[nonsense])
    bad.task_token = task.task_token
    refused = await report(bad)
    assert (refused.status, bool(refused.reason), bool(refused.message)) == (REFUSED, True, True)
    assert (await report(result(task, '"good"'))).status == ACCEPTED
    assert json.loads((await bench.ended()).output_json) == {"result": "good"}
    await bench.audit()


BAD_PLANS = {
    "an unknown node": model_pb2.StepPlan(next_node="nowhere"),
    "an end and an effect": model_pb2.StepPlan(
        complete_output_json="{}", effect=model_pb2.Effect(answer_user=model_pb2.AnswerUser(message="m"))
    ),
    "an op on what is no list": model_pb2.StepPlan(
        vars_ops=[
            model_pb2.VarsOp(path="/a", set_json='"text"'),
            model_pb2.VarsOp(path="/a", append_json="1"),
        ]
    ),
}


@pytest.mark.parametrize("plan", BAD_PLANS)
async def test_a_plan_that_cannot_be_carried_out_fails_the_run(bench: Bench, report: Report, plan: str) -> None:
    await bench.start()
    task = await bench.task()
    bad = worker.TaskReport(task_token=task.task_token, node=worker.NodeReport(plan=BAD_PLANS[plan]))
    assert (await report(bad)).status == ACCEPTED
    run = await bench.ended()
    assert (run.status, run.error.type) == (common_pb2.RUN_STATUS_FAILED, "BAD_PLAN")
    assert "'plan'" in run.error.message
    await bench.audit()


async def test_an_outcome_for_a_node_is_refused(bench: Bench, report: Report) -> None:
    await bench.start()
    task = await bench.task()
    assert (await report(result(task, "1"))).status == REFUSED
    assert (await report(goes_on(task))).status == ACCEPTED


async def test_a_begin_of_what_is_not_irreversible_is_refused(bench: Bench) -> None:
    await bench.start(entry_node="act")
    task = await bench.task()
    begin = worker.Begin(task_token=task.task_token)
    reply = await bench.workers.ReportTasks(worker.ReportTasksRequest(worker_id="honest", begins=[begin]))
    assert (reply.begin_acks[0].status, reply.begin_acks[0].reason) == (REFUSED, "BAD_REPORT")
    assert (await bench.unary_report(result(task, "1"))).status == ACCEPTED


async def test_many_reports_are_answered_one_by_one(bench: Bench) -> None:
    """Good and bad ones in one call, in order."""
    await bench.start(entry_node="act")
    task = await bench.task()
    nobody = worker.TaskReport(task_token=b"nobody", effect=model_pb2.EffectOutcome(result_json="1"))
    request = worker.ReportTasksRequest(
        worker_id="honest", reports=[nobody, result(task, "{"), result(task, '"good"'), result(task, '"good"'), nobody]
    )
    reply = await bench.workers.ReportTasks(request)
    statuses = [ack.status for ack in reply.acks]
    assert statuses == [REFUSED, REFUSED, ACCEPTED, DUPLICATE, REFUSED]
    assert json.loads((await bench.ended()).output_json) == {"result": "good"}


async def test_heartbeats_of_nobody_are_lost(bench: Bench) -> None:
    await bench.start(entry_node="act")
    task = await bench.task()
    beats = [worker.Heartbeat(task_token=token) for token in (b"", b"nobody", task.task_token)]
    reply = await bench.workers.HeartbeatTasks(worker.HeartbeatTasksRequest(worker_id="honest", heartbeats=beats))
    states = [update.state for update in reply.lease_updates]
    assert states == [worker.LEASE_STATE_LOST, worker.LEASE_STATE_LOST, worker.LEASE_STATE_HELD]


# Streams that break the rules of streams.


def _raw_work(bench: Bench) -> Any:
    """A Work call whose requests are bytes."""
    parse = worker.WorkResponse.FromString
    return cast(Any, bench.channel).stream_stream("/perdure.v1.WorkerService/Work", None, parse)()


async def _said_on_a_stream(bench: Bench, messages: list[bytes]) -> None:
    """Writes messages on a new stream and reads to its end."""
    call = _raw_work(bench)
    for message in messages:
        await call.write(message)
    while await call.read() is not grpc.aio.EOF:
        pass


HELLO = worker.WorkRequest(hello=hello("rude"))
HELLO.hello.stream_epoch = 1

RUDE_STREAMS: dict[str, tuple[list[bytes], str]] = {
    "no hello": ([worker.WorkRequest(credit=worker.Credit(limit=1)).SerializeToString()], "INVALID_FIELD"),
    "nothing": ([b""], "INVALID_FIELD"),
    "noise": ([b"\xff\xff\xff"], "MALFORMED_MESSAGE"),
    "noise after the hello": ([HELLO.SerializeToString(), b"\xff\xff\xff"], "MALFORMED_MESSAGE"),
    "two hellos": ([HELLO.SerializeToString()] * 2, "INVALID_FIELD"),
    "credit below zero": (
        [HELLO.SerializeToString(), worker.WorkRequest(credit=worker.Credit(limit=-1)).SerializeToString()],
        "INVALID_FIELD",
    ),
    "too many reports": (
        [HELLO.SerializeToString(), worker.WorkRequest(reports=[worker.TaskReport()] * 1_001).SerializeToString()],
        "INVALID_FIELD",
    ),
}


@pytest.mark.parametrize("rude", RUDE_STREAMS)
async def test_a_rude_stream_is_ended_with_a_reason(bench: Bench, rude: str) -> None:
    messages, reason = RUDE_STREAMS[rude]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _said_on_a_stream(bench, messages)
    found = refusal(caught.value, worker.WorkRequest.DESCRIPTOR)
    assert (found.reason, found.problems) == (reason, ())
    await bench.start(entry_node="act")
    task = await bench.task()
    assert (await bench.unary_report(result(task, '"good"'))).status == ACCEPTED


async def test_an_older_epoch_is_refused_and_a_newer_one_takes_over(bench: Bench) -> None:
    async with bench.stream("honest", []) as call:
        again = _raw_work(bench)
        older = worker.WorkRequest(hello=hello("honest"))
        await again.write(older.SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await again.read()
        found = refusal(caught.value, worker.WorkRequest.DESCRIPTOR)
        assert (found.reason, found.problems) == ("WORKER_SUPERSEDED", ())
        async with bench.stream("honest", []):
            while not (response := await call.read()).HasField("goodbye"):
                pass
            assert response.goodbye.reason == ledger.Goodbye.REASON_SUPERSEDED
