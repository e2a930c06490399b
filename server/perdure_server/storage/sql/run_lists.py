"""Lists of runs and of waits. Each filter is served by an index that also gives the order.

A page is read in two steps: the keys of its rows, then the rows. Where one condition names several values
(statuses, activities, reasons), each value is read for itself in index order and the answers are merged:
no filter sorts all that it matches. The exceptions, for which the order is not in the index, are filters by
wait and by end; they sort their matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Final, TypeAlias

import sqlalchemy as sa

from perdure_server.storage.port import RunQuery, RunSummary, WaitQuery
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.rows import DbRow, find_numbers, read_summaries

Condition: TypeAlias = sa.ColumnElement[bool]

_ALL_STATUSES: Final = (1, 2, 3, 4, 5)
_ENDED: Final = (3, 4, 5)
_NONE: Final = 0

_runs: Final = schema.runs.c
_waits: Final = schema.waits.c
_labels: Final = schema.labels.c


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the disjoint parts of a list: where it is read from, and by which conditions."""

    source: sa.FromClause
    order: sa.ColumnElement[int]
    conditions: tuple[Condition, ...]


def list_runs(
    connection: sa.Connection, query: RunQuery, after: tuple[int, str] | None, limit: int
) -> list[RunSummary]:
    """Runs by (created_at, run_id) descending, after that pair."""
    pages: list[Sequence[DbRow]] = []
    for arm in _run_arms(connection, query):
        place = sa.tuple_(arm.order, _runs.run_id)
        statement = sa.select(_runs.run_no, _runs.created_at, _runs.run_id).select_from(arm.source)
        statement = statement.where(*arm.conditions)
        if after is not None:
            statement = statement.where(place < after)
        statement = statement.order_by(arm.order.desc(), _runs.run_id.desc()).limit(limit)
        pages.append(connection.execute(statement).all())
    rows = merge(*pages, key=lambda row: (row.created_at, row.run_id), reverse=True)
    return read_summaries(connection, [row.run_no for row in islice(rows, limit)])


def count_runs(connection: sa.Connection, query: RunQuery, limit: int) -> int:
    """How many match, counting no further than `limit`."""
    total = 0
    for arm in _run_arms(connection, query):
        if total < limit:
            matches = sa.select(_runs.run_no).select_from(arm.source).where(*arm.conditions).limit(limit - total)
            total += connection.execute(sa.select(sa.func.count()).select_from(matches.subquery())).scalar_one()
    return total


def _run_arms(connection: sa.Connection, query: RunQuery) -> list[Arm]:
    named = {
        _runs.parent_no: query.parent_run_id,
        _runs.root_no: query.root_run_id,
        _runs.session_no: query.session_id,
        _runs.version_no: query.workflow_version,
        _runs.workflow_no: query.workflow_id,
        _runs.namespace_no: "",
    }
    numbers = find_numbers(connection, query.namespace, set(named.values()))
    asked = [(column, identifier) for column, identifier in named.items() if identifier]
    if "" not in numbers or any(identifier not in numbers for _, identifier in asked):
        return []
    scopes = [column == numbers[identifier] for column, identifier in asked]
    filters = (*scopes, *_head_conditions(query), *_range_conditions(query))
    namespace = _runs.namespace_no == numbers[""]
    if len(scopes) > bool(query.workflow_id):
        arms = [_own_arm((*_parent_exists(query), *filters))]
    elif query.wait_reason or query.wait_key or query.assignee:
        source = schema.waits.join(schema.runs, _runs.run_no == _waits.run_no)
        arms = [Arm(source, _runs.created_at, (*filters, *_wait_driver(query, numbers[""])))]
        return _with_labels(arms, query)
    elif query.labels:
        return [_label_arm(query, numbers[""], filters)]
    else:
        arms = [_own_arm((*driver, *filters)) for driver in _namespace_drivers(query, namespace)]
    return _with_labels(_with_waits(arms, query), query)


def _own_arm(conditions: tuple[Condition, ...]) -> Arm:
    return Arm(schema.runs, _runs.created_at, conditions)


def _parent_exists(query: RunQuery) -> tuple[Condition, ...]:
    """Makes the index of children usable, which holds children only."""
    return (_runs.parent_no != sa.literal_column("0"),) if query.parent_run_id else ()


def _namespace_drivers(query: RunQuery, namespace: Condition) -> list[tuple[Condition, ...]]:
    """The condition that picks the index, one for each arm."""
    statuses = tuple(dict.fromkeys(query.statuses))
    if query.workflow_id:
        return [(_runs.status == status,) for status in statuses or _ALL_STATUSES]
    if query.paused_only:
        return [(namespace, _runs.paused == sa.literal_column("1"))]
    if query.activities:
        live = [activity for activity in dict.fromkeys(query.activities) if activity != _NONE]
        arms = [(namespace, _runs.activity == activity, _runs.activity != sa.literal_column("0")) for activity in live]
        ended = _ENDED if _NONE in query.activities else ()
        return [*arms, *((namespace, _runs.status == status) for status in ended)]
    if query.ended_from:
        return [(namespace, _runs.ended_at != sa.literal_column("0"))]
    if query.statuses or query.ended_before:
        return [(namespace, _runs.status == status) for status in statuses or _ENDED]
    if query.roots_only:
        return [(namespace, _runs.parent_no == sa.literal_column("0"))]
    return [(namespace,)]


def _head_conditions(query: RunQuery) -> list[Condition]:
    conditions: list[Condition] = []
    if query.statuses:
        conditions.append(_runs.status.in_(query.statuses))
    if query.activities:
        conditions.append(_runs.activity.in_(query.activities))
    if query.roots_only:
        conditions.append(_runs.parent_no == sa.literal_column("0"))
    if query.paused_only:
        conditions.append(_runs.paused == sa.literal_column("1"))
    return conditions


def _range_conditions(query: RunQuery) -> list[Condition]:
    conditions: list[Condition] = []
    if query.created_from:
        conditions.append(_runs.created_at >= query.created_from)
    if query.created_before:
        conditions.append(_runs.created_at < query.created_before)
    if query.ended_from:
        conditions.append(_runs.ended_at >= query.ended_from)
    if query.ended_before:
        # As a sum, so that no index by the end is taken for it: the one by status has the list's order.
        ended_at = _runs.ended_at + sa.literal_column("0")
        conditions += [ended_at < query.ended_before, _runs.ended_at != sa.literal_column("0")]
    return conditions


def _wait_conditions(query: RunQuery) -> list[Condition]:
    conditions: list[Condition] = []
    if query.wait_reason:
        conditions.append(_waits.reason == query.wait_reason)
    if query.wait_key:
        conditions.append(_waits.wait_key == query.wait_key)
    if query.assignee:
        conditions.append(_waits.assignee == query.assignee)
    return conditions


def _wait_driver(query: RunQuery, namespace_no: int) -> list[Condition]:
    conditions = [_waits.namespace_no == namespace_no, *_wait_conditions(query)]
    if query.wait_key:
        conditions.append(_waits.wait_key != sa.literal_column("''"))
    if query.assignee:
        conditions.append(_waits.assignee != sa.literal_column("''"))
    return conditions


def _with_waits(arms: list[Arm], query: RunQuery) -> list[Arm]:
    conditions = _wait_conditions(query)
    if not conditions:
        return arms
    waits = sa.exists().where(_waits.run_no == _runs.run_no, *conditions)
    return [Arm(arm.source, arm.order, (*arm.conditions, waits)) for arm in arms]


def _labelled(name: str, value: str) -> Condition:
    one = schema.labels.alias().c
    return sa.exists().where(one.run_no == _runs.run_no, one.name == name, one.value == value)


def _with_labels(arms: list[Arm], query: RunQuery) -> list[Arm]:
    labelled = [_labelled(name, value) for name, value in query.labels.items()]
    return [Arm(arm.source, arm.order, (*arm.conditions, *labelled)) for arm in arms]


def _label_arm(query: RunQuery, namespace_no: int, filters: tuple[Condition, ...]) -> Arm:
    (name, value), *others = query.labels.items()
    driver = (_labels.namespace_no == namespace_no, _labels.name == name, _labels.value == value)
    source = schema.labels.join(schema.runs, _runs.run_no == _labels.run_no)
    return Arm(source, _labels.created_at, (*driver, *filters, *(_labelled(*other) for other in others)))


def list_waits(
    connection: sa.Connection, query: WaitQuery, after: tuple[int, str] | None, limit: int
) -> list[RunSummary]:
    """Waiting runs by (since_at, run_id) ascending, after that pair."""
    pages: list[Sequence[DbRow]] = []
    for conditions in _wait_arms(connection, query):
        statement = sa.select(_waits.run_no, _waits.since_at, _waits.run_id).where(*conditions)
        if after is not None:
            statement = statement.where(sa.tuple_(_waits.since_at, _waits.run_id) > after)
        statement = statement.order_by(_waits.since_at, _waits.run_id).limit(limit)
        pages.append(connection.execute(statement).all())
    rows = merge(*pages, key=lambda row: (row.since_at, row.run_id))
    return read_summaries(connection, [row.run_no for row in islice(rows, limit)])


def _wait_arms(connection: sa.Connection, query: WaitQuery) -> list[tuple[Condition, ...]]:
    wanted = {"", query.session_id, query.workflow_id}
    numbers = find_numbers(connection, query.namespace, wanted)
    if wanted - numbers.keys():
        return []
    reasons = tuple(dict.fromkeys(query.reasons))
    conditions: list[Condition] = []
    if query.session_id:
        conditions.append(_waits.session_no == numbers[query.session_id])
    if query.workflow_id:
        conditions.append(_waits.workflow_no == numbers[query.workflow_id])
    scoped = bool(conditions)
    if query.wait_key:
        conditions += [_waits.wait_key == query.wait_key, _waits.wait_key != sa.literal_column("''")]
    if query.assignee:
        conditions += [_waits.assignee == query.assignee, _waits.assignee != sa.literal_column("''")]
    if not scoped:
        conditions.append(_waits.namespace_no == numbers[""])
    if not reasons:
        return [tuple(conditions)]
    if scoped or query.wait_key or query.assignee:
        return [(*conditions, _waits.reason.in_(reasons))]
    return [(*conditions, _waits.reason == reason) for reason in reasons]
