"""What each kind of record tells, in one line for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perdure_server.cli.wording import clip, compact

Form = Mapping[str, Any]


def telling(form: Form, limit: int = 0) -> str:
    """One line about an entry, given as `entry_form` makes it.

    Args:
        form: the entry.
        limit: each payload is cut to so many characters; 0: shown whole.
    """
    body = Body(form["body"], limit)
    tell = _TELLING.get(form["kind"] or "")
    parts = tell(body) if tell is not None else [body.json()]
    return "  ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a record, or an object inside it."""

    values: Form
    limit: int

    def inside(self, name: str) -> Body:
        """The object under a name; an empty one where there is none."""
        found: Form | None = self.values.get(name)
        return Body(found or {}, self.limit)

    def text(self, name: str, before: str = "", after: str = "") -> str:
        """The text or number under a name, with words around it; "" where there is none."""
        value = self.values.get(name)
        return "" if value in {None, "", 0} else f"{before}{clip(str(value), self.limit)}{after}"

    def payload(self, name: str) -> str:
        """The JSON under a name."""
        return compact(self.values.get(name), self.limit)

    def json(self) -> str:
        """All of it."""
        return compact(self.values, self.limit) if self.values else ""

    @property
    def following(self) -> str:
        """Which node is entered."""
        return self.inside("next").text("node_id", "→ ")

    def failure(self, name: str = "failure") -> str:
        """TYPE: message."""
        failure = self.inside(name)
        return f"{failure.text('type')}: {failure.inside('text').text('message')}".strip(": ")


def _run_started(body: Body) -> list[str]:
    workflow = f"{body.values['workflow_id']} @ {body.values['workflow_version'][:12]}"
    return [workflow, body.text("parent_run_id", "child of "), body.text("start_at", "at "), body.payload("vars")]


def _step_started(body: Body) -> list[str]:
    return [body.text("effect_type", after=" ") + "handed out"]


def _step_begun(body: Body) -> list[str]:
    return [body.text("effect_type") + " may begin now"]


def _step_completed(body: Body) -> list[str]:
    ops: Sequence[Form] = body.inside("vars_ops").values.get("ops", [])
    changed = f"sets {', '.join(op.get('path', '') or '/' for op in ops)}" if ops else ""
    result = f"{body.text('effect_type')} {body.payload('result')}".strip()
    failed = body.failure()
    return [failed, body.text("retry_at", "again at "), "" if failed else result, changed, _asked(body), body.following]


def _asked(body: Body) -> str:
    """The effect that a plan opened, by what matters most about it."""
    effect = body.inside("effect")
    if not effect.values:
        return ""
    kind = str(effect.values["type"])
    if not effect.values.get("server_side"):
        return f"asks for {kind} {effect.payload('payload')}".rstrip()
    if kind in ("parallel", "foreach"):
        fanout = effect.inside("payload")
        return f"asks for {kind} {fanout.text('needed')} of {fanout.text('total')}"
    request = effect.inside("payload").inside(kind)
    return " ".join(("asks for", kind, *filter(None, _essence(kind, request))))


def _essence(kind: str, request: Body) -> Iterator[str]:
    if kind == "ask_user":
        yield request.inside("terms").text("prompt", '"', '"')
    elif kind == "start_subworkflow":
        yield request.text("workflow_id")
        yield request.payload("vars")
    elif kind == "emit_event":
        yield request.text("name")
        yield request.payload("payload")
    elif kind == "answer_user":
        yield request.text("message", '"', '"')
    elif kind == "wait_until":
        yield request.text("until")
        yield request.text("delay", after=" s")
    elif kind == "wait_event":
        yield request.text("name") or request.text("wait_key")
    else:
        yield request.json()


def _requeued(body: Body) -> list[str]:
    words = {
        "lapsed": "its lease ran out",
        "released": "the worker gave it back",
        "retry_due": "time to try again",
        "start_due": "time to start",
    }
    return [words.get(str(body.values.get("cause")), "due again"), body.text("not_before", "not before ")]


def _waiting(body: Body) -> list[str]:
    text = body.inside("text")
    choices: Sequence[str] = text.values.get("choices", [])
    return [
        body.text("reason"),
        text.text("prompt"),
        f"[{', '.join(choices)}]" if choices else "",
        body.text("assignee", "for "),
        body.text("event_name", "event "),
        body.text("until", "until "),
        body.inside("child").text("run_id", "child "),
        body.text("deadline", "gives up "),
    ]


def _resumed(body: Body) -> list[str]:
    return [body.text("cause"), body.payload("payload"), body.text("resumed_by", "by "), body.following]


def _event_consumed(body: Body) -> list[str]:
    return [body.text("name", "event "), body.inside("payload").payload("payload"), body.following]


def _child_ended(body: Body) -> list[str]:
    child = f"{body.text('child_run_id')} {body.text('child_status')}"
    if body.values.get("place"):
        return [child, body.text("place", "branch "), body.payload("result")]
    return [child, body.inside("result").payload("output"), body.following]


def _branches_started(body: Body) -> list[str]:
    run_ids: Sequence[str] = body.values.get("run_ids", [])
    first = int(str(body.values.get("first", 1)))
    return [f"{first} to {first + len(run_ids) - 1}", " ".join(run_ids[:3]) + (" ..." if len(run_ids) > 3 else "")]


def _parked(body: Body) -> list[str]:
    why = {
        "poison": "POISON: its lease ran out too often",
        "in_doubt": "IN_DOUBT: begun, and nobody knows whether it happened",
    }
    return [why.get(str(body.values.get("reason")), body.text("reason")), "`perdure run resolve` decides"]


def _unparked(body: Body) -> list[str]:
    return [body.text("resolution"), body.text("resolved_by", "by ")]


def _spoken(actor: str) -> Callable[[Body], list[str]]:
    """A record with a reason and the one who gave it."""

    def tell(body: Body) -> list[str]:
        return [
            body.text("reason"),
            body.text(actor, "by "),
            body.following,
            body.payload("output"),
            body.failure(),
        ]

    return tell


def _reopened(body: Body) -> list[str]:
    changes = body.inside("vars_ops").values.get("ops", [])
    paths = ", ".join(str(change.get("path")) for change in changes)
    return [
        "IN_DOUBT: it may have been executed; `perdure run resolve` decides" if body.values.get("in_doubt") else "",
        f"repairs {paths}" if paths else "",
        "from the node" if body.values.get("entry") else "the effect again",
        body.text("deadline", "until "),
        "paused" if body.values.get("paused") else "",
        body.text("retried_by", "by "),
    ]


def _migrated(body: Body) -> list[str]:
    versions = (str(body.values.get(name, ""))[:12] for name in ("from_version", "to_version"))
    return [
        " to ".join(versions),
        body.inside("entry").text("node_id", "at "),
        "handed out again" if body.values.get("requeued") else "",
        body.text("migrated_by", "by "),
    ]


_TELLING: Final[Mapping[str, Callable[[Body], list[str]]]] = {
    "run_started": _run_started,
    "step_started": _step_started,
    "step_begun": _step_begun,
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
    "budget_added": lambda body: [body.text("steps", after=" node entries")],
    "cancel_requested": _spoken("cancelled_by"),
    "completed": lambda body: [body.payload("output")],
    "failed": lambda body: [body.failure()],
    "cancelled": _spoken("cancelled_by"),
    "branches_started": _branches_started,
    "joined": lambda body: ["enough branches completed", body.following],
    "late_result": lambda body: ["kept without effect", body.payload("report")],
    "reopened": _reopened,
    "migrated": _migrated,
}
