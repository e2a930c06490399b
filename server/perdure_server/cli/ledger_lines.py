"""What each kind of record tells, in one line for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from perdure_server.cli.wording import compact

Body = Mapping[str, Any]
Form = Mapping[str, Any]


def telling(form: Form) -> str:
    """One line about an entry, given as `entry_form` makes it; payloads are shown as JSON."""
    tell = _TELLING.get(form["kind"] or "")
    parts = tell(form["body"]) if tell is not None else [compact(form["body"])]
    return "  ".join(part for part in parts if part)


def _inside(body: Body, name: str) -> Body:
    """The object under a name; an empty one where there is none."""
    found: Body | None = body.get(name)
    return found or {}


def _to(body: Body) -> str:
    following = _inside(body, "next")
    return f"→ {following['node_id']}" if following else ""


def _failure(body: Body, name: str = "failure") -> str:
    failure = _inside(body, name)
    if not failure:
        return ""
    return f"{failure['type']}: {_inside(failure, 'text').get('message', '')}".rstrip(": ")


def _run_started(body: Body) -> list[str]:
    parent = f"child of {body['parent_run_id']}" if body.get("parent_run_id") else ""
    begins = f"at {body['start_at']}" if body.get("start_at") else ""
    return [f"{body['workflow_id']} @ {body['workflow_version'][:12]}", parent, begins, compact(body.get("vars"))]


def _step_started(body: Body) -> list[str]:
    return [body.get("effect_type", "")]


def _step_completed(body: Body) -> list[str]:
    effect = _inside(body, "effect")
    ops: Sequence[Body] = _inside(body, "vars_ops").get("ops", [])
    changed = f"sets {', '.join(op.get('path', '') or '/' for op in ops)}" if ops else ""
    planned = ""
    if effect:
        planned = f"asks for {effect['type']} {compact(_effect_payload(effect))}"
    retry = f"retry at {body['retry_at']}" if body.get("retry_at") else ""
    result = f"{body.get('effect_type', '')} {compact(body.get('result'))}".strip()
    return [_failure(body), retry, result, changed, planned, _child(body), _to(body)]


def _effect_payload(effect: Body) -> Any:
    if not effect.get("server_side"):
        return effect.get("payload")
    message = _inside(effect, "payload")
    return message.get(effect["type"], message)


def _child(body: Body) -> str:
    child = _inside(body, "child")
    return f"child {child['run_id']}" if child else ""


def _requeued(body: Body) -> list[str]:
    words = {
        "lapsed": "its lease ran out",
        "released": "the worker gave it back",
        "retry_due": "time to try again",
        "start_due": "time to start",
    }
    later = f"not before {body['not_before']}" if body.get("not_before") else ""
    return [words.get(str(body.get("cause")), ""), later]


def _waiting(body: Body) -> list[str]:
    text = _inside(body, "text")
    choices = f"[{', '.join(text['choices'])}]" if text.get("choices") else ""
    event = f"event {body['event_name']}" if body.get("event_name") else ""
    until = f"until {body['until']}" if body.get("until") else ""
    deadline = f"gives up {body['deadline']}" if body.get("deadline") else ""
    assignee = f"for {body['assignee']}" if body.get("assignee") else ""
    question = text.get("prompt", "")
    return [str(body.get("reason", "")), question, choices, assignee, event, until, _child(body), deadline]


def _resumed(body: Body) -> list[str]:
    by = f"by {body['resumed_by']}" if body.get("resumed_by") else ""
    return [str(body.get("cause", "")), compact(body.get("payload")), by, _to(body)]


def _event_consumed(body: Body) -> list[str]:
    return [f"event {body['name']}", compact(_inside(body, "payload").get("payload")), _to(body)]


def _child_ended(body: Body) -> list[str]:
    return [f"{body['child_run_id']} {body.get('child_status', '')}", compact(body.get("result")), _to(body)]


def _parked(body: Body) -> list[str]:
    reason = str(body.get("reason", "")).upper()
    lapses = f"{body['lapses']} leases ran out" if body.get("lapses") else ""
    return [reason, lapses, "`perdure run resolve` decides"]


def _unparked(body: Body) -> list[str]:
    return [str(body.get("resolution", "")), f"by {body['resolved_by']}" if body.get("resolved_by") else ""]


def _spoken(actor: str) -> Callable[[Body], list[str]]:
    """A record with a reason and the one who gave it."""

    def tell(body: Body) -> list[str]:
        by = f"by {body[actor]}" if body.get(actor) else ""
        return [body.get("reason") or "", by, _to(body), compact(body.get("output")), _failure(body)]

    return tell


_TELLING: Final[Mapping[str, Callable[[Body], list[str]]]] = {
    "run_started": _run_started,
    "step_started": _step_started,
    "step_begun": _step_started,
    "step_completed": _step_completed,
    "requeued": _requeued,
    "waiting": _waiting,
    "resumed": _resumed,
    "event_consumed": _event_consumed,
    "child_ended": _child_ended,
    "parked": _parked,
    "unparked": _unparked,
    "paused": _spoken("paused_by"),
    "unpaused": _spoken("unpaused_by"),
    "budget_added": lambda body: [f"{body.get('steps', 0)} node entries"],
    "cancel_requested": _spoken("cancelled_by"),
    "completed": lambda body: [compact(body.get("output"))],
    "failed": lambda body: [_failure(body)],
    "cancelled": _spoken("cancelled_by"),
    "late_result": lambda body: [f"kept without effect: {compact(body.get('report'))}"],
}
