"""Tasks as a server hands them out."""

from typing import Any

from perdure.v1 import common_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.common_pb2 import EFFECT_RISK_IDEMPOTENT, EffectRisk
from tests.sdk.fake_server import span


def effect_task(
    name: str,
    *,
    type: str = "echo",
    payload_json: str = "{}",
    risk: EffectRisk.ValueType = EFFECT_RISK_IDEMPOTENT,
    **fields: Any,
) -> pb.Task:
    """An attempt of an effect; `name` is its token and its run."""
    return _task(name, fields, effect=pb.EffectTask(type=type, payload_json=payload_json, risk=risk))


def node_task(name: str, node_id: str, vars_json: str = "{}", **fields: Any) -> pb.Task:
    """An attempt of a node of the workflow "order"."""
    return _task(name, {"node_id": node_id, **fields}, node=pb.NodeTask(vars_json=vars_json))


def timeouts(*, start_to_close: float | None = None, heartbeat: float | None = None) -> common_pb2.TaskTimeouts:
    """Bounds of a task, in seconds."""
    return common_pb2.TaskTimeouts(
        start_to_close=None if start_to_close is None else span(start_to_close),
        heartbeat=None if heartbeat is None else span(heartbeat),
    )


def handed(*tasks: pb.Task) -> pb.WorkResponse:
    """A message that carries tasks."""
    return pb.WorkResponse(tasks=tasks)


def _task(name: str, fields: dict[str, Any], **work: Any) -> pb.Task:
    run = pb.TaskRun(
        namespace="default", run_id=f"run-{name}", root_run_id="root", workflow_id="order", session_id="s", actor_id="a"
    )
    lease = span(fields.pop("lease", 30.0))
    given = {"attempt": 1, "idempotency_key": "KEY", "node_id": "pay", "visit": 1, "step_id": 2, **fields}
    return pb.Task(task_token=name.encode(), lease=lease, run=run, **given, **work)
