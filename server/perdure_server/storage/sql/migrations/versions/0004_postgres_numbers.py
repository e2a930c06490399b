"""Where a PostgreSQL store takes its positions and numbers from; other stores count by themselves."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

SEQUENCES: Final = ("ledger_positions", "identifier_blocks")

FILL: Final = {"runs": 60, "tasks": 60, "turns": 60, "keyframes": 80}
"""Rows that are replaced again and again find room for their next version in the same page."""


def upgrade() -> None:
    """Makes the sequences. Both have given 0, so that `last_value` is the last one given from the first day."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for name in SEQUENCES:
        op.execute(sa.text(f"CREATE SEQUENCE {name} AS bigint MINVALUE 0 START 0 CACHE 1"))
    op.execute(sa.text("SELECT nextval('ledger_positions')"))
    for table, percent in FILL.items():
        op.execute(sa.text(f"ALTER TABLE {table} SET (fillfactor = {percent})"))
