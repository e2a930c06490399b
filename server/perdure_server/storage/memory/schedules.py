"""Questions about schedules, answered from a dict of them."""

from __future__ import annotations

from collections.abc import Mapping

from perdure_server.storage.port import DueSchedules, ScheduleRow


def list_schedules(
    schedules: Mapping[tuple[str, str], ScheduleRow], namespace: str, after: str, limit: int
) -> list[ScheduleRow]:
    """Schedules by id, after that id."""
    rows = [row for (owner, schedule_id), row in schedules.items() if owner == namespace and schedule_id > after]
    return sorted(rows, key=lambda row: row.schedule_id)[:limit]


def due_schedules(schedules: Mapping[tuple[str, str], ScheduleRow], now: int, limit: int) -> DueSchedules:
    """Those whose instant has come, by it, and the next instant after them."""
    places = sorted((row.next_at, *key) for key, row in schedules.items() if row.next_at)
    due = [(namespace, schedules[namespace, schedule_id]) for at, namespace, schedule_id in places if at <= now][:limit]
    return DueSchedules(tuple(due), places[len(due)][0] if len(due) < len(places) else 0)
