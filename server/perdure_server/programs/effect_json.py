"""Effects as JSON: the {"type", "payload"} form of templates, with the payload keys of the model's
built-in effects. Everything else is an effect for a worker, its payload passed on as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson

from perdure_server.kernel import model as m
from perdure_server.kernel.values import Json, Leaf


class EffectJsonError(ValueError):
    """A template or its rendering is no effect; the message says which key and why."""


def effect_request(kind: str, payload: dict[str, Json]) -> m.EffectRequest:
    """The request of an effect.

    Args:
        kind: effect type, for example "wait_until" or a worker's own.
        payload: JSON object.

    Raises: EffectJsonError if a built-in's payload lacks a key or has one of a wrong type.
    """
    make = _BUILT_IN.get(kind)
    return make(_Payload(kind, payload)) if make else m.RemoteRequest(Leaf(orjson.dumps(payload), payload))


class _Payload:
    """Typed access to a payload's keys."""

    def __init__(self, kind: str, values: dict[str, Json]) -> None:
        self.kind = kind
        self.values = values

    def get(self, *names: str) -> Json:
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)

    def text(self, *names: str, required: bool = False) -> str:
        value = self.get(*names)
        if value is None:
            value = ""
        if not isinstance(value, str):
            raise self.error(names[0], "must be a string")
        if required and not value.strip():
            raise self.error(names[0], "must not be empty")
        return value

    def flag(self, *names: str, default: bool = False) -> bool:
        value = self.get(*names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(names[0], "must be true or false")
        return value

    def seconds_us(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 315_576_000_000:
            raise self.error(name, "must be a number of seconds, 0 or more")
        return round(value * 1_000_000)

    def instant(self, name: str) -> int:
        value = self.get(name)
        return 0 if value is None else self.parse_instant(name, value)

    def parse_instant(self, name: str, value: Json) -> int:
        problem = "must be an RFC 3339 instant with an offset, such as 2026-01-31T12:00:00Z"
        if not isinstance(value, str):
            raise self.error(name, problem)
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise self.error(name, problem) from error
        if moment.tzinfo is None:
            raise self.error(name, problem)
        return round((moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)

    def leaf(self, name: str) -> Leaf | None:
        value = self.get(name)
        return None if value is None else Leaf.of(value)

    def terms(self) -> m.WaitTerms:
        choices = self.get("choices") or []
        texts = [item for item in choices if isinstance(item, str)] if isinstance(choices, list) else None
        if texts is None or texts != choices:
            raise self.error("choices", "must be a list of strings")
        return m.WaitTerms(
            prompt=self.text("prompt"),
            choices=tuple(texts),
            allow_free_text=self.flag("allow_free_text", "allowFreeText", default=True),
            details=self.leaf("details"),
            answer_schema=self.leaf("answer_schema"),
            assignee=self.text("assignee"),
            deadline_at=self.instant("deadline"),
            timeout_us=self.seconds_us("timeout_seconds") or 0,
            on_deadline_node=self.text("on_deadline_node"),
            resume_to_node=self.text("resume_to_node"),
        )

    def scope(self) -> m.EventScope:
        name = (self.text("scope") or "session").strip().lower()
        scope = {item.name.lower(): item for item in m.EventScope}.get(name)
        if scope is None:
            raise self.error("scope", "must be session, workflow, run or global")
        return scope

    def error(self, name: str, why: str) -> EffectJsonError:
        return EffectJsonError(f"payload of effect {self.kind!r}: {name} {why}")


def _wait_event(payload: _Payload) -> m.EffectRequest:
    wait_key = payload.text("wait_key")
    name = payload.text("name", "event_name", required=not wait_key)
    return m.WaitEvent(
        name="" if wait_key else name.strip(),
        scope=payload.scope(),
        scope_id=payload.text("scope_id", "session_id").strip(),
        wait_key=wait_key,
        since_now=payload.flag("since_now"),
        terms=payload.terms(),
    )


def _wait_until(payload: _Payload) -> m.EffectRequest:
    delay = payload.seconds_us("delay_seconds")
    if delay is not None:
        return m.WaitUntil(delay_us=delay)
    return m.WaitUntil(until_at=payload.parse_instant("until", payload.get("until")))


def _ask_user(payload: _Payload) -> m.EffectRequest:
    payload.text("prompt", required=True)
    return m.AskUser(terms=payload.terms(), wait_key=payload.text("wait_key"))


def _answer_user(payload: _Payload) -> m.EffectRequest:
    message = payload.get("message", "text", "content")
    if message is None:
        raise payload.error("message", "is required")
    level = {"warn": "warning", "info": "message"}.get(payload.text("level"), payload.text("level"))
    if level not in ("message", "warning", "error"):
        level = "message"
    return m.AnswerUser(message if isinstance(message, str) else Leaf.of(message).text, level)


def _emit_event(payload: _Payload) -> m.EffectRequest:
    name = payload.text("name", "event_name", required=True).strip()
    if name == "*":
        raise payload.error("name", "must be a name; '*' is only for waits")
    return m.EmitEvent(
        name=name,
        scope=payload.scope(),
        scope_id=payload.text("scope_id", "session_id").strip(),
        payload=payload.leaf("payload"),
        event_id=payload.text("event_id"),
    )


def _start_subworkflow(payload: _Payload) -> m.EffectRequest:
    vars_ = payload.get("vars")
    if vars_ is not None and not isinstance(vars_, dict):
        raise payload.error("vars", "must be an object")
    policy = payload.text("on_parent_cancel") or "cancel"
    if policy not in ("cancel", "abandon"):
        raise payload.error("on_parent_cancel", "must be cancel or abandon")
    return m.StartSubworkflow(
        workflow_id=payload.text("workflow_id", required=True),
        workflow_version=payload.text("workflow_version"),
        vars=Leaf.of(vars_) if vars_ is not None else None,
        async_=payload.flag("async"),
        wait=payload.flag("wait"),
        on_parent_cancel=m.ChildPolicy.CANCEL if policy == "cancel" else m.ChildPolicy.ABANDON,
        entry_node=payload.text("entry_node"),
        session_id=payload.text("session_id", "sessionId"),
        timeout_us=payload.seconds_us("timeout_seconds") or 0,
        run_id=payload.text("run_id"),
    )


def _vars_query(payload: _Payload) -> m.EffectRequest:
    path = payload.text("path", "var_path") or "scratchpad"
    return m.VarsQuery(path=path, keys_only=payload.flag("keys_only"))


_BUILT_IN: Mapping[str, Callable[[_Payload], m.EffectRequest]] = {
    "wait_event": _wait_event,
    "wait_until": _wait_until,
    "ask_user": _ask_user,
    "answer_user": _answer_user,
    "emit_event": _emit_event,
    "start_subworkflow": _start_subworkflow,
    "vars_query": _vars_query,
}
