"""RunService at the edge: decode, one use case, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import common_pb2, ledger_service_pb2, model_pb2
from perdure.v1 import run_service_pb2 as pb
from perdure.v1.run_service_pb2_grpc import RunServiceServicer
from perdure_server.api import run_validation as v
from perdure_server.api.codec import runs
from perdure_server.api.draining import until_set
from perdure_server.api.guard import Context, current_caller
from perdure_server.api.page_tokens import Pages, Place, collect
from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import Reply
from perdure_server.engine.core import Engine
from perdure_server.engine.emit_event import emit_event
from perdure_server.engine.get_run import get_run
from perdure_server.engine.migrate_run import migrate_run
from perdure_server.engine.pause_run import pause_run
from perdure_server.engine.resolve_step import resolve_step
from perdure_server.engine.resume_run import resume_run
from perdure_server.engine.retry_run import retry_run
from perdure_server.engine.retry_runs import retry_runs
from perdure_server.engine.start_run import start_run
from perdure_server.engine.tick_run import tick_run
from perdure_server.engine.unpause_run import unpause_run
from perdure_server.engine.wait_run import wait_run, watch_run
from perdure_server.kernel.model import RunState, SlotState
from perdure_server.ledger.slots import StreamSlots
from perdure_server.storage.port import RecordQuery, RunKey, RunSummary, StoredEvent, TaskRow

LINE_SEEN: Final = 1_000
"""Runs in line that are looked at to tell a run's place."""


class RunService(RunServiceServicer):
    """Starts runs, moves them, reads them.

    Args:
        blocked_run, blocked_task: whether nobody connected can take a run's task (dispatch).
    """

    def __init__(
        self,
        engine: Engine,
        blocked_run: Callable[[RunState], bool],
        blocked_task: Callable[[str, TaskRow], bool],
    ) -> None:
        self._engine = engine
        self._limits = engine.limits
        self._blocked_run = blocked_run
        self._blocked_task = blocked_task
        self._watches = StreamSlots(engine.limits.streams_per_caller)
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Watches say goodbye and end. Idempotent."""
        self._draining.set()

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.StartRunResponse:
        """Creates a run."""
        reply = await start_run(self._engine, v.start_run(request, self._limits))
        return pb.StartRunResponse(
            **_commit(reply),
            created=reply.created,
            workflow_version=reply.workflow_version,
            event_id=reply.event_id,
            event_position=reply.event_position,
            event_duplicate=reply.event_duplicate,
        )

    async def TickRun(self, request: pb.TickRunRequest, context: Context) -> pb.TickRunResponse:
        """Gives a manual run node entries."""
        command = v.tick_run(request, self._limits)
        await self._require(command.key)
        reply = await tick_run(self._engine, command)
        return pb.TickRunResponse(**_commit(reply), step_budget=reply.step_budget)

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Context) -> pb.ResumeRunResponse:
        """Answers a wait."""
        command = v.resume_run(request, self._limits)
        await self._require(command.key)
        return pb.ResumeRunResponse(**_commit(await resume_run(self._engine, command)))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        """Cancels a run."""
        command = v.cancel_run(request, self._limits)
        await self._require(command.key)
        return pb.CancelRunResponse(**_commit(await cancel_run(self._engine, command)))

    async def PauseRun(self, request: pb.PauseRunRequest, context: Context) -> pb.PauseRunResponse:
        """Pauses a run."""
        command = v.pause_run(request, self._limits)
        await self._require(command.key)
        return pb.PauseRunResponse(**_commit(await pause_run(self._engine, command)))

    async def UnpauseRun(self, request: pb.UnpauseRunRequest, context: Context) -> pb.UnpauseRunResponse:
        """Unpauses a run."""
        command = v.unpause_run(request, self._limits)
        await self._require(command.key)
        return pb.UnpauseRunResponse(**_commit(await unpause_run(self._engine, command)))

    async def ResolveStep(self, request: pb.ResolveStepRequest, context: Context) -> pb.ResolveStepResponse:
        """Decides about a parked step."""
        command = v.resolve_step(request, self._limits)
        await self._require(command.key)
        return pb.ResolveStepResponse(**_commit(await resolve_step(self._engine, command)))

    async def RetryRun(self, request: pb.RetryRunRequest, context: Context) -> pb.RetryRunResponse:
        """Opens a failed run again."""
        command = v.retry_run(request, self._limits)
        await self._require(command.key)
        return pb.RetryRunResponse(**_commit(await retry_run(self._engine, command)))

    async def RetryRuns(self, request: pb.RetryRunsRequest, context: Context) -> pb.RetryRunsResponse:
        """Opens a page of failed runs again."""
        command = v.retry_runs(request, self._limits)
        pages = Pages(pb.RetryRunsRequest(namespace=request.namespace, filter=request.filter), (int, str))
        reply = await retry_runs(self._engine, command, pages.decode(request.page_token))
        return pb.RetryRunsResponse(
            outcomes=[
                pb.RetryOutcome(**_commit(item), retried=not item.reason, reason=item.reason, message=item.message)
                for item in reply.outcomes
            ],
            next_page_token=pages.encode(reply.after) if reply.after else "",
        )

    async def MigrateRun(self, request: pb.MigrateRunRequest, context: Context) -> pb.MigrateRunResponse:
        """Moves a run to another version of its workflow."""
        command = v.migrate_run(request, self._limits)
        await self._require(command.key)
        reply = await migrate_run(self._engine, command)
        return pb.MigrateRunResponse(
            **_commit(reply),
            from_version=reply.from_version,
            to_version=reply.to_version,
            current_node=reply.current_node,
            requeued=reply.requeued,
            faults=[pb.MigrationFault(**asdict(fault)) for fault in reply.faults],
            left_behind=reply.left_behind,
        )

    async def EmitEvent(self, request: pb.EmitEventRequest, context: Context) -> pb.EmitEventResponse:
        """Appends an event."""
        reply = await emit_event(self._engine, v.emit_event(request, self._limits))
        return pb.EmitEventResponse(
            event_id=reply.event_id,
            position=reply.position,
            duplicate=reply.duplicate,
            delivered_run_ids=reply.delivered_run_ids,
        )

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        """One run."""
        key, full = v.run_named(request, self._limits)
        await self._require(key)
        return pb.GetRunResponse(run=await self._state(await get_run(self._engine, key), full=full))

    async def WaitRun(self, request: pb.WaitRunRequest, context: Context) -> pb.WaitRunResponse:
        """A run once it is settled, or ended."""
        key, ended_only, min_seq, wait_us, full = v.wait_run(request, self._limits)
        await self._require(key)
        run, reached = await wait_run(self._engine, key, ended_only=ended_only, min_seq=min_seq, wait_us=wait_us)
        return pb.WaitRunResponse(run=await self._state(run, full=full), reached=reached)

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        """The run as it stands, then after changes; a heartbeat in between, a goodbye last."""
        key, full = v.run_named(request, self._limits)
        await self._require(key)
        caller = current_caller(context)
        self._watches.take(caller)
        try:
            ended = False
            watch = watch_run(self._engine, key, self._limits.checkpoint_us)
            async with aclosing(until_set(self._draining, watch)) as states:
                async for run in states:
                    if run is None:
                        yield _heartbeat(self._engine.clock.now())
                    else:
                        ended = run.ended
                        yield pb.WatchRunResponse(run=await self._state(run, full=full))
            reason = ledger_service_pb2.Goodbye.REASON_DRAINING
            yield _goodbye(ledger_service_pb2.Goodbye.REASON_COMPLETE if ended else reason)
        finally:
            self._watches.give_back(caller)

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """Runs, newest first."""
        query, page_size = v.run_query(request, self._limits)
        await self._engine.catalog.require_namespace(query.namespace)
        pages = Pages(request, (int, str))

        async def fetch(after: Place | None, limit: int) -> list[RunSummary]:
            return await self._engine.read(self._engine.store.list_runs, query, after, limit)

        items, after = await collect(
            fetch,
            lambda row: (row.identity.created_at, row.identity.run_id),
            self._listed,
            pages.decode(request.page_token),
            page_size,
            self._limits.message_bytes,
        )
        return pb.ListRunsResponse(runs=items, next_page_token=pages.encode(after) if after else "")

    async def CountRuns(self, request: pb.CountRunsRequest, context: Context) -> pb.CountRunsResponse:
        """How many runs match."""
        query, _ = v.run_query(request, self._limits)
        await self._engine.catalog.require_namespace(query.namespace)
        exact = self._limits.count_exact
        count = await self._engine.read(self._engine.store.count_runs, query, exact + 1)
        return pb.CountRunsResponse(count=min(count, exact), at_least=count > exact)

    async def ListWaits(self, request: pb.ListWaitsRequest, context: Context) -> pb.ListWaitsResponse:
        """The inbox."""
        query, page_size = v.wait_query(request, self._limits)
        await self._engine.catalog.require_namespace(query.namespace)
        pages = Pages(request, (int, str))

        async def fetch(after: Place | None, limit: int) -> list[RunSummary]:
            return await self._engine.read(self._engine.store.list_waits, query, after, limit)

        items, after = await collect(
            fetch,
            lambda row: (row.head.wait.since_at if row.head.wait else 0, row.identity.run_id),
            self._listed_wait,
            pages.decode(request.page_token),
            page_size,
            self._limits.message_bytes,
        )
        return pb.ListWaitsResponse(waits=items, next_page_token=pages.encode(after) if after else "")

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """Events of a scope."""
        namespace, scope, scope_id, name, page_size = v.event_query(request, self._limits)
        await self._engine.catalog.require_namespace(namespace)
        pages = Pages(request, (int,))
        where = (namespace, int(scope), scope_id, name)
        horizon = await self._engine.read(self._engine.store.horizon)

        async def fetch(after: Place | None, limit: int) -> list[StoredEvent]:
            position = after[0] if after else 0
            return await self._engine.read(self._engine.store.read_events, *where, position, horizon, limit)

        items, after = await collect(
            fetch,
            lambda stored: (stored.position,),
            runs.listed_event,
            pages.decode(request.page_token),
            page_size,
            self._limits.message_bytes,
        )
        return pb.ListEventsResponse(events=items, next_page_token=pages.encode(after) if after else "")

    async def _require(self, key: RunKey) -> None:
        await self._engine.catalog.require_namespace(key.namespace)

    async def _state(self, run: RunState, *, full: bool) -> model_pb2.RunState:
        """A run as a message. Raises: EdgeError if it is larger than a message may be."""
        head_hash = self._engine.head_hash(run)
        if head_hash is None:
            query = RecordQuery(run.namespace, run_id=run.run_id, after_seq=run.seq - 1, limit=1)
            last = await self._engine.read(self._engine.store.read_records, query)
            head_hash = last[0].record_hash if last else b""
        line = await self._line(run) if run.slot is SlotState.IN_LINE else runs.NOT_IN_LINE
        state = runs.run_state(run, head_hash, full=full, blocked=self._blocked_run(run), line=line)
        if full and state.ByteSize() > self._limits.message_bytes:
            why = "the whole run is larger than a message: ask for BASIC, and read values from the ledger"
            raise EdgeError("PAYLOAD_TOO_LARGE", why, (FieldViolation("view", why),), run_id=run.run_id)
        return state

    async def _line(self, run: RunState) -> runs.InLine:
        """Who is before a run that is in line for a slot."""
        if run.concurrency is None:
            return runs.NOT_IN_LINE
        query = self._engine.store.slot_line
        line = await self._engine.read(query, run.namespace, run.concurrency.key, LINE_SEEN)
        waiting = [place.run_id for place in line.line]
        ahead = waiting.index(run.run_id) if run.run_id in waiting else len(waiting)
        return runs.InLine(ahead, line.holders[0].run_id if line.holders else "")

    def _listed(self, row: RunSummary) -> model_pb2.RunState:
        wait = self._engine.codec.decode_wait(row.head.wait.detail) if row.head.wait else None
        blocked = row.task is not None and self._blocked_task(row.identity.namespace, row.task)
        return runs.listed_run(row, wait, blocked=blocked)

    def _listed_wait(self, row: RunSummary) -> pb.RunWait:
        if row.head.wait is None:
            raise ValueError(f"run {row.identity.run_id} is listed as waiting without a wait")
        return runs.run_wait(row, self._engine.codec.decode_wait(row.head.wait.detail))


def _commit(reply: Reply) -> dict[str, Any]:
    """The fields that all replies to changing calls have."""
    return {
        "run_id": reply.run_id,
        "seq": reply.seq,
        "status": common_pb2.RunStatus.ValueType(reply.status),
        "activity": common_pb2.RunActivity.ValueType(reply.activity),
    }


def _heartbeat(now: int) -> pb.WatchRunResponse:
    moment = Timestamp()
    moment.FromMicroseconds(now)
    return pb.WatchRunResponse(heartbeat=pb.WatchHeartbeat(server_time=moment))


def _goodbye(reason: ledger_service_pb2.Goodbye.Reason.ValueType) -> pb.WatchRunResponse:
    return pb.WatchRunResponse(goodbye=ledger_service_pb2.Goodbye(reason=reason))
