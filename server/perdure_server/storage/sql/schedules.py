"""Reads of schedules."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perdure_server.storage.port import DueSchedules, ScheduleRow
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.rows import DbRow

_schedules: Final = schema.schedules.c


def find_schedule(connection: sa.Connection, namespace: str, schedule_id: str) -> ScheduleRow | None:
    """A schedule."""
    statement = sa.select(schema.schedules).where(
        _schedules.namespace == namespace, _schedules.schedule_id == schedule_id
    )
    row = connection.execute(statement).one_or_none()
    return _row(row) if row else None


def list_schedules(connection: sa.Connection, namespace: str, after: str, limit: int) -> list[ScheduleRow]:
    """Schedules by id, after that id."""
    statement = (
        sa.select(schema.schedules)
        .where(_schedules.namespace == namespace, _schedules.schedule_id > after)
        .order_by(_schedules.schedule_id)
        .limit(limit)
    )
    return [_row(row) for row in connection.execute(statement)]


def due_schedules(connection: sa.Connection, now: int, limit: int) -> DueSchedules:
    """Those whose instant has come, by it, and the next instant after them."""
    statement = (
        sa.select(schema.schedules)
        .where(_schedules.next_at != sa.literal_column("0"))
        .order_by(_schedules.next_at, _schedules.namespace, _schedules.schedule_id)
        .limit(limit + 1)
    )
    rows = connection.execute(statement).all()
    due = [(row.namespace, _row(row)) for row in rows[:limit] if row.next_at <= now]
    return DueSchedules(tuple(due), rows[len(due)].next_at if len(due) < len(rows) else 0)


def _row(row: DbRow) -> ScheduleRow:
    return ScheduleRow(row.schedule_id, row.version, row.next_at, row.created_at, row.detail)
