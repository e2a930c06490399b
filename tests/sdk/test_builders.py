"""Plans, effects and workflows as the contract's messages."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from perdure import (
    CompletedEffect,
    Failure,
    NodeContext,
    Plan,
    RetryPolicy,
    RunFilter,
    Timeouts,
    UnserialisableError,
    Waiting,
    Workflow,
    effect,
    plan,
)
from perdure.v1 import model_pb2
from perdure.values import EffectRisk

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shown(message: Message) -> dict[str, object]:
    """A message as the contract's JSON, with proto field names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def test_plans() -> None:
    assert shown(plan.next("b").to_wire()) == {"next_node": "b"}
    assert shown(plan.complete().to_wire()) == {"complete_output_json": "{}"}
    assert shown(plan.complete({"n": 2**60}).to_wire()) == {"complete_output_json": '{"n":1152921504606846976}'}
    assert shown(plan.fail("BAD", "no", details=[1]).to_wire()) == {
        "fail": {"type": "BAD", "message": "no", "details_json": "[1]"}
    }
    assert plan.of(None) == Plan()
    assert plan.of(plan.next("b")) == Plan(next_node="b")
    asked = effect.ask_user("really?", next="b")
    assert plan.of(asked) == Plan(next_node="b", effect=asked)


def test_vars_ops_travel_with_the_plan() -> None:
    ops = [model_pb2.VarsOp(path="/a", set_json="1")]
    assert shown(plan.next("b").to_wire(ops)) == {"next_node": "b", "vars_ops": [{"path": "/a", "set_json": "1"}]}


def test_an_effect_of_ones_own() -> None:
    charge = effect.custom(
        "charge",
        {"amount": 12},
        result_key="receipt",
        next="ship",
        on_error_node="refund",
        retry=RetryPolicy(
            max_attempts=3, initial_interval=0.5, max_interval=timedelta(minutes=1), non_retryable_types=["X"]
        ),
        timeouts=Timeouts(schedule_to_start=60, start_to_close=5.5, heartbeat=1),
        queue="money",
        priority=7,
        risk="irreversible",
        idempotency_key="mine",
    )
    assert (charge.type, charge.payload_json, charge.next_node) == ("charge", '{"amount":12}', "ship")
    assert shown(charge.message) == {
        "custom": {"type": "charge", "payload_json": '{"amount":12}'},
        "result_key": "receipt",
        "on_error_node": "refund",
        "retry": {
            "max_attempts": 3,
            "initial_interval": "0.500s",
            "backoff_coefficient": 2.0,
            "max_interval": "60s",
            "non_retryable_types": ["X"],
        },
        "timeouts": {"schedule_to_start": "60s", "start_to_close": "5.500s", "heartbeat": "1s"},
        "queue": "money",
        "priority": 7,
        "risk": "EFFECT_RISK_IRREVERSIBLE",
        "idempotency_key": "mine",
    }


def test_calls_of_models_and_tools() -> None:
    assert shown(effect.llm_call({"prompt": "hi"}).message) == {"llm_call": {"payload_json": '{"prompt":"hi"}'}}
    assert effect.llm_call({}).type == "llm_call"
    assert shown(effect.tool_calls({"calls": []}).message) == {"tool_calls": {"payload_json": '{"calls":[]}'}}
    assert effect.tool_calls({}).type == "tool_calls"


def test_waits() -> None:
    event = effect.wait_event("paid", scope="workflow", scope_id="order", since_now=True, result_key="r", next="b")
    assert shown(event.message) == {
        "wait_event": {
            "name": "paid",
            "scope": "EVENT_SCOPE_WORKFLOW",
            "scope_id": "order",
            "since_now": True,
            "terms": {},
        },
        "result_key": "r",
    }
    assert (event.next_node, event.type) == ("b", "")
    assert shown(effect.wait_until(NOON).message) == {"wait_until": {"until": "2026-03-01T12:00:00Z"}}
    assert shown(effect.sleep(timedelta(days=1)).message) == {"wait_until": {"delay": "86400s"}}
    asked = effect.ask_user(
        "Ship?",
        wait_key="ship-1",
        choices=["yes", "no"],
        allow_free_text=False,
        details={"n": 1},
        answer_schema={"type": "string"},
        assignee="ann",
        deadline=NOON,
        on_deadline_node="late",
        resume_to_node="go",
    )
    assert shown(asked.message) == {
        "ask_user": {
            "wait_key": "ship-1",
            "terms": {
                "prompt": "Ship?",
                "choices": ["yes", "no"],
                "allow_free_text": False,
                "details_json": '{"n":1}',
                "answer_schema_json": '{"type":"string"}',
                "assignee": "ann",
                "deadline": "2026-03-01T12:00:00Z",
                "on_deadline_node": "late",
                "resume_to_node": "go",
            },
        }
    }
    # Unset is not False: the contract's default lets any text pass.
    assert not effect.ask_user("?").message.ask_user.terms.HasField("allow_free_text")
    assert shown(effect.ask_user("?", timeout=90).message) == {"ask_user": {"terms": {"prompt": "?", "timeout": "90s"}}}


def test_messages_events_children_and_queries() -> None:
    assert shown(effect.answer_user("done", level="warning").message) == {
        "answer_user": {"message": "done", "level": "warning"}
    }
    emitted = effect.emit_event("paid", {"n": 1}, scope="global", event_id="e1")
    assert shown(emitted.message) == {
        "emit_event": {"name": "paid", "scope": "EVENT_SCOPE_GLOBAL", "payload_json": '{"n":1}', "event_id": "e1"}
    }
    child = effect.start_subworkflow(
        "ship",
        {"to": "x"},
        mode="async_wait",
        on_parent_cancel="abandon",
        drive="manual",
        entry_node="b",
        session_id="s",
        labels={"a": "b"},
        timeout=5,
        run_id="child-1",
        workflow_version="v",
        result_key="shipped",
    )
    assert shown(child.message) == {
        "start_subworkflow": {
            "workflow_id": "ship",
            "workflow_version": "v",
            "vars_json": '{"to":"x"}',
            "async": True,
            "wait": True,
            "on_parent_cancel": "CHILD_CANCEL_POLICY_ABANDON",
            "drive": "DRIVE_MODE_MANUAL",
            "entry_node": "b",
            "session_id": "s",
            "labels": {"a": "b"},
            "timeout": "5s",
            "run_id": "child-1",
        },
        "result_key": "shipped",
    }
    assert shown(effect.start_subworkflow("ship").message) == {"start_subworkflow": {"workflow_id": "ship"}}
    asynchronous = effect.start_subworkflow("ship", mode="async").message.start_subworkflow
    assert (getattr(asynchronous, "async"), asynchronous.wait) == (True, False)
    assert shown(effect.vars_query("a.b", keys_only=True).message) == {"vars_query": {"path": "a.b", "keys_only": True}}


def test_bad_values_are_refused_where_they_are_given() -> None:
    with pytest.raises(UnserialisableError):
        effect.custom("charge", {"when": NOON})
    with pytest.raises(ValueError, match="no time zone"):
        effect.wait_until(NOON.replace(tzinfo=None))
    risk: Any = "sometimes"
    with pytest.raises(ValueError, match="sometimes"):
        effect.custom("charge", risk=risk)


def test_a_workflow() -> None:
    order = Workflow("order", on_cancel_node="undo")

    @order.node(
        next="charge", inputs=["/total"], queue="fast", retry=RetryPolicy(max_attempts=2), on_error_node="sorry"
    )
    async def reserve(ctx: NodeContext) -> None:
        """Reserves."""

    @order.node("undo")
    def undo(ctx: NodeContext) -> Plan:
        return plan.complete({})

    order.effect_node(
        "charge",
        "charge",
        {"amount": "${vars.total}"},
        next="done",
        result_key="receipt",
        risk="irreversible",
        priority=5,
    )
    order.complete_node("done", {"receipt": "${vars.receipt}"})
    order.fail_node("sorry", "SOLD_OUT", "sold out", details="${vars._error}")
    assert order.node_ids == ("reserve", "undo", "charge", "done", "sorry")
    assert order.handlers == {"reserve": reserve, "undo": undo}
    spec = shown(order.spec())
    assert (spec["workflow_id"], spec["entry_node"], spec["on_cancel_node"]) == ("order", "reserve", "undo")
    nodes: Any = spec["nodes"]
    assert nodes["reserve"] == {
        "kind": "NODE_KIND_WORKER",
        "next": "charge",
        "inputs": ["/total"],
        "queue": "fast",
        "retry": {"max_attempts": 2, "backoff_coefficient": 2.0},
        "on_error_node": "sorry",
    }
    assert nodes["charge"] == {
        "kind": "NODE_KIND_EFFECT",
        "next": "done",
        "template_json": '{"type":"charge","payload":{"amount":"${vars.total}"}}',
        "result_key": "receipt",
        "risk": "EFFECT_RISK_IRREVERSIBLE",
        "priority": 5,
    }
    assert nodes["done"] == {"kind": "NODE_KIND_COMPLETE", "template_json": '{"receipt":"${vars.receipt}"}'}
    assert json.loads(nodes["sorry"]["template_json"]) == {
        "type": "SOLD_OUT", "message": "sold out", "retryable": False, "details": "${vars._error}",
    }  # fmt: skip


def test_a_workflow_says_what_is_wrong_with_it() -> None:
    order = Workflow("order")
    with pytest.raises(ValueError, match="has no nodes"):
        order.spec()
    order.complete_node("done")
    with pytest.raises(ValueError, match="already has a node 'done'"):
        order.fail_node("done", "X")


def test_waiting_failure_and_filter() -> None:
    assert shown(Waiting("user", prompt="?").to_wire()) == {"reason": "WAIT_REASON_USER", "terms": {"prompt": "?"}}
    failure = Failure("BAD", "no", True, {"a": 1})
    assert Failure.from_wire(failure.to_wire()) == failure
    assert CompletedEffect([1]).result == [1]
    wanted = RunFilter(
        statuses=["waiting"], activities=["parked"], labels={"a": "b"}, created_from=NOON, roots_only=True
    )
    assert shown(wanted.to_wire()) == {
        "statuses": ["RUN_STATUS_WAITING"],
        "activities": ["RUN_ACTIVITY_PARKED"],
        "labels": {"a": "b"},
        "created_from": "2026-03-01T12:00:00Z",
        "roots_only": True,
    }
    with pytest.raises(ValueError, match="sleeping"):
        RunFilter(statuses=["sleeping"]).to_wire()


def test_an_unset_risk_is_the_contracts_default() -> None:
    assert effect.custom("x").message.risk == EffectRisk.UNSPECIFIED.wire
