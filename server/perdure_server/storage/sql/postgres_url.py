"""`postgresql://` URLs: what they ask for, how they are shown, and the settings of every connection made from them.

The URL is libpq's, with every parameter of libpq, and these of our own:

    readers=N             connections that read (default 4)
    pooler=transaction    a proxy stands between that gives each transaction another connection (PgBouncer)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from perdure_server.storage.port import StoreDamagedError, StoreError

T = TypeVar("T")

LONGEST_STATEMENT_S: Final = 30
WAKE_EVERY_S: Final = 0.1
"""How often a wait looks at the clock."""
READERS: Final = 4
MAX_READERS: Final = 100

_DAMAGED: Final = "XX"
"""SQLSTATEs of internal errors: data_corrupted, index_corrupted, and what else is found where it cannot be."""

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "perdure",
    "connect_timeout": 5,
    "target_session_attrs": "read-write",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""For libpq, where the URL does not say otherwise: a database that does not answer is noticed within 25 s."""

_SESSION: Final = {
    "synchronous_commit": "on",
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": f"{LONGEST_STATEMENT_S}s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
}

_WRITER: Final = {
    **_SESSION,
    # Its statements look a few rows up by key, in the order of the keys, however small the tables still are.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

_HINTS: Final = {**_SESSION, "synchronous_commit": "off"}
"""A hint that is lost is harmless, so it need not be on disk."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is lost when no answer comes for longer than any statement may take: a proxy that is half-open
    keeps the socket alive, and neither the server's timeouts nor those of TCP notice.

    Attributes:
        answer_within_s: how long it waits; None: for ever.
    """

    answer_within_s: float | None = None

    def wait(self, gen: PQGen[T], interval: float = WAKE_EVERY_S, timeout: float | None = None) -> T:
        """As the driver's. Raises: OperationalError, and the connection is closed, if there is no answer in time."""
        try:
            return super().wait(gen, interval, self.answer_within_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """Where a store is.

    Args:
        parameters: of libpq, the password among them.
        shown: the URL without what is secret.
        readers: connections that read.
        pooled: a transaction-pooling proxy stands between: no prepared statements, no LISTEN, and settings are
            those of a transaction.
    """

    parameters: Mapping[str, Any] = field(repr=False)
    shown: str
    readers: int
    pooled: bool

    def connect(self, settings: Mapping[str, str], **options: Any) -> psycopg.Connection[Any]:
        """A connection with these settings (but for a pooled one). `options`: of psycopg.

        Raises: StoreError.
        """
        parameters = dict(self.parameters)
        if not self.pooled:
            ours = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items())
            parameters["options"] = f"{parameters.get('options', '')} {ours}".strip()
        threshold = None if self.pooled else 5
        try:
            made = BoundedConnection.connect(
                **parameters, **options, client_encoding="UTF8", prepare_threshold=threshold
            )
        except psycopg.Error as error:
            raise StoreError(f"{self.shown} cannot be reached: {one_line(error)}{_advice(error)}") from error
        if settings["statement_timeout"] != "0":
            made.answer_within_s = LONGEST_STATEMENT_S + int(parameters["tcp_user_timeout"]) / 1_000
        return made


WRITER_SETTINGS: Final[Mapping[str, str]] = _WRITER
READER_SETTINGS: Final[Mapping[str, str]] = _SESSION
HINT_SETTINGS: Final[Mapping[str, str]] = _HINTS


def set_locally(settings: Mapping[str, str]) -> str:
    """A statement that gives the transaction these settings."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())


def parse_postgres_url(url: str) -> PostgresTarget:
    """What a URL asks for. Raises: StoreError that says what is wrong, but never the password."""
    address, _, query = url.partition("?")
    authority, _, path = address.split("://", 1)[1].partition("/")
    if "@" in path or authority.count("@") > 1:
        raise StoreError(
            "--store: in a postgresql:// URL, @, / and : of a user or password are written %40, %2F and %3A"
        )
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    own = {name: value for name, _, value in pairs if name in {"readers", "pooler"}}
    rest = "&".join(f"{name}={value}" for name, _, value in pairs if name not in own)
    try:
        parameters = conninfo_to_dict(f"{address}?{rest}" if rest else address)
    except psycopg.ProgrammingError as error:
        # libpq quotes what it stumbled over, which may be a part of the password.
        unknown = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
        reason = f"there is no parameter {unknown[1]!r}" if unknown else "check host, port and percent-encoding"
        raise StoreError(f"--store is not a URL that PostgreSQL understands: {reason}") from None
    readers = own.get("readers", str(READERS))
    if not readers.isdigit() or not 1 <= int(readers) <= MAX_READERS:
        raise StoreError(f"--store: readers must be from 1 to {MAX_READERS}, not {readers!r}")
    if own.get("pooler", "transaction") != "transaction":
        raise StoreError(f"--store: pooler takes transaction, not {own['pooler']!r}")
    return PostgresTarget({**_DEFAULTS, **parameters}, _shown(parameters), int(readers), "pooler" in own)


def _shown(parameters: Mapping[str, Any]) -> str:
    user, host, port = (parameters.get(name, "") for name in ("user", "host", "port"))
    where = f"{user}@{host}" if user else str(host)
    return f"postgresql://{where}{f':{port}' if port else ''}/{parameters.get('dbname', '')}"


def one_line(error: BaseException) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(error).split())


def answered_with(error: BaseException) -> StoreError:
    """What the server's refusal of a statement means: damage, or that it did not do it now."""
    kind = StoreDamagedError if (getattr(error, "sqlstate", None) or "").startswith(_DAMAGED) else StoreError
    return kind(f"PostgreSQL says: {one_line(error)}")


def _advice(error: psycopg.Error) -> str:
    text = str(error)
    if "unsupported startup parameter" in text:
        return "; a transaction-pooling proxy stands between: add ?pooler=transaction to the URL, or go round it"
    if "session is read-only" in text or "is not writable" in text:
        return "; a standby cannot be written to: name the primary"
    return "; check host, port, user, password (PGPASSWORD or ~/.pgpass serve too) and database"
