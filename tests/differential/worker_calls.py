"""What workers do, by unary calls: good, bad, late and repeated."""

from __future__ import annotations

import json
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import worker_service_pb2 as worker
from tests.differential.knowledge import Draw, Knowledge
from tests.differential.workflows import NODES

WORKERS: Final = ("w1", "w2", "w3")


def poll(draw: Draw, known: Knowledge) -> tuple[str, Message]:
    """Asks for tasks, and does not wait; now and then with the request id of a poll before."""
    hello = worker.Hello(namespace="default", worker_id=draw.some(*WORKERS))
    hello.effect_types.extend(draw.some(("*",), ("*",), ("echo",), ()))
    if not draw.one_in(4) or not hello.effect_types:
        hello.workflows.add(workflow_id="steps")
    request = worker.PollTasksRequest(worker=hello, max_tasks=draw.some(1, 2, 4, 8), wait=Duration())
    request.request_id = f"p{draw.getrandbits(40)}"
    return "PollTasks", request


def report(draw: Draw, known: Knowledge) -> tuple[str, Message]:
    """Reports one task or two: mostly the latest, sometimes one reported before or one of another worker."""
    request = worker.ReportTasksRequest(namespace="default", worker_id="w1")
    for _ in range(draw.some(1, 1, 2)):
        worker_id, task = _task(draw, known)
        request.worker_id = worker_id
        request.reports.append(_outcome(draw, task))
    return "ReportTasks", request


def begin(draw: Draw, known: Knowledge) -> tuple[str, Message]:
    """Asks to execute an effect, once or twice."""
    charges = [each for each in known.tasks if each[1].effect.type == "charge"]
    worker_id, task = draw.of(charges, _name) or _task(draw, known)
    request = worker.ReportTasksRequest(namespace="default", worker_id=worker_id)
    for _ in range(draw.some(1, 1, 2)):
        request.begins.add(task_token=task.task_token)
    if draw.one_in(4):
        request.reports.append(_outcome(draw, task))
    return "ReportTasks", request


def heartbeat(draw: Draw, known: Knowledge) -> tuple[str, Message]:
    """Renews leases."""
    request = worker.HeartbeatTasksRequest(namespace="default", worker_id="w1")
    for _ in range(draw.some(1, 3)):
        worker_id, task = _task(draw, known)
        request.worker_id = worker_id
        request.heartbeats.add(task_token=task.task_token, progress=draw.one_in(2))
    return "HeartbeatTasks", request


def _name(held: tuple[str, worker.Task]) -> str:
    task = held[1]
    return f"{task.run.run_id} {task.step_id} {task.attempt}"


def _task(draw: Draw, known: Knowledge) -> tuple[str, worker.Task]:
    latest = list(known.tasks)[-12:] if not draw.one_in(10) else list(known.tasks)
    found = latest[draw.randrange(len(latest))] if latest else ("w1", worker.Task(task_token=b"no token"))
    if draw.one_in(40):
        return found[0], worker.Task(task_token=found[1].task_token[:-1])
    return (draw.some(*WORKERS), found[1]) if draw.one_in(20) else found


def _outcome(draw: Draw, task: worker.Task) -> worker.TaskReport:
    made = worker.TaskReport(task_token=task.task_token)
    way = draw.randrange(12)
    if way == 0:
        made.release.delay.FromSeconds(draw.some(0, 3))
    elif way in (1, 2):
        made.failed.failure.CopyFrom(common_pb2.Failure(type="Broken", message="é", retryable=not draw.one_in(3)))
        made.failed.not_executed = draw.one_in(3)
        if draw.one_in(3):
            made.failed.retry_after.FromSeconds(7)
    elif task.HasField("effect") != draw.one_in(25):
        made.effect.CopyFrom(_effect_outcome(draw))
    else:
        made.node.plan.CopyFrom(_plan(draw))
        if made.node.plan.HasField("effect") and draw.one_in(3):
            made.node.effect_outcome.CopyFrom(_effect_outcome(draw))
    return made


def _effect_outcome(draw: Draw) -> model_pb2.EffectOutcome:
    way = draw.randrange(8)
    if way == 0:
        failure = common_pb2.Failure(type="Broken", retryable=True)
        return model_pb2.EffectOutcome(failed=model_pb2.StepFailure(failure=failure))
    if way == 1:
        asked = model_pb2.WaitRequest(reason=common_pb2.WAIT_REASON_JOB, wait_key=f"job-{draw.randrange(9)}")
        return model_pb2.EffectOutcome(waiting=asked)
    result = draw.some({"ok": True}, [1, {"a": None}], None, "é", 2**60)
    return model_pb2.EffectOutcome(result_json=json.dumps(result))


def _plan(draw: Draw) -> model_pb2.StepPlan:
    plan = model_pb2.StepPlan(next_node=draw.some(*NODES))
    for _ in range(draw.randrange(3)):
        plan.vars_ops.add(path=draw.some("/a/b", "/list/-", "/n"), set_json=json.dumps(draw.randrange(9)))
    if draw.one_in(4):
        plan.vars_ops.add(path="/list", append_json='"x"')
    way = draw.randrange(13)
    if way == 0:
        plan.fail.CopyFrom(common_pb2.Failure(type="NotToday", message="no"))
    elif way in (1, 2):
        plan.complete_output_json = '{"done":true}'
    elif way in (3, 4):
        plan.effect.custom.type, plan.effect.custom.payload_json = "echo", '{"p":1}'
        plan.effect.result_key = "r.custom"
    elif way == 5:
        plan.effect.wait_event.name, plan.effect.wait_event.scope = "go", common_pb2.EVENT_SCOPE_GLOBAL
    elif way == 6:
        plan.effect.emit_event.name, plan.effect.emit_event.scope = "stop", common_pb2.EVENT_SCOPE_SESSION
    elif way == 7:
        plan.effect.start_subworkflow.workflow_id = draw.some("effects", "asks", "none")
        plan.effect.start_subworkflow.wait = draw.one_in(2)
    elif way == 8:
        plan.effect.wait_until.delay.FromSeconds(10)
    elif way == 9:
        plan.next_node = draw.some("", "nowhere")
    return plan
