"""ScheduleService as typed methods."""

from __future__ import annotations

from datetime import datetime

from perdure.calls import Calls, new_request_id
from perdure.instants import from_timestamp, to_timestamp
from perdure.pages import Page, Pages
from perdure.schedules import Overlap, ScheduleSpec, ScheduleState, Triggered
from perdure.v1 import schedule_service_pb2 as pb
from perdure.values import ScheduleOverlap, TriggerOutcome


class ScheduleCalls(Calls):
    """ScheduleService. Changing calls carry a request_id; all that name a schedule raise NotFound
    (SCHEDULE_NOT_FOUND)."""

    async def create_schedule(
        self,
        schedule_id: str,
        spec: ScheduleSpec,
        *,
        paused: bool = False,
        note: str = "",
        request_id: str | None = None,
    ) -> ScheduleState:
        """Creates a schedule.

        Raises:
            AlreadyExists: SCHEDULE_EXISTS.
            InvalidArgument: an expression that cannot be read or never fires, a time zone that is none.
        """
        request = pb.CreateScheduleRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            schedule_id=schedule_id,
            spec=spec.to_wire(),
            paused=paused,
            note=note,
        )
        reply = await self._connection.unary(self._schedules.CreateSchedule, request)
        return ScheduleState.from_wire(reply.schedule)

    async def get_schedule(self, schedule_id: str, *, next_times: int = 0) -> ScheduleState:
        """A schedule as it stands, with its next instants (0: ten of them)."""
        request = pb.GetScheduleRequest(
            namespace=self._connection.namespace, schedule_id=schedule_id, next_times=next_times
        )
        return ScheduleState.from_wire((await self._connection.unary(self._schedules.GetSchedule, request)).schedule)

    def list_schedules(self, *, page_size: int = 0) -> Pages[ScheduleState]:
        """Schedules by id."""

        async def fetch(page_token: str) -> Page[ScheduleState]:
            request = pb.ListSchedulesRequest(
                namespace=self._connection.namespace, page_size=page_size, page_token=page_token
            )
            reply = await self._connection.unary(self._schedules.ListSchedules, request)
            return Page([ScheduleState.from_wire(each) for each in reply.schedules], reply.next_page_token)

        return Pages(fetch)

    async def update_schedule(
        self, schedule_id: str, spec: ScheduleSpec, *, revision: int = 0, request_id: str | None = None
    ) -> ScheduleState:
        """Replaces the spec; with `revision`, only if that is the schedule's.

        Raises:
            FailedPrecondition: SCHEDULE_CHANGED.
        """
        request = pb.UpdateScheduleRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            schedule_id=schedule_id,
            spec=spec.to_wire(),
            revision=revision,
        )
        reply = await self._connection.unary(self._schedules.UpdateSchedule, request)
        return ScheduleState.from_wire(reply.schedule)

    async def delete_schedule(self, schedule_id: str, *, request_id: str | None = None) -> None:
        """Deletes a schedule; its runs go on."""
        request = pb.DeleteScheduleRequest(
            namespace=self._connection.namespace, request_id=request_id or new_request_id(), schedule_id=schedule_id
        )
        await self._connection.unary(self._schedules.DeleteSchedule, request)

    async def pause_schedule(self, schedule_id: str, note: str = "", *, request_id: str | None = None) -> ScheduleState:
        """Its timing starts nothing until `unpause_schedule`."""
        request = pb.PauseScheduleRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            schedule_id=schedule_id,
            note=note,
        )
        return ScheduleState.from_wire((await self._connection.unary(self._schedules.PauseSchedule, request)).schedule)

    async def unpause_schedule(
        self, schedule_id: str, note: str = "", *, request_id: str | None = None
    ) -> ScheduleState:
        """Undoes `pause_schedule`; instants that passed meanwhile are not made good."""
        request = pb.UnpauseScheduleRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            schedule_id=schedule_id,
            note=note,
        )
        reply = await self._connection.unary(self._schedules.UnpauseSchedule, request)
        return ScheduleState.from_wire(reply.schedule)

    async def trigger_schedule(
        self, schedule_id: str, *, overlap: Overlap = ScheduleOverlap.UNSPECIFIED, request_id: str | None = None
    ) -> Triggered:
        """An instant now, whatever the timing says, also while paused."""
        request = pb.TriggerScheduleRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            schedule_id=schedule_id,
            overlap=ScheduleOverlap(overlap).wire,
        )
        reply = await self._connection.unary(self._schedules.TriggerSchedule, request)
        return Triggered(TriggerOutcome.from_wire(reply.outcome), reply.run_id)

    async def backfill_schedule(
        self,
        schedule_id: str,
        start: datetime,
        end: datetime,
        *,
        overlap: Overlap = ScheduleOverlap.UNSPECIFIED,
        request_id: str | None = None,
    ) -> int:
        """Starts the runs of a past span, both ends included; returns how many instants it has.

        Raises:
            ResourceExhausted: LIMIT_REACHED, more than 1,000 instants would wait.
        """
        request = pb.BackfillScheduleRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            schedule_id=schedule_id,
            start=to_timestamp(start),
            end=to_timestamp(end),
            overlap=ScheduleOverlap(overlap).wire,
        )
        return (await self._connection.unary(self._schedules.BackfillSchedule, request)).instants

    async def preview_schedule(
        self, spec: ScheduleSpec, *, after: datetime | None = None, count: int = 0
    ) -> list[datetime]:
        """The instants of a spec after `after` (now), without a schedule (0: ten of them)."""
        request = pb.PreviewScheduleRequest(
            namespace=self._connection.namespace,
            spec=spec.to_wire(),
            after=None if after is None else to_timestamp(after),
            count=count,
        )
        reply = await self._connection.unary(self._schedules.PreviewSchedule, request)
        return list(map(from_timestamp, reply.times))
