"""Messages of WorkerService to dispatch's, and back. A report that cannot be read becomes a Refusal: it is
answered by an ack, and the rest of its message goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perdure.v1 import admin_service_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure_server.api.codec import plans, shapes
from perdure_server.api.codec.shapes import Shape
from perdure_server.api.codec.task_vars import vars_text
from perdure_server.api.codec.tokens import decode_token, encode_token, token_bytes
from perdure_server.api.fields import Check
from perdure_server.api.problems import EdgeError
from perdure_server.dispatch import messages as d
from perdure_server.kernel.bounds import IDENTITY_BYTES, MAX_HELD, MAX_INT64, MAX_QUEUES, MAX_SERVED
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import RemoteRequest, RunState, Step, StepFailure


def hello(message: pb.Hello, limits: Limits = DEFAULT_LIMITS, at: str = "hello.") -> d.Hello:
    """Who a worker is. Raises: EdgeError."""
    check = Check(limits)
    check.count(at, "held_task_tokens", len(message.held_task_tokens), MAX_HELD)
    found = d.Hello(
        profile=_profile(message, check, at),
        stream_epoch=check.integer(at, "stream_epoch", message.stream_epoch, 0, MAX_INT64),
        held=tuple(decode_token(token) for token in message.held_task_tokens),
    )
    check.done()
    return found


def worker_key(
    request: pb.ReportTasksRequest | pb.HeartbeatTasksRequest, limits: Limits = DEFAULT_LIMITS
) -> tuple[str, str]:
    """Namespace and worker id of a unary call. Raises: EdgeError."""
    check = Check(limits)
    found = (
        check.namespace("", request.namespace),
        check.text("", "worker_id", request.worker_id, required=True),
    )
    check.done()
    return found


def from_worker(message: pb.WorkRequest, limits: Limits = DEFAULT_LIMITS) -> d.FromWorker:
    """One message after the hello. Raises: EdgeError if it cannot be taken as a whole."""
    check = Check(limits)
    if message.HasField("hello"):
        check.refuse("hello", "belongs in the first message only")
    credit = None
    if message.HasField("credit"):
        credit = check.integer("credit.", "limit", message.credit.limit, 0, MAX_INT64)
    check.done()
    return d.FromWorker(
        begins=begins(message.begins),
        reports=reports(message.reports, limits, len(message.begins)),
        heartbeats=heartbeats(message.heartbeats),
        credit=credit,
        drain=message.HasField("drain"),
        goodbye=message.HasField("goodbye"),
    )


def begins(messages: Iterable[pb.Begin]) -> tuple[d.Begin, ...]:
    """Requests to execute irreversible effects."""
    return tuple(d.Begin(decode_token(message.task_token)) for message in messages)


def heartbeats(messages: Sequence[pb.Heartbeat], most: int = MAX_HELD) -> tuple[d.Heartbeat, ...]:
    """Renewals of leases. Raises: EdgeError for too many."""
    _bound("heartbeats", len(messages), most)
    return tuple(d.Heartbeat(decode_token(message.task_token), message.progress) for message in messages)


def reports(messages: Sequence[pb.TaskReport], limits: Limits = DEFAULT_LIMITS, begun: int = 0) -> tuple[d.Report, ...]:
    """Results of tasks; `begun` begins came with them. Raises: EdgeError for too many."""
    _bound("reports", len(messages) + begun, limits.reports_per_message)
    return tuple(report(message, limits) for message in messages)


def report(message: pb.TaskReport, limits: Limits = DEFAULT_LIMITS) -> d.Report:
    """The result of a task; what cannot be read becomes a Refusal."""
    check = Check(limits)
    outcome: d.NodeReport | d.EffectReport | StepFailure | d.Release | d.Refusal = _outcome(message, check)
    try:
        check.done()
    except EdgeError as error:
        outcome = d.Refusal(error.reason, error.message)
    return d.Report(decode_token(message.task_token), outcome, message.SerializeToString)


def work_response(message: d.ToWorker, server_version: str) -> pb.WorkResponse:
    """One message of a stream to its worker."""
    fields: dict[str, Any] = {}
    if message.welcome is not None:
        fields["welcome"] = _welcome(message.welcome, server_version)
    if message.begin_acks:
        fields["begin_acks"] = [ack(item) for item in message.begin_acks]
    if message.acks:
        fields["acks"] = [ack(item) for item in message.acks]
    if message.lease_updates:
        fields["lease_updates"] = [lease_update(item) for item in message.lease_updates]
    if message.tasks:
        fields["tasks"] = [task(item) for item in message.tasks]
    if message.drain_us is not None:
        fields["drain"] = {"timeout": shapes.exact_span(message.drain_us)}
    if message.goodbye is not None:
        fields["goodbye"] = {"reason": message.goodbye.value}
    return pb.WorkResponse(**fields)


def poll_response(tasks: Iterable[d.Task]) -> pb.PollTasksResponse:
    """Tasks for a poller."""
    return shapes.build(pb.PollTasksResponse, {"tasks": [task(item) for item in tasks]})


def report_response(begin_acks: Iterable[d.Acked], acks: Iterable[d.Acked]) -> pb.ReportTasksResponse:
    """Acks for a unary report."""
    fields = {"begin_acks": [ack(item) for item in begin_acks], "acks": [ack(item) for item in acks]}
    return shapes.build(pb.ReportTasksResponse, fields)


def heartbeat_response(updates: Iterable[d.LeaseUpdate]) -> pb.HeartbeatTasksResponse:
    """Leases for a unary heartbeat."""
    return shapes.build(pb.HeartbeatTasksResponse, {"lease_updates": [lease_update(item) for item in updates]})


def ack(item: d.Acked) -> Shape:
    """Shape of an Ack."""
    return {
        "task_token": token_bytes(item.token),
        "status": item.status.value,
        "reason": item.reason,
        "message": item.message,
    }


def lease_update(item: d.LeaseUpdate) -> Shape:
    """Shape of a LeaseUpdate."""
    return {
        "task_token": token_bytes(item.token),
        "state": item.state.value,
        "lease": shapes.span(item.lease_us),
    }


def task(item: d.Task) -> Shape:
    """Shape of a Task."""
    run = item.run
    step = run.step
    if step is None:
        raise ValueError(f"run {run.run_id} has no open step")
    effect = step.effect
    shape: dict[str, Any] = {
        "task_token": encode_token(item.token),
        "attempt": step.attempt,
        "lease": shapes.exact_span(item.lease_us),
        "timeouts": shapes.timeouts(effect.timeouts if effect else step.timeouts),
        "trace_context": shapes.trace(run.trace_context),
        "run": _task_run(run),
        "node_id": step.node_id,
        "visit": step.visit,
        "step_id": step.step_id,
    }
    if effect is None:
        shape["node"] = {"vars_json": vars_text(run.vars, item.inputs)}
    else:
        shape["idempotency_key"] = effect.idempotency_key
        shape["effect"] = {"type": effect.type, "payload_json": _payload(step), "risk": effect.risk}
    return shape


def _profile(message: pb.Hello, check: Check, at: str) -> d.Profile:
    check.count(at, "workflows", len(message.workflows), MAX_SERVED)
    check.count(at, "effect_types", len(message.effect_types), MAX_SERVED)
    return d.Profile(
        namespace=check.namespace(at, message.namespace),
        worker_id=check.text(at, "worker_id", message.worker_id, required=True),
        identity=check.text(at, "identity", message.identity, IDENTITY_BYTES),
        sdk=check.text(at, "sdk", message.sdk),
        queues=check.ids(at, "queues", message.queues, MAX_QUEUES) or ("default",),
        workflows=tuple(
            _served(served, check, f"{at}workflows[{index}].")
            for index, served in enumerate(message.workflows[:MAX_SERVED])
        ),
        effect_types=tuple(
            kind if kind == "*" else check.id(at, f"effect_types[{index}]", kind)
            for index, kind in enumerate(message.effect_types[:MAX_SERVED])
        ),
    )


def _served(message: pb.ServedWorkflow, check: Check, at: str) -> d.ServedWorkflow:
    return d.ServedWorkflow(
        workflow_id=check.id(at, "workflow_id", message.workflow_id),
        versions=check.ids(at, "versions", message.versions, MAX_SERVED),
        node_ids=check.ids(at, "node_ids", message.node_ids, MAX_SERVED),
    )


def _outcome(message: pb.TaskReport, check: Check) -> d.NodeReport | d.EffectReport | StepFailure | d.Release:
    kind = message.WhichOneof("outcome")
    if kind == "effect":
        return d.EffectReport(plans.outcome(message.effect, check, "effect."))
    if kind == "node":
        return _node_report(message.node, check)
    if kind == "failed":
        return plans.step_failure(message.failed, check, "failed.")
    if kind is None:
        check.one_of("", message, "outcome")
    delay = message.release.delay
    return d.Release(check.any_span("release.", "delay", delay))


def _node_report(message: pb.NodeReport, check: Check) -> d.NodeReport:
    if not message.HasField("plan"):
        check.refuse("node.plan", "is required")
    outcome = None
    if message.HasField("effect_outcome"):
        outcome = plans.outcome(message.effect_outcome, check, "node.effect_outcome.")
    return d.NodeReport(plans.step_plan(message.plan, check, "node.plan."), outcome)


def _welcome(item: d.Welcome, server_version: str) -> Shape:
    return {
        "lease": shapes.exact_span(item.lease_us),
        "heartbeat_interval": shapes.exact_span(item.heartbeat_us),
        "ping_interval": shapes.exact_span(item.ping_us),
        "held": [lease_update(update) for update in item.held],
        "server_version": server_version,
        "store_epoch": item.store_epoch,
    }


def _task_run(run: RunState) -> Shape:
    return {
        "namespace": run.namespace,
        "run_id": run.run_id,
        "root_run_id": run.root_run_id,
        "workflow_id": run.workflow_id,
        "workflow_version": run.workflow_version,
        "session_id": run.session_id,
        "actor_id": run.actor_id,
        "parent_run_id": run.parent_run_id,
    }


def _payload(step: Step) -> str:
    effect = step.effect
    if effect is None or not isinstance(effect.request, RemoteRequest):
        raise ValueError(f"step {step.step_id} is no worker's")
    return effect.request.payload.text


def _bound(field: str, given: int, most: int) -> None:
    if given > most:
        check = Check()
        check.refuse(field, f"has {given} items; at most {most} are accepted")
        check.done()


def worker_info(view: d.WorkerView) -> admin_service_pb2.WorkerInfo:
    """A worker in a list."""
    profile = view.profile
    fields = {
        "worker_id": profile.worker_id,
        "identity": profile.identity,
        "sdk": profile.sdk,
        "queues": profile.queues,
        "workflows": [
            {"workflow_id": served.workflow_id, "versions": served.versions, "node_ids": served.node_ids}
            for served in profile.workflows
        ],
        "effect_types": profile.effect_types,
        "stream_epoch": view.stream_epoch,
        "credit": view.credit,
        "held_tasks": view.held_tasks,
        "connected_at": shapes.instant(view.connected_at),
        "draining": view.draining,
    }
    return shapes.build(admin_service_pb2.WorkerInfo, fields)
