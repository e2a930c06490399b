"""What is done once when a PostgreSQL store is opened: is this database fit, ours, and up to date?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from perdure_server.storage.port import StoreError
from perdure_server.storage.rules import DEFAULT_NAMESPACE
from perdure_server.storage.sql import schema, upkeep
from perdure_server.storage.sql.migrate import REVISIONS, migrate
from perdure_server.storage.sql.postgres_numbers import ADVISORY_KEY, STARTED, STARTED_FACT
from perdure_server.storage.sql.postgres_url import READER_SETTINGS, PostgresTarget, one_line, parse_postgres_url

OLDEST_SERVER: Final = 13
"""Has pg_current_xact_id and pg_xact_status."""

SEQUENCES: Final = ("ledger_positions", "identifier_blocks")

_MIGRATION_LOCK: Final = int.from_bytes(b"perdure\0", "big")

_SETTINGS: Final = {**READER_SETTINGS, "statement_timeout": "0", "lock_timeout": "0"}
"""Bringing a large database up to date takes as long as it takes, and the other processes wait for it."""

_OTHERS: Final = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = current_setting('application_name')
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY pid
"""
"""Connections of servers, which have the name that the URL gives this one, too."""


@dataclass(frozen=True, slots=True)
class Start:
    """What an opened store is known by.

    Args:
        epoch: identity of the data.
        advisory_key: the store's name among the advisory locks of its database.
    """

    epoch: str
    advisory_key: int


def prepare(target: PostgresTarget, epoch: str) -> Start:
    """Brings the schema up to date, while other processes that start wait, and reads what the store is known by.

    Raises: StoreError with what to do.
    """
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: target.connect(_SETTINGS), poolclass=NullPool, use_native_hstore=False
    )
    try:
        with engine.begin() as connection:
            _check_server(connection, target)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _check_owner(connection, target)
            migrate(connection)
            _check_tables(connection, target)
            found = _epoch(connection, epoch)
            return Start(found, connection.execute(sa.text(ADVISORY_KEY)).scalar_one())
    except DBAPIError as error:
        why = f"{one_line(error.orig or error)}{_advice(error, target)}"
        raise StoreError(f"{target.shown} cannot be used: {why}") from error


def change_epoch(url: str, epoch: str) -> None:
    """Makes the data of a database that was restored by other means data of another epoch.

    Raises: StoreError if there is no store, it is newer than this version, or a server is connected to it.
    """
    target = parse_postgres_url(url)
    try:
        with target.connect(_SETTINGS) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))  # none starts meanwhile
            _check_unused(connection, target)
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if found[0][0] not in REVISIONS:
                raise StoreError(f"{target.shown} has schema {found[0][0]}, made by a newer Perdure; use that release")
            changed = connection.execute("UPDATE store_meta SET value = %s WHERE name = 'epoch'", (epoch,))
            if changed.rowcount != 1:
                raise StoreError(f"{target.shown} has no epoch: it was restored in part; restore all of it")
    except psycopg.errors.UndefinedTable as error:
        raise StoreError(f"there is no store in {target.shown}: --store names what `perdure serve` uses") from error
    except psycopg.Error as error:
        raise StoreError(f"{target.shown} cannot be changed: {one_line(error)}") from error


def _check_unused(connection: psycopg.Connection[Any], target: PostgresTarget) -> None:
    used_by = connection.execute(_OTHERS).fetchall()
    if used_by:
        backends = ", ".join(str(pid) for (pid,) in used_by)
        raise StoreError(f"{target.shown} is in use (backends {backends}): stop every server of this database first")


def _check_server(connection: sa.Connection, target: PostgresTarget) -> None:
    version = connection.execute(sa.text("SHOW server_version_num")).scalar_one()
    if int(version) < OLDEST_SERVER * 10_000:
        raise StoreError(f"{target.shown} is PostgreSQL {int(version) // 10_000}; at least {OLDEST_SERVER} is needed")
    encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise StoreError(f"{target.shown} has encoding {encoding}; make a database with ENCODING 'UTF8'")


def _check_owner(connection: sa.Connection, target: PostgresTarget) -> None:
    """A database without our version table must not have tables of our names."""
    tables = set(sa.inspect(connection).get_table_names())
    taken = sorted(tables & schema.metadata.tables.keys())
    if taken and "alembic_version" not in tables:
        raise StoreError(
            f"{target.shown} has tables of another application ({', '.join(taken[:3])}); use a database or a schema"
            " (options=-csearch_path%3DNAME) of its own"
        )


def _check_tables(connection: sa.Connection, target: PostgresTarget) -> None:
    """All tables are there and may be used: a schema that was half copied or half granted is found here."""
    for kind, names, rights in (
        ("table", tuple(schema.metadata.tables), "SELECT, INSERT, UPDATE, DELETE"),
        ("sequence", SEQUENCES, "USAGE, SELECT"),
    ):
        for name in names:
            exists = connection.execute(sa.select(sa.func.to_regclass(name).is_not(None))).scalar_one()
            if not exists:
                raise StoreError(
                    f"{target.shown} lacks the {kind} {name!r} of its schema: it was copied or restored in part;"
                    " restore all of it, or use an empty database"
                )
            for right in rights.split(", "):
                check = sa.func.has_table_privilege if kind == "table" else sa.func.has_sequence_privilege
                if not connection.execute(sa.select(check(name, right))).scalar_one():
                    raise StoreError(
                        f"{target.shown}: the user may not {right} on {kind} {name!r}; GRANT {rights} ON ALL"
                        f" {kind.upper()}S IN SCHEMA of the store to it, or use the owner's user"
                    )


def _epoch(connection: sa.Connection, epoch: str) -> str:
    found = upkeep.read_meta(connection, "epoch")
    if not found:
        upkeep.write_meta(connection, "epoch", epoch)
        started = connection.execute(sa.text(f"SELECT {STARTED}")).scalar_one()
        upkeep.write_meta(connection, STARTED_FACT, str(started))
        row = {"namespace": DEFAULT_NAMESPACE, "description": "", "created_at": 0}
        connection.execute(sa.insert(schema.namespaces), row)
    return found or epoch


def _advice(error: DBAPIError, target: PostgresTarget) -> str:
    cause = error.orig
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        user = target.parameters.get("user", "the user")
        return (
            f"; as the owner of the database: GRANT CREATE, USAGE ON SCHEMA public TO {user}, or make {user} the owner"
        )
    if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
        return "; a standby cannot be written to: name the primary"
    if isinstance(cause, psycopg.errors.InvalidSchemaName):
        return "; the search_path names no schema that exists: CREATE SCHEMA it"
    return ""
