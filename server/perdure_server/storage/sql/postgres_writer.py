"""Commits on PostgreSQL: one transaction per batch in two round trips, every table written by one statement.

The first round trip locks the runs that the batch changes, in the order of their numbers, reads what it names, and
takes positions; the second writes the winners' rows and commits. What other processes may insert at the same time
(identifiers, request ids, event ids, run ids) is decided by the unique indexes: who comes second rolls back, and
finds what the first one has written when it tries again.

An answer to COMMIT that is lost leaves open what became of the transaction. The server is asked for it by the
transaction's id, over the next connection (`_settle`).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import errors

from perdure_server.storage.port import Commit, LeaseRenewal, RequestRow, RunKey, StoreError, Verdict, VerdictKind
from perdure_server.storage.rules import Genesis
from perdure_server.storage.sql import postgres_statements as st
from perdure_server.storage.sql.arrays import int8s, texts
from perdure_server.storage.sql.batch import (
    BatchPlan,
    EventKey,
    EventLogKey,
    Found,
    KnownLine,
    KnownRun,
    Writes,
    event_key,
    has_sequels,
    head_shape,
    identifiers_named,
    new_run_row,
    slots_wanted,
)
from perdure_server.storage.sql.grouped import Row
from perdure_server.storage.sql.postgres_link import Link
from perdure_server.storage.sql.postgres_numbers import (
    LOCK_POSITIONS,
    TAKE_IDENTIFIER_BLOCK,
    TAKE_POSITIONS,
    IdentifierNumbers,
    as_positions,
    skip_lost_positions,
)
from perdure_server.storage.sql.postgres_start import Start
from perdure_server.storage.sql.postgres_url import one_line

log = logging.getLogger(__name__)

T = TypeVar("T")

_Rows: TypeAlias = (
    "Mapping[int, Row | None] | Mapping[tuple[int, int], Row | None] | Mapping[tuple[str, str], Row | None]"
)
"""Rows by their keys; None deletes."""

UNSTORABLE: Final = (
    errors.IntegrityError,
    errors.DataError,
    errors.ProgramLimitExceeded,
    struct.error,
    OverflowError,
    UnicodeEncodeError,
)
"""What server and packing raise for values that one Commit brought, as opposed to a store that fails."""

RACES: Final = frozenset({"uq_identifiers", "runs_pkey", "requests_pkey", "ix_events_id", "mail_pkey"})
"""Unique constraints that another process may have been quicker with."""

MAX_TRIES: Final = 10
MAX_NAMES: Final = 50_000
"""Numbers of identifiers that are remembered, some 250 bytes each."""
MAX_EVENT_KEYS: Final = 100_000
"""Keys of the event log remembered between two trimmings; beyond it, all are looked at."""


class RacedError(Exception):
    """Another process was quicker; the same again may succeed."""


class RestartedError(RacedError):
    """The server was started anew; lost positions must be skipped before any is taken."""


class PostgresCommitter:
    """Applies batches of Commits over one connection, from one thread at a time.

    Args:
        link: the connection.
        genesis: gives the `prev_hash` of a run's first record.
        start: what the store was known by when it was opened.
    """

    def __init__(self, link: Link, genesis: Genesis, start: Start) -> None:
        self._link = link
        self._genesis = genesis
        self._start = start
        self._position = 0
        """The last one of a commit of this process: the place in line of what has none of its own."""
        self._numbers: dict[tuple[str, str], int] = {}
        """Of identifiers, which never change; the oldest leave first."""
        self._new_numbers = IdentifierNumbers()
        self._connected = 0
        self._transaction_id = ""
        self._server_started = 0
        """That of the server whose lost positions have been skipped."""

        self.event_keys: set[EventLogKey] | None = None
        """Keys that got events from here since they were last counted; None: all have to be looked at."""

    @property
    def position(self) -> int:
        """The last one that this process has given."""
        return self._position

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """One transaction for all. Its rows are written together, or, where that fails and where Commits build
        on others of the batch, by one Commit after the other, each in a savepoint.

        Raises: StoreError if the store failed; nothing was kept, unless it says that this is unknown.
        """
        if has_sequels(batch):
            # Written together, a row that a later Commit replaces would never meet its CHECKs.
            return self._repeatedly(lambda: self._one_by_one(batch))
        try:
            return self._repeatedly(lambda: self._together(batch))
        except UNSTORABLE:
            return self._repeatedly(lambda: self._one_by_one(batch))

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """Renews leases; False where step and attempt no longer hold one."""
        return self._repeatedly(lambda: self._renew(renewals)) if renewals else []

    def _repeatedly(self, work: Callable[[], T]) -> T:
        for _ in range(MAX_TRIES):
            connection = self._link.connection()
            if self._link.connected != self._connected:
                # Perhaps another database: a restored one, or a standby that lacks the last commits.
                self._numbers.clear()
                self._new_numbers.forget()
                self._skip_lost_positions()
                self._connected = self._link.connected
            try:
                return self._link.guarded(work)
            except RestartedError:
                # Behind a proxy, which keeps our connection while the server goes.
                self._roll_back(connection)
                self._skip_lost_positions()
            except (*UNSTORABLE, errors.DeadlockDetected, errors.SerializationFailure, RacedError) as error:
                self._roll_back(connection)
                if isinstance(error, UNSTORABLE) and not _is_race(error):
                    raise
                log.debug("a batch is tried again: %s", error)
            except BaseException:
                self._roll_back(connection)
                raise
        raise StoreError(f"other processes wrote the same at the same time, {MAX_TRIES} times")

    def _skip_lost_positions(self) -> None:
        connection, begin, start = self._link.connection(), self._link.begin, self._start
        self._server_started = self._link.guarded(
            lambda: skip_lost_positions(connection, start.advisory_key, begin, start.epoch)
        )

    def _roll_back(self, connection: psycopg.Connection[Any]) -> None:
        if not connection.closed:
            self._link.guarded(connection.rollback)

    def _together(self, batch: Sequence[Commit]) -> list[Verdict]:
        """Writes them with one statement a table."""
        found, positions = self._read(batch, self._link.begin)
        plan, verdicts = self._plan(batch, found, positions)
        try:
            self._write(plan.writes, ("COMMIT",))
        except psycopg.Error as error:
            self._settle(error, plan.position if plan.position > self._position else 0)
        self._remember([found], [plan])
        return verdicts

    def _one_by_one(self, batch: Sequence[Commit]) -> list[Verdict]:
        """One transaction, in which a Commit sees what those before it wrote."""
        connection = self._link.connection()
        keys = [commit.key for commit in batch if commit.key is not None]
        lines, schedules, prepare = _lines_touched(batch), _schedules_changed(batch), self._link.prepares
        with connection.pipeline():
            for statement in self._link.begin:
                connection.execute(statement)
            connection.execute(st.LOCK_RUNS, self._run_names(keys), prepare=prepare)
            if lines:
                connection.execute(st.LOCK_LINES.text, st.LOCK_LINES.pack(lines), prepare=prepare)
            if schedules:
                connection.execute(st.LOCK_SCHEDULES.text, st.LOCK_SCHEDULES.pack(schedules), prepare=prepare)
        before, kept = self._position, list[tuple[Found, BatchPlan]]()
        verdicts = [self._alone(commit, kept) for commit in batch]
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            self._settle(error, self._position if self._position > before else 0)
        self._remember([found for found, _ in kept], [plan for _, plan in kept])
        return verdicts

    def _alone(self, commit: Commit, kept: list[tuple[Found, BatchPlan]]) -> Verdict:
        connection = self._link.connection()
        try:
            found, positions = self._read((commit,), ("SAVEPOINT alone",))
            plan, (verdict,) = self._plan((commit,), found, positions)
            self._write(plan.writes, ("RELEASE alone",))
        except UNSTORABLE as error:
            if _is_race(error):
                raise RacedError(str(error)) from error
            connection.execute("ROLLBACK TO alone")
            connection.execute("RELEASE alone")
            return Verdict(VerdictKind.FAILED, error=str(error))
        if verdict.kind is VerdictKind.COMMITTED:
            self._position = plan.position
            kept.append((found, plan))
        return verdict

    def _plan(self, batch: Sequence[Commit], found: Found, positions: Sequence[int]) -> tuple[BatchPlan, list[Verdict]]:
        plan = BatchPlan(found, self._genesis, self._position, positions, self._new_numbers.give())
        return plan, [plan.add(commit) for commit in batch]

    def _remember(self, found: Iterable[Found], plans: Iterable[BatchPlan]) -> None:
        """What is on disk now."""
        for one in found:
            self._numbers.update(one.numbers)
        while len(self._numbers) > MAX_NAMES:
            del self._numbers[next(iter(self._numbers))]
        for plan in plans:
            self._position = max(self._position, plan.position)
            if self.event_keys is not None:
                self.event_keys.update(plan.writes.event_keys)
        if self.event_keys is not None and len(self.event_keys) > MAX_EVENT_KEYS:
            self.event_keys = None

    def _settle(self, error: psycopg.Error, position: int) -> None:
        """COMMIT was perhaps sent, and not answered. Returns if the transaction was committed all the same.
        `position`: the last one that it took, if any.

        Raises: StoreError if it was not, or if that cannot be learned; the error itself if that was an answer.
        """
        if not self._link.is_lost(error):
            raise error
        outcome = self._link.outcome(self._transaction_id, self._server_started, position)
        if outcome != "committed":
            raise StoreError(
                f"the database went away during a commit, which was {outcome}: {one_line(error)}"
            ) from error
        log.warning("the answer to a commit was lost; the database says that it was committed")

    # The first round trip.

    def _run_names(self, keys: Iterable[RunKey]) -> list[bytes]:
        """Parameters of LOCK_RUNS."""
        known: list[int] = []
        unknown: list[RunKey] = []
        for key in keys:
            number = self._numbers.get(key)
            if number is None:
                unknown.append(key)
            else:
                known.append(number)
        return [int8s(known), texts([key.namespace for key in unknown]), texts([key.run_id for key in unknown])]

    def _read(self, batch: Sequence[Commit], begin: Sequence[LiteralString]) -> tuple[Found, Sequence[int]]:
        """Locks the runs, and reads all that the batch names."""
        found = Found()
        created = {(commit.namespace, new.identity.run_id) for commit in batch for new in commit.new_runs}
        names = self._unknown_names(batch, created, found)
        self._get_identifier_blocks(len(names))
        keys = [commit.key for commit in batch if commit.key is not None]
        requests = [
            (commit.namespace, commit.request.method, commit.request.request_id)
            for commit in batch
            if commit.request is not None
        ]
        events: list[EventKey] = [event_key(commit.namespace, event) for commit in batch for event in commit.events]
        lines, schedules = _lines_touched(batch), _schedules_changed(batch)
        slots = [(key.namespace, row.key, key.run_id) for commit in batch for key, row in slots_wanted(commit)]
        places = sum(map(_places, batch))
        connection, prepare = self._link.connection(), self._link.prepares

        def ask(
            wanted: bool, statement: LiteralString, parameters: Callable[[], Sequence[Any]]
        ) -> Iterable[tuple[Any, ...]]:
            return connection.execute(statement, parameters(), prepare=prepare, binary=True) if wanted else ()

        with connection.pipeline():
            for statement in begin:
                connection.execute(statement)
            heads = ask(bool(keys), st.LOCK_RUNS, lambda: self._run_names(keys))
            numbers = ask(bool(names), st.FIND_NUMBERS.text, lambda: st.FIND_NUMBERS.pack(names))
            known_requests = ask(bool(requests), st.FIND_REQUESTS.text, lambda: st.FIND_REQUESTS.pack(requests))
            known_events = ask(bool(events), st.FIND_EVENTS.text, lambda: st.FIND_EVENTS.pack(events))
            ask(bool(lines), st.LOCK_LINES.text, lambda: st.LOCK_LINES.pack(lines))
            ask(bool(schedules), st.LOCK_SCHEDULES.text, lambda: st.LOCK_SCHEDULES.pack(schedules))
            versions = ask(bool(schedules), st.FIND_SCHEDULES.text, lambda: st.FIND_SCHEDULES.pack(schedules))
            known_lines = ask(bool(slots), st.FIND_LINES.text, lambda: st.FIND_LINES.pack(slots))
            locked = ask(True, LOCK_POSITIONS, lambda: (self._start.advisory_key,))
            taken = ask(bool(places), TAKE_POSITIONS, lambda: (places,))
        _add_heads(heads, found)
        for n, number, is_run in numbers:
            namespace, identifier = names[int(n) - 1]
            found.numbers[namespace, identifier] = number
            if is_run and (namespace, identifier) in created:
                found.runs.setdefault(RunKey(namespace, identifier), _taken(namespace, identifier, number))
        for n, body_hash, reply, at in known_requests:
            namespace, method, request_id = requests[int(n) - 1]
            found.requests[namespace, method, request_id] = RequestRow(method, request_id, body_hash, reply, at)
        for n, position in known_events:
            found.events[events[int(n) - 1]] = position
        for n, version in versions:
            found.schedules[schedules[int(n) - 1]] = version
        for n, holding, first, holds in known_lines:
            namespace, slot_key, run_id = slots[int(n) - 1]
            found.lines[namespace, slot_key] = KnownLine(holding, first or "")
            if holds:
                found.holders.add(RunKey(namespace, run_id))
        ((self._transaction_id, _, started),) = locked
        if started != self._server_started:
            raise RestartedError("the server was started anew")
        return found, as_positions(*taken) if places else ()

    def _unknown_names(
        self, batch: Sequence[Commit], created: set[tuple[str, str]], found: Found
    ) -> list[tuple[str, str]]:
        """Identifiers to be looked up; the numbers of the others go into `found`."""
        names: dict[tuple[str, str], None] = {}
        for commit in batch:
            if commit.new_runs or commit.identity is not None:
                for name in identifiers_named(commit, (commit.key,) if commit.key else ()):
                    number = None if name in created else self._numbers.get(name)
                    if number is None:
                        names[name] = None
                    else:
                        found.numbers[name] = number
        return list(names)

    def _get_identifier_blocks(self, count: int) -> None:
        for _ in range(self._new_numbers.lacks(count)):
            row = self._link.connection().execute(TAKE_IDENTIFIER_BLOCK).fetchone()
            if row is not None:
                self._new_numbers.add_block(row[0])

    # The second round trip.

    def _write(self, writes: Writes, end: Sequence[LiteralString]) -> None:
        """Tables always in this order, rows of shared keys sorted: two writers wait in one direction only."""
        connection, prepare = self._link.connection(), self._link.prepares
        new_runs, heads = _head_rows(writes)
        gone, timers = _split(writes.timers)
        steps: list[tuple[st.RowStatement, Sequence[Row]]] = [
            (st.INSERT_IDENTIFIERS, sorted(writes.identifiers, key=lambda row: row[1:])),
            (st.INSERT_RUNS, new_runs),
            (st.UPDATE_HEADS, heads),
            (st.UPDATE_IDENTITIES, list(writes.identities.values())),
            (st.INSERT_LABELS, writes.labels),
            (st.INSERT_RECORDS, writes.records),
            (st.INSERT_PAYLOADS, writes.payloads),
            (st.PUT_KEYFRAMES, list(writes.keyframes.values())),
            *_replacement(st.DELETE_WAITS, st.PUT_WAITS, writes.waits),
            *_replacement(st.DELETE_TASKS, st.PUT_TASKS, writes.tasks),
            *_replacement(st.DELETE_TURNS, st.PUT_TURNS, writes.turns),
            (st.DELETE_TIMERS, gone),
            (st.PUT_TIMERS, timers),
            *_replacement(st.DELETE_SLOTS, st.PUT_SLOTS, writes.slots),
            (st.DELETE_MAIL, sorted(writes.mail_out)),
            (st.INSERT_MAIL, sorted((*key, position) for key, position in writes.mail_in.items())),
            (st.INSERT_EVENTS, sorted(writes.events, key=lambda row: row[1:6])),
            (st.INSERT_REQUESTS, sorted(writes.requests, key=lambda row: row[:3])),
            *_replacement(st.DELETE_SCHEDULES, st.PUT_SCHEDULES, writes.schedules),
        ]
        with connection.pipeline():
            for statement, rows in steps:
                if rows:
                    connection.execute(statement.text, statement.pack(rows), prepare=prepare)
            for statement in end:
                connection.execute(statement)

    def _renew(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        connection, prepare = self._link.connection(), self._link.prepares
        keys = list(dict.fromkeys(renewal.key for renewal in renewals))
        with connection.pipeline():
            for statement in self._link.begin:
                connection.execute(statement)
            heads = connection.execute(st.LOCK_RUNS, self._run_names(keys), prepare=prepare, binary=True)
        found = Found()
        _add_heads(heads, found)
        cursors: list[psycopg.Cursor[Any] | None] = []
        with connection.pipeline():
            for renewal in renewals:
                run = found.runs.get(renewal.key)
                values = renewal.step_id, renewal.attempt, renewal.lease_expires_at, renewal.heartbeat_due_at
                cursors.append(
                    connection.execute(st.RENEW_LEASE, (run.run_no, *values), prepare=prepare) if run else None
                )
            connection.execute("COMMIT")
        return [cursor is not None and cursor.rowcount == 1 for cursor in cursors]


def _is_race(error: BaseException) -> bool:
    return isinstance(error, errors.UniqueViolation) and error.diag.constraint_name in RACES


def _lines_touched(batch: Sequence[Commit]) -> list[tuple[str, str]]:
    """(namespace, key) of the concurrency keys that runs of the batch get a slot of, or a place in line, in order."""
    changes = [(commit.namespace, commit.change) for commit in batch]
    changes += [(commit.namespace, new.change) for commit in batch for new in commit.new_runs]
    return sorted({(namespace, change.slot.key) for namespace, change in changes if change.slot is not None})


def _schedules_changed(batch: Sequence[Commit]) -> list[tuple[str, str]]:
    """(namespace, schedule_id) of the schedules that the batch changes, in order."""
    return sorted({(commit.namespace, commit.schedule.schedule_id) for commit in batch if commit.schedule is not None})


def _places(commit: Commit) -> int:
    """Positions that a Commit may need."""
    return len(commit.records) + len(commit.events) + sum(len(new.records) for new in commit.new_runs)


def _taken(namespace: str, run_id: str, number: int) -> KnownRun:
    """Stands for a run whose id a Commit would give to a new one."""
    return KnownRun(RunKey(namespace, run_id), number, 0, 0, 0, 0, 0, b"", None, 0)


def _add_heads(rows: Iterable[tuple[Any, ...]], found: Found) -> None:
    for row in rows:
        key = RunKey(row[12], row[13])
        found.numbers[key] = row[0]
        found.runs[key] = KnownRun(
            key=key,
            run_no=row[0],
            namespace_no=row[1],
            root_no=row[2],
            session_no=row[3],
            workflow_no=row[4],
            seq=row[5],
            head_hash=row[6],
            shape=(row[7], row[8], bool(row[9]), row[10], row[11]),
            wait_id=row[11],
        )


def _head_rows(writes: Writes) -> tuple[list[Row], list[Row]]:
    """Rows of new runs, and new heads of others."""
    new_rows: list[Row] = []
    heads: list[Row] = []
    for run_no, (run, head) in writes.heads.items():
        if run.shape is None:
            new_rows.append(new_run_row(run, writes.new_runs[run_no], head))
        else:
            state = (head.seq, head.updated_at, head.step_budget, head.current_node, head.error_type, head.head_hash)
            heads.append((run_no, *head_shape(head), *state))
    return new_rows, heads


def _split(rows: _Rows) -> tuple[list[Row], list[Row]]:
    """Keys of rows to delete, and rows to put."""
    gone: list[Row] = [(key,) if isinstance(key, int) else key for key, row in rows.items() if row is None]
    return gone, [row for row in rows.values() if row is not None]


def _replacement(
    deletion: st.RowStatement, put: st.RowStatement, rows: _Rows
) -> tuple[tuple[st.RowStatement, Sequence[Row]], ...]:
    gone, kept = _split(rows)
    return (deletion, gone), (put, kept)
