"""Right requests of ScheduleService, with every field set that can be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import common_pb2
from perdure.v1 import schedule_service_pb2 as schedules
from perdure.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from tests.robustness.bad_input.world import ASKING, World

Maker = Callable[[World], Awaitable[Message]]

PAST: Final = Timestamp(seconds=1_700_000_000)
FUTURE: Final = Timestamp(seconds=4_000_000_000)


def spec() -> schedules.ScheduleSpec:
    """A spec with everything set; it begins in a future that no test sees."""
    return schedules.ScheduleSpec(
        crons=["0 12 * * MON"],
        intervals=[schedules.ScheduleInterval(every=Duration(seconds=60), offset=Duration(seconds=5))],
        time_zone="Europe/Berlin",
        start_at=FUTURE,
        end_at=Timestamp(seconds=4_100_000_000),
        jitter=Duration(seconds=5),
        overlap=schedules.SCHEDULE_OVERLAP_ALLOW_ALL,
        catch_up_window=Duration(seconds=60),
        max_starts=3,
        start=schedules.ScheduledStart(
            workflow_id=ASKING,
            vars_json='{"a":1}',
            actor_id="ann",
            session_id="s",
            labels={"team": "blue"},
            deadline=Duration(seconds=60),
            concurrency=common_pb2.Concurrency(key="k", limit=1, on_limit=common_pb2.ON_LIMIT_QUEUE),
        ),
    )


async def _schedule(world: World) -> str:
    """A schedule that nobody else knows."""
    name = world.name("schedule")
    stub = ScheduleServiceStub(world.channel)
    await stub.CreateSchedule(schedules.CreateScheduleRequest(schedule_id=name, spec=spec()))
    return name


async def _create(world: World) -> Message:
    return schedules.CreateScheduleRequest(
        request_id=world.name("create"), schedule_id=world.name("made"), spec=spec(), paused=True, note="a note"
    )


async def _get(world: World) -> Message:
    return schedules.GetScheduleRequest(schedule_id=await _schedule(world), next_times=3)


async def _list(_world: World) -> Message:
    return schedules.ListSchedulesRequest(page_size=1)


async def _update(world: World) -> Message:
    return schedules.UpdateScheduleRequest(
        request_id=world.name("update"), schedule_id=await _schedule(world), spec=spec(), revision=1
    )


async def _delete(world: World) -> Message:
    return schedules.DeleteScheduleRequest(request_id=world.name("delete"), schedule_id=await _schedule(world))


async def _pause(world: World) -> Message:
    return schedules.PauseScheduleRequest(
        request_id=world.name("pause"), schedule_id=await _schedule(world), note="a note"
    )


async def _unpause(world: World) -> Message:
    return schedules.UnpauseScheduleRequest(
        request_id=world.name("unpause"), schedule_id=await _schedule(world), note="a note"
    )


async def _trigger(world: World) -> Message:
    return schedules.TriggerScheduleRequest(
        request_id=world.name("trigger"),
        schedule_id=await _schedule(world),
        overlap=schedules.SCHEDULE_OVERLAP_ALLOW_ALL,
    )


async def _backfill(world: World) -> Message:
    return schedules.BackfillScheduleRequest(
        request_id=world.name("backfill"),
        schedule_id=await _schedule(world),
        start=PAST,
        end=Timestamp(seconds=PAST.seconds + 60),
        overlap=schedules.SCHEDULE_OVERLAP_ALLOW_ALL,
    )


async def _preview(_world: World) -> Message:
    return schedules.PreviewScheduleRequest(spec=spec(), after=PAST, count=3)


RIGHT_SCHEDULES: Final[Mapping[str, tuple[Maker, ...]]] = {
    "ScheduleService/CreateSchedule": (_create,),
    "ScheduleService/GetSchedule": (_get,),
    "ScheduleService/ListSchedules": (_list,),
    "ScheduleService/UpdateSchedule": (_update,),
    "ScheduleService/DeleteSchedule": (_delete,),
    "ScheduleService/PauseSchedule": (_pause,),
    "ScheduleService/UnpauseSchedule": (_unpause,),
    "ScheduleService/TriggerSchedule": (_trigger,),
    "ScheduleService/BackfillSchedule": (_backfill,),
    "ScheduleService/PreviewSchedule": (_preview,),
}
