"""`perdure run start | tick | resume | cancel | pause | unpause | resolve`: moving runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import typer

from perdure_server.cli.arguments import instant, json_object, json_or_text, json_value, pairs, read_text, span
from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.refusals import ADVICE, FAILED, USAGE, Refusal
from perdure_server.cli.run_facts import show_run
from perdure_server.cli.run_ids import RunId
from perdure_server.cli.wording import doing, now, waits_for

if TYPE_CHECKING:
    from perdure import Client
    from perdure.model import Failure, RunState, WaitState
    from perdure.plan import Plan
    from perdure.runs import CompletedEffect, RunReply, StartOptions

By = Annotated[str, typer.Option("--by", envvar="PERDURE_BY", help="Who does this; kept in the ledger.")]
RequestId = Annotated[str, typer.Option(help="Makes a repeat of this command safe.")]

_CANCELLED: Final = {"cancelled": "cancelled", "completed": "nothing to cancel:", "failed": "nothing to cancel:"}
"""What a cancel came to, by the run's status after it; any other: its on_cancel_node is on its way."""


def moved(session: Session, verb: str, reply: RunReply) -> None:
    """Says what a run is like after a change."""
    state = reply.status if reply.activity in {"unspecified", reply.status} else f"{reply.status}, {reply.activity}"
    session.output.done(reply, f"{verb} {reply.run_id}: {state} at record {reply.seq}")


@dataclass(frozen=True, slots=True)
class Beginning:
    """The options of `run start` that go into its request."""

    vars_json: Annotated[str, typer.Option("--vars", help="JSON object, @FILE, or - for standard input.")] = ""
    var: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, added to --vars; VALUE is JSON or text.")] = None
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = ""
    version: Annotated[str, typer.Option(help="Default: the workflow's default version.")] = ""
    session_id: Annotated[str, typer.Option("--session", help="Default: a session of its own.")] = ""
    actor: Annotated[str, typer.Option(help="Who the run acts for.")] = ""
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE.")] = None
    drive: Annotated[Literal["auto", "manual"], typer.Option(help="Manual: only `run tick` moves it.")] = "auto"
    start_at: Annotated[str, typer.Option(help="First step then: an instant, or +2h.")] = ""
    deadline: Annotated[str, typer.Option(help="Fails then: an instant, or +2h.")] = ""
    entry_node: Annotated[str, typer.Option(help="Start here instead of at the entry.")] = ""
    on_existing: Annotated[Literal["fail", "return"], typer.Option(help="When the id is taken.")] = "fail"
    concurrency_key: Annotated[str, typer.Option("--key", help="Compete for the slots of this key.")] = ""
    concurrency_limit: Annotated[int, typer.Option("--key-limit", help="Slots of the key.")] = 1
    on_limit: Annotated[Literal["queue", "reject", "cancel_oldest"], typer.Option(help="When the key has no slot.")] = (
        "queue"
    )
    event: Annotated[str, typer.Option(help="Event for the run; a live run of that id gets it instead.")] = ""
    event_payload: Annotated[str, typer.Option(help="JSON, @FILE, or - for standard input.")] = ""
    event_id: Annotated[str, typer.Option(help="Makes the event unique for the run.")] = ""
    request_id: RequestId = ""

    def variables(self) -> dict[str, Any]:
        """The run's first vars.

        Raises:
            Refusal: --vars or --var cannot be read.
        """
        found = json_object(self.vars_json, "--vars") if self.vars_json else {}
        texts = pairs(self.var or (), "--var")
        return found | {name: json_or_text(text, "--var") for name, text in texts.items()}

    def options(self) -> StartOptions:
        """The rest, as the client wants it.

        Raises:
            Refusal: a label or an instant cannot be read.
        """
        options: StartOptions = {
            "run_id": self.run_id,
            "workflow_version": self.version,
            "session_id": self.session_id,
            "actor_id": self.actor,
            "labels": pairs(self.label or (), "--label"),
            "drive": self.drive,
            "entry_node": self.entry_node,
            "on_existing": self.on_existing,
            "request_id": self.request_id,
        }
        if self.start_at:
            options["start_at"] = instant(self.start_at, "--start-at", now())
        if self.deadline:
            options["deadline"] = instant(self.deadline, "--deadline", now())
        if self.concurrency_key:
            from perdure.runs import Concurrency

            options["concurrency"] = Concurrency(self.concurrency_key, self.concurrency_limit, self.on_limit)
        if self.event:
            from perdure.runs import StartEvent

            payload = json_value(self.event_payload, "--event-payload") if self.event_payload else None
            options["event"] = StartEvent(self.event, payload, self.event_id)
        return options


@connected
async def start(
    session: Session,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW_ID", show_default=False)],
    beginning: Beginning,
    wait_until: Annotated[
        Literal["settled", "ended"] | None, typer.Option("--wait", help="Wait for this, then show the run.")
    ] = None,
) -> int:
    """Start a run. Prints its id; into a pipe nothing but the id."""
    variables, options = beginning.variables(), beginning.options()
    output = session.output
    async with session.connect() as client:
        reply = await client.start_run(workflow, variables, **options)
        if wait_until is not None:
            run = await client.wait_run(reply.run_id, until=wait_until)
            show_run(output, run)
            return FAILED if run.status in {"failed", "cancelled"} else 0
    verb = "started" if reply.created else "already there:"
    sentence = f"{verb} {reply.run_id} ({workflow} @ {reply.workflow_version[:12]}, {reply.activity})"
    output.done(reply, sentence if output.is_terminal else reply.run_id)
    return 0


@connected
async def tick(
    session: Session,
    run_id: RunId,
    steps: Annotated[int, typer.Option(help="Node entries to add.", min=0)] = 1,
    at_most: Annotated[str, typer.Option("--for", help="How long to wait for them, up to 50s.")] = "30s",
    request_id: RequestId = "",
) -> None:
    """Give a manual run node entries, and wait until they are used."""
    async with session.connect() as client:
        reply = await client.tick_run(run_id, steps, wait=span(at_most, "--for"), request_id=request_id or None)
    moved(session, "ticked", reply)


@dataclass(frozen=True, slots=True)
class Addressee:
    """Which wait an answer is for."""

    wait_id: Annotated[int, typer.Option(help="This one; default: the run's present one.")] = 0
    any_wait: Annotated[bool, typer.Option(help="Whatever wait there is when the answer arrives.")] = False
    wait_key: Annotated[str, typer.Option(help="Refuse if the wait has another key.")] = ""


@connected
async def resume(
    session: Session,
    run_id: RunId,
    addressee: Addressee,
    answer: Annotated[
        str | None,
        typer.Argument(help="JSON, or plain text; @FILE, - for standard input. Asked for on a terminal."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The answer is text even if it reads as JSON.")] = False,
    by: By = "",
    request_id: RequestId = "",
) -> None:
    """Answer what a run waits for: a person's question, an event or a job.

    Without --wait-id the run is read first and the wait it has then is the one that is answered, so that an
    answer never reaches a question that nobody has seen.
    """
    wait_id = addressee.wait_id
    async with session.connect() as client:
        if answer is None or not (wait_id or addressee.any_wait):
            waiting = await present_wait(client, run_id)
            wait_id = wait_id or (0 if addressee.any_wait else waiting.wait_id)
            if answer is None:
                answer = ask(session, waiting)
            else:
                session.output.note(f"answering wait {waiting.wait_id}: {waits_for(waiting)}")
        payload = read_text(answer, "ANSWER") if text else json_or_text(answer, "ANSWER")
        reply = await client.resume_run(
            run_id,
            payload,
            wait_id=wait_id or None,
            any_wait=addressee.any_wait,
            wait_key=addressee.wait_key,
            resumed_by=by,
            request_id=request_id or None,
        )
    moved(session, "resumed", reply)


async def present_wait(client: Client, run_id: str) -> WaitState:
    """What the run waits for now.

    Raises:
        Refusal: nothing.
    """
    run = await client.get_run(run_id, view="basic")
    if run.waiting is None:
        state = str(run.status) if run.is_ended else doing(run)
        reason = "RUN_ENDED" if run.is_ended else "RUN_NOT_WAITING"
        raise Refusal(f"run {run_id} does not wait: it is {state}", ADVICE[reason], reason=reason)
    return run.waiting


def ask(session: Session, waiting: WaitState) -> str:
    """Asks for the answer on the terminal.

    Raises:
        Refusal: there is no terminal to ask on.
    """
    if not (sys.stdin.isatty() and session.output.is_terminal):
        example = waiting.choices[0] if waiting.choices else '{"approved": true}'
        advice = f"the question is: {waits_for(waiting)}; for example: perdure run resume RUN_ID '{example}'"
        raise Refusal("ANSWER is missing", advice, exit_code=USAGE)
    from rich.prompt import Prompt

    choices = None if waiting.allow_free_text else (list(waiting.choices) or None)
    if waiting.choices and choices is None:
        session.output.note(f"proposed: {', '.join(waiting.choices)}")
    return Prompt.ask(waits_for(waiting), console=session.output.console(), choices=choices)


@connected
async def cancel(
    session: Session,
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Becomes the run's error message.")] = "",
    by: By = "",
    request_id: RequestId = "",
) -> None:
    """Cancel a run: at once, or through its workflow's on_cancel_node."""
    async with session.connect() as client:
        reply = await client.cancel_run(run_id, reason, cancelled_by=by, request_id=request_id or None)
    moved(session, _CANCELLED.get(str(reply.status), "cancelling"), reply)


@connected
async def pause(
    session: Session,
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="For people.")] = "",
    by: By = "",
    request_id: RequestId = "",
) -> None:
    """Start nothing new in a run until it is unpaused."""
    async with session.connect() as client:
        reply = await client.pause_run(run_id, reason, paused_by=by, request_id=request_id or None)
    moved(session, "paused", reply)


@connected
async def unpause(session: Session, run_id: RunId, by: By = "", request_id: RequestId = "") -> None:
    """Let a paused run go on."""
    async with session.connect() as client:
        reply = await client.unpause_run(run_id, unpaused_by=by, request_id=request_id or None)
    moved(session, "unpaused", reply)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a parked step; exactly one."""

    rerun: Annotated[bool, typer.Option("--rerun", help="Hand the step out again.")] = False
    completed: Annotated[str | None, typer.Option(help="The effect is done; its result, as JSON.")] = None
    plan: Annotated[str | None, typer.Option(help="The node is done; its plan: {next|complete|fail: ...}.")] = None
    failed: Annotated[str | None, typer.Option(help="It failed for good: TYPE or TYPE:message.")] = None

    def resolution(self) -> Literal["rerun"] | Plan | Failure | CompletedEffect:
        """The one decision that was given.

        Raises:
            Refusal: none or several.
        """
        from perdure.model import Failure
        from perdure.runs import CompletedEffect

        given = (self.rerun, self.completed is not None, self.plan is not None, self.failed is not None)
        if given.count(True) != 1:
            advice = "say what became of the step: --rerun, --completed JSON, --plan JSON or --failed TYPE"
            raise Refusal("one decision is needed", advice, exit_code=USAGE)
        if self.completed is not None:
            return CompletedEffect(json_value(self.completed, "--completed"))
        if self.plan is not None:
            return plan_of(json_object(self.plan, "--plan"))
        if self.failed is not None:
            kind, _, message = self.failed.partition(":")
            return Failure(kind.strip(), message.strip())
        return "rerun"


@connected
async def resolve(
    session: Session,
    run_id: RunId,
    verdict: Verdict,
    step_id: Annotated[int, typer.Option(help="The parked step; default: the run's present one.")] = 0,
    by: By = "",
    request_id: RequestId = "",
) -> None:
    """Decide about a parked step: one that failed too often, or of which nobody knows whether it was done.

    Look outside first: an irreversible effect in doubt may or may not have happened. --completed records that
    it did, --rerun does it (again), --failed gives it up.
    """
    resolution = verdict.resolution()
    async with session.connect() as client:
        if not step_id:
            step_id = parked_step(await client.get_run(run_id, view="basic"))
        reply = await client.resolve_step(run_id, step_id, resolution, resolved_by=by, request_id=request_id or None)
    moved(session, "resolved", reply)


def plan_of(value: dict[str, Any]) -> Plan:
    """The plan {"next": NODE}, {"complete": OUTPUT} or {"fail": {"type": TYPE, "message": TEXT}}.

    Raises:
        Refusal: it is none of these.
    """
    from perdure.model import Failure
    from perdure.plan import Plan

    word, content = next(iter(value.items()), ("", None))
    if len(value) == 1 and word == "next" and isinstance(content, str):
        return Plan(next_node=content)
    if len(value) == 1 and word == "complete" and isinstance(content, dict):
        return Plan(output=cast("dict[str, Any]", content))
    if len(value) == 1 and word == "fail" and isinstance(content, dict):
        error = cast("dict[str, Any]", content)
        if isinstance(error.get("type"), str) and error.keys() <= {"type", "message", "details"}:
            return Plan(failure=Failure(error["type"], str(error.get("message", "")), details=error.get("details")))
    forms = '{"next": "NODE"}, {"complete": {...}} or {"fail": {"type": "TYPE", "message": "..."}}'
    raise Refusal(f"--plan takes {forms}", exit_code=USAGE)


def parked_step(run: RunState) -> int:
    """The id of the run's parked step.

    Raises:
        Refusal: it has none.
    """
    if run.activity != "parked" or run.step is None:
        state = str(run.status) if run.is_ended else doing(run)
        reason = "RUN_ENDED" if run.is_ended else "STEP_NOT_PARKED"
        raise Refusal(f"run {run.run_id} has no parked step: it is {state}", ADVICE[reason], reason=reason)
    return run.step.step_id
