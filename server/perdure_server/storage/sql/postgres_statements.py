"""The statements of a commit on PostgreSQL, made from the schema: each takes any number of rows as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString, cast

import sqlalchemy as sa

from perdure_server.storage.port import SlotKind
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.arrays import Columns
from perdure_server.storage.sql.grouped import Row


class RowStatement:
    """One statement and the packing of its rows.

    Args:
        columns: those that a row holds.
        text: the SQL; `{rows}` stands for the unnested arrays.
    """

    def __init__(self, columns: Sequence[sa.Column[Any]], text: str) -> None:
        self._columns = Columns(columns)
        # Made of the schema's names only, so as good as written down.
        self.text: LiteralString = cast(LiteralString, text.format(rows=self._columns.unnest()))

    def pack(self, rows: Sequence[Row]) -> list[bytes]:
        """Its parameters."""
        return self._columns.pack(rows)


def _insert(table: sa.Table, on_conflict: str = "") -> RowStatement:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return RowStatement(list(table.columns), f"INSERT INTO {table.name} ({names}) SELECT * FROM {{rows}} {on_conflict}")


def _put(table: sa.Table, kept: str = "") -> RowStatement:
    """Inserts rows, or replaces those with the same key, but for the `kept` column."""
    keys = ", ".join(column.name for column in table.primary_key.columns)
    others = [column.name for column in table.columns if not column.primary_key and column.name != kept]
    values = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in others)
    return _insert(table, f"ON CONFLICT ({keys}) DO UPDATE SET {values}")


def _update(table: sa.Table, names: Sequence[str]) -> RowStatement:
    """Sets columns of rows found by the key."""
    (key,) = table.primary_key.columns
    values = ", ".join(f"{name} = new.{name}" for name in names)
    columns = [key, *(table.columns[name] for name in names)]
    given = ", ".join(column.name for column in columns)
    same = f"{table.name}.{key.name} = new.{key.name}"
    return RowStatement(columns, f"UPDATE {table.name} SET {values} FROM {{rows}} AS new({given}) WHERE {same}")


def _delete(table: sa.Table) -> RowStatement:
    """Deletes rows by their whole key."""
    keys = list(table.primary_key.columns)
    names = ", ".join(column.name for column in keys)
    same = " AND ".join(f"{table.name}.{column.name} = gone.{column.name}" for column in keys)
    return RowStatement(keys, f"DELETE FROM {table.name} USING {{rows}} AS gone({names}) WHERE {same}")


def _wanted(columns: Sequence[sa.Column[Any]], text: str) -> RowStatement:
    """A question about many keys; `n` numbers them from 1."""
    names = ", ".join(column.name for column in columns)
    return RowStatement(columns, text.replace("{wanted}", f"{{rows}} WITH ORDINALITY AS wanted({names}, n)"))


_names: Final = schema.identifiers.c
_requests: Final = schema.requests.c
_events: Final = schema.events.c

FIND_NUMBERS: Final = _wanted(
    (_names.namespace, _names.identifier),
    """
    SELECT n, identifier_no, EXISTS (SELECT FROM runs WHERE run_no = identifier_no)
    FROM {wanted} JOIN identifiers USING (namespace, identifier)
    """,
)
FIND_REQUESTS: Final = _wanted(
    (_requests.namespace, _requests.method, _requests.request_id),
    "SELECT n, body_hash, reply, at FROM {wanted} JOIN requests USING (namespace, method, request_id)",
)
FIND_EVENTS: Final = _wanted(
    (_events.namespace, _events.scope, _events.scope_id, _events.name, _events.event_id),
    "SELECT n, position FROM {wanted} JOIN events USING (namespace, scope, scope_id, name, event_id)",
)

_slots: Final = schema.slots.c
LOCK_LINES: Final = _wanted(
    (_slots.namespace, _slots.slot_key),
    "SELECT pg_advisory_xact_lock(hashtextextended(namespace || '/' || slot_key, 0)) FROM {wanted}",
)
"""Who gives a slot of a concurrency key, or a place in its line, does so alone. Taken after the locks of runs."""

_schedules: Final = schema.schedules.c
LOCK_SCHEDULES: Final = _wanted(
    (_schedules.namespace, _schedules.schedule_id),
    "SELECT pg_advisory_xact_lock(hashtextextended(namespace || '/' || schedule_id, 1)) FROM {wanted}",
)
"""Who changes a schedule, or makes it, does so alone. Taken after the locks of lines."""

FIND_SCHEDULES: Final = _wanted(
    (_schedules.namespace, _schedules.schedule_id),
    "SELECT n, version FROM {wanted} JOIN schedules USING (namespace, schedule_id)",
)

FIND_LINES: Final = _wanted(
    (_slots.namespace, _slots.slot_key, _slots.run_id),
    f"""
    SELECT n,
        (SELECT count(*) FROM slots AS own WHERE own.namespace = wanted.namespace
            AND own.slot_key = wanted.slot_key AND kind = {int(SlotKind.HELD)}),
        (SELECT own.run_id FROM slots AS own WHERE own.namespace = wanted.namespace
            AND own.slot_key = wanted.slot_key AND kind = {int(SlotKind.IN_LINE)} ORDER BY rank LIMIT 1),
        EXISTS (SELECT FROM slots AS own WHERE own.namespace = wanted.namespace
            AND own.slot_key = wanted.slot_key AND kind = {int(SlotKind.HELD)} AND own.run_id = wanted.run_id)
    FROM {{wanted}}
    """,
)

LOCK_RUNS: Final = """
    SELECT run_no, namespace_no, root_no, session_no, workflow_no, seq, head_hash,
        status, activity, paused, ended_at, wait_id, namespace, run_id
    FROM runs
    WHERE run_no = ANY($1::bigint[] || ARRAY(
        SELECT identifier_no FROM unnest($2::text[], $3::text[]) AS wanted(namespace, identifier)
        JOIN identifiers USING (namespace, identifier)))
    ORDER BY run_no FOR NO KEY UPDATE
"""
"""Runs by number, or by (namespace, run_id). Whoever changes rows of a run holds this lock, and all take it in the
order of the numbers and before any other one: so two writers wait for each other only in one direction."""

HEAD_COLUMNS: Final = (
    *("status", "activity", "paused", "ended_at", "wait_id"),
    *("seq", "updated_at", "step_budget", "current_node", "error_type", "head_hash"),
)
UPDATE_HEADS: Final = _update(schema.runs, HEAD_COLUMNS)
UPDATE_IDENTITIES: Final = _update(schema.runs, ("version_no", "workflow_version", "deadline_at"))
INSERT_IDENTIFIERS: Final = _insert(schema.identifiers)
INSERT_RUNS: Final = _insert(schema.runs)
INSERT_LABELS: Final = _insert(schema.labels)
INSERT_RECORDS: Final = _insert(schema.records)
INSERT_PAYLOADS: Final = _insert(schema.payloads)
PUT_KEYFRAMES: Final = _put(schema.keyframes)
PUT_WAITS: Final = _put(schema.waits)
DELETE_WAITS: Final = _delete(schema.waits)
PUT_TASKS: Final = _put(schema.tasks)
DELETE_TASKS: Final = _delete(schema.tasks)
PUT_TURNS: Final = _put(schema.turns)
DELETE_TURNS: Final = _delete(schema.turns)
PUT_TIMERS: Final = _put(schema.timers)
DELETE_TIMERS: Final = _delete(schema.timers)
PUT_SLOTS: Final = _put(schema.slots, kept="rank")
DELETE_SLOTS: Final = _delete(schema.slots)
INSERT_MAIL: Final = _insert(schema.mail, "ON CONFLICT DO NOTHING")
DELETE_MAIL: Final = _delete(schema.mail)
INSERT_EVENTS: Final = _insert(schema.events)
INSERT_REQUESTS: Final = _insert(schema.requests)
PUT_SCHEDULES: Final = _put(schema.schedules)
DELETE_SCHEDULES: Final = _delete(schema.schedules)

RENEW_LEASE: Final = """
    UPDATE tasks SET lease_expires_at = $4::bigint, heartbeat_due_at = coalesce($5::bigint, heartbeat_due_at)
    WHERE run_no = $1::bigint AND step_id = $2::bigint AND attempt = $3::bigint AND leased = 1
"""
