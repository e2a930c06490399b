"""What is due: timers, turns, mail, lapsed leases, tasks without a worker. Read in the order of their indexes."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from perdure_server.storage.port import (
    DueLease,
    DueMail,
    DueTimer,
    DueWork,
    ReadyTask,
    RunKey,
    TaskQuery,
)
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.rows import DbRow, find_numbers, to_task

Query: TypeAlias = "sa.Select[*tuple[Any, ...]]"

_runs: Final = schema.runs.c
_tasks: Final = schema.tasks.c
_timers: Final = schema.timers.c
_turns: Final = schema.turns.c
_mail: Final = schema.mail.c


def _with_run(table: sa.Table) -> sa.FromClause:
    """A table with the runs of its rows. An outer join, so that the table's own order is kept."""
    return table.outerjoin(schema.runs, _runs.run_no == table.c.run_no)


def _leases(due_at: sa.Column[int], condition: sa.ColumnElement[bool]) -> Query:
    return (
        sa.select(_runs.namespace, _runs.run_id, _tasks.step_id, _tasks.attempt, due_at.label("due_at"))
        .select_from(_with_run(schema.tasks))
        .where(condition)
        .order_by(due_at, _runs.namespace, _runs.run_id)
        .limit(sa.bindparam("most"))
    )


_ALL_TIMERS: Final = (
    sa.select(_timers.due_at, _timers.kind, _runs.namespace, _runs.run_id)
    .select_from(_with_run(schema.timers))
    .order_by(_timers.due_at, _runs.namespace, _runs.run_id, _timers.kind)
    .limit(sa.bindparam("most"))
)

_READY_TURNS: Final = (
    sa.select(_runs.namespace, _runs.run_id)
    .select_from(_with_run(schema.turns))
    .where(_turns.held == sa.literal_column("0"))
    .order_by(_turns.position, _runs.namespace, _runs.run_id)
    .limit(sa.bindparam("most"))
)

_WAITING_MAIL: Final = (
    sa.select(schema.mail)
    .order_by(_mail.position, _mail.namespace, _mail.to_run_id, _mail.kind, _mail.from_run_id)
    .limit(sa.bindparam("most"))
)

_EXPIRIES: Final = _leases(_tasks.lease_expires_at, _tasks.leased == sa.literal_column("1"))
_HEARTBEATS: Final = _leases(_tasks.heartbeat_due_at, _tasks.heartbeat_due_at != sa.literal_column("0"))


def due_work(connection: sa.Connection, now: int, lease_now: int, limit: int) -> DueWork:
    """Due timers by due_at, turns and mail in line, leases by their end."""
    timers = connection.execute(_ALL_TIMERS, {"most": limit + 1}).all()
    due = [row for row in timers[:limit] if row.due_at <= now]
    leases = _lease_ends(connection, limit + 1)
    lapsed = [lease for lease in leases[:limit] if lease.due_at <= lease_now]
    return DueWork(
        timers=tuple(DueTimer(_key(row), row.kind, row.due_at) for row in due),
        turns=tuple(_key(row) for row in connection.execute(_READY_TURNS, {"most": limit})),
        mail=tuple(
            DueMail(RunKey(row.namespace, row.to_run_id), row.kind, row.from_run_id)
            for row in connection.execute(_WAITING_MAIL, {"most": limit})
        ),
        leases=tuple(lapsed),
        next_timer_at=timers[len(due)].due_at if len(due) < len(timers) else 0,
        next_lease_at=leases[len(lapsed)].due_at if len(lapsed) < len(leases) else 0,
    )


def _key(row: DbRow) -> RunKey:
    return RunKey(row.namespace, row.run_id)


def _lease_ends(connection: sa.Connection, most: int) -> list[DueLease]:
    """The first instants at which leases end, one for each lease: its expiry, or an earlier heartbeat."""
    ends = [
        *(_due_lease(row, False) for row in connection.execute(_EXPIRIES, {"most": most})),
        *(_due_lease(row, True) for row in connection.execute(_HEARTBEATS, {"most": most})),
    ]
    ends.sort(key=lambda lease: (lease.due_at, lease.key.namespace, lease.key.run_id, lease.heartbeat))
    first: dict[RunKey, DueLease] = {}
    for lease in ends:
        first.setdefault(lease.key, lease)
    return list(first.values())[:most]


def _due_lease(row: DbRow, heartbeat: bool) -> DueLease:
    return DueLease(_key(row), row.step_id, row.attempt, row.due_at, heartbeat)


def ready_tasks(connection: sa.Connection, query: TaskQuery) -> list[ReadyTask]:
    """Tasks without lease, not held, by (priority descending, queued_at, run_id); each queue in its own order."""
    namespace_no = find_numbers(connection, query.namespace, [""]).get("")
    if namespace_no is None:
        return []
    pages: list[Sequence[DbRow]] = []
    for queue in dict.fromkeys(query.queues):
        statement = (
            sa.select(schema.tasks, _runs.run_id)
            .select_from(_with_run(schema.tasks))
            .where(
                _tasks.namespace_no == namespace_no,
                _tasks.queue == queue,
                _tasks.held == sa.literal_column("0"),
                _tasks.leased == sa.literal_column("0"),
                _served(query),
            )
            .order_by(_tasks.priority.desc(), _tasks.queued_at, _runs.run_id)
            .limit(query.limit)
        )
        pages.append(connection.execute(statement).all())
    rows = merge(*pages, key=lambda row: (-row.priority, row.queued_at, row.run_id))
    return [ReadyTask(RunKey(query.namespace, row.run_id), to_task(row)) for row in islice(rows, query.limit)]


def _served(query: TaskQuery) -> sa.ColumnElement[bool]:
    node = sa.and_(_tasks.effect_type == "", _tasks.workflow_id.in_(query.workflow_ids))
    if "*" in query.effect_types:
        return sa.or_(_tasks.effect_type != "", node)
    return sa.or_(sa.and_(_tasks.effect_type != "", _tasks.effect_type.in_(query.effect_types)), node)
