"""Reads of concurrency keys: who holds their slots, who is in line, and which lines may move."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perdure_server.storage.port import SlotKind, SlotLine, SlotPlace
from perdure_server.storage.sql import schema
from perdure_server.storage.sql.rows import to_slot

_slots: Final = schema.slots.c
_HELD: Final[sa.ColumnElement[int]] = sa.literal_column(str(int(SlotKind.HELD)), sa.BigInteger())
_IN_LINE: Final[sa.ColumnElement[int]] = sa.literal_column(str(int(SlotKind.IN_LINE)), sa.BigInteger())


def slot_line(connection: sa.Connection, namespace: str, key: str, limit: int) -> SlotLine:
    """A concurrency key, with at most `limit` holders and as many in line, each by rank."""
    own = (_slots.namespace == namespace, _slots.slot_key == key)
    counts = sa.select(_slots.kind, sa.func.count()).where(*own).group_by(_slots.kind)
    count: dict[int, int] = {row[0]: row[1] for row in connection.execute(counts)}
    holding = count.pop(int(SlotKind.HELD), 0)
    places: list[tuple[SlotPlace, ...]] = []
    for kind in (_HELD, _IN_LINE):
        rows = sa.select(schema.slots).where(*own, _slots.kind == kind).order_by(_slots.rank).limit(limit)
        places.append(tuple(SlotPlace(row.run_id, row.rank, to_slot(row)) for row in connection.execute(rows)))
    return SlotLine(holding, sum(count.values()), *places)


def due_slots(connection: sa.Connection, limit: int) -> list[tuple[str, str]]:
    """Lines whose first run may have a slot, or in which one is that `newest_wins`.

    Goes from the first run of one line to the first run of the next, so that those behind it cost nothing. Each
    step finds one line, so the lines come in their order without a sort.
    """
    line, other = schema.slots.alias("line"), schema.slots.alias("other")
    found = line.c.namespace, line.c.slot_key, line.c.slot_limit
    lines = sa.select(*found).where(line.c.run_no == _first_in_line(_slots.namespace > "")).cte(recursive=True)
    after = _first_after(lines.c.namespace, lines.c.slot_key)
    lines = lines.union_all(sa.select(*found).select_from(lines.join(line, line.c.run_no == after)))
    same = (other.c.namespace == lines.c.namespace, other.c.slot_key == lines.c.slot_key)
    holding = sa.select(sa.func.count()).select_from(other).where(*same, other.c.kind == _HELD).scalar_subquery()
    newest = sa.exists().where(*same, other.c.kind == _IN_LINE, other.c.newest_wins == sa.literal_column("1"))
    due = sa.or_(holding < lines.c.slot_limit, newest)
    statement = sa.select(lines.c.namespace, lines.c.slot_key).where(due).limit(limit)
    return [(row.namespace, row.slot_key) for row in connection.execute(statement)]


def _first_after(namespace: sa.ColumnElement[str], key: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """The run_no of the first run in line of the next key: of this namespace, else of the next one."""
    here = _first_in_line(_slots.namespace == namespace, _slots.slot_key > key)
    return sa.func.coalesce(here, _first_in_line(_slots.namespace > namespace))


def _first_in_line(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    order = _slots.namespace, _slots.slot_key, _slots.rank
    first = sa.select(_slots.run_no).where(_slots.kind == _IN_LINE, *conditions).order_by(*order).limit(1)
    return first.correlate_except(schema.slots).scalar_subquery()
