"""Effects: messages to the domain, and the kernel-owned ones back, as slots of records keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.v1 import model_pb2
from perdure_server.api.codec import shapes, terms
from perdure_server.api.codec.fanouts import fanout_bytes, stored_fanout
from perdure_server.api.codec.shapes import Shape
from perdure_server.api.fields import EMPTY_OBJECT, STORED, Check
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import INPUT_BYTES, KEY_BYTES, LONG_TEXT_BYTES, MAX_PRIORITY, MIN_PRIORITY

_FANOUTS: Final = ("parallel", "foreach")
LEVELS: Final = ("message", "warning", "error")


def effect(message: model_pb2.Effect, check: Check, at: str) -> m.Effect:
    """An Effect with its defaults unresolved; `at` ends in a dot."""
    kind = check.one_of(at, message, "kind")
    type_, request = _request(message, kind, check, f"{at}{kind}.") if kind else ("", m.RemoteRequest(EMPTY_OBJECT))
    return m.Effect(
        type=type_,
        request=request,
        result_key=check.result_key(at, message.result_key),
        retry=terms.retry(message, message.retry, check, at),
        timeouts=terms.timeouts(message, message.timeouts, check, at),
        queue=check.id(at, "queue", message.queue, optional=True),
        priority=check.integer(at, "priority", message.priority, MIN_PRIORITY, MAX_PRIORITY),
        on_error_node=check.id(at, "on_error_node", message.on_error_node, optional=True),
        risk=check.choice(at, "risk", message.risk, m.Risk, m.Risk.IDEMPOTENT),
        idempotency_key=check.text(at, "idempotency_key", message.idempotency_key),
    )


def stored_request(kind: str, data: bytes) -> m.EffectRequest:
    """The request of a kernel-owned effect of this type, from the bytes that `request_bytes` made."""
    if kind in _FANOUTS:
        return stored_fanout(data)
    message = model_pb2.Effect.FromString(data)
    name = message.WhichOneof("kind")
    if name is None:
        raise ValueError("the stored effect has no kind this version knows")
    return _request(message, name, STORED, "")[1]


def request_bytes(request: m.EffectRequest) -> bytes:
    """Bytes of the Effect message for a kernel-owned effect's request; of a join, of its Fanout message."""
    if isinstance(request, m.Fanout):
        return fanout_bytes(request)
    kind, shape = _SHAPES[type(request)]
    return shapes.build(model_pb2.Effect, {kind: shape(request)}).SerializeToString(deterministic=True)


def _request(message: model_pb2.Effect, kind: str, check: Check, at: str) -> tuple[str, m.EffectRequest]:
    if kind == "custom":
        return _custom_type(message.custom, check, at), _remote(message.custom, check, at)
    return kind, _DECODERS[kind](getattr(message, kind), check, at)


def _custom_type(message: model_pb2.CustomEffect, check: Check, at: str) -> str:
    if message.type in _DECODERS:
        check.refuse(at + "type", f"{message.type} is built in: use its own field")
    return check.id(at, "type", message.type)


def _remote(
    message: model_pb2.LlmCall | model_pb2.ToolCalls | model_pb2.CustomEffect, check: Check, at: str
) -> m.RemoteRequest:
    return m.RemoteRequest(check.json(at, "payload_json", message.payload_json, empty=EMPTY_OBJECT, object_only=True))


def _wait_event(message: model_pb2.WaitEvent, check: Check, at: str) -> m.WaitEvent:
    if not message.name and not message.wait_key:
        check.refuse(at + "name", "is required, or a wait_key that only a resume ends")
    elif message.name and message.wait_key:
        check.refuse(at + "name", "set name or wait_key, not both")
    return m.WaitEvent(
        name=check.text(at, "name", message.name),
        scope=check.choice(at, "scope", message.scope, m.EventScope, m.EventScope.SESSION),
        scope_id=check.text(at, "scope_id", message.scope_id),
        wait_key=check.text(at, "wait_key", message.wait_key, KEY_BYTES),
        since_now=message.since_now,
        terms=terms.wait_terms(message.terms, check, at),
    )


def _wait_until(message: model_pb2.WaitUntil, check: Check, at: str) -> m.WaitUntil:
    when = check.one_of(at, message, "when")
    if when == "delay":
        return m.WaitUntil(delay_us=check.any_span(at, "delay", message.delay))
    if when == "until":
        return m.WaitUntil(until_at=check.required_instant(at, "until", message.until))
    return m.WaitUntil()


def _ask_user(message: model_pb2.AskUser, check: Check, at: str) -> m.AskUser:
    if not message.terms.prompt:
        check.refuse(at + "terms.prompt", "is required: the question")
    return m.AskUser(
        terms=terms.wait_terms(message.terms, check, at),
        wait_key=check.text(at, "wait_key", message.wait_key, KEY_BYTES),
    )


def _answer_user(message: model_pb2.AnswerUser, check: Check, at: str) -> m.AnswerUser:
    if message.level and message.level not in LEVELS:
        check.refuse(at + "level", f"must be one of {', '.join(LEVELS)}, or empty")
    return m.AnswerUser(
        message=check.text(at, "message", message.message, LONG_TEXT_BYTES, required=True),
        level=message.level or LEVELS[0],
    )


def _emit_event(message: model_pb2.EmitEvent, check: Check, at: str) -> m.EmitEvent:
    if message.name == "*":
        check.refuse(at + "name", '"*" is what a wait may name, not an event')
    return m.EmitEvent(
        name=check.text(at, "name", message.name, required=True),
        scope=check.choice(at, "scope", message.scope, m.EventScope, m.EventScope.SESSION),
        scope_id=check.text(at, "scope_id", message.scope_id),
        payload=check.optional_json(at, "payload_json", message.payload_json),
        event_id=check.text(at, "event_id", message.event_id),
    )


def _start_subworkflow(message: model_pb2.StartSubworkflow, check: Check, at: str) -> m.StartSubworkflow:
    return m.StartSubworkflow(
        workflow_id=check.id(at, "workflow_id", message.workflow_id),
        workflow_version=check.id(at, "workflow_version", message.workflow_version, optional=True),
        vars=check.optional_json(at, "vars_json", message.vars_json, object_only=True),
        async_=getattr(message, "async"),
        wait=message.wait,
        on_parent_cancel=check.choice(
            at, "on_parent_cancel", message.on_parent_cancel, m.ChildPolicy, m.ChildPolicy.CANCEL
        ),
        drive=check.choice(at, "drive", message.drive, m.Drive, m.Drive.AUTO),
        entry_node=check.id(at, "entry_node", message.entry_node, optional=True),
        session_id=check.text(at, "session_id", message.session_id),
        labels=tuple(sorted(check.labels(at, message.labels).items())),
        timeout_us=check.span(at, "timeout", message, message.timeout),
        run_id=check.id(at, "run_id", message.run_id, optional=True),
    )


def _vars_query(message: model_pb2.VarsQuery, check: Check, at: str) -> m.VarsQuery:
    return m.VarsQuery(
        path=check.text(at, "path", message.path, INPUT_BYTES) or "scratchpad",
        keys_only=message.keys_only,
    )


_DECODERS: Final[dict[str, Callable[..., m.EffectRequest]]] = {
    "wait_event": _wait_event,
    "wait_until": _wait_until,
    "ask_user": _ask_user,
    "answer_user": _answer_user,
    "emit_event": _emit_event,
    "start_subworkflow": _start_subworkflow,
    "vars_query": _vars_query,
    "llm_call": _remote,
    "tool_calls": _remote,
}


def terms_shape(value: m.WaitTerms) -> Shape:
    """Shape of WaitTerms."""
    return {
        "prompt": value.prompt,
        "choices": value.choices,
        "allow_free_text": value.allow_free_text,
        "details_json": value.details.text if value.details else None,
        "answer_schema_json": value.answer_schema.text if value.answer_schema else None,
        "assignee": value.assignee,
        "deadline": shapes.instant(value.deadline_at),
        "timeout": shapes.span(value.timeout_us),
        "on_deadline_node": value.on_deadline_node,
        "resume_to_node": value.resume_to_node,
    }


def _wait_event_shape(request: m.WaitEvent) -> Shape:
    return {
        "name": request.name,
        "scope": request.scope,
        "scope_id": request.scope_id,
        "wait_key": request.wait_key,
        "since_now": request.since_now,
        "terms": terms_shape(request.terms),
    }


def _wait_until_shape(request: m.WaitUntil) -> Shape:
    if request.delay_us is not None:
        return {"delay": shapes.exact_span(request.delay_us)}
    return {"until": shapes.exact_instant(request.until_at)}


def _ask_user_shape(request: m.AskUser) -> Shape:
    return {"wait_key": request.wait_key, "terms": terms_shape(request.terms)}


def _answer_user_shape(request: m.AnswerUser) -> Shape:
    return {"message": request.message, "level": request.level}


def _emit_event_shape(request: m.EmitEvent) -> Shape:
    return {
        "name": request.name,
        "scope": request.scope,
        "scope_id": request.scope_id,
        "payload_json": request.payload.text if request.payload else None,
        "event_id": request.event_id,
    }


def _start_subworkflow_shape(request: m.StartSubworkflow) -> Shape:
    return {
        "workflow_id": request.workflow_id,
        "workflow_version": request.workflow_version,
        "vars_json": request.vars.text if request.vars else None,
        "async": request.async_,
        "wait": request.wait,
        "on_parent_cancel": request.on_parent_cancel,
        "drive": request.drive,
        "entry_node": request.entry_node,
        "session_id": request.session_id,
        "labels": dict(request.labels),
        "timeout": shapes.span(request.timeout_us),
        "run_id": request.run_id,
    }


def _vars_query_shape(request: m.VarsQuery) -> Shape:
    return {"path": request.path, "keys_only": request.keys_only}


_SHAPES: Final[dict[type[m.EffectRequest], tuple[str, Callable[..., Shape]]]] = {
    m.WaitEvent: ("wait_event", _wait_event_shape),
    m.WaitUntil: ("wait_until", _wait_until_shape),
    m.AskUser: ("ask_user", _ask_user_shape),
    m.AnswerUser: ("answer_user", _answer_user_shape),
    m.EmitEvent: ("emit_event", _emit_event_shape),
    m.StartSubworkflow: ("start_subworkflow", _start_subworkflow_shape),
    m.VarsQuery: ("vars_query", _vars_query_shape),
}
