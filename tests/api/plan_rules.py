"""Plans, effects and outcomes with every field set, and the rule of each field: the part of the table that
workers' reports and ResolveStep share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import common_pb2, model_pb2
from perdure_server.api.codec import plans
from perdure_server.api.fields import Check
from perdure_server.kernel.limits import Limits
from tests.api.bad_values import (
    ANY_SPAN,
    ENUM,
    ID,
    INSTANT,
    JSON,
    LABEL,
    LABELS,
    LARGE,
    OBJECT,
    OPTIONAL_ID,
    SPAN,
    Kind,
    Rules,
    integer,
    text,
    under,
)

SOON: Final = Timestamp(seconds=1_800_000_000)
SECOND: Final = Duration(seconds=1)
BY: Final = (text(128),)
WAIT_KEY: Final = (text(512),)
LONG: Final = (text(64 * 1024),)
VALUE: Final = (JSON, LARGE)
OBJECT_VALUE: Final = (OBJECT, LARGE)

FAILURE: Rules = {"type": (text(128, required=True),), "message": LONG, "details_json": VALUE}
RETRY: Rules = {
    "max_attempts": (integer(0, 1_000_000, 32),),
    "initial_interval": (ANY_SPAN,),
    "backoff_coefficient": (Kind((0.5, -1.0, 1_001.0, float("inf"), float("nan"))),),
    "max_interval": (ANY_SPAN,),
    "non_retryable_types[0]": (text(128, required=True),),
}
TIMEOUTS: Rules = {"schedule_to_start": (SPAN,), "start_to_close": (SPAN,), "heartbeat": (SPAN,)}
TERMS: Rules = {
    "prompt": LONG,
    "choices[0]": (text(1_024, required=True),),
    "details_json": VALUE,
    "answer_schema_json": (Kind(('"a"', "[]", "1"), "INVALID_JSON"), *VALUE),
    "assignee": BY,
    "deadline": (INSTANT,),
    "on_deadline_node": (OPTIONAL_ID,),
    "resume_to_node": (OPTIONAL_ID,),
}
EFFECT: Rules = {
    "result_key": (text(512), Kind((".".join("x" * 33),))),
    **under("retry", RETRY),
    **under("timeouts", TIMEOUTS),
    "queue": (OPTIONAL_ID,),
    "priority": (integer(-100, 100, 32),),
    "on_error_node": (OPTIONAL_ID,),
    "risk": (ENUM,),
    "idempotency_key": BY,
}
VARS_OPS: Rules = {
    "vars_ops[0].path": (text(4_096),),
    "vars_ops[0].set_json": (Kind(("",), "INVALID_JSON"), *VALUE),
    "vars_ops[1].append_json": (Kind(("",), "INVALID_JSON"), *VALUE),
    "vars_ops[2].remove": (Kind((False,)),),
}
EMIT: Rules = {
    "name": (text(128, required=True), Kind(("*",))),
    "scope": (ENUM,),
    "scope_id": BY,
    "payload_json": VALUE,
    "event_id": BY,
}
EFFECTS: Mapping[str, Rules] = {
    "wait_event": {
        "name": (Kind(("",)), text(128)),
        "scope": (ENUM,),
        "scope_id": BY,
        **under("terms", TERMS),
    },
    "wait_until": {"until": (INSTANT,)},
    "ask_user": {"wait_key": WAIT_KEY, **under("terms", TERMS), "terms.prompt": (text(65_536, required=True),)},
    "answer_user": {"message": (text(65_536, required=True),), "level": (Kind(("loud",)),)},
    "emit_event": EMIT,
    "start_subworkflow": {
        "workflow_id": (ID,),
        "workflow_version": (OPTIONAL_ID,),
        "vars_json": OBJECT_VALUE,
        "on_parent_cancel": (ENUM,),
        "drive": (ENUM,),
        "entry_node": (OPTIONAL_ID,),
        "session_id": BY,
        "labels": (LABELS, LABEL),
        "timeout": (SPAN,),
        "run_id": (OPTIONAL_ID,),
    },
    "vars_query": {"path": (text(1_024),)},
    "llm_call": {"payload_json": OBJECT_VALUE},
    "tool_calls": {"payload_json": OBJECT_VALUE},
    "custom": {"type": (ID, Kind(("wait_event", "llm_call"))), "payload_json": OBJECT_VALUE},
}


def failure() -> common_pb2.Failure:
    """A failure with all fields."""
    return common_pb2.Failure(type="T", message="m", retryable=True, details_json="{}")


def retry() -> common_pb2.RetryPolicy:
    """A policy with all fields."""
    return common_pb2.RetryPolicy(
        max_attempts=3,
        initial_interval=SECOND,
        backoff_coefficient=1.5,
        max_interval=SECOND,
        non_retryable_types=["T"],
    )


def timeouts() -> common_pb2.TaskTimeouts:
    """Timeouts with all fields."""
    return common_pb2.TaskTimeouts(schedule_to_start=SECOND, start_to_close=SECOND, heartbeat=SECOND)


def terms() -> model_pb2.WaitTerms:
    """Terms with all fields but `timeout`, which excludes `deadline`."""
    return model_pb2.WaitTerms(
        prompt="p",
        choices=["c"],
        allow_free_text=False,
        details_json="1",
        answer_schema_json="{}",
        assignee="a",
        deadline=SOON,
        on_deadline_node="n",
        resume_to_node="n",
    )


def effects() -> Mapping[str, Message]:
    """Each kind of effect with all its fields."""
    return {
        "wait_event": model_pb2.WaitEvent(
            name="e", scope=common_pb2.EVENT_SCOPE_RUN, scope_id="s", since_now=True, terms=terms()
        ),
        "wait_until": model_pb2.WaitUntil(until=SOON),
        "ask_user": model_pb2.AskUser(wait_key="k", terms=terms()),
        "answer_user": model_pb2.AnswerUser(message="m", level="warning"),
        "emit_event": model_pb2.EmitEvent(
            name="e", scope=common_pb2.EVENT_SCOPE_RUN, scope_id="s", payload_json="1", event_id="i"
        ),
        "start_subworkflow": model_pb2.StartSubworkflow(
            **{"async": True},
            workflow_id="w",
            workflow_version="v",
            vars_json="{}",
            wait=True,
            on_parent_cancel=common_pb2.CHILD_CANCEL_POLICY_ABANDON,
            drive=common_pb2.DRIVE_MODE_MANUAL,
            entry_node="n",
            session_id="s",
            labels={"k": "v"},
            timeout=SECOND,
            run_id="r",
        ),
        "vars_query": model_pb2.VarsQuery(path="a", keys_only=True),
        "llm_call": model_pb2.LlmCall(payload_json="{}"),
        "tool_calls": model_pb2.ToolCalls(payload_json="{}"),
        "custom": model_pb2.CustomEffect(type="t", payload_json="{}"),
    }


def effect(kind: str) -> model_pb2.Effect:
    """An effect of a kind with all fields."""
    found = model_pb2.Effect(
        result_key="a.b",
        retry=retry(),
        timeouts=timeouts(),
        queue="q",
        priority=5,
        on_error_node="n",
        risk=common_pb2.EFFECT_RISK_READ,
        idempotency_key="i",
    )
    getattr(found, kind).CopyFrom(effects()[kind])
    return found


def plan(kind: str = "llm_call") -> model_pb2.StepPlan:
    """A plan with all fields: more than the kernel takes, but that is the kernel's business."""
    return model_pb2.StepPlan(
        vars_ops=[
            model_pb2.VarsOp(path="/a", set_json="1"),
            model_pb2.VarsOp(path="/a", append_json="1"),
            model_pb2.VarsOp(path="/a", remove=True),
        ],
        fail=failure(),
        complete_output_json="{}",
        effect=effect(kind),
        next_node="n",
    )


def plan_rules(kind: str = "llm_call") -> Rules:
    """Rules of `plan(kind)`."""
    return {
        **VARS_OPS,
        **under("fail", FAILURE),
        "complete_output_json": OBJECT_VALUE,
        **under("effect", EFFECT),
        **under(f"effect.{kind}", EFFECTS[kind]),
        "next_node": (OPTIONAL_ID,),
    }


def read_plan(message: model_pb2.StepPlan, limits: Limits) -> object:
    """Reads a plan by itself."""
    check = Check(limits)
    found = plans.step_plan(message, check, "")
    check.done()
    return found


def read_outcome(message: model_pb2.EffectOutcome, limits: Limits) -> object:
    """Reads an outcome by itself."""
    check = Check(limits)
    found = plans.outcome(message, check, "")
    check.done()
    return found
