"""Brings a database to the schema of this version: forward only, in one transaction."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from perdure_server.storage.port import StoreError

REVISIONS: Final = ("0001", "0003", "0004")
"""Every schema there ever was, oldest first; each has a file of its name in `migrations/versions`."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migrate(connection: sa.Connection) -> None:
    """Applies what is missing. The caller's transaction holds it all, so a crash leaves the old schema.

    Raises: StoreError if the database is newer than this version.
    """
    found = _revision(connection)
    if found == REVISIONS[-1]:
        return
    if found and found not in REVISIONS:
        raise StoreError(
            f"the store has schema {found}, made by a newer Perdure; this one knows schemas up to {REVISIONS[-1]}:"
            " start that release again, or restore a copy that was made before the upgrade"
        )
    # Loaded here: a start on a database that is up to date does not pay for Alembic.
    command, configuration = import_module("alembic.command"), import_module("alembic.config")
    config = configuration.Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


def _revision(connection: sa.Connection) -> str:
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or ""
