"""What the services add to their use cases: names of namespaces, pages, views, and streams that end well."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest

from perdure.v1 import admin_service_pb2 as apb
from perdure.v1 import common_pb2, ledger_service_pb2
from perdure.v1 import run_service_pb2 as pb
from perdure.v1 import workflow_service_pb2 as fpb
from perdure.v1.model_pb2 import NODE_KIND_COMPLETE, NODE_KIND_EFFECT, NodeSpec, WorkflowSpec
from perdure_server.api.admin_service import AdminService
from perdure_server.api.ledger_service import LedgerService
from perdure_server.api.run_service import RunService
from perdure_server.api.worker_service import WorkerService
from perdure_server.api.workflow_service import WorkflowService
from perdure_server.clock import VirtualClock
from perdure_server.engine.core import READERS
from perdure_server.kernel.limits import SECOND_US, Limits
from tests.api.served import Served, refusal, rest_of, serve

ASK = WorkflowSpec(
    workflow_id="ask",
    entry_node="ask",
    nodes={
        "ask": NodeSpec(
            kind=NODE_KIND_EFFECT,
            template_json='{"type":"ask_user","payload":{"prompt":"Well?","assignee":"ann"}}',
            next="end",
            result_key="answer",
        ),
        "end": NodeSpec(kind=NODE_KIND_COMPLETE, template_json='{"answer":"${vars.answer}"}'),
    },
)
END = WorkflowSpec(
    workflow_id="end",
    entry_node="end",
    nodes={"end": NodeSpec(kind=NODE_KIND_COMPLETE, template_json='{"done":true}')},
)


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as server:
        for spec in (ASK, END):
            await server.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=spec))
        yield server


async def asking(served: Served, **fields: Any) -> pb.StartRunResponse:
    """A run that waits for its answer."""
    return await served.runs.StartRun(pb.StartRunRequest(workflow_id="ask", **fields))


async def test_a_run_is_started_answered_and_read(served: Served) -> None:
    started = await asking(served, run_id="r1", vars_json='{"b":1,"a":2}', labels={"k": "v"})
    assert (started.run_id, started.created) == ("r1", True)
    assert started.status == common_pb2.RUN_STATUS_WAITING
    waiting = (await served.runs.WaitRun(pb.WaitRunRequest(run_id="r1"))).run.waiting
    assert (waiting.prompt, waiting.assignee, waiting.allow_free_text) == ("Well?", "ann", True)
    resumed = await served.runs.ResumeRun(
        pb.ResumeRunRequest(run_id="r1", wait_id=waiting.wait_id, payload_json='"yes"')
    )
    assert resumed.status == common_pb2.RUN_STATUS_COMPLETED
    run = (await served.runs.GetRun(pb.GetRunRequest(run_id="r1"))).run
    assert run.vars_json == '{"b":1,"a":2,"answer":"yes"}'
    assert run.output_json == '{"answer":"yes"}'
    assert (run.seq, dict(run.labels)) == (resumed.seq, {"k": "v"})
    basic = (await served.runs.GetRun(pb.GetRunRequest(run_id="r1", view=pb.RUN_VIEW_BASIC))).run
    assert (basic.vars_json, basic.HasField("output_json")) == ("", False)
    run.ClearField("vars_json")
    run.ClearField("output_json")
    assert basic == run


async def test_the_head_hash_is_the_last_records(served: Served) -> None:
    await asking(served, run_id="r1")
    run = (await served.runs.GetRun(pb.GetRunRequest(run_id="r1"))).run
    verified = await served.ledger.VerifyRun(ledger_service_pb2.VerifyRunRequest(run_id="r1"))
    assert verified.intact
    assert run.head_hash == verified.head_hash


async def test_no_call_takes_an_unknown_namespace(served: Served) -> None:
    runs, flows, admin = served.runs, served.workflows, served.admin
    where: Any = {"namespace": "nowhere"}
    run: Any = {**where, "run_id": "r"}
    calls = [
        runs.StartRun(pb.StartRunRequest(**where, workflow_id="ask")),
        runs.TickRun(pb.TickRunRequest(**run)),
        runs.ResumeRun(pb.ResumeRunRequest(**run)),
        runs.CancelRun(pb.CancelRunRequest(**run)),
        runs.PauseRun(pb.PauseRunRequest(**run)),
        runs.UnpauseRun(pb.UnpauseRunRequest(**run)),
        runs.ResolveStep(pb.ResolveStepRequest(**run, step_id=1, rerun=pb.RerunStep())),
        runs.EmitEvent(pb.EmitEventRequest(**where, scope_id="s", name="e")),
        runs.GetRun(pb.GetRunRequest(**run)),
        runs.WaitRun(pb.WaitRunRequest(**run)),
        runs.WatchRun(pb.WatchRunRequest(**run)).read(),
        runs.ListRuns(pb.ListRunsRequest(**where)),
        runs.CountRuns(pb.CountRunsRequest(**where)),
        runs.ListWaits(pb.ListWaitsRequest(**where)),
        runs.ListEvents(pb.ListEventsRequest(**where, scope_id="s")),
        flows.RegisterWorkflow(fpb.RegisterWorkflowRequest(**where, spec=END)),
        flows.GetWorkflow(fpb.GetWorkflowRequest(**where, workflow_id="ask")),
        flows.ListWorkflows(fpb.ListWorkflowsRequest(**where)),
        flows.ValidateWorkflow(fpb.ValidateWorkflowRequest(**where)),
        flows.SetDefaultVersion(fpb.SetDefaultVersionRequest(**where, workflow_id="w", version="v")),
        admin.AuditRuns(apb.AuditRunsRequest(**where)),
        admin.ListWorkers(apb.ListWorkersRequest(**where)),
    ]
    for call in calls:
        found = await refusal(call)
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND")
        assert found.metadata["namespace"] == "nowhere"
        assert "ResourceInfo" in found.details


async def test_namespaces_are_created_once_and_kept_apart(served: Served) -> None:
    create = apb.CreateNamespaceRequest(namespace="team", request_id="i")
    assert (await served.admin.CreateNamespace(create)).namespace == "team"
    assert (await served.admin.CreateNamespace(create)).namespace == "team"
    found = await refusal(served.admin.CreateNamespace(apb.CreateNamespaceRequest(namespace="team")))
    assert (found.code, found.reason) == (grpc.StatusCode.ALREADY_EXISTS, "NAMESPACE_EXISTS")
    create.description = "another body"
    assert (await refusal(served.admin.CreateNamespace(create))).reason == "REQUEST_ID_REUSED"
    missing = await refusal(served.runs.StartRun(pb.StartRunRequest(namespace="team", workflow_id="end")))
    assert missing.reason == "WORKFLOW_NOT_FOUND"
    await served.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(namespace="team", spec=END))
    for namespace in ("team", ""):
        started = await served.runs.StartRun(pb.StartRunRequest(namespace=namespace, workflow_id="end", run_id="same"))
        assert started.created
    listed = await served.runs.ListRuns(pb.ListRunsRequest(namespace="team"))
    assert [(run.namespace, run.run_id) for run in listed.runs] == [("team", "same")]


async def test_lists_go_on_by_page_token(served: Served) -> None:
    for number in range(5):
        await asking(served, run_id=f"r{number}")
        await served.runs.EmitEvent(
            pb.EmitEventRequest(scope_id="s", name="e", event_id=f"e{number}", payload_json=str(number))
        )
    runs = [run.run_id async for run in pages(served.runs.ListRuns, pb.ListRunsRequest(page_size=2), "runs")]
    assert sorted(runs) == [f"r{number}" for number in range(5)]
    waits = [wait.run_id async for wait in pages(served.runs.ListWaits, pb.ListWaitsRequest(page_size=2), "waits")]
    assert waits == [f"r{number}" for number in range(5)]
    ask = pb.ListEventsRequest(scope_id="s", page_size=2)
    events = [event.event_id async for event in pages(served.runs.ListEvents, ask, "events")]
    assert events == [f"e{number}" for number in range(5)]
    flows = fpb.ListWorkflowsRequest(page_size=1)
    names = [flow.workflow_id async for flow in pages(served.workflows.ListWorkflows, flows, "workflows")]
    assert sorted(names) == ["ask", "end"]


async def pages(call: Any, request: Any, items: str) -> AsyncGenerator[Any]:
    """All items of a list, page by page."""
    while True:
        page = await call(request)
        assert len(getattr(page, items)) <= request.page_size
        for item in getattr(page, items):
            yield item
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def test_a_page_token_of_another_filter_is_refused(served: Served) -> None:
    for _ in range(3):
        await asking(served)
    first = await served.runs.ListRuns(pb.ListRunsRequest(page_size=1))
    other = pb.ListRunsRequest(page_token=first.next_page_token, filter=pb.RunFilter(workflow_id="ask"))
    found = await refusal(served.runs.ListRuns(other))
    assert (found.reason, found.fields) == ("INVALID_PAGE_TOKEN", ("page_token",))


async def test_lists_leave_out_what_is_large(served: Served) -> None:
    await asking(served, run_id="r1", vars_json='{"a":1}')
    (run,) = (await served.runs.ListRuns(pb.ListRunsRequest())).runs
    assert (run.vars_json, run.waiting.prompt, run.waiting.assignee) == ("", "", "ann")
    assert run.waiting.reason == common_pb2.WAIT_REASON_USER
    (wait,) = (await served.runs.ListWaits(pb.ListWaitsRequest())).waits
    assert wait.wait.prompt == "Well?"
    assert (await served.runs.ListWaits(pb.ListWaitsRequest(assignee="bob"))).waits == []


async def test_events_are_listed_as_they_were_emitted(served: Served) -> None:
    emit = pb.EmitEventRequest(scope=common_pb2.EVENT_SCOPE_GLOBAL, name="e", payload_json="5", emitted_by="me")
    sent = await served.runs.EmitEvent(emit)
    (event,) = (await served.runs.ListEvents(pb.ListEventsRequest(scope=common_pb2.EVENT_SCOPE_GLOBAL))).events
    assert (event.event_id, event.position) == (sent.event_id, sent.position)
    assert (event.payload_json, event.emitted_by) == ('{"value":5}', "me")
    assert event.emitted_at.seconds


@pytest.mark.promise("P10")
async def test_a_count_is_exact_up_to_its_limit() -> None:
    async with serve(limits=Limits(count_exact=3)) as served:
        await served.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=END))
        for expected in ((1, False), (2, False), (3, False), (3, True)):
            await served.runs.StartRun(pb.StartRunRequest(workflow_id="end"))
            found = await served.runs.CountRuns(pb.CountRunsRequest())
            assert (found.count, found.at_least) == expected


@pytest.mark.promise("P10")
async def test_a_run_larger_than_a_message_says_what_to_ask_for() -> None:
    async with serve(limits=Limits(message_bytes=2_000)) as served:
        await served.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=END))
        start = pb.StartRunRequest(workflow_id="end", run_id="r", vars_json='{"a":"' + "x" * 3_000 + '"}')
        await served.runs.StartRun(start)
        found = await refusal(served.runs.GetRun(pb.GetRunRequest(run_id="r")))
        assert (found.reason, found.fields) == ("PAYLOAD_TOO_LARGE", ("view",))
        assert (await served.runs.GetRun(pb.GetRunRequest(run_id="r", view=pb.RUN_VIEW_BASIC))).run.seq


async def test_workflow_versions_and_their_default(served: Served) -> None:
    newer = WorkflowSpec()
    newer.CopyFrom(END)
    newer.nodes["end"].template_json = '{"done":"again"}'
    flows = served.workflows
    first = await flows.GetWorkflow(fpb.GetWorkflowRequest(workflow_id="end"))
    register = fpb.RegisterWorkflowRequest(spec=newer, request_id="i")
    second = await flows.RegisterWorkflow(register)
    assert (second.created, second.is_default) == (True, False)
    assert await flows.RegisterWorkflow(register) == second
    again = await flows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=newer, set_default=True))
    assert (again.created, again.is_default, again.version) == (False, False, second.version)
    valid = await flows.ValidateWorkflow(fpb.ValidateWorkflowRequest(spec=newer))
    assert (valid.valid, valid.version) == (True, second.version)
    move = fpb.SetDefaultVersionRequest(workflow_id="end", version=second.version, request_id="j")
    moved = await flows.SetDefaultVersion(move)
    assert moved.previous_version == first.workflow.spec.version
    assert await flows.SetDefaultVersion(move) == moved
    stored = (await flows.GetWorkflow(fpb.GetWorkflowRequest(workflow_id="end"))).workflow
    assert (stored.is_default, stored.spec.version) == (True, second.version)
    newer.version = second.version
    assert stored.spec == newer
    started = await served.runs.StartRun(pb.StartRunRequest(workflow_id="end"))
    assert started.workflow_version == second.version
    missing = fpb.SetDefaultVersionRequest(workflow_id="end", version="0")
    found = await refusal(flows.SetDefaultVersion(missing))
    assert (found.reason, found.fields) == ("WORKFLOW_NOT_FOUND", ("version",))
    assert (await refusal(flows.GetWorkflow(fpb.GetWorkflowRequest(workflow_id="x")))).reason == ("WORKFLOW_NOT_FOUND")


async def test_problems_of_a_spec_are_the_answer_or_the_error(served: Served) -> None:
    bad = WorkflowSpec(workflow_id="w", entry_node="gone", nodes={"a": NodeSpec(next="b")})
    answer = await served.workflows.ValidateWorkflow(fpb.ValidateWorkflowRequest(spec=bad))
    assert not answer.valid
    assert [problem.field for problem in answer.problems] == ["entry_node", "nodes[a].next"]
    found = await refusal(served.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=bad)))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SPEC")
    assert found.fields == ("spec.entry_node", "spec.nodes[a].next")


async def test_a_watch_shows_each_state_and_says_goodbye(served: Served) -> None:
    await asking(served, run_id="r1")
    watch = served.runs.WatchRun(pb.WatchRunRequest(run_id="r1"))
    first = await watch.read()
    assert isinstance(first, pb.WatchRunResponse)
    assert first.run.status == common_pb2.RUN_STATUS_WAITING
    await served.runs.ResumeRun(pb.ResumeRunRequest(run_id="r1", any_wait=True))
    rest = await rest_of(watch)
    assert rest[-2].run.status == common_pb2.RUN_STATUS_COMPLETED
    assert rest[-1].goodbye.reason == ledger_service_pb2.Goodbye.REASON_COMPLETE


async def test_a_watch_of_a_draining_server_says_goodbye(served: Served) -> None:
    await asking(served, run_id="r1")
    watch = served.runs.WatchRun(pb.WatchRunRequest(run_id="r1"))
    await watch.read()
    draining = asyncio.ensure_future(served.edge.drain(10 * SECOND_US))
    last = (await rest_of(watch))[-1]
    assert last.goodbye.reason == ledger_service_pb2.Goodbye.REASON_DRAINING
    await draining


@pytest.mark.promise("P10")
async def test_watches_of_a_caller_are_bounded() -> None:
    async with serve(limits=Limits(streams_per_caller=2)) as served:
        await served.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=ASK))
        await asking(served, run_id="r1")
        request = pb.WatchRunRequest(run_id="r1")
        held = [served.runs.WatchRun(request) for _ in range(2)]
        for watch in held:
            await watch.read()
        found = await refusal(served.runs.WatchRun(request).read())
        assert (found.reason, "RetryInfo" in found.details) == ("TOO_MANY_STREAMS", True)
        await served.runs.CancelRun(pb.CancelRunRequest(run_id="r1"))
        for watch in held:
            assert await rest_of(watch)
        assert await served.runs.WatchRun(request).read()


async def test_a_quiet_watch_has_a_heartbeat() -> None:
    clock = VirtualClock()
    async with serve(clock=clock) as served:
        await served.workflows.RegisterWorkflow(fpb.RegisterWorkflowRequest(spec=ASK))
        await asking(served, run_id="r1")
        watch = served.runs.WatchRun(pb.WatchRunRequest(run_id="r1"))
        await watch.read()
        beat = asyncio.ensure_future(_read(watch))
        while not beat.done():
            clock.advance(SECOND_US)
            await served.admin.GetServerInfo(apb.GetServerInfoRequest())
        assert (await beat).heartbeat.server_time.ToMicroseconds() > 0
        watch.cancel()


async def test_the_server_tells_who_it_is(served: Served) -> None:
    info = await served.admin.GetServerInfo(apb.GetServerInfoRequest())
    assert (info.server_version, info.store_kind) == ("0.0.0", "memory")
    assert info.limits["payload_bytes"] == 1024 * 1024
    assert info.counters["calls_under_way"] == 1
    assert info.store_epoch
    assert info.process_id


async def test_audits_go_page_by_page(served: Served) -> None:
    for number in range(3):
        await asking(served, run_id=f"r{number}")
    checked = 0
    request = apb.AuditRunsRequest(page_size=2)
    while True:
        page = await served.admin.AuditRuns(request)
        assert page.findings == []
        checked += page.runs_checked
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert checked == 3
    one = await served.admin.AuditRuns(apb.AuditRunsRequest(run_id="r1"))
    assert (one.runs_checked, one.records_checked) == (1, 3)
    assert (await refusal(served.admin.AuditRuns(apb.AuditRunsRequest(run_id="x")))).reason == "RUN_NOT_FOUND"


async def test_an_audit_that_takes_long_has_shorter_pages(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure_server.api.admin_service.AUDIT_US", 0)
    for number in range(READERS + 2):
        await asking(served, run_id=f"r{number}")
    first = await served.admin.AuditRuns(apb.AuditRunsRequest())
    rest = await served.admin.AuditRuns(apb.AuditRunsRequest(page_token=first.next_page_token))
    assert (first.runs_checked, rest.runs_checked, rest.next_page_token) == (READERS, 2, "")


async def _read(call: Any) -> Any:
    return await call.read()


HANDLERS = [
    (service.__name__, name)
    for service in (RunService, WorkflowService, AdminService, WorkerService, LedgerService)
    for name in vars(service)
    if name[0].isupper()
]


@pytest.mark.parametrize(("service", "name"), HANDLERS)
def test_a_handler_is_thin(service: str, name: str) -> None:
    kinds = (RunService, WorkflowService, AdminService, WorkerService, LedgerService)
    handler = getattr(next(kind for kind in kinds if kind.__name__ == service), name)
    assert len(inspect.getsource(handler).splitlines()) <= 26, "decode, one use case, encode"
