"""How Alembic runs here: on the connection, and inside the transaction, that `storage.sql.migrate` gives it."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
