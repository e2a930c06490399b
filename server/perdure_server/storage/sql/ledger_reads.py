"""Reads of the ledger, by scope and position.

Scopes are unions of disjoint parts, each in position order by an index (see `schema.py`): a tree is its root
run and the records of other runs under that root; a session is the tree of its own root and what other trees
have in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Final, TypeAlias

import sqlalchemy as sa

from perdure_server.storage.port import (
    NO_LIMIT,
    RecordQuery,
    RunChange,
    StoredEvent,
    StoredPayload,
    StoredRecord,
    StoreError,
)
from perdure_server.storage.rules import SLOTS
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.rows import DbRow, find_numbers, read_runs, to_event

Condition: TypeAlias = sa.ColumnElement[bool]

Part: TypeAlias = tuple[sa.Column[int], tuple[Condition, ...]]
"""A part of a scope: what it is read in the order of, and its conditions."""

_records: Final = schema.records.c
_payloads: Final = schema.payloads.c
_events: Final = schema.events.c
_ANY: Final = ("", "*")
_POSITIONS_AT_ONCE: Final = 1_000


_PAYLOADS_BETWEEN: Final = (
    sa.select(_payloads.payload_no, _payloads.salt, _payloads.data)
    .where(_payloads.payload_no >= sa.bindparam("first"), _payloads.payload_no < sa.bindparam("end"))
    .order_by(_payloads.payload_no)
)

_first_slot: Final = _records.position * sa.literal_column(str(SLOTS))
_PAYLOADS_AT: Final = (
    sa.select(_payloads.payload_no, _payloads.salt, _payloads.data)
    .select_from(schema.records)
    .join(schema.payloads, _payloads.payload_no.between(_first_slot, _first_slot + sa.literal_column(str(SLOTS - 1))))
    .where(_records.position.in_(sa.bindparam("positions", expanding=True)))
    .order_by(_records.position, _payloads.payload_no)
)

_RUN_TAIL: Final = (
    sa.select(schema.records)
    .where(_records.run_no == sa.bindparam("run"), _records.seq > sa.bindparam("after"))
    .order_by(_records.seq)
)

_CHANGES: Final = (
    sa.select(_records.position, schema.runs.c.namespace, schema.runs.c.run_id, _records.seq, _records.kind)
    .join_from(schema.records, schema.runs, schema.runs.c.run_no == _records.run_no)
    .where(_records.position > sa.bindparam("after"), _records.position <= sa.bindparam("until"))
    .order_by(_records.position)
    .limit(sa.bindparam("most"))
)


def read_records(connection: sa.Connection, query: RecordQuery, horizon: int) -> list[StoredRecord]:
    """One page; a record that would go beyond `byte_limit` begins the next one."""
    until = query.until_position or (NO_LIMIT if query.run_id else horizon)
    filters = [_records.position <= until, *_filters(query)]
    pages: list[Sequence[DbRow]] = []
    for order, conditions in _scope(connection, query):
        statement = sa.select(schema.records).where(*conditions, *filters).order_by(order).limit(query.limit)
        pages.append(connection.execute(statement).all())
    rows = islice(merge(*pages, key=lambda row: row.position), query.limit)
    return _with_payloads(connection, list(_cut(rows, query.byte_limit)))


def read_changes(connection: sa.Connection, after: int, until: int, limit: int) -> list[RunChange]:
    """Which runs have records in (after, until], in position order."""
    rows = connection.execute(_CHANGES, {"after": after, "until": until, "most": limit})
    return [RunChange(*row) for row in rows]


def read_run_tail(connection: sa.Connection, run: DbRow, after_seq: int) -> list[StoredRecord]:
    """All records of a run after a seq. `run` is its row."""
    rows = connection.execute(_RUN_TAIL, {"run": run.run_no, "after": after_seq}).all()
    return _with_payloads(connection, rows, {run.run_no: run})


def _filters(query: RecordQuery) -> Iterator[Condition]:
    if query.kinds:
        yield _records.kind.in_(query.kinds)
    if query.statuses:
        yield _records.status.in_(query.statuses)
    if query.node_ids:
        yield _records.node_id.in_(query.node_ids)


def _scope(connection: sa.Connection, query: RecordQuery) -> list[Part]:
    """The parts of the scope. One run is read in the order of seq, which is that of its positions."""
    scope_id = query.run_id or query.root_run_id or query.session_id or query.workflow_id
    number = find_numbers(connection, query.namespace, [scope_id]).get(scope_id)
    if number is None:
        return []
    position = _records.position
    later = position > query.after_position
    if query.workflow_id:
        return [(position, (_records.workflow_no == number, later))]
    if not scope_id:
        return [(position, (_records.namespace_no == number, later))]
    after_seq = max(_seq_at(connection, number, query.after_position), query.after_seq)
    own = (_records.run_no == number, _records.seq > after_seq)
    if query.run_id:
        return [(_records.seq, own)]
    tree = (_records.root_no == number, _records.root_no != _records.run_no, later)
    if query.root_run_id:
        return [(_records.seq, (*own, _records.root_no == number)), (position, tree)]
    mine = (_records.session_no == number, _records.session_no == _records.root_no)
    others = (_records.session_no == number, _records.session_no != _records.root_no, later)
    return [(_records.seq, (*own, *mine)), (position, (*tree, *mine)), (position, others)]


def _seq_at(connection: sa.Connection, run_no: int, position: int) -> int:
    """Seq of the run's last record at or below a position, by bisection: positions grow with seq."""
    if position <= 0:
        return 0
    low = 0
    high = connection.execute(sa.select(schema.runs.c.seq).where(schema.runs.c.run_no == run_no)).scalar() or 0
    probe = sa.select(_records.position).where(_records.run_no == run_no, _records.seq == sa.bindparam("seq"))
    while low < high:
        middle = (low + high + 1) // 2
        if (connection.execute(probe, {"seq": middle}).scalar() or 0) <= position:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(rows: Iterable[DbRow], byte_limit: int) -> Iterator[DbRow]:
    size = 0
    for number, row in enumerate(rows):
        size += len(row.record) + row.payload_bytes
        if number and size > byte_limit:
            return
        yield row


def _with_payloads(
    connection: sa.Connection, rows: Sequence[DbRow], runs: dict[int, DbRow] | None = None
) -> list[StoredRecord]:
    if not rows:
        return []
    if runs is None:
        runs = read_runs(connection, {row.run_no for row in rows})
    payloads = _payloads_of(connection, [row.position for row in rows])
    return [_stored(row, runs.get(row.run_no), payloads.get(row.position, ())) for row in rows]


def _payloads_of(connection: sa.Connection, positions: list[int]) -> dict[int, list[StoredPayload]]:
    found: dict[int, list[StoredPayload]] = defaultdict(list)
    for start in range(0, len(positions), _POSITIONS_AT_ONCE):
        some = positions[start : start + _POSITIONS_AT_ONCE]
        if some[-1] - some[0] == len(some) - 1:
            rows = connection.execute(_PAYLOADS_BETWEEN, {"first": some[0] * SLOTS, "end": (some[-1] + 1) * SLOTS})
        else:
            rows = connection.execute(_PAYLOADS_AT, {"positions": some})
        for number, salt, data in rows:
            found[number // SLOTS].append(StoredPayload(number % SLOTS, salt, data))
    return found


def _stored(row: DbRow, run: DbRow | None, payloads: Sequence[StoredPayload]) -> StoredRecord:
    # Taken apart by place: this runs for every record of every page, and names cost several times more.
    position, _, seq, _, _, _, _, kind, status, at, _, node_id, prev_hash, record_hash, record = row
    if run is None:
        raise StoreError(f"the ledger is damaged: the record at position {position} belongs to no run")
    return StoredRecord(
        namespace=run.namespace,
        run_id=run.run_id,
        seq=seq,
        position=position,
        kind=kind,
        status=status,
        node_id=node_id,
        at=at,
        workflow_id=run.workflow_id,
        session_id=run.session_id,
        root_run_id=run.root_run_id,
        record=record,
        prev_hash=prev_hash,
        record_hash=record_hash,
        payloads=tuple(payloads),
    )


def read_events(
    connection: sa.Connection,
    namespace: str,
    scope: tuple[int, str],
    name: str,
    positions: tuple[int, int],
    limit: int,
) -> list[StoredEvent]:
    """Events of a scope (kind, id) in position order.

    Args:
        positions: after the first, up to and including the second.
    """
    conditions = [
        _events.namespace == namespace,
        _events.scope == scope[0],
        _events.scope_id == scope[1],
        _events.position > positions[0],
        _events.position <= positions[1],
    ]
    if name not in _ANY:
        conditions.append(_events.name == name)
    statement = sa.select(schema.events).where(*conditions).order_by(_events.position).limit(limit)
    return [to_event(row) for row in connection.execute(statement)]
