"""How single values read in tables and sentences."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perdure_server.cli.json_form import instant_text

if TYPE_CHECKING:
    from perdure.model import RunState, WaitState


def now() -> datetime:
    """This machine's clock, in UTC."""
    from perdure_server.clock import SystemClock

    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=SystemClock().now())


def short_span(span: timedelta) -> str:
    """One or two units: 850ms, 12s, 3m20s, 5h, 2d."""
    total = abs(span.total_seconds())
    if total < 1:
        return f"{round(total * 1000)}ms"
    for unit, size, below, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if total >= size:
            rest = int(total % size) // part
            return f"{int(total // size)}{unit}" + (f"{rest}{below}" if rest and total < 10 * size else "")
    return f"{int(total)}s"


def when(instant: datetime | None, *, relative: bool) -> str:
    """An instant: from now on or back for people, RFC 3339 for programs; "" for none."""
    if instant is None:
        return ""
    if not relative:
        return instant_text(instant)
    delta = instant - now()
    return f"in {short_span(delta)}" if delta > timedelta(0) else f"{short_span(delta)} ago"


def compact(value: Any, limit: int = 0) -> str:
    """JSON on one line; "" for null; cut to `limit` characters if that is not 0."""
    if value is None:
        return ""
    return clip(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), limit)


def clip(text: str, limit: int) -> str:
    """The text in at most `limit` characters; 0: all of it."""
    return text if not limit or len(text) <= limit else text[: limit - 1] + "…"


def doing(run: RunState) -> str:
    """A run's activity in words: `leased`, `parked IN_DOUBT`, `queued, blocked NO_WORKER`, `waiting user`."""
    words = "" if run.activity == "unspecified" else str(run.activity)
    if run.step is not None and run.step.park_reason:
        words += f" {run.step.park_reason}"
    if run.waiting is not None and run.waiting.reason != "unspecified":
        words += f" {run.waiting.reason}"
    if run.step is not None and run.step.blocked:
        words += f", blocked {run.step.blocked}"
    if run.paused:
        words += ", paused"
    return words + (", cancelling" if run.cancelling else "")


def waits_for(wait: WaitState) -> str:
    """What a wait waits for, in one phrase."""
    if wait.prompt:
        return wait.prompt
    if wait.until is not None:
        return f"until {instant_text(wait.until)}"
    if wait.child_run_id:
        return f"the end of {wait.child_run_id}"
    if wait.event_name:
        return f"event {wait.event_name!r} of {wait.event_scope} {wait.event_scope_id}".rstrip()
    return wait.wait_key
