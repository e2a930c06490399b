"""What workers send and receive, between its messages and dispatch's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure_server.api.codec import work
from perdure_server.api.codec.shapes import build
from perdure_server.api.codec.tokens import decode_token, encode_token
from perdure_server.api.problems import EdgeError
from perdure_server.dispatch import messages as d
from perdure_server.kernel import model as m
from perdure_server.kernel.values import Leaf

EPOCH = b"12345678"
TOKEN = d.TaskToken("ns", "run", 3, 2, EPOCH)
RAW = encode_token(TOKEN)
RUN = m.RunState(
    "ns",
    "run",
    "root",
    "flow",
    "v1",
    "a",
    parent_run_id="parent",
    session_id="s",
    actor_id="who",
    trace_context=m.TraceContext("tp", "ts"),
    vars={"x": {"y": 1}, "z": 2},
)
EFFECT = m.OpenEffect(
    "charge",
    m.RemoteRequest(Leaf(b'{"sum": 5}')),
    False,
    "r",
    "n",
    "KEY",
    m.NO_RETRY,
    m.Timeouts(start_to_close_us=5_000_000),
    "q",
    0,
    "",
    m.Risk.IRREVERSIBLE,
)
STEP = m.Step(3, "a", 4, 1, attempt=2, timeouts=m.Timeouts(heartbeat_us=1_000_000))


def report(**outcome: object) -> d.Report:
    """A report as it is read."""
    return work.report(work_report(**outcome))


def work_report(**outcome: object) -> pb.TaskReport:
    """A report as it is sent."""
    return build(pb.TaskReport, {"task_token": RAW, **outcome})


def test_a_hello_is_read() -> None:
    message = pb.Hello(
        worker_id="w",
        stream_epoch=5,
        workflows=[pb.ServedWorkflow(workflow_id="f", versions=["v"], node_ids=["n"])],
        effect_types=["*", "t"],
        held_task_tokens=[RAW, b"foreign"],
    )
    assert work.hello(message) == d.Hello(
        d.Profile(
            "default",
            "w",
            queues=("default",),
            workflows=(d.ServedWorkflow("f", ("v",), ("n",)),),
            effect_types=("*", "t"),
        ),
        5,
        (TOKEN, b"foreign"),
    )


def test_a_message_is_read_part_by_part() -> None:
    message = pb.WorkRequest(
        begins=[pb.Begin(task_token=RAW)],
        reports=[work_report(release=pb.Release(delay=Duration(seconds=2)))],
        heartbeats=[pb.Heartbeat(task_token=b"foreign", progress=True)],
        credit=pb.Credit(limit=7),
        drain=pb.Drain(),
    )
    found = work.from_worker(message)
    assert found.begins == (d.Begin(TOKEN),)
    assert found.heartbeats == (d.Heartbeat(b"foreign", True),)
    assert (found.credit, found.drain, found.goodbye) == (7, True, False)
    (only,) = found.reports
    assert (only.token, only.outcome) == (TOKEN, d.Release(2_000_000))
    assert only.encode() == message.reports[0].SerializeToString()
    ping = work.from_worker(pb.WorkRequest())
    assert (ping.reports, ping.credit, ping.drain, ping.goodbye) == ((), None, False, False)


@pytest.mark.parametrize(
    "message",
    [
        pb.WorkRequest(hello=pb.Hello(worker_id="w")),
        pb.WorkRequest(credit=pb.Credit(limit=-1)),
        pb.WorkRequest(begins=[pb.Begin()] * 501, reports=[pb.TaskReport()] * 500),
        pb.WorkRequest(heartbeats=[pb.Heartbeat()] * 10_001),
    ],
)
def test_a_message_that_cannot_be_taken_as_a_whole_is_refused(message: pb.WorkRequest) -> None:
    with pytest.raises(EdgeError) as caught:
        work.from_worker(message)
    assert caught.value.reason == "INVALID_FIELD"


def test_outcomes_are_read() -> None:
    failed = model_pb2.StepFailure(failure=common_pb2.Failure(type="T", message="m"), not_executed=True)
    assert report(failed=failed).outcome == m.StepFailure(m.Failure("T", "m"), not_executed=True)
    result = model_pb2.EffectOutcome(result_json=' {"a" : 1}')
    assert report(effect=result).outcome == d.EffectReport(m.EffectResult(Leaf(b' {"a" : 1}')))
    nothing = model_pb2.EffectOutcome(result_json="")
    assert report(effect=nothing).outcome == d.EffectReport(m.EffectResult(None))
    node = pb.NodeReport(plan=model_pb2.StepPlan(next_node="n"), effect_outcome=result)
    assert report(node=node).outcome == d.NodeReport(m.StepPlan(next_node="n"), m.EffectResult(Leaf(b' {"a" : 1}')))


@pytest.mark.parametrize(
    ("sent", "reason", "field"),
    [
        (pb.TaskReport(task_token=RAW), "INVALID_FIELD", "outcome"),
        (work_report(effect=model_pb2.EffectOutcome()), "INVALID_FIELD", "effect.outcome"),
        (work_report(effect=model_pb2.EffectOutcome(result_json="{")), "INVALID_JSON", "effect.result_json"),
        (work_report(node=pb.NodeReport()), "INVALID_FIELD", "node.plan"),
        (
            work_report(node=pb.NodeReport(plan=model_pb2.StepPlan(complete_output_json="1"))),
            "INVALID_JSON",
            "node.plan.complete_output_json",
        ),
        (work_report(failed=model_pb2.StepFailure()), "INVALID_FIELD", "failed.failure.type"),
        (work_report(release=pb.Release(delay=Duration(seconds=-1))), "INVALID_FIELD", "release.delay"),
        (
            work_report(effect=model_pb2.EffectOutcome(result_json='"' + "x" * 1024 * 1024 + '"')),
            "PAYLOAD_TOO_LARGE",
            "effect.result_json",
        ),
    ],
)
def test_a_report_that_cannot_be_read_is_answered_by_itself(sent: pb.TaskReport, reason: str, field: str) -> None:
    good = work_report(release=pb.Release())
    found = work.reports([sent, good])
    assert isinstance(found[0].outcome, d.Refusal)
    assert found[0].outcome.reason == reason
    assert field in found[0].outcome.message
    assert found[0].token == TOKEN
    assert found[1].outcome == d.Release(0)


def test_an_effect_task_is_sent() -> None:
    run = replace(RUN, step=replace(STEP, effect=EFFECT))
    sent = work.poll_response([d.Task(run, (), 30_000_000, EPOCH)]).tasks[0]
    assert decode_token(sent.task_token) == TOKEN
    assert sent == pb.Task(
        task_token=sent.task_token,
        attempt=2,
        idempotency_key="KEY",
        lease=Duration(seconds=30),
        timeouts=common_pb2.TaskTimeouts(start_to_close=Duration(seconds=5)),
        trace_context=common_pb2.TraceContext(traceparent="tp", tracestate="ts"),
        run=pb.TaskRun(
            namespace="ns",
            run_id="run",
            root_run_id="root",
            workflow_id="flow",
            workflow_version="v1",
            session_id="s",
            actor_id="who",
            parent_run_id="parent",
        ),
        node_id="a",
        visit=4,
        step_id=3,
        effect=pb.EffectTask(type="charge", payload_json='{"sum": 5}', risk=common_pb2.EFFECT_RISK_IRREVERSIBLE),
    )


@pytest.mark.parametrize(("inputs", "vars_json"), [((), '{"x":{"y":1},"z":2}'), (("/x/y",), '{"x":{"y":1}}')])
def test_a_node_task_carries_its_inputs(inputs: tuple[str, ...], vars_json: str) -> None:
    sent = work.poll_response([d.Task(replace(RUN, step=STEP), inputs, 1, EPOCH)]).tasks[0]
    assert sent.node == pb.NodeTask(vars_json=vars_json)
    assert sent.idempotency_key == ""
    assert sent.timeouts == common_pb2.TaskTimeouts(heartbeat=Duration(seconds=1))


def test_a_message_to_a_worker_is_sent_part_by_part() -> None:
    echoed = decode_token(RAW)
    message = d.ToWorker(
        welcome=d.Welcome(30, 10, 5, (d.LeaseUpdate(b"foreign", d.LeaseState.LOST),), "epoch"),
        begin_acks=[d.Acked(echoed, d.AckStatus.ACCEPTED)],
        acks=[d.Acked(b"foreign", d.AckStatus.STALE, "STALE_ATTEMPT", "m")],
        lease_updates=[d.LeaseUpdate(echoed, d.LeaseState.HELD, 7)],
        tasks=[d.Task(replace(RUN, step=STEP), (), 1, EPOCH)],
        drain_us=0,
        goodbye=d.GoodbyeReason.DRAINING,
    )
    sent = work.work_response(message, "1.2.3")
    assert sent.welcome.server_version == "1.2.3"
    assert sent.welcome.lease.ToMicroseconds() == 30
    assert sent.welcome.held[0].task_token == b"foreign"
    assert sent.begin_acks[0] == pb.Ack(task_token=RAW, status=pb.ACK_STATUS_ACCEPTED)
    assert sent.acks[0] == pb.Ack(
        task_token=b"foreign", status=pb.ACK_STATUS_STALE, reason="STALE_ATTEMPT", message="m"
    )
    assert sent.lease_updates[0].lease.ToMicroseconds() == 7
    assert len(sent.tasks) == 1
    assert sent.HasField("drain")
    assert sent.goodbye.reason == 2
    assert work.work_response(d.ToWorker(), "") == pb.WorkResponse()


def test_a_worker_in_a_list() -> None:
    profile = d.Profile("ns", "w", "host", "sdk", ("q",), (d.ServedWorkflow("f"),), ("t",))
    found = work.worker_info(d.WorkerView(profile, 4, 3, 2, 1_000_000, True))
    assert (found.worker_id, found.identity, found.sdk, found.stream_epoch) == ("w", "host", "sdk", 4)
    assert (found.credit, found.held_tasks, found.draining) == (3, 2, True)
    assert found.connected_at.seconds == 1
    assert found.workflows[0].workflow_id == "f"
