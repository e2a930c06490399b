"""ScheduleService at the edge: decode, one use case, encode."""

from __future__ import annotations

from itertools import islice
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1.schedule_service_pb2_grpc import ScheduleServiceServicer
from perdure_server.api import schedule_validation as v
from perdure_server.api.codec import schedules
from perdure_server.api.fields import Check
from perdure_server.api.guard import Context
from perdure_server.api.page_tokens import Pages, Place, collect
from perdure_server.api.run_validation import request_id
from perdure_server.engine import schedule_changes as changes
from perdure_server.engine.core import Engine
from perdure_server.kernel.schedules import Schedule
from perdure_server.storage.port import ScheduleRow
from perdure_server.timetable.instants import instants_after

_OUTCOMES: Final = {
    "started": pb.TRIGGER_OUTCOME_STARTED,
    "waiting": pb.TRIGGER_OUTCOME_WAITING,
    "skipped": pb.TRIGGER_OUTCOME_SKIPPED,
}


class ScheduleService(ScheduleServiceServicer):
    """Starts runs at instants."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limits = engine.limits

    async def CreateSchedule(self, request: pb.CreateScheduleRequest, context: Context) -> pb.CreateScheduleResponse:
        """Creates a schedule."""
        check = Check(self._limits)
        namespace, name = check.namespace("", request.namespace), v.schedule_id(check, request.schedule_id)
        spec = v.spec(check, request.spec, self._engine.clock.now())
        note, row = v.note(check, request.note), request_id(check, request, request.request_id)
        check.done()
        await changes.create_schedule(
            self._engine, namespace, name, spec, paused=request.paused, note=note, request=row
        )
        return pb.CreateScheduleResponse(schedule=await self._found(namespace, name))

    async def GetSchedule(self, request: pb.GetScheduleRequest, context: Context) -> pb.GetScheduleResponse:
        """One schedule."""
        namespace, name, count = v.named(request, self._limits)
        return pb.GetScheduleResponse(schedule=await self._found(namespace, name, count))

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Context) -> pb.ListSchedulesResponse:
        """Schedules by id."""
        namespace, page_size = v.page(request, self._limits)
        await self._engine.catalog.require_namespace(namespace)
        pages = Pages(request, (str,))

        async def fetch(after: Place | None, limit: int) -> list[ScheduleRow]:
            last = str(after[0]) if after else ""
            return await self._engine.read(self._engine.store.list_schedules, namespace, last, limit)

        items, after = await collect(
            fetch,
            lambda row: (row.schedule_id,),
            lambda row: self._shown(self._engine.codec.decode_schedule(row.detail), 1),
            pages.decode(request.page_token),
            page_size,
            self._limits.message_bytes,
        )
        return pb.ListSchedulesResponse(schedules=items, next_page_token=pages.encode(after) if after else "")

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest, context: Context) -> pb.UpdateScheduleResponse:
        """Replaces the spec."""
        check = Check(self._limits)
        namespace, name = check.namespace("", request.namespace), v.schedule_id(check, request.schedule_id)
        spec = v.spec(check, request.spec, self._engine.clock.now())
        revision, row = v.revision(check, request.revision), request_id(check, request, request.request_id)
        check.done()
        await changes.update_schedule(self._engine, namespace, name, spec, revision, row)
        return pb.UpdateScheduleResponse(schedule=await self._found(namespace, name))

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, context: Context) -> pb.DeleteScheduleResponse:
        """Deletes a schedule."""
        check = Check(self._limits)
        namespace, name = check.namespace("", request.namespace), v.schedule_id(check, request.schedule_id)
        row = request_id(check, request, request.request_id)
        check.done()
        await self._engine.catalog.require_namespace(namespace)
        await changes.delete_schedule(self._engine, namespace, name, row)
        return pb.DeleteScheduleResponse(schedule_id=name)

    async def PauseSchedule(self, request: pb.PauseScheduleRequest, context: Context) -> pb.PauseScheduleResponse:
        """Pauses a schedule."""
        return pb.PauseScheduleResponse(schedule=await self._set_paused(request, paused=True))

    async def UnpauseSchedule(self, request: pb.UnpauseScheduleRequest, context: Context) -> pb.UnpauseScheduleResponse:
        """Unpauses a schedule."""
        return pb.UnpauseScheduleResponse(schedule=await self._set_paused(request, paused=False))

    async def TriggerSchedule(self, request: pb.TriggerScheduleRequest, context: Context) -> pb.TriggerScheduleResponse:
        """Starts the run of a schedule now."""
        check = Check(self._limits)
        namespace, name = check.namespace("", request.namespace), v.schedule_id(check, request.schedule_id)
        overlap, row = v.overlap(check, "", request.overlap, None), request_id(check, request, request.request_id)
        check.done()
        await self._engine.catalog.require_namespace(namespace)
        kept = await changes.trigger_schedule(self._engine, namespace, name, overlap, row)
        return pb.TriggerScheduleResponse(outcome=_OUTCOMES[kept["outcome"]], run_id=kept["run_id"])

    async def BackfillSchedule(
        self, request: pb.BackfillScheduleRequest, context: Context
    ) -> pb.BackfillScheduleResponse:
        """Starts the runs of a past span."""
        check = Check(self._limits)
        namespace, name = check.namespace("", request.namespace), v.schedule_id(check, request.schedule_id)
        wanted, overlap = v.span(request, check), v.overlap(check, "", request.overlap, None)
        row = request_id(check, request, request.request_id)
        check.done()
        await self._engine.catalog.require_namespace(namespace)
        kept = await changes.backfill_schedule(self._engine, namespace, name, wanted, overlap, row)
        return pb.BackfillScheduleResponse(instants=kept["instants"])

    async def PreviewSchedule(self, request: pb.PreviewScheduleRequest, context: Context) -> pb.PreviewScheduleResponse:
        """The instants of a spec."""
        timing, after, count = v.preview(request, self._limits, self._engine.clock.now())
        return pb.PreviewScheduleResponse(times=map(_timestamp, islice(instants_after(timing, after), count)))

    async def _set_paused(
        self, request: pb.PauseScheduleRequest | pb.UnpauseScheduleRequest, *, paused: bool
    ) -> pb.Schedule:
        check = Check(self._limits)
        namespace, name = check.namespace("", request.namespace), v.schedule_id(check, request.schedule_id)
        note, row = v.note(check, request.note), request_id(check, request, request.request_id)
        check.done()
        await self._engine.catalog.require_namespace(namespace)
        await changes.pause_schedule(self._engine, namespace, name, note, row, paused=paused)
        return await self._found(namespace, name)

    async def _found(self, namespace: str, name: str, count: int = 10) -> pb.Schedule:
        await self._engine.catalog.require_namespace(namespace)
        return self._shown(await changes.load_schedule(self._engine, namespace, name), count)

    def _shown(self, found: Schedule, count: int) -> pb.Schedule:
        live = not found.paused and found.starts_left
        times = islice(instants_after(found.spec.timing, found.cursor_at), count) if live else ()
        return schedules.schedule(found, list(times))


def _timestamp(at: int) -> Timestamp:
    moment = Timestamp()
    moment.FromMicroseconds(at)
    return moment
