"""Retry, timeouts, failures, traces and the terms of waits: messages to the domain."""

from __future__ import annotations

import math

from google.protobuf.message import Message

from perdure.v1 import common_pb2, model_pb2
from perdure_server.api.fields import NULL, Check
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import (
    CHOICE_BYTES,
    KEY_BYTES,
    LONG_TEXT_BYTES,
    MAX_COEFFICIENT,
    MAX_FAILURE_TYPES,
    NAME_BYTES,
    TRACEPARENT_BYTES,
    TRACESTATE_BYTES,
)


def failure(message: common_pb2.Failure, check: Check, at: str) -> m.Failure:
    """A Failure; `at` ends in a dot."""
    return m.Failure(
        type=check.text(at, "type", message.type, required=True),
        message=check.text(at, "message", message.message, LONG_TEXT_BYTES),
        retryable=message.retryable,
        details=check.optional_json(at, "details_json", message.details_json),
    )


def retry(owner: Message, message: common_pb2.RetryPolicy, check: Check, at: str) -> m.RetryPolicy | None:
    """The `retry` of `owner`, or None when it is unset."""
    if not owner.HasField("retry"):
        return None
    at += "retry."
    default = m.NO_RETRY
    coefficient = message.backoff_coefficient or default.backoff_coefficient
    if not (math.isfinite(coefficient) and 1 <= coefficient <= MAX_COEFFICIENT):
        check.refuse(at + "backoff_coefficient", f"must be 1 to {MAX_COEFFICIENT:.0f}, or 0 for 2")
    return m.RetryPolicy(
        max_attempts=check.integer(at, "max_attempts", message.max_attempts, 0, check.limits.max_attempts, 1),
        initial_interval_us=check.any_span(at, "initial_interval", message.initial_interval)
        if message.HasField("initial_interval")
        else default.initial_interval_us,
        backoff_coefficient=coefficient,
        max_interval_us=check.any_span(at, "max_interval", message.max_interval)
        if message.HasField("max_interval")
        else default.max_interval_us,
        non_retryable_types=check.texts(
            at, "non_retryable_types", message.non_retryable_types, MAX_FAILURE_TYPES, NAME_BYTES
        ),
    )


def timeouts(owner: Message, message: common_pb2.TaskTimeouts, check: Check, at: str) -> m.Timeouts | None:
    """The `timeouts` of `owner`, or None when they are unset."""
    if not owner.HasField("timeouts"):
        return None
    at += "timeouts."
    return m.Timeouts(
        schedule_to_start_us=check.span(at, "schedule_to_start", message, message.schedule_to_start),
        start_to_close_us=check.span(at, "start_to_close", message, message.start_to_close),
        heartbeat_us=check.span(at, "heartbeat", message, message.heartbeat),
    )


def trace_context(owner: Message, message: common_pb2.TraceContext, check: Check) -> m.TraceContext | None:
    """The `trace_context` of `owner`, or None when it is unset."""
    if not owner.HasField("trace_context"):
        return None
    at = "trace_context."
    return m.TraceContext(
        traceparent=check.text(at, "traceparent", message.traceparent, TRACEPARENT_BYTES),
        tracestate=check.text(at, "tracestate", message.tracestate, TRACESTATE_BYTES),
    )


def wait_terms(message: model_pb2.WaitTerms, check: Check, at: str) -> m.WaitTerms:
    """WaitTerms; `at` is the path of their owner and ends in a dot."""
    at += "terms."
    if message.HasField("deadline") and message.HasField("timeout"):
        check.refuse(at + "timeout", "set deadline or timeout, not both")
    schema = check.optional_json(at, "answer_schema_json", message.answer_schema_json)
    if schema is not None and schema is not NULL and not isinstance(schema.value, dict | bool):
        check.refuse(at + "answer_schema_json", "must be a JSON Schema: an object, true or false", "INVALID_JSON")
    return m.WaitTerms(
        prompt=check.text(at, "prompt", message.prompt, LONG_TEXT_BYTES),
        choices=check.texts(at, "choices", message.choices, check.limits.choices, CHOICE_BYTES),
        allow_free_text=message.allow_free_text if message.HasField("allow_free_text") else True,
        details=check.optional_json(at, "details_json", message.details_json),
        answer_schema=schema,
        assignee=check.text(at, "assignee", message.assignee),
        deadline_at=check.instant(at, "deadline", message, message.deadline),
        timeout_us=check.span(at, "timeout", message, message.timeout),
        on_deadline_node=check.id(at, "on_deadline_node", message.on_deadline_node, optional=True),
        resume_to_node=check.id(at, "resume_to_node", message.resume_to_node, optional=True),
    )


def wait_request(message: model_pb2.WaitRequest, check: Check, at: str) -> m.WaitRequest:
    """A WaitRequest; `at` ends in a dot."""
    reason = check.choice(at, "reason", message.reason, m.WaitReason)
    if reason not in (m.WaitReason.EVENT, m.WaitReason.USER, m.WaitReason.JOB):
        check.refuse(at + "reason", "an effect may ask for an EVENT, USER or JOB wait")
    return m.WaitRequest(
        reason=reason,
        wait_key=check.text(at, "wait_key", message.wait_key, KEY_BYTES),
        terms=wait_terms(message.terms, check, at),
    )
