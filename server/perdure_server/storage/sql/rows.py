"""From rows of the tables to rows of the port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from perdure_server.storage.port import (
    EventRow,
    RunHead,
    RunIdentity,
    RunKey,
    RunSummary,
    SlotKind,
    SlotRow,
    StoredEvent,
    TaskRow,
    WaitRow,
)
from perdure_server.storage.sql import schema

DbRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"
"""A row as the database gives it; its columns are attributes."""


# Statements are made once: making one costs more than executing it.

_names: Final = schema.identifiers.c
_NUMBERS: Final = sa.select(_names.identifier, _names.identifier_no).where(
    _names.namespace == sa.bindparam("of_namespace"),
    _names.identifier.in_(sa.bindparam("wanted", expanding=True)),
)
_RUN: Final = (
    sa.select(schema.runs)
    .select_from(schema.identifiers)
    .join(schema.runs, schema.runs.c.run_no == _names.identifier_no)
    .where(_names.namespace == sa.bindparam("of_namespace"), _names.identifier == sa.bindparam("of_run"))
)
_of_runs: Final = sa.bindparam("run_nos", expanding=True, type_=sa.BigInteger())
_RUNS: Final = sa.select(schema.runs).where(schema.runs.c.run_no.in_(_of_runs))
_LABELS: Final = sa.select(schema.labels).where(schema.labels.c.run_no.in_(_of_runs))
_WAITS: Final = sa.select(schema.waits).where(schema.waits.c.run_no.in_(_of_runs))
_TASKS: Final = sa.select(schema.tasks).where(schema.tasks.c.run_no.in_(_of_runs))
_SLOTS: Final = sa.select(schema.slots).where(schema.slots.c.run_no.in_(_of_runs))


def find_numbers(connection: sa.Connection, namespace: str, wanted: Iterable[str]) -> dict[str, int]:
    """Numbers of the identifiers that exist."""
    rows = connection.execute(_NUMBERS, {"of_namespace": namespace, "wanted": list(wanted)})
    return {row.identifier: row.identifier_no for row in rows}


def find_run(connection: sa.Connection, key: RunKey) -> DbRow | None:
    """The row of `runs`, or None if there is no such run."""
    return connection.execute(_RUN, {"of_namespace": key.namespace, "of_run": key.run_id}).one_or_none()


def to_identity(row: DbRow, labels: Mapping[str, str]) -> RunIdentity:
    """From a row of `runs`."""
    return RunIdentity(
        namespace=row.namespace,
        run_id=row.run_id,
        root_run_id=row.root_run_id,
        parent_run_id=row.parent_run_id,
        depth=row.depth,
        workflow_id=row.workflow_id,
        workflow_version=row.workflow_version,
        entry_node=row.entry_node,
        branch=row.branch,
        session_id=row.session_id,
        actor_id=row.actor_id,
        labels=labels,
        drive=row.drive,
        created_at=row.created_at,
        deadline_at=row.deadline_at,
    )


def to_head(row: DbRow, wait: WaitRow | None) -> RunHead:
    """From a row of `runs` and the run's wait."""
    return RunHead(
        status=row.status,
        activity=row.activity,
        paused=bool(row.paused),
        current_node=row.current_node,
        seq=row.seq,
        head_hash=row.head_hash,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        step_budget=row.step_budget,
        error_type=row.error_type,
        wait=wait,
    )


def to_wait(row: DbRow) -> WaitRow:
    """From a row of `waits`."""
    return WaitRow(
        wait_id=row.wait_id,
        reason=row.reason,
        wait_key=row.wait_key,
        assignee=row.assignee,
        event_name=row.event_name,
        event_scope=row.event_scope,
        event_scope_id=row.event_scope_id,
        since_at=row.since_at,
        detail=row.detail,
    )


def to_task(row: DbRow) -> TaskRow:
    """From a row of `tasks`."""
    return TaskRow(
        step_id=row.step_id,
        attempt=row.attempt,
        node_id=row.node_id,
        effect_type=row.effect_type,
        workflow_id=row.workflow_id,
        workflow_version=row.workflow_version,
        queue=row.queue,
        priority=row.priority,
        queued_at=row.queued_at,
        held=bool(row.held),
        leased=bool(row.leased),
        worker_id=row.worker_id,
        lease_expires_at=row.lease_expires_at,
        heartbeat_due_at=row.heartbeat_due_at,
    )


def to_slot(row: DbRow) -> SlotRow:
    """From a row of `slots`."""
    return SlotRow(row.slot_key, row.slot_limit, SlotKind(row.kind), bool(row.newest_wins))


def to_event(row: DbRow) -> StoredEvent:
    """From a row of `events`."""
    return StoredEvent(
        row.position,
        EventRow(
            scope=row.scope,
            scope_id=row.scope_id,
            name=row.name,
            event_id=row.event_id,
            payload=row.payload,
            at=row.at,
            run_id=row.run_id,
            workflow_id=row.workflow_id,
            node_id=row.node_id,
            session_id=row.session_id,
            emitted_by=row.emitted_by,
        ),
    )


def read_runs(connection: sa.Connection, run_nos: Iterable[int]) -> dict[int, DbRow]:
    """Rows of `runs`, by run_no."""
    return {row.run_no: row for row in connection.execute(_RUNS, {"run_nos": list(run_nos)})}


def read_labels(connection: sa.Connection, run_nos: Sequence[int]) -> dict[int, dict[str, str]]:
    """Labels of these runs, by run_no; a run without labels has no entry."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(_LABELS, {"run_nos": run_nos}):
        found[row.run_no][row.name] = row.value
    return found


def read_waits(connection: sa.Connection, run_nos: Sequence[int]) -> dict[int, WaitRow]:
    """Waits of these runs, by run_no."""
    return {row.run_no: to_wait(row) for row in connection.execute(_WAITS, {"run_nos": run_nos})}


def read_tasks(connection: sa.Connection, run_nos: Sequence[int]) -> dict[int, TaskRow]:
    """Tasks of these runs, by run_no."""
    return {row.run_no: to_task(row) for row in connection.execute(_TASKS, {"run_nos": run_nos})}


def read_slots(connection: sa.Connection, run_nos: Sequence[int]) -> dict[int, SlotRow]:
    """Places with concurrency keys of these runs, by run_no."""
    return {row.run_no: to_slot(row) for row in connection.execute(_SLOTS, {"run_nos": run_nos})}


def read_summaries(connection: sa.Connection, run_nos: Sequence[int]) -> list[RunSummary]:
    """Runs as lists show them, in the order asked for."""
    if not run_nos:
        return []
    rows, labels = read_runs(connection, run_nos), read_labels(connection, run_nos)
    waits, tasks = read_waits(connection, run_nos), read_tasks(connection, run_nos)
    slots = read_slots(connection, run_nos)
    return [
        RunSummary(
            to_identity(rows[run_no], labels.get(run_no, {})),
            to_head(rows[run_no], waits.get(run_no)),
            tasks.get(run_no),
            slots.get(run_no),
        )
        for run_no in run_nos
    ]
