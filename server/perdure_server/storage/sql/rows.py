"""From rows of the tables to rows of the port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from perdure_server.storage.port import (
    EventRow,
    RunHead,
    RunIdentity,
    RunKey,
    RunSummary,
    StoredEvent,
    TaskRow,
    WaitRow,
)
from perdure_server.storage.sql import schema

DbRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"
"""A row as the database gives it; its columns are attributes."""


def find_numbers(connection: sa.Connection, namespace: str, wanted: Iterable[str]) -> dict[str, int]:
    """Numbers of the identifiers that exist."""
    table = schema.identifiers.c
    statement = sa.select(table.identifier, table.identifier_no).where(
        table.namespace == namespace, table.identifier.in_(list(wanted))
    )
    return {row.identifier: row.identifier_no for row in connection.execute(statement)}


def find_run(connection: sa.Connection, key: RunKey) -> DbRow | None:
    """The row of `runs`, or None if there is no such run."""
    names = schema.identifiers.c
    statement = (
        sa.select(schema.runs)
        .select_from(schema.identifiers)
        .join(schema.runs, schema.runs.c.run_no == names.identifier_no)
        .where(names.namespace == key.namespace, names.identifier == key.run_id)
    )
    return connection.execute(statement).one_or_none()


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


def read_labels(connection: sa.Connection, run_nos: Sequence[int]) -> dict[int, dict[str, str]]:
    """Labels of these runs, by run_no; a run without labels has no entry."""
    table = schema.labels.c
    statement = sa.select(table.run_no, table.name, table.value).where(table.run_no.in_(run_nos))
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(statement):
        found[row.run_no][row.name] = row.value
    return found


def read_waits(connection: sa.Connection, run_nos: Sequence[int]) -> dict[int, WaitRow]:
    """Waits of these runs, by run_no."""
    statement = sa.select(schema.waits).where(schema.waits.c.run_no.in_(run_nos))
    return {row.run_no: to_wait(row) for row in connection.execute(statement)}


def read_summaries(connection: sa.Connection, run_nos: Sequence[int]) -> list[RunSummary]:
    """Runs as lists show them, in the order asked for."""
    if not run_nos:
        return []
    rows = {
        row.run_no: row for row in connection.execute(sa.select(schema.runs).where(schema.runs.c.run_no.in_(run_nos)))
    }
    labels, waits = read_labels(connection, run_nos), read_waits(connection, run_nos)
    statement = sa.select(schema.tasks).where(schema.tasks.c.run_no.in_(run_nos))
    tasks = {row.run_no: to_task(row) for row in connection.execute(statement)}
    return [
        RunSummary(
            to_identity(rows[run_no], labels.get(run_no, {})),
            to_head(rows[run_no], waits.get(run_no)),
            tasks.get(run_no),
        )
        for run_no in run_nos
    ]
