"""Requests for side effects: `return effect.custom("charge", {...}, result_key="receipt", next="ship")`.

Every function returns an `Effect`; a node handler returns it as its plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypedDict, Unpack

from perdure.instants import Span, to_duration, to_timestamp
from perdure.json_text import Json, JsonObject, encode
from perdure.policies import RetryPolicy, Timeouts
from perdure.v1 import model_pb2
from perdure.values import ChildCancelPolicy, DriveMode, EffectRisk, EventScope

Scope: TypeAlias = EventScope | Literal["session", "workflow", "run", "global"]
Risk: TypeAlias = EffectRisk | Literal["read", "idempotent", "irreversible"]

LLM_CALL = "llm_call"
TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect and the node after it.

    Attributes:
        message: the contract's Effect; do not change it.
        type: as workers name it, for effects that workers execute; else "".
        payload_json: the payload's text, for effects that workers execute; else "".
        next_node: node to enter after it; "" for the node's declared `next`.
    """

    message: model_pb2.Effect
    type: str = ""
    payload_json: str = ""
    next_node: str = ""


class Placement(TypedDict, total=False):
    """Where an effect's result goes and what follows.

    result_key: dotted path into vars for the result; unset stores nothing.
    next: node to enter after it; unset: the node's declared `next`, else the run ends with the result.
    on_error_node: node to enter when its failure is final; the error is stored at result_key, else "_error".
    """

    result_key: str
    next: str
    on_error_node: str


class Execution(Placement, total=False):
    """Also how workers execute it.

    retry: unset: the node's, else one attempt.
    timeouts: unset: the node's.
    queue: unset: the node's, else "default".
    priority: -100 to 100, higher first.
    risk: what a second execution would do; "irreversible" makes the worker ask before it acts.
    idempotency_key: unset: derived by the server.
    """

    retry: RetryPolicy
    timeouts: Timeouts
    queue: str
    priority: int
    risk: Risk
    idempotency_key: str


class Terms(TypedDict, total=False):
    """The question of a wait, its allowed answers and its deadline; see the contract's WaitTerms.

    choices: proposed answers.
    allow_free_text: False refuses any answer outside the choices.
    details: any JSON for the one who answers.
    answer_schema: JSON Schema (2020-12) of the answer.
    assignee: who should answer.
    deadline, timeout: when the wait gives up, as an instant or counted from its start.
    on_deadline_node: where to go then; unset: the step fails with DEADLINE.
    resume_to_node: where to go with the answer; unset: `next`.
    """

    choices: Sequence[str]
    allow_free_text: bool
    details: Json
    answer_schema: Json
    assignee: str
    deadline: datetime
    timeout: Span
    on_deadline_node: str
    resume_to_node: str


class WaitOptions(Placement, Terms, total=False):
    """Placement and terms of a wait."""


class Child(Placement, total=False):
    """How a child run is started; see the contract's StartSubworkflow.

    timeout: deadline of the parent's wait.
    run_id: the child's id; unset: chosen by the server.
    """

    workflow_version: str
    on_parent_cancel: ChildCancelPolicy | Literal["cancel", "abandon"]
    drive: DriveMode | Literal["auto", "manual"]
    entry_node: str
    session_id: str
    labels: Mapping[str, str]
    timeout: Span
    run_id: str


def custom(type: str, payload: JsonObject | None = None, **options: Unpack[Execution]) -> Effect:
    """An effect of the user's own, executed by a worker that serves its type.

    Raises:
        UnserialisableError: the payload is not JSON.
    """
    text = encode(payload or {})
    message = model_pb2.Effect(custom=model_pb2.CustomEffect(type=type, payload_json=text))
    return _executed(message, type, text, options)


def llm_call(payload: JsonObject, **options: Unpack[Execution]) -> Effect:
    """A language model call, executed by a worker that serves "llm_call"."""
    text = encode(payload)
    message = model_pb2.Effect(llm_call=model_pb2.LlmCall(payload_json=text))
    return _executed(message, LLM_CALL, text, options)


def tool_calls(payload: JsonObject, **options: Unpack[Execution]) -> Effect:
    """Tool calls, executed by a worker that serves "tool_calls"."""
    text = encode(payload)
    message = model_pb2.Effect(tool_calls=model_pb2.ToolCalls(payload_json=text))
    return _executed(message, TOOL_CALLS, text, options)


def wait_event(
    name: str = "",
    *,
    scope: Scope = EventScope.UNSPECIFIED,
    scope_id: str = "",
    wait_key: str = "",
    since_now: bool = False,
    prompt: str = "",
    **options: Unpack[WaitOptions],
) -> Effect:
    """Waits for an event of a scope, or with `wait_key` instead of a name for `resume_run` only.

    Args:
        name: event name; "*" hears every event of the scope.
        scope: unset means the run's session.
        scope_id: unset: the run's own session, workflow or run.
        wait_key: a free key instead of a name.
        since_now: hear only events emitted after the wait began.
        prompt: what a person is asked, if one is.
        options: see WaitOptions.
    """
    message = model_pb2.Effect(
        wait_event=model_pb2.WaitEvent(
            name=name,
            scope=EventScope(scope).wire,
            scope_id=scope_id,
            wait_key=wait_key,
            since_now=since_now,
            terms=wait_terms(prompt, options),
        )
    )
    return _placed(message, options)


def wait_until(instant: datetime, **options: Unpack[Placement]) -> Effect:
    """Waits for an instant; the result is {"until": RFC 3339, "ready": true}."""
    message = model_pb2.Effect(wait_until=model_pb2.WaitUntil(until=to_timestamp(instant)))
    return _placed(message, options)


def sleep(delay: Span, **options: Unpack[Placement]) -> Effect:
    """Waits for this long, counted from the record that registers the wait."""
    return _placed(model_pb2.Effect(wait_until=model_pb2.WaitUntil(delay=to_duration(delay))), options)


def ask_user(prompt: str, *, wait_key: str = "", **options: Unpack[WaitOptions]) -> Effect:
    """Asks a person; the answer comes with `resume_run` and is the result."""
    message = model_pb2.Effect(ask_user=model_pb2.AskUser(wait_key=wait_key, terms=wait_terms(prompt, options)))
    return _placed(message, options)


def answer_user(
    message: str, *, level: Literal["message", "warning", "error"] = "message", **options: Unpack[Placement]
) -> Effect:
    """Tells a person something; completes at once, the ledger is the message."""
    return _placed(model_pb2.Effect(answer_user=model_pb2.AnswerUser(message=message, level=level)), options)


def emit_event(
    name: str,
    payload: Json = None,
    *,
    scope: Scope = EventScope.UNSPECIFIED,
    scope_id: str = "",
    event_id: str = "",
    **options: Unpack[Placement],
) -> Effect:
    """Appends an event to the event log; the result is {"event_id", "name", "scope"}."""
    message = model_pb2.Effect(
        emit_event=model_pb2.EmitEvent(
            name=name,
            scope=EventScope(scope).wire,
            scope_id=scope_id,
            payload_json="" if payload is None else encode(payload),
            event_id=event_id,
        )
    )
    return _placed(message, options)


def start_subworkflow(
    workflow_id: str,
    vars: JsonObject | None = None,
    *,
    mode: Literal["sync", "async", "async_wait"] = "sync",
    **options: Unpack[Child],
) -> Effect:
    """Starts a child run.

    Args:
        workflow_id: the child's workflow.
        vars: its vars.
        mode: "sync" and "async_wait" wait for the child's end and give {"sub_run_id", "output"}; "async" goes
            on at once with {"sub_run_id", "async": true}.
        options: see Child.
    """
    child = model_pb2.StartSubworkflow(
        workflow_id=workflow_id,
        workflow_version=options.get("workflow_version", ""),
        vars_json=encode(vars) if vars else "",
        wait=mode == "async_wait",
        on_parent_cancel=ChildCancelPolicy(options.get("on_parent_cancel", ChildCancelPolicy.UNSPECIFIED)).wire,
        drive=DriveMode(options.get("drive", DriveMode.UNSPECIFIED)).wire,
        entry_node=options.get("entry_node", ""),
        session_id=options.get("session_id", ""),
        labels=options.get("labels", {}),
        timeout=to_duration(options["timeout"]) if "timeout" in options else None,
        run_id=options.get("run_id", ""),
        **{"async": mode != "sync"},
    )
    return _placed(model_pb2.Effect(start_subworkflow=child), options)


def vars_query(path: str = "", *, keys_only: bool = False, **options: Unpack[Placement]) -> Effect:
    """Reads part of the run's own vars as data; the contract's VarsQuery tells what comes back."""
    return _placed(model_pb2.Effect(vars_query=model_pb2.VarsQuery(path=path, keys_only=keys_only)), options)


def wait_terms(prompt: str, options: Terms) -> model_pb2.WaitTerms:
    """As the contract's WaitTerms.

    Raises:
        UnserialisableError: details or answer schema are not JSON.
    """
    details, schema = options.get("details"), options.get("answer_schema")
    return model_pb2.WaitTerms(
        prompt=prompt,
        choices=options.get("choices", ()),
        allow_free_text=options.get("allow_free_text"),
        details_json="" if details is None else encode(details),
        answer_schema_json="" if schema is None else encode(schema),
        assignee=options.get("assignee", ""),
        deadline=to_timestamp(options["deadline"]) if "deadline" in options else None,
        timeout=to_duration(options["timeout"]) if "timeout" in options else None,
        on_deadline_node=options.get("on_deadline_node", ""),
        resume_to_node=options.get("resume_to_node", ""),
    )


def _placed(message: model_pb2.Effect, options: Placement) -> Effect:
    message.result_key = options.get("result_key", "")
    message.on_error_node = options.get("on_error_node", "")
    return Effect(message, next_node=options.get("next", ""))


def _executed(message: model_pb2.Effect, type: str, payload_json: str, options: Execution) -> Effect:
    message.result_key = options.get("result_key", "")
    message.on_error_node = options.get("on_error_node", "")
    message.queue = options.get("queue", "")
    message.priority = options.get("priority", 0)
    message.risk = EffectRisk(options.get("risk", EffectRisk.UNSPECIFIED)).wire
    message.idempotency_key = options.get("idempotency_key", "")
    if "retry" in options:
        message.retry.CopyFrom(options["retry"].to_wire())
    if "timeouts" in options:
        message.timeouts.CopyFrom(options["timeouts"].to_wire())
    return Effect(message, type, payload_json, options.get("next", ""))
