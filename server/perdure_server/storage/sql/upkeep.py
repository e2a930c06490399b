"""Writes beside the commits: leases, repairs, retention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from perdure_server.storage.port import LeaseRenewal, ObligationRows, RunKey, WaitRow
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.batch import EventLogKey, KnownRun, slot_row, task_row, wait_row
from perdure_server.storage.sql.grouped import Row
from perdure_server.storage.sql.rows import find_run

TOKENS_NAME_EPOCH: Final = "tokens_name_epoch"
"""The fact that every task token of this epoch names it."""

_tasks: Final = schema.tasks.c
_names: Final = schema.identifiers.c
_requests: Final = schema.requests.c
_events: Final = schema.events.c

_RENEWAL: Final = (
    sa.update(schema.tasks)
    .where(
        _tasks.run_no
        == sa.select(_names.identifier_no)
        .where(_names.namespace == sa.bindparam("of_namespace"), _names.identifier == sa.bindparam("of_run"))
        .scalar_subquery(),
        _tasks.step_id == sa.bindparam("of_step"),
        _tasks.attempt == sa.bindparam("of_attempt"),
        _tasks.leased == sa.literal_column("1"),
    )
    .values(
        lease_expires_at=sa.bindparam("expires_at"),
        heartbeat_due_at=sa.func.coalesce(sa.bindparam("silent_at", type_=sa.BigInteger()), _tasks.heartbeat_due_at),
    )
)


def renew_leases(connection: sa.Connection, renewals: Sequence[LeaseRenewal]) -> list[bool]:
    """Renews leases; False where step and attempt no longer hold one."""
    return [_renew(connection, renewal) for renewal in renewals]


def _renew(connection: sa.Connection, renewal: LeaseRenewal) -> bool:
    values = {
        "of_namespace": renewal.key.namespace,
        "of_run": renewal.key.run_id,
        "of_step": renewal.step_id,
        "of_attempt": renewal.attempt,
        "expires_at": renewal.lease_expires_at,
        "silent_at": renewal.heartbeat_due_at,
    }
    return connection.execute(_RENEWAL, values).rowcount == 1


def reset_leases(connection: sa.Connection, expires_at: int) -> int:
    """Gives every lease this end, and a heartbeat that was due the same instant."""
    heartbeat = sa.case((_tasks.heartbeat_due_at == 0, 0), else_=expires_at)
    statement = (
        sa.update(schema.tasks)
        .where(_tasks.leased == sa.literal_column("1"))
        .values(lease_expires_at=expires_at, heartbeat_due_at=heartbeat)
    )
    return connection.execute(statement).rowcount


def install(
    connection: sa.Connection,
    key: RunKey,
    expected_seq: int,
    rows: ObligationRows,
    wait: WaitRow | None,
    position: int,
) -> bool:
    """Makes the run's rows exactly these. `position` is the turn's place in line."""
    row = find_run(connection, key)
    if row is None or row.seq != expected_seq:
        return False
    run = KnownRun(
        key=key,
        run_no=row.run_no,
        namespace_no=row.namespace_no,
        root_no=row.root_no,
        session_no=row.session_no,
        workflow_no=row.workflow_no,
        seq=row.seq,
        head_hash=row.head_hash,
        shape=None,
        wait_id=row.wait_id,
    )
    timers: list[Row] = [(run.run_no, timer.kind, timer.due_at) for timer in rows.timers]
    _replace(connection, schema.tasks, run, [task_row(run, rows.task)] if rows.task else [])
    _replace(connection, schema.turns, run, [] if rows.turn is None else [(run.run_no, rows.turn, position)])
    _replace(connection, schema.timers, run, timers)
    slots = schema.slots
    rank = connection.execute(sa.select(slots.c.rank).where(slots.c.run_no == run.run_no)).scalar()
    own = [slot_row(run, key.run_id, rows.slot, position if rank is None else rank)] if rows.slot else []
    _replace(connection, slots, run, own)
    _replace(connection, schema.waits, run, [wait_row(run, key.run_id, wait)] if wait else [])
    wait_id = wait.wait_id if wait else 0
    runs = schema.runs
    connection.execute(sa.update(runs).where(runs.c.run_no == run.run_no).values(wait_id=wait_id))
    return True


def _replace(connection: sa.Connection, table: sa.Table, run: KnownRun, rows: Sequence[Row]) -> None:
    connection.execute(sa.delete(table).where(table.c.run_no == run.run_no))
    names = [column.name for column in table.columns]
    # PostgreSQL takes no boolean for a number.
    plain = [[int(value) if isinstance(value, bool) else value for value in row] for row in rows]
    values: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in plain]
    if values:
        connection.execute(sa.insert(table), values)


def trim_aged(connection: sa.Connection, requests_before: int, events_before: int, limit: int, position: int) -> int:
    """Deletes the oldest requests, then events, at most `limit`; returns how many.

    Args:
        position: the last one given; kept, so that it survives the row that carried it.
    """
    old = (
        sa.select(_requests.namespace, _requests.method, _requests.request_id)
        .where(_requests.at < requests_before)
        .order_by(_requests.at, _requests.namespace, _requests.method, _requests.request_id)
        .limit(limit)
    )
    key = sa.tuple_(_requests.namespace, _requests.method, _requests.request_id)
    requests = connection.execute(sa.delete(schema.requests).where(key.in_(old))).rowcount
    gone = (
        sa.select(_events.position)
        .where(_events.at < events_before)
        .order_by(_events.at, _events.position)
        .limit(limit - requests)
    )
    events = connection.execute(sa.delete(schema.events).where(_events.position.in_(gone))).rowcount
    if events:
        write_meta(connection, "position", str(position))
    return requests + events


def trim_surplus(
    connection: sa.Connection, keys: Iterable[EventLogKey] | None, keep: int, limit: int, position: int
) -> int:
    """Deletes events beyond the newest `keep` of their key, the oldest of all first; returns how many.

    Args:
        keys: those that may have more; None: any.
        limit: at most so many.
        position: as for `trim_aged`.
    """
    if keys is None:
        columns = (_events.namespace, _events.scope, _events.scope_id, _events.name)
        crowded = sa.select(*columns).group_by(*columns).having(sa.func.count() > keep)
        keys = [(row[0], row[1], row[2], row[3]) for row in connection.execute(crowded)]
    surplus: list[int] = []
    for namespace, scope, scope_id, name in keys:
        positions = sa.select(_events.position).where(
            _events.namespace == namespace,
            _events.scope == scope,
            _events.scope_id == scope_id,
            _events.name == name,
        )
        newest = positions.order_by(_events.position.desc()).offset(keep).limit(1)
        last = connection.execute(newest).scalar()
        if last is not None:
            oldest = positions.where(_events.position <= last).order_by(_events.position).limit(limit)
            surplus += connection.execute(oldest).scalars()
    gone = sorted(surplus)[:limit]
    if gone:
        connection.execute(sa.delete(schema.events).where(_events.position.in_(gone)))
        write_meta(connection, "position", str(position))
    return len(gone)


def read_meta(connection: sa.Connection, name: str) -> str:
    """A fact about the data as a whole; empty if it was never written."""
    meta = schema.store_meta.c
    return connection.execute(sa.select(meta.value).where(meta.name == name)).scalar() or ""


def write_meta(connection: sa.Connection, name: str, value: str) -> None:
    """Sets a fact about the data as a whole."""
    meta = schema.store_meta
    connection.execute(sa.delete(meta).where(meta.c.name == name))
    connection.execute(sa.insert(meta), {"name": name, "value": value})
