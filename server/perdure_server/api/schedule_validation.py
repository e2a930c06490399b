"""Requests of ScheduleService to what they ask for: one rule a field. Each raises EdgeError with all that is wrong."""

from __future__ import annotations

import re
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from perdure.v1 import schedule_service_pb2 as pb
from perdure_server.api.fields import EMPTY_OBJECT, Check
from perdure_server.api.run_validation import concurrency
from perdure_server.kernel.bounds import (
    CRON_BYTES,
    DESCRIPTION_BYTES,
    MAX_CRONS,
    MAX_INT64,
    MAX_NEXT_TIMES,
    PAGE_TOKEN_BYTES,
    SCHEDULE_ID_CHARS,
)
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.schedules import OWN_LABELS, Interval, Overlap, ScheduledStart, ScheduleSpec, Timing
from perdure_server.timetable.instants import TimingError, check_cron, instants_after, zone_of

DAY_US: Final = 86_400 * SECOND_US
CATCH_UP_US: Final = 60 * SECOND_US
MAX_CATCH_UP_US: Final = 366 * DAY_US
_ID: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{SCHEDULE_ID_CHARS}}}", re.ASCII)


def schedule_id(check: Check, value: str) -> str:
    """The id of a schedule."""
    if _ID.fullmatch(value) is None:
        check.refuse("schedule_id", f"must be 1 to {SCHEDULE_ID_CHARS} characters of [A-Za-z0-9._:-]")
    return value


def named(request: pb.GetScheduleRequest, limits: Limits) -> tuple[str, str, int]:
    """GetSchedule: namespace, schedule, how many instants."""
    check = Check(limits)
    found = (
        check.namespace("", request.namespace),
        schedule_id(check, request.schedule_id),
        check.integer("", "next_times", request.next_times, 1, MAX_NEXT_TIMES, 10),
    )
    check.done()
    return found


def page(request: pb.ListSchedulesRequest, limits: Limits) -> tuple[str, int]:
    """ListSchedules: namespace, page size."""
    check = Check(limits)
    found = check.namespace("", request.namespace), check.page_size(request.page_size)
    check.text("", "page_token", request.page_token, PAGE_TOKEN_BYTES)
    check.done()
    return found


def note(check: Check, value: str) -> str:
    """Words for people."""
    return check.text("", "note", value, DESCRIPTION_BYTES)


def revision(check: Check, value: int) -> int:
    """The revision that a caller has read; 0: any."""
    return check.integer("", "revision", value, 0, MAX_INT64)


def overlap(check: Check, at: str, value: int, default: Overlap | None) -> Overlap | None:
    """An overlap policy."""
    return check.choice(at, "overlap", value, Overlap, default) if value or default else None


def span(request: pb.BackfillScheduleRequest, check: Check) -> tuple[int, int]:
    """The span of a backfill."""
    start = check.required_instant("", "start", request.start)
    end = check.required_instant("", "end", request.end)
    if 0 < end < start:
        check.refuse("end", "must not be before start")
    return start, end


def preview(request: pb.PreviewScheduleRequest, limits: Limits, now: int) -> tuple[Timing, int, int]:
    """PreviewSchedule: timing, after, how many."""
    check = Check(limits)
    check.namespace("", request.namespace)
    after = check.instant("", "after", request, request.after) or now
    timing = _spec(check, request.spec, after, preview=True).timing
    count = check.integer("", "count", request.count, 1, MAX_NEXT_TIMES, 10)
    check.done()
    return timing, after, count


def spec(check: Check, asked: pb.ScheduleSpec, now: int) -> ScheduleSpec:
    """What a schedule is to do."""
    wanted = _spec(check, asked, now)
    if not check.violations and next(instants_after(wanted.timing, now), None) is None:
        check.refuse("spec.end_at", "leaves no instant from now on")
    return wanted


def _spec(check: Check, asked: pb.ScheduleSpec, now: int, *, preview: bool = False) -> ScheduleSpec:
    window = check.any_span("spec.", "catch_up_window", asked.catch_up_window)
    if window > MAX_CATCH_UP_US:
        check.refuse("spec.catch_up_window", "is at most 366 days")
    return ScheduleSpec(
        timing=_timing(check, asked, now),
        start=_start(check, asked.start, preview=preview),
        overlap=check.choice("spec.", "overlap", asked.overlap, Overlap, Overlap.SKIP),
        catch_up_us=window if asked.HasField("catch_up_window") else CATCH_UP_US,
        max_starts=check.integer("spec.", "max_starts", asked.max_starts, 0, MAX_INT64),
    )


def _timing(check: Check, asked: pb.ScheduleSpec, now: int) -> Timing:
    at = "spec."
    timing = Timing(
        crons=_crons(check, asked, now),
        intervals=_intervals(check, asked),
        time_zone=asked.time_zone or "UTC",
        start_at=check.instant(at, "start_at", asked, asked.start_at),
        end_at=check.instant(at, "end_at", asked, asked.end_at),
        jitter_us=check.span(at, "jitter", asked, asked.jitter),
    )
    if 0 < timing.end_at < timing.start_at:
        check.refuse("spec.end_at", "must not be before start_at")
    if timing.jitter_us > DAY_US:
        check.refuse("spec.jitter", "is at most 1 day")
    if not asked.crons and not asked.intervals:
        check.refuse("spec.crons", "is required: at least one cron expression, or an interval")
    return timing


def _crons(check: Check, asked: pb.ScheduleSpec, now: int) -> tuple[str, ...]:
    check.text("spec.", "time_zone", asked.time_zone)
    crons = check.texts("spec.", "crons", asked.crons, MAX_CRONS, CRON_BYTES)
    try:
        zone = zone_of(asked.time_zone)
    except TimingError as error:
        check.refuse("spec.time_zone", str(error))
        return crons
    for index, expression in enumerate(crons):
        if not expression or len(expression.encode()) > CRON_BYTES or "\0" in expression:
            continue
        try:
            check_cron(expression, zone, now)
        except TimingError as error:
            check.refuse(f"spec.crons[{index}]", str(error))
    return crons


def _intervals(check: Check, asked: pb.ScheduleSpec) -> tuple[Interval, ...]:
    check.count("spec.", "intervals", len(asked.intervals), MAX_CRONS)
    return tuple(_interval(check, index, each) for index, each in enumerate(asked.intervals[:MAX_CRONS]))


def _interval(check: Check, index: int, asked: pb.ScheduleInterval) -> Interval:
    at = f"spec.intervals[{index}]."
    every = _seconds(check, at, "every", asked.every)
    offset = _seconds(check, at, "offset", asked.offset)
    if not asked.HasField("every") or 0 <= every < SECOND_US:
        check.refuse(at + "every", "must be at least 1 s")
        every = SECOND_US
    if offset >= every > SECOND_US or (every == SECOND_US and offset):
        check.refuse(at + "offset", "must be less than every")
    return Interval(every, offset)


def _seconds(check: Check, at: str, name: str, length: Duration) -> int:
    value = check.any_span(at, name, length)
    if value % SECOND_US:
        check.refuse(at + name, "must be whole seconds")
        return value // SECOND_US * SECOND_US
    return value


def _start(check: Check, asked: pb.ScheduledStart, *, preview: bool) -> ScheduledStart:
    at = "spec.start."
    labels = check.labels(at, asked.labels)
    if len(labels) > check.limits.labels - OWN_LABELS:
        check.refuse(at + "labels", f"has {len(labels)} items; at most {check.limits.labels - OWN_LABELS} are accepted")
    message: Message = asked
    return ScheduledStart(
        workflow_id=check.id(at, "workflow_id", asked.workflow_id, optional=preview),
        vars=check.json(at, "vars_json", asked.vars_json, empty=EMPTY_OBJECT, object_only=True),
        workflow_version=check.id(at, "workflow_version", asked.workflow_version, optional=True),
        actor_id=check.text(at, "actor_id", asked.actor_id),
        session_id=check.text(at, "session_id", asked.session_id),
        labels=labels,
        deadline_us=check.span(at, "deadline", message, asked.deadline),
        concurrency=concurrency(check, asked.concurrency, at + "concurrency.")
        if asked.HasField("concurrency")
        else None,
    )
