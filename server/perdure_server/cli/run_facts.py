"""One run as `perdure run get` shows it, and the columns of `perdure run list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from perdure_server.cli.json_form import json_block
from perdure_server.cli.output import Column, Output
from perdure_server.cli.wording import compact, doing, waits_for, when

if TYPE_CHECKING:
    from perdure.model import Failure, RunState, StepState, WaitState


def failure_text(failure: Failure | None) -> str:
    """TYPE: message."""
    if failure is None:
        return ""
    return f"{failure.type}: {failure.message}" if failure.message else failure.type


def run_columns(output: Output) -> list[Column[RunState]]:
    """What a list of runs shows of each."""
    relative = output.is_terminal
    return [
        Column("RUN", lambda run: run.run_id),
        Column("WORKFLOW", lambda run: run.workflow_id),
        Column("STATUS", lambda run: str(run.status), is_status=True),
        Column("DOING", doing, is_status=True),
        Column("NODE", lambda run: run.current_node),
        Column("SEQ", lambda run: str(run.seq)),
        Column("CREATED", lambda run: when(run.created_at, relative=relative)),
    ]


def show_run(output: Output, run: RunState) -> None:
    """A run with everything that matters about it, its vars and output last."""
    output.facts(_facts(run, relative=output.is_terminal), run)
    if output.as_json:
        return
    for title, value in (("vars", run.vars), ("output", run.output)):
        if value is None:
            continue
        if output.is_terminal:
            from rich.syntax import Syntax

            output.show(f"\n{title}", style="bold")
            output.show(Syntax(json_block(value), "json", background_color="default", word_wrap=True))
        else:
            output.line(f"{title}\t{compact(value)}")


def _facts(run: RunState, *, relative: bool) -> Iterator[tuple[str, str]]:
    yield "run", run.run_id
    yield "workflow", f"{run.workflow_id} @ {run.workflow_version[:12] if relative else run.workflow_version}"
    yield "status", str(run.status)
    yield "activity", doing(run)
    yield "node", run.current_node
    if run.waiting is not None:
        yield from _wait_facts(run.waiting, relative=relative)
    if run.step is not None:
        yield from _step_facts(run.step, relative=relative)
    yield "error", failure_text(run.error)
    yield "error details", compact(run.error.details) if run.error is not None else ""
    if run.parent_run_id:
        yield "parent", run.parent_run_id
        yield "root", run.root_run_id
    yield "children", ", ".join(child.run_id for child in run.children)
    yield "session", run.session_id if run.session_id != run.root_run_id else ""
    yield "actor", run.actor_id
    yield "labels", ", ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))
    if run.drive == "manual":
        yield "manual drive", f"{run.step_budget} node entries left"
    yield "created", when(run.created_at, relative=relative)
    yield "updated", when(run.updated_at, relative=relative)
    yield "ended", when(run.ended_at, relative=relative)
    yield "deadline", when(run.deadline, relative=relative)
    yield "records", str(run.seq)
    yield "head hash", run.head_hash.hex()


def _wait_facts(wait: WaitState, *, relative: bool) -> Iterator[tuple[str, str]]:
    yield "waits for", waits_for(wait)
    yield "wait id", str(wait.wait_id)
    yield "wait key", wait.wait_key
    yield "choices", ", ".join(wait.choices) + (" (or free text)" if wait.choices and wait.allow_free_text else "")
    yield "details", compact(wait.details)
    yield "answer schema", compact(wait.answer_schema)
    yield "assignee", wait.assignee
    yield "answer by", when(wait.deadline, relative=relative)
    yield "missed events", str(wait.missed_events) if wait.missed_events else ""


def _step_facts(step: StepState, *, relative: bool) -> Iterator[tuple[str, str]]:
    yield "step", f"{step.step_id} ({step.effect_type or 'node'} {step.node_id}, visit {step.visit})"
    yield "attempt", str(step.attempt) if step.attempt else ""
    yield "failures", str(step.failures) if step.failures else ""
    yield "lapsed leases", str(step.lapses) if step.lapses else ""
    yield "begun", "yes" if step.begun else ""
    yield "retry", when(step.retry_at, relative=relative)
    yield "last failure", failure_text(step.last_failure)
    yield "parked", step.park_reason
    yield "blocked", step.blocked
    yield "idempotency key", step.idempotency_key
