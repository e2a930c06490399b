"""RunService as typed methods."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, Unpack

from perdure.calls import Calls, new_request_id
from perdure.instants import Span, seconds, to_duration, to_timestamp
from perdure.json_text import Json, JsonObject, encode
from perdure.model import Failure, RunState
from perdure.pages import Page, Pages
from perdure.plan import Plan
from perdure.runs import (
    UNTIL,
    VIEWS,
    CompletedEffect,
    EmittedEvent,
    Event,
    RunCount,
    RunFilter,
    RunReply,
    RunWait,
    StartOptions,
    StartReply,
    TickReply,
    Until,
    View,
)
from perdure.v1 import run_service_pb2 as pb
from perdure.values import DriveMode, EventScope, OnExisting, RunActivity, RunStatus, WaitReason

_LONG_POLL_S = 50.0
"""The longest that the server holds one WaitRun or TickRun."""

_LONG_POLL_SLACK_S = 10.0

_MOMENT_S = 0.001
"""The shortest wait."""


class RunCalls(Calls):
    """RunService. Every changing call carries a request_id, so the SDK's own repeats never act twice.

    All methods raise PerdureError subclasses: NotFound (RUN_NOT_FOUND), FailedPrecondition (the run's state
    forbids it), InvalidArgument, Unavailable, DeadlineExceeded and the others of `perdure.errors`.
    """

    async def start_run(
        self, workflow_id: str, vars: JsonObject | None = None, **options: Unpack[StartOptions]
    ) -> StartReply:
        """Creates a run and, unless it is manual, starts to move it. `vars` is its first state.

        Raises:
            NotFound: WORKFLOW_NOT_FOUND, NODE_NOT_FOUND.
            AlreadyExists: RUN_EXISTS.
            ResourceExhausted: CONCURRENCY_LIMIT, LIMIT_REACHED.
            UnserialisableError: `vars` is not JSON.
        """
        request = pb.StartRunRequest(
            namespace=self._connection.namespace,
            request_id=options.get("request_id") or new_request_id(),
            run_id=options.get("run_id", ""),
            workflow_id=workflow_id,
            workflow_version=options.get("workflow_version", ""),
            vars_json=encode(vars) if vars else "",
            actor_id=options.get("actor_id", ""),
            session_id=options.get("session_id", ""),
            labels=options.get("labels", {}),
            drive=DriveMode(options.get("drive", DriveMode.UNSPECIFIED)).wire,
            on_existing=OnExisting(options.get("on_existing", OnExisting.UNSPECIFIED)).wire,
            entry_node=options.get("entry_node", ""),
        )
        if "start_at" in options:
            request.start_at.CopyFrom(to_timestamp(options["start_at"]))
        if "deadline" in options:
            request.deadline.CopyFrom(to_timestamp(options["deadline"]))
        if "trace_context" in options:
            request.trace_context.CopyFrom(options["trace_context"].to_wire())
        if "concurrency" in options:
            request.concurrency.CopyFrom(options["concurrency"].to_wire())
        if "event" in options:
            request.event.CopyFrom(options["event"].to_wire())
        reply = await self._change(self._runs.StartRun, request)
        return StartReply(
            run_id=reply.run_id,
            seq=reply.seq,
            status=RunStatus.from_wire(reply.status),
            activity=RunActivity.from_wire(reply.activity),
            created=reply.created,
            workflow_version=reply.workflow_version,
            event_id=reply.event_id,
            event_position=reply.event_position,
            event_duplicate=reply.event_duplicate,
        )

    async def tick_run(
        self, run_id: str, max_steps: int, *, wait: Span = 30.0, request_id: str | None = None
    ) -> TickReply:
        """Gives a manual run node entries, then waits until they are used, it settles, or `wait` (<= 50 s) is over.

        Raises:
            FailedPrecondition: RUN_NOT_MANUAL, RUN_ENDED.
        """
        request = pb.TickRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            max_steps=max_steps,
            wait=to_duration(wait),
        )
        timeout = seconds(wait) + _LONG_POLL_SLACK_S
        reply = await self._change(self._runs.TickRun, request, timeout=timeout)
        return TickReply(
            run_id=reply.run_id,
            seq=reply.seq,
            status=RunStatus.from_wire(reply.status),
            activity=RunActivity.from_wire(reply.activity),
            step_budget=reply.step_budget,
        )

    async def resume_run(
        self,
        run_id: str,
        payload: Json = None,
        *,
        wait_id: int | None = None,
        any_wait: bool = False,
        wait_key: str = "",
        resumed_by: str = "",
        request_id: str | None = None,
    ) -> RunReply:
        """Answers the wait `wait_id` (WaitState.wait_id), or with `any_wait` whatever wait there is.

        Raises:
            FailedPrecondition: RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH, RUN_ENDED.
            InvalidArgument: WAIT_ID_REQUIRED, ANSWER_NOT_ALLOWED.
        """
        request = pb.ResumeRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            wait_id=wait_id or 0,
            any_wait=any_wait,
            wait_key=wait_key,
            payload_json=encode(payload),
            resumed_by=resumed_by,
        )
        return RunReply.from_wire(await self._change(self._runs.ResumeRun, request))

    async def get_run(self, run_id: str, *, view: View = "full") -> RunState:
        """The run as it stands; never older than what this client was told of it."""
        request = pb.GetRunRequest(namespace=self._connection.namespace, run_id=run_id, view=VIEWS[view])
        run = (await self._connection.unary(self._runs.GetRun, request)).run
        if run.seq < self._told.seq_of(run_id):
            return RunState.from_wire((await self._wait_once(run_id, _MOMENT_S, view=view)).run)
        self._told.hear(run_id, run.seq)
        return RunState.from_wire(run)

    def list_runs(self, filter: RunFilter | None = None, *, page_size: int = 0) -> Pages[RunState]:
        """Runs, newest first, without vars, output, error details and wait texts."""
        wanted = filter.to_wire() if filter is not None else None

        async def fetch(page_token: str) -> Page[RunState]:
            request = pb.ListRunsRequest(
                namespace=self._connection.namespace, filter=wanted, page_size=page_size, page_token=page_token
            )
            reply = await self._connection.unary(self._runs.ListRuns, request)
            return Page([RunState.from_wire(run) for run in reply.runs], reply.next_page_token)

        return Pages(fetch)

    async def count_runs(self, filter: RunFilter | None = None) -> RunCount:
        """How many runs match: exact to 10,000."""
        request = pb.CountRunsRequest(
            namespace=self._connection.namespace, filter=filter.to_wire() if filter is not None else None
        )
        reply = await self._connection.unary(self._runs.CountRuns, request)
        return RunCount(reply.count, reply.at_least)

    def list_waits(
        self,
        *,
        reasons: Sequence[WaitReason | str] = (),
        wait_key: str = "",
        assignee: str = "",
        workflow_id: str = "",
        session_id: str = "",
        page_size: int = 0,
    ) -> Pages[RunWait]:
        """The inbox: waits of runs, oldest first; by default those that somebody can answer."""
        numbers = [WaitReason(reason).wire for reason in reasons]

        async def fetch(page_token: str) -> Page[RunWait]:
            request = pb.ListWaitsRequest(
                namespace=self._connection.namespace,
                reasons=numbers,
                wait_key=wait_key,
                assignee=assignee,
                workflow_id=workflow_id,
                session_id=session_id,
                page_size=page_size,
                page_token=page_token,
            )
            reply = await self._connection.unary(self._runs.ListWaits, request)
            return Page([RunWait.from_wire(wait) for wait in reply.waits], reply.next_page_token)

        return Pages(fetch)

    async def wait_run(
        self,
        run_id: str,
        *,
        until: Until = "settled",
        min_seq: int = 0,
        timeout: Span | None = None,
        view: View = "full",
    ) -> RunState:
        """Waits until the run is settled or ended, by long polls for as long as it takes.

        A state that is older than what this client was told of the run (by the reply of `resume_run`, say) does not
        count, whichever server it comes from. `min_seq` asks for more than that.

        Raises:
            TimeoutError: not within `timeout`.
        """
        now = asyncio.get_running_loop().time
        deadline = None if timeout is None else now() + seconds(timeout)
        while True:
            wait = _LONG_POLL_S if deadline is None else min(max(deadline - now(), _MOMENT_S), _LONG_POLL_S)
            reply = await self._wait_once(run_id, wait, until=until, min_seq=min_seq, view=view)
            if reply.reached:
                return RunState.from_wire(reply.run)
            if deadline is not None and now() >= deadline:
                raise TimeoutError(f"run {run_id} is not {until} yet, but {reply.run.current_node!r} goes on")

    async def _wait_once(
        self, run_id: str, wait: float, *, until: Until = "settled", min_seq: int = 0, view: View
    ) -> pb.WaitRunResponse:
        """One long poll, for no older state than this client was told of."""
        told = self._told.seq_of(run_id)
        request = pb.WaitRunRequest(
            namespace=self._connection.namespace,
            run_id=run_id,
            until=UNTIL[until],
            min_seq=max(min_seq, told),
            wait=to_duration(wait),
            view=VIEWS[view],
        )
        reply = await self._connection.unary(self._runs.WaitRun, request, timeout=wait + _LONG_POLL_SLACK_S)
        self._told.hear_state(run_id, reply.run.seq, told)
        return reply

    async def cancel_run(
        self, run_id: str, reason: str = "", *, cancelled_by: str = "", request_id: str | None = None
    ) -> RunReply:
        """Cancels a run: at once, or through its workflow's on_cancel_node. On an ended run nothing changes."""
        request = pb.CancelRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            reason=reason,
            cancelled_by=cancelled_by,
        )
        return RunReply.from_wire(await self._change(self._runs.CancelRun, request))

    async def pause_run(
        self, run_id: str, reason: str = "", *, paused_by: str = "", request_id: str | None = None
    ) -> RunReply:
        """Nothing new starts until `unpause_run`."""
        request = pb.PauseRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            reason=reason,
            paused_by=paused_by,
        )
        return RunReply.from_wire(await self._change(self._runs.PauseRun, request))

    async def unpause_run(self, run_id: str, *, unpaused_by: str = "", request_id: str | None = None) -> RunReply:
        """Undoes `pause_run`."""
        request = pb.UnpauseRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            unpaused_by=unpaused_by,
        )
        return RunReply.from_wire(await self._change(self._runs.UnpauseRun, request))

    async def resolve_step(
        self,
        run_id: str,
        step_id: int,
        resolution: Literal["rerun"] | Plan | Failure | CompletedEffect,
        *,
        resolved_by: str = "",
        request_id: str | None = None,
    ) -> RunReply:
        """Decides about a parked step.

        Args:
            run_id: the run.
            step_id: StepState.step_id of the parked step.
            resolution: "rerun"; a Plan (the node is done); a CompletedEffect; or a Failure (it failed for good).
            resolved_by: who decides.
            request_id: for repeats of the caller's own.

        Raises:
            FailedPrecondition: STEP_NOT_PARKED, RUN_ENDED.
        """
        request = pb.ResolveStepRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            step_id=step_id,
            resolved_by=resolved_by,
        )
        if isinstance(resolution, Plan):
            request.completed.plan.CopyFrom(resolution.to_wire())
        elif isinstance(resolution, Failure):
            request.failed.CopyFrom(resolution.to_wire())
        elif isinstance(resolution, CompletedEffect):
            request.completed.result_json = encode(resolution.result)
        else:
            request.rerun.SetInParent()
        return RunReply.from_wire(await self._change(self._runs.ResolveStep, request))

    async def emit_event(
        self,
        name: str,
        payload: Json = None,
        *,
        scope: EventScope | Literal["session", "workflow", "run", "global"] = EventScope.SESSION,
        scope_id: str = "",
        event_id: str = "",
        emitted_by: str = "",
        request_id: str | None = None,
    ) -> EmittedEvent:
        """Appends an event to the event log; runs that wait, or come to wait, for it get it once each.

        `scope_id` is the session, workflow or run id; empty for "global". A payload that is not an object is
        delivered as {"value": payload}, None as {}.
        """
        request = pb.EmitEventRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            scope=EventScope(scope).wire,
            scope_id=scope_id,
            name=name,
            payload_json="" if payload is None else encode(payload),
            event_id=event_id,
            emitted_by=emitted_by,
        )
        reply = await self._connection.unary(self._runs.EmitEvent, request)
        return EmittedEvent(reply.event_id, reply.position, reply.duplicate, tuple(reply.delivered_run_ids))

    def list_events(
        self,
        *,
        scope: EventScope | Literal["session", "workflow", "run", "global"] = EventScope.SESSION,
        scope_id: str = "",
        name: str = "",
        page_size: int = 0,
    ) -> Pages[Event]:
        """Events of one scope, oldest first."""
        number = EventScope(scope).wire

        async def fetch(page_token: str) -> Page[Event]:
            request = pb.ListEventsRequest(
                namespace=self._connection.namespace,
                scope=number,
                scope_id=scope_id,
                name=name,
                page_size=page_size,
                page_token=page_token,
            )
            reply = await self._connection.unary(self._runs.ListEvents, request)
            return Page([Event.from_wire(event) for event in reply.events], reply.next_page_token)

        return Pages(fetch)
