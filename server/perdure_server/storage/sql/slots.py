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
    """Lines whose first run may have a slot, or in which one is that `newest_wins`."""
    line, other = schema.slots.alias("line"), schema.slots.alias("other")
    same = (other.c.namespace == line.c.namespace, other.c.slot_key == line.c.slot_key)
    before = sa.exists().where(*same, other.c.kind == _IN_LINE, other.c.rank < line.c.rank)
    holding = sa.select(sa.func.count()).select_from(other).where(*same, other.c.kind == _HELD).scalar_subquery()
    first = sa.and_(~before, holding < line.c.slot_limit)
    statement = (
        sa.select(line.c.namespace, line.c.slot_key)
        .where(line.c.kind == _IN_LINE, sa.or_(line.c.newest_wins == sa.literal_column("1"), first))
        .distinct()
        .order_by(line.c.namespace, line.c.slot_key)
        .limit(limit)
    )
    return [(row.namespace, row.slot_key) for row in connection.execute(statement)]
