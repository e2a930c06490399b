"""Concurrency keys and schedules. A copy of what their tables were then; it never changes again."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0001"

metadata: Final = sa.MetaData()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, _number(), nullable=False) for name in names]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _text(), nullable=False) for name in names]


def _blobs(*names: str) -> list[sa.Column[bytes]]:
    return [sa.Column(name, sa.LargeBinary(), nullable=False) for name in names]


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, _number(), primary_key=True, autoincrement=False)


def _check(name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=f"ck_{name}")


def _index(name: str, *columns: str | sa.TextClause, where: str = "", unique: bool = False) -> sa.Index:
    condition = sa.text(where) if where else None
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


sa.Table(
    "slots",
    metadata,
    _key("run_no"),
    *_numbers("rank", "slot_limit", "kind", "newest_wins"),
    *_texts("namespace", "slot_key", "run_id"),
    _check("slots", "slot_key <> '' AND slot_limit >= 1 AND kind BETWEEN 1 AND 3 AND newest_wins IN (0, 1)"),
    _index("ix_slots_key", "namespace", "slot_key", "kind", "rank"),
    _index("ix_slots_line", "namespace", "slot_key", "rank", where="kind = 1"),
    _index("ix_slots_newest", "namespace", "slot_key", "kind", "newest_wins", where="kind = 1 AND newest_wins = 1"),
    sqlite_strict=True,
)

sa.Table(
    "schedules",
    metadata,
    *_texts("namespace", "schedule_id"),
    *_numbers("version", "next_at", "created_at"),
    *_blobs("detail"),
    sa.PrimaryKeyConstraint("namespace", "schedule_id"),
    _check("schedules", "schedule_id <> '' AND version >= 1 AND next_at >= 0"),
    _index("ix_schedules_due", "next_at", "namespace", "schedule_id", where="next_at <> 0"),
    sqlite_strict=True,
)


def upgrade() -> None:
    """Makes both tables, their constraints and their indexes."""
    metadata.create_all(op.get_bind(), checkfirst=False)
