"""Reads of single runs: everything that loading, audits and event matching need."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perdure_server.storage.port import ObligationRows, RunKey, RunSnapshot, StoreError, TimerRow
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.ledger_reads import read_run_tail
from perdure_server.storage.sql.rows import (
    find_numbers,
    find_run,
    read_labels,
    read_slots,
    read_tasks,
    read_waits,
    to_head,
    to_identity,
)

_run_no: Final = sa.bindparam("run", type_=sa.BigInteger())
_KEYFRAME: Final = sa.select(schema.keyframes).where(schema.keyframes.c.run_no == _run_no)
_TURN: Final = sa.select(schema.turns).where(schema.turns.c.run_no == _run_no)
_TIMERS: Final = sa.select(schema.timers).where(schema.timers.c.run_no == _run_no).order_by(schema.timers.c.kind)


def load_run(connection: sa.Connection, key: RunKey) -> RunSnapshot | None:
    """Head, newest keyframe and the records after it.

    Raises: StoreError if records between keyframe and head are missing: a damaged run is not an unknown one.
    """
    row = find_run(connection, key)
    if row is None:
        return None
    run_no: int = row.run_no
    labels = read_labels(connection, [run_no]).get(run_no, {})
    head = to_head(row, read_waits(connection, [run_no]).get(run_no))
    frame = connection.execute(_KEYFRAME, {"run": run_no}).one_or_none()
    keyframe_seq = frame.seq if frame else 0
    records = read_run_tail(connection, row, keyframe_seq)
    seqs = [record.seq for record in records]
    if keyframe_seq > head.seq or seqs != list(range(keyframe_seq + 1, head.seq + 1)):
        raise StoreError(
            f"run {key.run_id!r} of namespace {key.namespace!r} is damaged: its head is seq {head.seq}, its keyframe "
            f"seq {keyframe_seq}, and of the records between {len(seqs)} are left"
        )
    identity = to_identity(row, labels)
    return RunSnapshot(identity, head, keyframe_seq, frame.state if frame else None, tuple(records))


def read_obligations(connection: sa.Connection, key: RunKey) -> ObligationRows | None:
    """Task, turn and timers of a run."""
    run = find_run(connection, key)
    if run is None:
        return None
    task = read_tasks(connection, [run.run_no]).get(run.run_no)
    turn = connection.execute(_TURN, {"run": run.run_no}).one_or_none()
    timers = connection.execute(_TIMERS, {"run": run.run_no})
    return ObligationRows(
        task,
        bool(turn.held) if turn else None,
        tuple(TimerRow(row.kind, row.due_at) for row in timers),
        read_slots(connection, [run.run_no]).get(run.run_no),
    )


def waits_for_event(
    connection: sa.Connection,
    namespace: str,
    scope: int,
    scope_id: str,
    name: str,
    after_run_id: str,
    limit: int,
) -> list[RunKey]:
    """Runs whose wait names the event or "*", by run_id."""
    namespace_no = find_numbers(connection, namespace, [""]).get("")
    if namespace_no is None:
        return []
    waits = schema.waits.c
    found: list[str] = []
    for event_name in {name, "*"}:
        statement = (
            sa.select(waits.run_id)
            .where(
                waits.namespace_no == namespace_no,
                waits.event_scope == scope,
                waits.event_scope_id == scope_id,
                waits.event_name == event_name,
                waits.event_name != sa.literal_column("''"),
                waits.run_id > after_run_id,
            )
            .order_by(waits.run_id)
            .limit(limit)
        )
        found += connection.execute(statement).scalars()
    return [RunKey(namespace, run_id) for run_id in sorted(found)[:limit]]
