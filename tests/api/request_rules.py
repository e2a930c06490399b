"""Every request of the contract with every field set, and the rule of each field: a reviewed table, not
derived from the code that it tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from perdure.v1 import admin_service_pb2 as apb
from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import run_service_pb2 as pb
from perdure.v1 import worker_service_pb2 as wpb
from perdure.v1 import workflow_service_pb2 as fpb
from perdure_server.api import admin_service, run_validation, workflow_validation
from perdure_server.api.codec import work
from perdure_server.kernel.limits import Limits
from tests.api.bad_values import (
    ANY_SPAN,
    ENUM,
    ID,
    INSTANT,
    LABEL,
    LABELS,
    OPTIONAL_ID,
    PAGE_SIZE,
    WAIT,
    Kind,
    Rules,
    integer,
    text,
    under,
)
from tests.api.plan_rules import (
    BY,
    EFFECTS,
    EMIT,
    FAILURE,
    OBJECT_VALUE,
    SECOND,
    SOON,
    TERMS,
    VALUE,
    VARS_OPS,
    WAIT_KEY,
    failure,
    plan,
    plan_rules,
    read_outcome,
    read_plan,
    terms,
)

Decode = Callable[[Any, Limits], object]

MAX64 = 2**63 - 1
PAGED: Rules = {"page_size": (PAGE_SIZE,), "page_token": (text(1_024),)}
RUN: Rules = {"namespace": (OPTIONAL_ID,), "run_id": (ID,)}
CHANGE: Rules = {**RUN, "request_id": BY}


@dataclass(frozen=True)
class Case:
    """A valid message with all fields set, what reads it, and the rules of its fields."""

    message: Message
    decode: Decode
    rules: Rules

    @property
    def name(self) -> str:
        """For test ids."""
        return self.message.DESCRIPTOR.name


def run_filter() -> pb.RunFilter:
    """A filter with all fields."""
    return pb.RunFilter(
        statuses=[common_pb2.RUN_STATUS_RUNNING],
        activities=[common_pb2.RUN_ACTIVITY_QUEUED],
        workflow_id="w",
        workflow_version="v",
        session_id="s",
        root_run_id="r",
        parent_run_id="r",
        roots_only=True,
        labels={"k": "v"},
        wait_reason=common_pb2.WAIT_REASON_EVENT,
        wait_key="k",
        assignee="a",
        created_from=SOON,
        created_before=SOON,
        ended_from=SOON,
        ended_before=SOON,
        paused_only=True,
    )


FILTER: Rules = {
    "statuses[0]": (ENUM, Kind((0,))),
    "activities[0]": (ENUM, Kind((0,))),
    "workflow_id": (OPTIONAL_ID,),
    "workflow_version": (OPTIONAL_ID,),
    "session_id": BY,
    "root_run_id": (OPTIONAL_ID,),
    "parent_run_id": (OPTIONAL_ID,),
    "labels": (LABELS, LABEL),
    "wait_reason": (ENUM,),
    "wait_key": WAIT_KEY,
    "assignee": BY,
    "created_from": (INSTANT,),
    "created_before": (INSTANT,),
    "ended_from": (INSTANT,),
    "ended_before": (INSTANT,),
}


NOT_OF_FAILED = {"statuses[0]", "activities[0]"}


def failed_filter() -> pb.RunFilter:
    """A filter with all fields that speak of failed runs."""
    found = run_filter()
    del found.activities[:]
    found.statuses[:] = [common_pb2.RUN_STATUS_FAILED]
    return found


def hello() -> wpb.Hello:
    """A hello with all fields."""
    return wpb.Hello(
        namespace="n",
        worker_id="w",
        stream_epoch=1,
        identity="i",
        sdk="s",
        queues=["q"],
        workflows=[wpb.ServedWorkflow(workflow_id="w", versions=["v"], node_ids=["n"])],
        effect_types=["e"],
        held_task_tokens=[b"any bytes"],
    )


HELLO: Rules = {
    "namespace": (OPTIONAL_ID,),
    "worker_id": (text(128, required=True),),
    "stream_epoch": (integer(0, MAX64),),
    "identity": (text(256),),
    "sdk": BY,
    "queues[0]": (ID,),
    "workflows[0].workflow_id": (ID,),
    "workflows[0].versions[0]": (ID,),
    "workflows[0].node_ids[0]": (ID,),
    "effect_types[0]": (ID,),
}


def trace() -> common_pb2.TraceContext:
    """A trace with all fields."""
    return common_pb2.TraceContext(traceparent="p", tracestate="s")


RUN_CASES = [
    Case(
        pb.StartRunRequest(
            namespace="n",
            request_id="i",
            run_id="r",
            workflow_id="w",
            workflow_version="v",
            vars_json="{}",
            actor_id="a",
            session_id="s",
            labels={"k": "v"},
            drive=common_pb2.DRIVE_MODE_MANUAL,
            start_at=SOON,
            deadline=SOON,
            on_existing=pb.ON_EXISTING_RETURN,
            entry_node="e",
            trace_context=trace(),
            concurrency=common_pb2.Concurrency(key="k", limit=1, on_limit=common_pb2.ON_LIMIT_QUEUE),
            event=pb.StartEvent(name="e", payload_json="1", event_id="i", emitted_by="b"),
        ),
        run_validation.start_run,
        {
            **CHANGE,
            "run_id": (OPTIONAL_ID,),
            "workflow_id": (ID,),
            "workflow_version": (OPTIONAL_ID,),
            "vars_json": OBJECT_VALUE,
            "actor_id": BY,
            "session_id": BY,
            "labels": (LABELS, LABEL),
            "drive": (ENUM,),
            "start_at": (INSTANT,),
            "deadline": (INSTANT,),
            "on_existing": (ENUM,),
            "entry_node": (OPTIONAL_ID,),
            "trace_context.traceparent": (text(256),),
            "trace_context.tracestate": (text(512),),
            "event.name": (text(128, required=True), Kind(("*",))),
            "concurrency.key": (text(128, required=True),),
            "concurrency.limit": (integer(1, 10_000, 32), Kind((0,))),
            "concurrency.on_limit": (ENUM, Kind((2, 3))),
            "event.payload_json": VALUE,
            "event.event_id": BY,
            "event.emitted_by": BY,
        },
    ),
    Case(
        pb.TickRunRequest(namespace="n", request_id="i", run_id="r", max_steps=1, wait=SECOND),
        run_validation.tick_run,
        {**CHANGE, "max_steps": (integer(0, 1_000_000),), "wait": (WAIT,)},
    ),
    Case(
        pb.ResumeRunRequest(
            namespace="n",
            request_id="i",
            run_id="r",
            wait_id=1,
            any_wait=True,
            wait_key="k",
            payload_json="1",
            resumed_by="b",
        ),
        run_validation.resume_run,
        {**CHANGE, "wait_id": (integer(0, MAX64),), "wait_key": WAIT_KEY, "payload_json": VALUE, "resumed_by": BY},
    ),
    Case(
        pb.CancelRunRequest(namespace="n", request_id="i", run_id="r", reason="r", cancelled_by="b"),
        run_validation.cancel_run,
        {**CHANGE, "reason": (text(4_096),), "cancelled_by": BY},
    ),
    Case(
        pb.PauseRunRequest(namespace="n", request_id="i", run_id="r", reason="r", paused_by="b"),
        run_validation.pause_run,
        {**CHANGE, "reason": (text(4_096),), "paused_by": BY},
    ),
    Case(
        pb.UnpauseRunRequest(namespace="n", request_id="i", run_id="r", unpaused_by="b"),
        run_validation.unpause_run,
        {**CHANGE, "unpaused_by": BY},
    ),
    Case(
        pb.ResolveStepRequest(
            namespace="n", request_id="i", run_id="r", step_id=1, rerun=pb.RerunStep(), resolved_by="b"
        ),
        run_validation.resolve_step,
        {**CHANGE, "step_id": (integer(1, MAX64),), "resolved_by": BY},
    ),
    Case(
        pb.ResolveStepRequest(run_id="r", step_id=1, completed=pb.CompletedStep(result_json="1")),
        run_validation.resolve_step,
        {"completed.result_json": VALUE},
    ),
    Case(
        pb.ResolveStepRequest(run_id="r", step_id=1, completed=pb.CompletedStep(plan=plan())),
        run_validation.resolve_step,
        {"completed.plan.next_node": (OPTIONAL_ID,), "completed.plan.complete_output_json": OBJECT_VALUE},
    ),
    Case(
        pb.ResolveStepRequest(run_id="r", step_id=1, failed=failure()),
        run_validation.resolve_step,
        under("failed", FAILURE),
    ),
    Case(
        pb.RetryRunRequest(
            namespace="n",
            request_id="i",
            run_id="r",
            vars_ops=[
                model_pb2.VarsOp(path="/a", set_json="1"),
                model_pb2.VarsOp(path="/b", append_json="1"),
                model_pb2.VarsOp(path="/c", remove=True),
            ],
            from_node=True,
            deadline=SOON,
            pause=True,
            retried_by="b",
        ),
        run_validation.retry_run,
        {**CHANGE, **VARS_OPS, "deadline": (INSTANT,), "retried_by": BY},
    ),
    Case(
        pb.RetryRunsRequest(
            namespace="n",
            request_id="i",
            filter=failed_filter(),
            page_size=1,
            page_token="t",
            dry_run=True,
            from_node=True,
            deadline=SOON,
            pause=True,
            retried_by="b",
        ),
        run_validation.retry_runs,
        {
            **PAGED,
            "namespace": (OPTIONAL_ID,),
            "request_id": BY,
            "deadline": (INSTANT,),
            "retried_by": BY,
            **under("filter", {path: rule for path, rule in FILTER.items() if path not in NOT_OF_FAILED}),
            "filter.statuses[0]": (Kind((0, 1, 2, 3, 5, 99, -1)),),
            "filter.activities": (Kind(([1],)),),
        },
    ),
    Case(
        pb.MigrateRunRequest(
            namespace="n",
            request_id="i",
            run_id="r",
            workflow_version="v",
            node_map={"a": "b"},
            migrated_by="b",
        ),
        run_validation.migrate_run,
        {
            **CHANGE,
            "workflow_version": (OPTIONAL_ID,),
            "node_map": (
                Kind(({"a b": "b"}, {"": "b"}, {str(number): "x" for number in range(2_001)})),
                Kind(({"a": ""}, {"a": "a b"}, {"a": "x" * 129}), reported="[a]"),
            ),
            "migrated_by": BY,
        },
    ),
    Case(
        pb.EmitEventRequest(
            namespace="n",
            request_id="i",
            scope=common_pb2.EVENT_SCOPE_SESSION,
            scope_id="s",
            name="e",
            payload_json="1",
            event_id="i",
            emitted_by="b",
        ),
        run_validation.emit_event,
        {
            **EMIT,
            "namespace": (OPTIONAL_ID,),
            "request_id": BY,
            "scope_id": (text(128, required=True),),
            "emitted_by": BY,
        },
    ),
    Case(
        pb.ListEventsRequest(
            namespace="n", scope=common_pb2.EVENT_SCOPE_SESSION, scope_id="s", name="e", page_size=1, page_token="t"
        ),
        run_validation.event_query,
        {
            **PAGED,
            "namespace": (OPTIONAL_ID,),
            "scope": (ENUM,),
            "scope_id": (text(128, required=True),),
            "name": BY,
        },
    ),
    Case(
        pb.GetRunRequest(namespace="n", run_id="r", view=pb.RUN_VIEW_BASIC),
        run_validation.run_named,
        {**RUN, "view": (ENUM,)},
    ),
    Case(
        pb.WatchRunRequest(namespace="n", run_id="r", view=pb.RUN_VIEW_BASIC),
        run_validation.run_named,
        {**RUN, "view": (ENUM,)},
    ),
    Case(
        pb.WaitRunRequest(
            namespace="n", run_id="r", until=pb.WAIT_RUN_UNTIL_ENDED, min_seq=1, wait=SECOND, view=pb.RUN_VIEW_FULL
        ),
        run_validation.wait_run,
        {**RUN, "until": (ENUM,), "min_seq": (integer(0, MAX64),), "wait": (WAIT,), "view": (ENUM,)},
    ),
    Case(
        pb.ListRunsRequest(namespace="n", filter=run_filter(), page_size=1, page_token="t"),
        run_validation.run_query,
        {**PAGED, "namespace": (OPTIONAL_ID,), **under("filter", FILTER)},
    ),
    Case(
        pb.CountRunsRequest(namespace="n", filter=run_filter()),
        run_validation.run_query,
        {"namespace": (OPTIONAL_ID,), **under("filter", FILTER)},
    ),
    Case(
        pb.ListWaitsRequest(
            namespace="n",
            reasons=[common_pb2.WAIT_REASON_EVENT],
            wait_key="k",
            assignee="a",
            workflow_id="w",
            session_id="s",
            page_size=1,
            page_token="t",
        ),
        run_validation.wait_query,
        {
            **PAGED,
            "namespace": (OPTIONAL_ID,),
            "reasons[0]": (ENUM, Kind((0,))),
            "wait_key": WAIT_KEY,
            "assignee": BY,
            "workflow_id": (OPTIONAL_ID,),
            "session_id": BY,
        },
    ),
]

WORKFLOW_CASES = [
    Case(
        fpb.GetWorkflowRequest(namespace="n", workflow_id="w", version="v"),
        workflow_validation.workflow_named,
        {"namespace": (OPTIONAL_ID,), "workflow_id": (ID,), "version": (OPTIONAL_ID,)},
    ),
    Case(
        fpb.ListWorkflowsRequest(namespace="n", workflow_id="w", defaults_only=True, page_size=1, page_token="t"),
        workflow_validation.workflow_query,
        {**PAGED, "namespace": (OPTIONAL_ID,), "workflow_id": (OPTIONAL_ID,)},
    ),
    Case(
        fpb.SetDefaultVersionRequest(namespace="n", request_id="i", workflow_id="w", version="v"),
        workflow_validation.default_version,
        {"namespace": (OPTIONAL_ID,), "request_id": BY, "workflow_id": (ID,), "version": (ID,)},
    ),
]

ADMIN_CASES = [
    Case(
        apb.CreateNamespaceRequest(namespace="n", request_id="i", description="d"),
        admin_service.new_namespace,
        {"namespace": (ID,), "request_id": BY, "description": (text(1_024),)},
    ),
    Case(
        apb.AuditRunsRequest(namespace="n", run_id="r", page_size=1, page_token="t"),
        admin_service.audit_query,
        {**PAGED, "namespace": (OPTIONAL_ID,), "run_id": (OPTIONAL_ID,)},
    ),
    Case(
        apb.ListWorkersRequest(namespace="n"),
        admin_service.worker_namespace,
        {"namespace": (OPTIONAL_ID,)},
    ),
]

WORK_CASES = [
    Case(hello(), lambda message, limits: work.hello(message, limits, ""), HELLO),
    Case(
        wpb.ReportTasksRequest(namespace="n", worker_id="w"),
        work.worker_key,
        {"namespace": (OPTIONAL_ID,), "worker_id": (text(128, required=True),)},
    ),
    Case(
        wpb.HeartbeatTasksRequest(namespace="n", worker_id="w"),
        work.worker_key,
        {"namespace": (OPTIONAL_ID,), "worker_id": (text(128, required=True),)},
    ),
    Case(plan("llm_call"), read_plan, plan_rules("llm_call")),
    *(Case(plan(kind), read_plan, under(f"effect.{kind}", rules)) for kind, rules in EFFECTS.items()),
    Case(
        model_pb2.StepPlan(effect=model_pb2.Effect(wait_event=model_pb2.WaitEvent(wait_key="k"))),
        read_plan,
        {"effect.wait_event.wait_key": WAIT_KEY, "effect.wait_event.name": (Kind(("both",)),)},
    ),
    Case(model_pb2.EffectOutcome(result_json="1"), read_outcome, {"result_json": VALUE}),
    Case(
        model_pb2.EffectOutcome(
            waiting=model_pb2.WaitRequest(reason=common_pb2.WAIT_REASON_JOB, wait_key="k", terms=terms())
        ),
        read_outcome,
        {
            "waiting.reason": (ENUM, Kind((0, 2, 5, 6))),
            "waiting.wait_key": WAIT_KEY,
            **under("waiting.terms", TERMS),
        },
    ),
    Case(
        model_pb2.EffectOutcome(failed=model_pb2.StepFailure(failure=failure(), not_executed=True, retry_after=SECOND)),
        read_outcome,
        {"failed.retry_after": (ANY_SPAN,), **under("failed.failure", FAILURE)},
    ),
]

CASES = [*RUN_CASES, *WORKFLOW_CASES, *ADMIN_CASES, *WORK_CASES]
