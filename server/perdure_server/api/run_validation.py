"""Requests of RunService to commands and queries: one function a message, one rule a field.

Each raises EdgeError with all that is wrong.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from google.protobuf.message import Message

from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as pb
from perdure_server.api.codec import plans, terms
from perdure_server.api.fields import EMPTY_OBJECT, NULL, Check
from perdure_server.engine.commands import (
    CancelRunCommand,
    EmitEventCommand,
    MigrateRunCommand,
    PauseRunCommand,
    RequestId,
    ResolveStepCommand,
    ResumeRunCommand,
    RetryRunCommand,
    RetryRunsCommand,
    RetryTerms,
    StartRunCommand,
    TickRunCommand,
    UnpauseRunCommand,
)
from perdure_server.kernel.bounds import KEY_BYTES, MAX_CONCURRENCY, MAX_INT64, PAGE_TOKEN_BYTES
from perdure_server.kernel.inputs import EventOffered
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.model import (
    Activity,
    Concurrency,
    Drive,
    EventScope,
    OnLimit,
    RunStatus,
    VarsOp,
    WaitReason,
)
from perdure_server.kernel.records import Resolution
from perdure_server.storage.port import RunKey, RunQuery, WaitQuery

INBOX: Final = (WaitReason.EVENT, WaitReason.USER, WaitReason.JOB)
_UNHASHED: Final = ("trace_context", "wait")
"""Fields in which a repeat of a request may differ: they do not change what it does."""


def request_id(check: Check, request: Message, value: str) -> RequestId | None:
    """The caller's request id with the hash of the request's body; None without one."""
    check.text("", "request_id", value)
    if not value:
        return None
    method = request.DESCRIPTOR.name.removesuffix("Request")
    if any(name in request.DESCRIPTOR.fields_by_name for name in _UNHASHED):
        bare = type(request)()
        bare.CopyFrom(request)
        for name in _UNHASHED:
            if name in request.DESCRIPTOR.fields_by_name:
                bare.ClearField(name)
        request = bare
    return RequestId(method, value, hashlib.sha256(request.SerializeToString(deterministic=True)).digest())


def run_key(check: Check, namespace: str, run_id: str) -> RunKey:
    """The run that a request names."""
    return RunKey(check.namespace("", namespace), check.id("", "run_id", run_id))


def start_run(request: pb.StartRunRequest, limits: Limits) -> StartRunCommand:
    """StartRun."""
    check = Check(limits)
    known = (pb.ON_EXISTING_UNSPECIFIED, pb.ON_EXISTING_FAIL, pb.ON_EXISTING_RETURN)
    if request.on_existing not in known:
        check.refuse("on_existing", f"is {request.on_existing}; it must be FAIL (1) or RETURN (2)")
    command = StartRunCommand(
        namespace=check.namespace("", request.namespace),
        workflow_id=check.id("", "workflow_id", request.workflow_id),
        vars=check.json("", "vars_json", request.vars_json, empty=EMPTY_OBJECT, object_only=True),
        workflow_version=check.id("", "workflow_version", request.workflow_version, optional=True),
        run_id=check.id("", "run_id", request.run_id, optional=True),
        actor_id=check.text("", "actor_id", request.actor_id),
        session_id=check.text("", "session_id", request.session_id),
        labels=check.labels("", request.labels),
        drive=check.choice("", "drive", request.drive, Drive, Drive.AUTO),
        start_at=check.instant("", "start_at", request, request.start_at),
        deadline_at=check.instant("", "deadline", request, request.deadline),
        return_existing=request.on_existing == pb.ON_EXISTING_RETURN,
        entry_node=check.id("", "entry_node", request.entry_node, optional=True),
        trace_context=terms.trace_context(request, request.trace_context, check),
        event=start_event(check, request.event) if request.HasField("event") else None,
        concurrency=concurrency(check, request.concurrency) if request.HasField("concurrency") else None,
        request=request_id(check, request, request.request_id),
    )
    surplus = command.concurrency.on_limit if command.concurrency else OnLimit.QUEUE
    if command.start_at and surplus is not OnLimit.QUEUE:
        check.refuse("concurrency.on_limit", "must be QUEUE with start_at: the slot is asked for only then")
    check.done()
    return command


def concurrency(check: Check, wanted: common_pb2.Concurrency, at: str = "concurrency.") -> Concurrency:
    """A concurrency key."""
    return Concurrency(
        key=check.text(at, "key", wanted.key, required=True),
        limit=check.integer(at, "limit", wanted.limit, 1, MAX_CONCURRENCY),
        on_limit=check.choice(at, "on_limit", wanted.on_limit, OnLimit, OnLimit.QUEUE),
    )


def start_event(check: Check, event: pb.StartEvent) -> EventOffered:
    """The event that goes with a start."""
    at = "event."
    if event.name == "*":
        check.refuse("event.name", '"*" is what a wait may name, not an event')
    return EventOffered(
        name=check.text(at, "name", event.name, required=True),
        payload=check.json(at, "payload_json", event.payload_json, empty=NULL),
        event_id=check.text(at, "event_id", event.event_id),
        emitted_by=check.text(at, "emitted_by", event.emitted_by),
    )


def tick_run(request: pb.TickRunRequest, limits: Limits) -> TickRunCommand:
    """TickRun."""
    check = Check(limits)
    command = TickRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        steps=check.integer("", "max_steps", request.max_steps, 0, limits.max_steps),
        wait_us=check.waiting_time(request, request.wait),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def resume_run(request: pb.ResumeRunRequest, limits: Limits) -> ResumeRunCommand:
    """ResumeRun."""
    check = Check(limits)
    command = ResumeRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        payload=check.json("", "payload_json", request.payload_json, empty=NULL),
        wait_id=check.integer("", "wait_id", request.wait_id, 0, MAX_INT64),
        any_wait=request.any_wait,
        wait_key=check.text("", "wait_key", request.wait_key, KEY_BYTES),
        resumed_by=check.text("", "resumed_by", request.resumed_by),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def cancel_run(request: pb.CancelRunRequest, limits: Limits) -> CancelRunCommand:
    """CancelRun."""
    check = Check(limits)
    command = CancelRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        reason=check.text("", "reason", request.reason, limits.reason_bytes),
        cancelled_by=check.text("", "cancelled_by", request.cancelled_by),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def pause_run(request: pb.PauseRunRequest, limits: Limits) -> PauseRunCommand:
    """PauseRun."""
    check = Check(limits)
    command = PauseRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        reason=check.text("", "reason", request.reason, limits.reason_bytes),
        paused_by=check.text("", "paused_by", request.paused_by),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def unpause_run(request: pb.UnpauseRunRequest, limits: Limits) -> UnpauseRunCommand:
    """UnpauseRun."""
    check = Check(limits)
    command = UnpauseRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        unpaused_by=check.text("", "unpaused_by", request.unpaused_by),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def resolve_step(request: pb.ResolveStepRequest, limits: Limits) -> ResolveStepCommand:
    """ResolveStep."""
    check = Check(limits)
    kind = check.one_of("", request, "resolution")
    outcome = check.one_of("completed.", request.completed, "outcome") if kind == "completed" else None
    result = plan = failure = None
    if outcome == "result_json":
        result = check.json("completed.", "result_json", request.completed.result_json)
    elif outcome == "plan":
        plan = plans.step_plan(request.completed.plan, check, "completed.plan.")
    elif kind == "failed":
        failure = terms.failure(request.failed, check, "failed.")
    command = ResolveStepCommand(
        key=run_key(check, request.namespace, request.run_id),
        step_id=check.integer("", "step_id", request.step_id, 1, MAX_INT64),
        resolution=_RESOLUTIONS.get(kind or "", Resolution.RERUN),
        result=result,
        plan=plan,
        failure=failure,
        resolved_by=check.text("", "resolved_by", request.resolved_by),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


_RESOLUTIONS: Final = {
    "rerun": Resolution.RERUN,
    "completed": Resolution.COMPLETED,
    "failed": Resolution.FAILED,
}


def retry_run(request: pb.RetryRunRequest, limits: Limits) -> RetryRunCommand:
    """RetryRun."""
    check = Check(limits)
    command = RetryRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        terms=_retry_terms(check, request, plans.vars_ops(request.vars_ops, check, "")),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def retry_runs(request: pb.RetryRunsRequest, limits: Limits) -> RetryRunsCommand:
    """RetryRuns; the page token is the edge's own."""
    check = Check(limits)
    for index, status in enumerate(request.filter.statuses):
        if status != RunStatus.FAILED and status in list(RunStatus):  # numbers of no status are refused below
            check.refuse(f"filter.statuses[{index}]", "must be FAILED (4): only failed runs are retried")
    if request.filter.activities:
        check.refuse("filter.activities", "must be empty: a failed run has no activity")
    query = _run_filter(check, check.namespace("", request.namespace), request.filter)
    check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    command = RetryRunsCommand(
        query=replace(query, statuses=(int(RunStatus.FAILED),)),
        limit=check.page_size(request.page_size),
        terms=_retry_terms(check, request, ()),
        dry_run=request.dry_run,
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def _retry_terms(
    check: Check, request: pb.RetryRunRequest | pb.RetryRunsRequest, ops: tuple[VarsOp, ...]
) -> RetryTerms:
    return RetryTerms(
        vars_ops=ops,
        from_node=request.from_node,
        deadline_at=check.instant("", "deadline", request, request.deadline),
        paused=request.pause,
        retried_by=check.text("", "retried_by", request.retried_by),
    )


def migrate_run(request: pb.MigrateRunRequest, limits: Limits) -> MigrateRunCommand:
    """MigrateRun."""
    check = Check(limits)
    check.count("", "node_map", len(request.node_map), limits.workflow_nodes)
    pairs = list(request.node_map.items())[: limits.workflow_nodes]
    command = MigrateRunCommand(
        key=run_key(check, request.namespace, request.run_id),
        workflow_version=check.id("", "workflow_version", request.workflow_version, optional=True),
        node_map={check.id("", "node_map", old): check.id("", f"node_map[{old[:40]}]", new) for old, new in pairs},
        dry_run=request.dry_run,
        migrated_by=check.text("", "migrated_by", request.migrated_by),
        request=None if request.dry_run else request_id(check, request, request.request_id),
    )
    check.done()
    return command


def emit_event(request: pb.EmitEventRequest, limits: Limits) -> EmitEventCommand:
    """EmitEvent."""
    check = Check(limits)
    if request.name == "*":
        check.refuse("name", '"*" is what a wait may name, not an event')
    scope, scope_id = _event_scope(check, request)
    command = EmitEventCommand(
        namespace=check.namespace("", request.namespace),
        scope=scope,
        scope_id=scope_id,
        name=check.text("", "name", request.name, required=True),
        payload=check.json("", "payload_json", request.payload_json, empty=EMPTY_OBJECT),
        event_id=check.text("", "event_id", request.event_id),
        emitted_by=check.text("", "emitted_by", request.emitted_by),
        request=request_id(check, request, request.request_id),
    )
    check.done()
    return command


def event_query(request: pb.ListEventsRequest, limits: Limits) -> tuple[str, EventScope, str, str, int]:
    """ListEvents: namespace, scope, scope id, name, page size."""
    check = Check(limits)
    scope, scope_id = _event_scope(check, request)
    found = (
        check.namespace("", request.namespace),
        scope,
        scope_id,
        check.text("", "name", request.name),
        check.page_size(request.page_size),
    )
    check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    check.done()
    return found


def run_named(request: pb.GetRunRequest | pb.WatchRunRequest, limits: Limits) -> tuple[RunKey, bool]:
    """GetRun and WatchRun: the run, and whether all of it is wanted."""
    check = Check(limits)
    found = run_key(check, request.namespace, request.run_id), _is_full(check, request.view)
    check.done()
    return found


def wait_run(request: pb.WaitRunRequest, limits: Limits) -> tuple[RunKey, bool, int, int, bool]:
    """WaitRun: the run, whether only its end counts, min_seq, longest wait, whether all is wanted."""
    check = Check(limits)
    known = (pb.WAIT_RUN_UNTIL_UNSPECIFIED, pb.WAIT_RUN_UNTIL_SETTLED, pb.WAIT_RUN_UNTIL_ENDED)
    if request.until not in known:
        check.refuse("until", f"is {request.until}; it must be SETTLED (1) or ENDED (2)")
    found = (
        run_key(check, request.namespace, request.run_id),
        request.until == pb.WAIT_RUN_UNTIL_ENDED,
        check.integer("", "min_seq", request.min_seq, 0, MAX_INT64),
        check.waiting_time(request, request.wait),
        _is_full(check, request.view),
    )
    check.done()
    return found


def run_query(request: pb.ListRunsRequest | pb.CountRunsRequest, limits: Limits) -> tuple[RunQuery, int]:
    """ListRuns and CountRuns: the filter and the page size."""
    check = Check(limits)
    page_size = 0
    if isinstance(request, pb.ListRunsRequest):
        page_size = check.page_size(request.page_size)
        check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    query = _run_filter(check, check.namespace("", request.namespace), request.filter)
    check.done()
    return query, page_size


def wait_query(request: pb.ListWaitsRequest, limits: Limits) -> tuple[WaitQuery, int]:
    """ListWaits: the filter and the page size."""
    check = Check(limits)
    reasons = check.choices("", "reasons", request.reasons, WaitReason) or INBOX
    query = WaitQuery(
        namespace=check.namespace("", request.namespace),
        reasons=tuple(map(int, reasons)),
        wait_key=check.text("", "wait_key", request.wait_key, KEY_BYTES),
        assignee=check.text("", "assignee", request.assignee),
        workflow_id=check.id("", "workflow_id", request.workflow_id, optional=True),
        session_id=check.text("", "session_id", request.session_id),
    )
    page_size = check.page_size(request.page_size)
    check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    check.done()
    return query, page_size


def _run_filter(check: Check, namespace: str, message: pb.RunFilter) -> RunQuery:
    at = "filter."
    reason = 0
    if message.wait_reason:
        reason = int(check.choice(at, "wait_reason", message.wait_reason, WaitReason))
    return RunQuery(
        namespace=namespace,
        statuses=tuple(map(int, check.choices(at, "statuses", message.statuses, RunStatus))),
        activities=tuple(map(int, _activities(check, at, message))),
        workflow_id=check.id(at, "workflow_id", message.workflow_id, optional=True),
        workflow_version=check.id(at, "workflow_version", message.workflow_version, optional=True),
        session_id=check.text(at, "session_id", message.session_id),
        root_run_id=check.id(at, "root_run_id", message.root_run_id, optional=True),
        parent_run_id=check.id(at, "parent_run_id", message.parent_run_id, optional=True),
        roots_only=message.roots_only,
        paused_only=message.paused_only,
        labels=check.labels(at, message.labels),
        wait_reason=reason,
        wait_key=check.text(at, "wait_key", message.wait_key, KEY_BYTES),
        assignee=check.text(at, "assignee", message.assignee),
        created_from=check.instant(at, "created_from", message, message.created_from),
        created_before=check.instant(at, "created_before", message, message.created_before),
        ended_from=check.instant(at, "ended_from", message, message.ended_from),
        ended_before=check.instant(at, "ended_before", message, message.ended_before),
    )


def _activities(check: Check, at: str, message: pb.RunFilter) -> tuple[Activity, ...]:
    for index, number in enumerate(message.activities):
        if number == Activity.NONE:
            check.refuse(f"{at}activities[{index}]", "must be specified; ended runs are found by statuses")
    return check.choices(at, "activities", message.activities, Activity)


def _event_scope(check: Check, request: pb.EmitEventRequest | pb.ListEventsRequest) -> tuple[EventScope, str]:
    scope = check.choice("", "scope", request.scope, EventScope, EventScope.SESSION)
    is_global = scope is EventScope.GLOBAL
    scope_id = check.text("", "scope_id", request.scope_id, required=not is_global)
    if is_global and scope_id:
        check.refuse("scope_id", "must be empty for the global scope")
    return scope, scope_id


def _is_full(check: Check, view: int) -> bool:
    if view not in (pb.RUN_VIEW_UNSPECIFIED, pb.RUN_VIEW_FULL, pb.RUN_VIEW_BASIC):
        check.refuse("view", f"is {view}; it must be FULL (1) or BASIC (2)")
    return view != pb.RUN_VIEW_BASIC
