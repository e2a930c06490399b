"""Schedules as their readers see them, and specs as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.v1 import schedule_service_pb2 as pb
from perdure_server.api.codec import shapes
from perdure_server.api.codec.shapes import Shape
from perdure_server.kernel.schedules import Schedule, ScheduleSpec


def schedule(found: Schedule, next_times: Sequence[int]) -> pb.Schedule:
    """A schedule as it stands."""
    counts = found.counts
    fields: dict[str, Any] = {
        "schedule_id": found.schedule_id,
        "revision": found.revision,
        "spec": spec(found.spec),
        "paused": found.paused,
        "note": found.note,
        "starts_left": found.starts_left,
        "created_at": shapes.instant(found.created_at),
        "updated_at": shapes.instant(found.updated_at),
        "next_times": [shapes.instant(at) for at in next_times],
        "waiting": len(found.pending),
        "running_run_ids": found.running,
        "counts": {
            "started": counts.started,
            "missed": counts.missed,
            "skipped": counts.skipped,
            "refused": counts.refused,
        },
        "recent": [
            {
                "scheduled_at": shapes.instant(start.at),
                "started_at": shapes.instant(start.started_at),
                "run_id": start.run_id,
            }
            for start in found.recent
        ],
        "refusal": found.refusal,
    }
    return pb.Schedule(**fields)


def spec(asked: ScheduleSpec) -> Shape:
    """Shape of a ScheduleSpec."""
    timing, start = asked.timing, asked.start
    return {
        "crons": timing.crons,
        "intervals": [
            {"every": shapes.span(each.every_us), "offset": shapes.span(each.offset_us)} for each in timing.intervals
        ],
        "time_zone": timing.time_zone,
        "start_at": shapes.instant(timing.start_at),
        "end_at": shapes.instant(timing.end_at),
        "jitter": shapes.span(timing.jitter_us),
        "overlap": asked.overlap,
        "catch_up_window": shapes.span(asked.catch_up_us),
        "max_starts": asked.max_starts,
        "start": {
            "workflow_id": start.workflow_id,
            "workflow_version": start.workflow_version,
            "vars_json": start.vars.text,
            "actor_id": start.actor_id,
            "session_id": start.session_id,
            "labels": dict(start.labels),
            "deadline": shapes.span(start.deadline_us),
            "concurrency": shapes.concurrency(start.concurrency),
        },
    }
