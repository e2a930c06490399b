"""One right request or more for each method, with every field set that can be: what the wrong ones are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import records_pb2 as records
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tests.robustness.bad_input.right_schedules import RIGHT_SCHEDULES
from tests.robustness.bad_input.world import ACTING, ASKING, NEXT, WORKER_ID, WORKING, World

Maker = Callable[[World], Awaitable[Message]]

FUTURE: Final = Timestamp(seconds=4_000_000_000)
MOMENT: Final = Duration(nanos=1_000_000)
SECOND: Final = Duration(seconds=1)
TRACE: Final = common_pb2.TraceContext(traceparent="00-aa-bb-01", tracestate="a=b")
RETRY: Final = common_pb2.RetryPolicy(
    max_attempts=2,
    initial_interval=SECOND,
    backoff_coefficient=2.0,
    max_interval=SECOND,
    non_retryable_types=["FINAL"],
)
TIMEOUTS: Final = common_pb2.TaskTimeouts(schedule_to_start=SECOND, start_to_close=SECOND, heartbeat=SECOND)
FAILURE: Final = common_pb2.Failure(type="WRONG", message="it was", retryable=True, details_json='{"a":1}')
TERMS: Final = model_pb2.WaitTerms(
    prompt="Well?",
    choices=["yes"],
    allow_free_text=True,
    details_json="{}",
    answer_schema_json='{"type":"string"}',
    assignee="ann",
    timeout=Duration(seconds=1_000),
    on_deadline_node="end",
    resume_to_node="end",
)
FILTER: Final = runs.RunFilter(
    statuses=[common_pb2.RUN_STATUS_WAITING],
    activities=[common_pb2.RUN_ACTIVITY_WAITING],
    workflow_id=ASKING,
    workflow_version="0" * 64,
    session_id="s",
    root_run_id="r",
    parent_run_id="p",
    labels={"team": "blue"},
    wait_reason=common_pb2.WAIT_REASON_USER,
    wait_key="k",
    assignee="ann",
    created_from=Timestamp(seconds=1),
    created_before=FUTURE,
    ended_from=Timestamp(seconds=1),
    ended_before=FUTURE,
)


def effects() -> Iterator[model_pb2.Effect]:
    """One effect of each kind; one of them with everything set that all have."""
    kinds: dict[str, Any] = {
        "wait_event": model_pb2.WaitEvent(name="go", scope=common_pb2.EVENT_SCOPE_RUN, scope_id="r", terms=TERMS),
        "wait_until": model_pb2.WaitUntil(delay=Duration(seconds=1_000)),
        "ask_user": model_pb2.AskUser(wait_key="k", terms=TERMS),
        "answer_user": model_pb2.AnswerUser(message="hello", level="message"),
        "emit_event": model_pb2.EmitEvent(
            name="go", scope=common_pb2.EVENT_SCOPE_RUN, scope_id="r", payload_json="{}", event_id="e"
        ),
        "start_subworkflow": model_pb2.StartSubworkflow(
            workflow_id=ASKING,
            workflow_version="0" * 64,
            vars_json="{}",
            on_parent_cancel=common_pb2.CHILD_CANCEL_POLICY_CANCEL,
            drive=common_pb2.DRIVE_MODE_AUTO,
            entry_node="ask",
            session_id="s",
            labels={"team": "blue"},
            timeout=SECOND,
            run_id="a-child",
        ),
        "vars_query": model_pb2.VarsQuery(path="a.b[0]"),
        "llm_call": model_pb2.LlmCall(payload_json="{}"),
        "tool_calls": model_pb2.ToolCalls(payload_json="{}"),
        "custom": model_pb2.CustomEffect(type="act", payload_json="{}"),
    }
    common: dict[str, Any] = {
        "result_key": "a.b",
        "retry": RETRY,
        "timeouts": TIMEOUTS,
        "queue": "act",
        "priority": 1,
        "on_error_node": "end",
        "risk": common_pb2.EFFECT_RISK_IDEMPOTENT,
        "idempotency_key": "key",
    }
    for name, kind in kinds.items():
        yield model_pb2.Effect(**(common if name == "custom" else {}), **{name: kind})
    yield model_pb2.Effect(wait_until=model_pb2.WaitUntil(until=FUTURE))


def plans() -> Iterator[model_pb2.StepPlan]:
    """Plans with each effect and each end."""
    ops = [model_pb2.VarsOp(path="/a", set_json="1")]
    for effect in effects():
        yield model_pb2.StepPlan(effect=effect, next_node="end")
    yield model_pb2.StepPlan(vars_ops=ops, next_node="end")
    yield model_pb2.StepPlan(vars_ops=[model_pb2.VarsOp(path="/b", append_json="{}")], fail=FAILURE)
    yield model_pb2.StepPlan(vars_ops=[model_pb2.VarsOp(path="/c", remove=True)], complete_output_json='{"a":1}')


def outcomes() -> Iterator[model_pb2.EffectOutcome]:
    """Each way in which an effect ends."""
    yield model_pb2.EffectOutcome(result_json='{"a":1}')
    wait = model_pb2.WaitRequest(reason=common_pb2.WAIT_REASON_JOB, wait_key="k", terms=TERMS)
    yield model_pb2.EffectOutcome(waiting=wait)
    yield model_pb2.EffectOutcome(failed=model_pb2.StepFailure(failure=FAILURE, retry_after=SECOND))


def _server_side() -> dict[str, model_pb2.NodeSpec]:
    """Nodes of the kinds that make their plan from expressions."""
    join = model_pb2.JoinSpec(mode=model_pb2.JOIN_MODE_COUNT, count=1)
    branch = model_pb2.BranchSpec(name="b", entry_node="end", vars_json='{"a":"${vars.a + 1}"}')
    each = model_pb2.ForeachSpec(
        items="vars.list.filter(i, i > 0)", entry_node="end", vars_json='{"a":"${item}"}', max_concurrency=2
    )
    child = model_pb2.SubworkflowSpec(
        workflow_id="child",
        workflow_version="v",
        vars_json='{"a":"${vars.a}"}',
        wait=True,
        on_parent_cancel=common_pb2.CHILD_CANCEL_POLICY_ABANDON,
        timeout=Duration(seconds=1),
    )
    setattr(child, "async", True)
    changes = [
        model_pb2.VarsOp(path="/a", set_json='"${vars.a + 1}"'),
        model_pb2.VarsOp(path="/b", append_json="1"),
        model_pb2.VarsOp(path="/c", remove=True),
    ]
    return {
        "pick": model_pb2.NodeSpec(
            kind=model_pb2.NODE_KIND_CHOICE, choices=[model_pb2.ChoiceRule(when="vars.a > 1", next="put-0")], next="end"
        ),
        **{
            f"put-{number}": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_ASSIGN, assign=[change], next="fan")
            for number, change in enumerate(changes)
        },
        "fan": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_PARALLEL, branches=[branch], join=join, next="each"),
        "each": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_FOREACH, foreach=each, next="sub"),
        "sub": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_SUBWORKFLOW, subworkflow=child, next="end"),
    }


def spec(workflow_id: str) -> model_pb2.WorkflowSpec:
    """A workflow with a node of each kind."""
    return model_pb2.WorkflowSpec(
        workflow_id=workflow_id,
        entry_node="work",
        on_cancel_node="end",
        nodes={
            "work": model_pb2.NodeSpec(
                kind=model_pb2.NODE_KIND_WORKER,
                next="act",
                inputs=["/a/b"],
                queue="work",
                retry=RETRY,
                timeouts=TIMEOUTS,
                on_error_node="no",
                priority=1,
            ),
            "act": model_pb2.NodeSpec(
                kind=model_pb2.NODE_KIND_EFFECT,
                next="end",
                template_json='{"type":"act","payload":{"a":"${vars.a}"}}',
                result_key="a.b",
                risk=common_pb2.EFFECT_RISK_READ,
            ),
            **_server_side(),
            "end": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json='{"a":"${vars.a}"}'),
            "no": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_FAIL, template_json='{"type":"NO","message":"no"}'),
        },
    )


# Requests that speak of something are made each time anew: an accepted one has changed it.


async def _start(world: World) -> Message:
    return runs.StartRunRequest(
        request_id=world.name("start"),
        run_id=world.name("started"),
        workflow_id=ASKING,
        vars_json='{"a":1}',
        actor_id="ann",
        session_id="s",
        labels={"team": "blue"},
        drive=common_pb2.DRIVE_MODE_AUTO,
        start_at=FUTURE,
        deadline=FUTURE,
        on_existing=runs.ON_EXISTING_RETURN,
        entry_node="ask",
        trace_context=TRACE,
        concurrency=common_pb2.Concurrency(key=world.name("key"), limit=1, on_limit=common_pb2.ON_LIMIT_QUEUE),
        event=runs.StartEvent(name="go", payload_json='{"a":1}', event_id="e", emitted_by="ann"),
    )


async def _tick(world: World) -> Message:
    return runs.TickRunRequest(request_id=world.name("tick"), run_id=await world.manual_run(), max_steps=0, wait=MOMENT)


async def _resume(world: World) -> Message:
    return runs.ResumeRunRequest(
        request_id=world.name("resume"),
        run_id=await world.asking_run(),
        wait_id=3,
        payload_json='"yes"',
        resumed_by="ann",
    )


async def _cancel(world: World) -> Message:
    return runs.CancelRunRequest(
        request_id=world.name("cancel"), run_id=await world.asking_run(), reason="so", cancelled_by="ann"
    )


async def _pause(world: World) -> Message:
    return runs.PauseRunRequest(
        request_id=world.name("pause"), run_id=await world.asking_run(), reason="so", paused_by="ann"
    )


async def _unpause(world: World) -> Message:
    return runs.UnpauseRunRequest(request_id=world.name("unpause"), run_id=await world.asking_run(), unpaused_by="ann")


def _resolve(**resolution: Any) -> Maker:
    """About an effect."""

    async def make(world: World) -> Message:
        run_id, step_id = await world.parked_effect()
        return runs.ResolveStepRequest(
            request_id=world.name("resolve"), run_id=run_id, step_id=step_id, resolved_by="ann", **resolution
        )

    return make


def _resolve_node(plan: model_pb2.StepPlan) -> Maker:
    async def make(world: World) -> Message:
        run_id, step_id = await world.parked_node()
        return runs.ResolveStepRequest(run_id=run_id, step_id=step_id, completed=runs.CompletedStep(plan=plan))

    return make


def _retry(**change: Any) -> Maker:
    """With one change of the vars."""

    async def make(world: World) -> Message:
        return runs.RetryRunRequest(
            request_id=world.name("retry"),
            run_id=await world.failed_run(),
            vars_ops=[model_pb2.VarsOp(path="/a", **change), model_pb2.VarsOp(path="/b", append_json="{}")],
            from_node=True,
            deadline=FUTURE,
            pause=True,
            retried_by="ann",
        )

    return make


async def _retry_page(world: World) -> Message:
    request = runs.RetryRunsRequest(
        request_id=world.name("retry"), page_size=1, dry_run=True, from_node=True, deadline=FUTURE, pause=True
    )
    request.retried_by = "ann"
    request.filter.CopyFrom(FILTER)
    request.filter.statuses[:] = [common_pb2.RUN_STATUS_FAILED]
    del request.filter.activities[:]
    return request


async def _migrate(world: World) -> Message:
    return runs.MigrateRunRequest(
        request_id=world.name("migrate"),
        run_id=await world.asking_run(),
        workflow_version=world.versions[NEXT],
        node_map={"ask": "question"},
        migrated_by="ann",
    )


async def _emit(world: World) -> Message:
    return runs.EmitEventRequest(
        request_id=world.name("emit"),
        scope=common_pb2.EVENT_SCOPE_SESSION,
        scope_id="s",
        name="go",
        payload_json='{"a":1}',
        event_id=world.name("event"),
        emitted_by="ann",
    )


def _constant(message: Message) -> Maker:
    async def make(_world: World) -> Message:
        return message

    return make


def _of_run(make_request: Callable[[str], Message]) -> Maker:
    """A request that only reads one run, always the same."""

    async def make(world: World) -> Message:
        return make_request(await world.known_run())

    return make


async def _register(world: World) -> Message:
    return workflows.RegisterWorkflowRequest(
        request_id=world.name("register"), spec=spec(world.name("workflow")), set_default=True
    )


async def _set_default(world: World) -> Message:
    return workflows.SetDefaultVersionRequest(
        request_id=world.name("default"), workflow_id=ACTING, version=world.versions[ACTING]
    )


async def _namespace(world: World) -> Message:
    return admin.CreateNamespaceRequest(
        request_id=world.name("create"), namespace=world.name("namespace"), description="a namespace"
    )


async def _poll(world: World) -> Message:
    hello = world.hello(world.name("poller"))
    hello.held_task_tokens.append(b"old")
    return worker.PollTasksRequest(worker=hello, request_id=world.name("poll"), max_tasks=1, wait=MOMENT)


def _report(**outcome: Any) -> Maker:
    async def make(world: World) -> Message:
        task = await world.task()
        report = worker.TaskReport(task_token=task.task_token, **outcome)
        return worker.ReportTasksRequest(worker_id=WORKER_ID, reports=[report])

    return make


async def _begin(world: World) -> Message:
    task = await world.task("acting")
    return worker.ReportTasksRequest(worker_id=WORKER_ID, begins=[worker.Begin(task_token=task.task_token)])


def _effect_report(outcome: model_pb2.EffectOutcome) -> Maker:
    async def make(world: World) -> Message:
        task = await world.begun_task(WORKER_ID)
        report = worker.TaskReport(task_token=task.task_token, effect=outcome)
        return worker.ReportTasksRequest(worker_id=WORKER_ID, reports=[report])

    return make


async def _heartbeat(world: World) -> Message:
    task = await world.task()
    beat = worker.Heartbeat(task_token=task.task_token, progress=True)
    return worker.HeartbeatTasksRequest(worker_id=WORKER_ID, heartbeats=[beat])


async def _work(world: World) -> Message:
    """The first message of a stream."""
    hello = world.hello(world.name("streamer"))
    hello.stream_epoch = 1
    hello.held_task_tokens.append(b"old")
    return worker.WorkRequest(hello=hello, credit=worker.Credit(limit=0))


def _on_a_stream(**fields: Any) -> Maker:
    """A later message of a stream."""
    return _constant(worker.WorkRequest(**fields))


def _node_report_on_a_stream(**outcome: Any) -> Maker:
    async def make(world: World) -> Message:
        task = await world.task(WORKING, world.name("streamer"))
        return worker.WorkRequest(reports=[worker.TaskReport(task_token=task.task_token, **outcome)])

    return make


def _effect_report_on_a_stream(outcome: model_pb2.EffectOutcome) -> Maker:
    async def make(world: World) -> Message:
        task = await world.begun_task(world.name("streamer"))
        return worker.WorkRequest(reports=[worker.TaskReport(task_token=task.task_token, effect=outcome)])

    return make


async def _begin_on_a_stream(world: World) -> Message:
    task = await world.task(ACTING, world.name("streamer"))
    return worker.WorkRequest(begins=[worker.Begin(task_token=task.task_token)])


async def _heartbeat_on_a_stream(world: World) -> Message:
    task = await world.task(WORKING, world.name("streamer"))
    return worker.WorkRequest(heartbeats=[worker.Heartbeat(task_token=task.task_token, progress=True)])


def node_outcomes() -> Iterator[dict[str, Any]]:
    """Each way in which a node's task ends."""
    for plan in plans():
        yield {"node": worker.NodeReport(plan=plan)}
    call = model_pb2.StepPlan(effect=model_pb2.Effect(llm_call=model_pb2.LlmCall(payload_json="{}")), next_node="end")
    for outcome in outcomes():
        yield {"node": worker.NodeReport(plan=call, effect_outcome=outcome)}
    yield {"failed": model_pb2.StepFailure(failure=FAILURE, retry_after=SECOND)}
    yield {"release": worker.Release(delay=SECOND)}


RECORDS_FILTER: Final = ledger.LedgerFilter(
    kinds=[records.RECORD_KIND_RUN_STARTED], statuses=[records.STEP_STATUS_STARTED], node_ids=["ask"]
)


def _subscribe(**start: Any) -> Maker:
    return _constant(
        ledger.SubscribeLedgerRequest(
            filter=RECORDS_FILTER,
            view=ledger.RECORD_VIEW_RECORD,
            max_batch_records=10,
            max_batch_bytes=1_000,
            checkpoint_interval=SECOND,
            stop_when_caught_up=True,
            **start,
        )
    )


def _subscribe_run(run_id: str) -> Message:
    scope = ledger.LedgerScope(run_id=run_id)
    return ledger.SubscribeLedgerRequest(scope=scope, after_seq=1, stop_when_terminal=True)


async def _subscribe_after_cursor(world: World) -> Message:
    await world.asking_run()
    scope = ledger.LedgerScope(all=True)
    page = await LedgerServiceStub(world.channel).ListRecords(ledger.ListRecordsRequest(scope=scope, page_size=1))
    return ledger.SubscribeLedgerRequest(scope=scope, after_cursor=page.next_page_token)


def _list_of_run(run_id: str) -> Message:
    return ledger.ListRecordsRequest(scope=ledger.LedgerScope(run_id=run_id), after_seq=1, page_size=1)


SCOPES: Final = (
    ledger.LedgerScope(all=True),
    ledger.LedgerScope(root_run_id="r"),
    ledger.LedgerScope(session_id="s"),
    ledger.LedgerScope(workflow_id=ASKING),
)


RIGHT: Final[Mapping[str, tuple[Maker, ...]]] = {
    **RIGHT_SCHEDULES,
    "RunService/StartRun": (_start,),
    "RunService/TickRun": (_tick,),
    "RunService/ResumeRun": (_resume,),
    "RunService/GetRun": (_of_run(lambda run_id: runs.GetRunRequest(run_id=run_id, view=runs.RUN_VIEW_FULL)),),
    "RunService/ListRuns": (_constant(runs.ListRunsRequest(filter=FILTER, page_size=10)),),
    "RunService/CountRuns": (_constant(runs.CountRunsRequest(filter=FILTER)),),
    "RunService/ListWaits": (
        _constant(
            runs.ListWaitsRequest(
                reasons=[common_pb2.WAIT_REASON_USER],
                wait_key="k",
                assignee="ann",
                workflow_id=ASKING,
                session_id="s",
                page_size=10,
            )
        ),
    ),
    "RunService/WaitRun": (
        _of_run(
            lambda run_id: runs.WaitRunRequest(
                run_id=run_id, until=runs.WAIT_RUN_UNTIL_SETTLED, min_seq=1, wait=MOMENT, view=runs.RUN_VIEW_BASIC
            )
        ),
    ),
    "RunService/WatchRun": (_of_run(lambda run_id: runs.WatchRunRequest(run_id=run_id, view=runs.RUN_VIEW_BASIC)),),
    "RunService/CancelRun": (_cancel,),
    "RunService/PauseRun": (_pause,),
    "RunService/UnpauseRun": (_unpause,),
    "RunService/RetryRun": (_retry(set_json="1"), _retry(append_json="1"), _retry(remove=True)),
    "RunService/RetryRuns": (_retry_page,),
    "RunService/MigrateRun": (_migrate,),
    "RunService/ResolveStep": (
        _resolve(completed=runs.CompletedStep(result_json='{"a":1}')),
        _resolve(failed=FAILURE),
        _resolve(rerun=runs.RerunStep()),
        *(_resolve_node(plan) for plan in plans()),
    ),
    "RunService/EmitEvent": (_emit,),
    "RunService/ListEvents": (
        _constant(runs.ListEventsRequest(scope=common_pb2.EVENT_SCOPE_SESSION, scope_id="s", name="go", page_size=10)),
    ),
    "LedgerService/ListRecords": (
        _constant(
            ledger.ListRecordsRequest(
                scope=ledger.LedgerScope(session_id="s"),
                filter=RECORDS_FILTER,
                view=ledger.RECORD_VIEW_RECORD_BYTES,
                page_size=10,
            )
        ),
        _of_run(_list_of_run),
        *(_constant(ledger.ListRecordsRequest(scope=scope)) for scope in SCOPES),
    ),
    "LedgerService/SubscribeLedger": (
        _subscribe(beginning=True, scope=SCOPES[0]),
        *(_constant(ledger.SubscribeLedgerRequest(scope=scope, now=True)) for scope in SCOPES),
        _of_run(_subscribe_run),
        _subscribe_after_cursor,
    ),
    "LedgerService/VerifyRun": (_of_run(lambda run_id: ledger.VerifyRunRequest(run_id=run_id)),),
    "WorkflowService/RegisterWorkflow": (_register,),
    "WorkflowService/GetWorkflow": (_constant(workflows.GetWorkflowRequest(workflow_id=ASKING)),),
    "WorkflowService/ListWorkflows": (_constant(workflows.ListWorkflowsRequest(workflow_id=ASKING, page_size=1)),),
    "WorkflowService/ValidateWorkflow": (_constant(workflows.ValidateWorkflowRequest(spec=spec("validated"))),),
    "WorkflowService/SetDefaultVersion": (_set_default,),
    "WorkerService/Work": (
        _work,
        _on_a_stream(credit=worker.Credit(limit=0), drain=worker.Drain(timeout=SECOND)),
        _on_a_stream(goodbye=ledger.Goodbye(reason=ledger.Goodbye.REASON_CLIENT_DONE, reconnect_delay=SECOND)),
        _heartbeat_on_a_stream,
        _begin_on_a_stream,
        *(_effect_report_on_a_stream(outcome) for outcome in outcomes()),
        *(_node_report_on_a_stream(**outcome) for outcome in node_outcomes()),
    ),
    "WorkerService/PollTasks": (_poll,),
    "WorkerService/ReportTasks": (
        _begin,
        *(_effect_report(outcome) for outcome in outcomes()),
        *(_report(**outcome) for outcome in node_outcomes()),
    ),
    "WorkerService/HeartbeatTasks": (_heartbeat,),
    "AdminService/GetServerInfo": (_constant(admin.GetServerInfoRequest()),),
    "AdminService/AuditRuns": (_of_run(lambda run_id: admin.AuditRunsRequest(run_id=run_id, page_size=10)),),
    "AdminService/ListWorkers": (_constant(admin.ListWorkersRequest(namespace="default")),),
    "AdminService/CreateNamespace": (_namespace,),
}
"""Method to the makers of its right requests."""
