"""Commits on SQLite: one transaction per batch, every table written by one statement.

Runs on the driver's connection, because SQLAlchemy's execution costs three times the insert itself at one row;
the statements are made from its schema all the same.
"""

from __future__ import annotations

import itertools
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import orjson

from perdure_server.storage.port import Commit, RequestRow, RunKey, Verdict, VerdictKind
from perdure_server.storage.rules import Genesis
from perdure_server.storage.sql import schema
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
from perdure_server.storage.sql.grouped import Grouped, Row, delete, insert, numbered_values, update

UNSTORABLE: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
"""What SQLite and its driver raise for values that one Commit brought, as opposed to a store that fails."""

MAX_HEADS: Final = 20_000
"""Heads of runs that are remembered, some 400 bytes each."""

MAX_EVENT_KEYS: Final = 100_000
"""Keys of the event log remembered between two trimmings; beyond it, all are looked at."""

_STATE_COLUMNS: Final = ("seq", "updated_at", "step_budget", "current_node", "error_type", "head_hash")
_SHAPE_COLUMNS: Final = ("status", "activity", "paused", "ended_at", "wait_id")

_insert_identifiers: Final = insert(schema.identifiers)
_insert_runs: Final = insert(schema.runs)
_update_heads: Final = update(schema.runs, "run_no", _STATE_COLUMNS)
_update_shapes: Final = update(schema.runs, "run_no", _SHAPE_COLUMNS + _STATE_COLUMNS)
_update_identities: Final = update(schema.runs, "run_no", ("version_no", "workflow_version", "deadline_at"))
_insert_labels: Final = insert(schema.labels)
_insert_records: Final = insert(schema.records)
_insert_payloads: Final = insert(schema.payloads)
_put_keyframes: Final = insert(schema.keyframes, on_conflict="REPLACE")
_put_waits: Final = insert(schema.waits, on_conflict="REPLACE")
_delete_waits: Final = delete(schema.waits, ("run_no",))
_put_tasks: Final = insert(schema.tasks, on_conflict="REPLACE")
_delete_tasks: Final = delete(schema.tasks, ("run_no",))
_put_turns: Final = insert(schema.turns, on_conflict="REPLACE")
_delete_turns: Final = delete(schema.turns, ("run_no",))
_put_timers: Final = insert(schema.timers, on_conflict="REPLACE")
_delete_timers: Final = delete(schema.timers, ("run_no", "kind"))
_put_slots: Final = insert(schema.slots, on_conflict="KEEP rank")
_delete_slots: Final = delete(schema.slots, ("run_no",))
_put_schedules: Final = insert(schema.schedules, on_conflict="REPLACE")
_delete_schedules: Final = delete(schema.schedules, ("namespace", "schedule_id"))
_insert_mail: Final = insert(schema.mail, on_conflict="NOTHING")
_delete_mail: Final = delete(schema.mail, ("namespace", "to_run_id", "kind", "from_run_id"))
_insert_events: Final = insert(schema.events)
_insert_requests: Final = insert(schema.requests)

# The answers come as one JSON array, in one step of the driver. A wanted row is known by its number, because
# JSON text cannot carry every identifier (U+0000).
_find_runs: Final = Grouped(
    lambda rows: (
        f"""
    WITH wanted(n, namespace, identifier) AS (VALUES {numbered_values(rows, 2)})
    SELECT json_group_array(json_array(n, identifier_no, runs.seq, hex(runs.head_hash), runs.namespace_no,
        runs.root_no, runs.session_no, runs.workflow_no, status, activity, paused, ended_at, wait_id))
    FROM wanted CROSS JOIN identifiers USING (namespace, identifier) LEFT JOIN runs ON run_no = identifier_no
    """
    )
)
_find_requests: Final = Grouped(
    lambda rows: (
        f"""
    WITH wanted(n, namespace, method, request_id) AS (VALUES {numbered_values(rows, 3)})
    SELECT n, body_hash, reply, at FROM wanted CROSS JOIN requests USING (namespace, method, request_id)
    """
    )
)
_find_events: Final = Grouped(
    lambda rows: (
        f"""
    WITH wanted(n, namespace, scope, scope_id, name, event_id) AS (VALUES {numbered_values(rows, 5)})
    SELECT n, position FROM wanted CROSS JOIN events USING (namespace, scope, scope_id, name, event_id)
    """
    )
)


_FIND_LINE: Final = """
    SELECT (SELECT count(*) FROM slots WHERE namespace = ?1 AND slot_key = ?2 AND kind = 3),
        (SELECT run_id FROM slots WHERE namespace = ?1 AND slot_key = ?2 AND kind = 1 ORDER BY rank LIMIT 1)
"""
_FIND_SCHEDULE: Final = "SELECT version FROM schedules WHERE namespace = ? AND schedule_id = ?"
_FIND_HOLDER: Final = "SELECT 1 FROM slots WHERE namespace = ? AND slot_key = ? AND kind = 3 AND run_id = ?"


class SqliteCommitter:
    """Applies batches of Commits over one connection, from one thread at a time.

    Args:
        connection: in autocommit mode (`isolation_level=None`), durable at COMMIT.
        genesis: gives the `prev_hash` of a run's first record.
        position: highest one ever given; the next is one more.
        identifier_no: highest one given.
    """

    def __init__(self, connection: sqlite3.Connection, genesis: Genesis, position: int, identifier_no: int) -> None:
        self._cursor = connection.cursor()
        self._genesis = genesis
        self.horizon = position
        """The last position that is on disk; what is being written is above it."""
        self._position = position
        self._identifier_no = identifier_no
        self._heads: dict[RunKey, KnownRun] = {}
        """Heads as the tables hold them: nobody else writes this file. Left alone by whatever is rolled back."""

        self.event_keys: set[EventLogKey] | None = None
        """Keys that got events since they were last counted; None: all have to be looked at."""

    def forget(self, key: RunKey) -> None:
        """Somebody else changes the run's rows: its head is read again."""
        self._heads.pop(key, None)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """One transaction for all. Its rows are written together, or, where that fails and where Commits build
        on others of the batch, by one Commit after the other, each in a savepoint.

        Raises: sqlite3.Error if the store failed; nothing was kept.
        """
        if has_sequels(batch):
            # Written together, a row that a later Commit replaces would never meet its CHECKs.
            return self._one_by_one(batch)
        moved: list[KnownRun] = []
        try:
            verdicts = self._transaction(lambda: self._together(batch, moved))
        except UNSTORABLE:
            return self._one_by_one(batch)
        self._remember(moved)
        return verdicts

    def _one_by_one(self, batch: Sequence[Commit]) -> list[Verdict]:
        """One transaction, in which a Commit sees what those before it wrote; no remembered head is right there."""
        for commit in batch:
            if commit.key is not None:
                self.forget(commit.key)
        return self._transaction(lambda: [self._alone(commit) for commit in batch])

    def _remember(self, moved: Iterable[KnownRun]) -> None:
        """The heads of runs whose commit is on disk, those that ended apart; the oldest leave first."""
        for run in moved:
            self._heads.pop(run.key, None)
            if not run.has_ended:
                self._heads[run.key] = run
        while len(self._heads) > MAX_HEADS:
            del self._heads[next(iter(self._heads))]

    def _transaction(self, work: Callable[[], list[Verdict]]) -> list[Verdict]:
        identifier_no = self._identifier_no
        self._cursor.execute("BEGIN IMMEDIATE")
        try:
            verdicts = work()
            self._cursor.execute("COMMIT")
        except BaseException:
            self._position, self._identifier_no = self.horizon, identifier_no
            if self._cursor.connection.in_transaction:
                self._cursor.execute("ROLLBACK")
            raise
        self.horizon = self._position
        return verdicts

    def _together(self, batch: Sequence[Commit], moved: list[KnownRun]) -> list[Verdict]:
        """Writes them with one statement a table; what became of their runs goes into `moved`."""
        positions = range(self._position + 1, sys.maxsize)
        plan = BatchPlan(
            self._find(batch), self._genesis, self._position, positions, itertools.count(self._identifier_no + 1)
        )
        verdicts = [plan.add(commit) for commit in batch]
        self._write(plan.writes)
        self._position, self._identifier_no = plan.position, self._identifier_no + len(plan.writes.identifiers)
        self._note_events(plan.writes.event_keys)
        moved += [run.moved(head) for run, head in plan.writes.heads.values()]
        return verdicts

    def _note_events(self, keys: Iterable[EventLogKey]) -> None:
        if self.event_keys is not None:
            self.event_keys.update(keys)
            if len(self.event_keys) > MAX_EVENT_KEYS:
                self.event_keys = None

    def _alone(self, commit: Commit) -> Verdict:
        self._cursor.execute("SAVEPOINT alone")
        try:
            (verdict,) = self._together((commit,), [])
        except UNSTORABLE as error:
            self._cursor.execute("ROLLBACK TO alone")
            verdict = Verdict(VerdictKind.FAILED, error=str(error))
        self._cursor.execute("RELEASE alone")
        return verdict

    def _find(self, batch: Sequence[Commit]) -> Found:
        found = Found()
        heads = self._heads
        for commit in batch:
            if commit.key is not None and commit.key in heads:
                found.runs[commit.key] = heads[commit.key]
        unknown = (pair for commit in batch for pair in identifiers_named(commit, found.runs))
        named = list(dict.fromkeys(unknown))
        if named:
            self._find_named(named, found)
        requests = [
            (commit.namespace, commit.request.method, commit.request.request_id)
            for commit in batch
            if commit.request is not None
        ]
        if requests:
            for start, (n, body_hash, reply, at) in _find_requests.read(self._cursor, requests):
                number: int = start + n
                namespace, method, request_id = requests[number]
                row = RequestRow(method, request_id, body_hash, reply, at)
                found.requests[namespace, method, request_id] = row
        events: list[EventKey] = [event_key(commit.namespace, event) for commit in batch for event in commit.events]
        if events:
            for start, (n, position) in _find_events.read(self._cursor, events):
                number: int = start + n
                found.events[events[number]] = position
        for key, row in (wanted for commit in batch for wanted in slots_wanted(commit)):
            self._find_line(key, row.key, found)
        for commit in batch:
            if commit.schedule is not None:
                schedule = commit.namespace, commit.schedule.schedule_id
                stored = self._cursor.execute(_FIND_SCHEDULE, schedule).fetchone()
                found.schedules[schedule] = stored[0] if stored else 0
        return found

    def _find_line(self, run: RunKey, slot_key: str, found: Found) -> None:
        line = run.namespace, slot_key
        if line not in found.lines:
            holding, first = self._cursor.execute(_FIND_LINE, line).fetchone()
            found.lines[line] = KnownLine(holding, first or "")
        if self._cursor.execute(_FIND_HOLDER, (*line, run.run_id)).fetchone():
            found.holders.add(run)

    def _find_named(self, named: list[tuple[str, str]], found: Found) -> None:
        for start, (text,) in _find_runs.read(self._cursor, named):
            rows: list[list[Any]] = orjson.loads(text)
            for row in rows:
                number: int = start + row[0]
                namespace, identifier = named[number]
                found.numbers[namespace, identifier] = row[1]
                if row[2] is not None:
                    key = RunKey(namespace, identifier)
                    found.runs[key] = KnownRun(
                        key=key,
                        run_no=row[1],
                        seq=row[2],
                        head_hash=bytes.fromhex(row[3]),
                        namespace_no=row[4],
                        root_no=row[5],
                        session_no=row[6],
                        workflow_no=row[7],
                        shape=(row[8], row[9], bool(row[10]), row[11], row[12]),
                        wait_id=row[12],
                    )

    def _write(self, writes: Writes) -> None:
        cursor = self._cursor
        if writes.identifiers:
            _insert_identifiers.run(cursor, writes.identifiers)
        if writes.heads:
            self._write_heads(writes)
        if writes.identities:
            _update_identities.run(cursor, list(writes.identities.values()))
        if writes.labels:
            _insert_labels.run(cursor, writes.labels)
        if writes.records:
            _insert_records.run(cursor, writes.records)
        if writes.payloads:
            _insert_payloads.run(cursor, writes.payloads)
        if writes.keyframes:
            _put_keyframes.run(cursor, list(writes.keyframes.values()))
        self._write_obligations(writes)
        if writes.mail_out:
            _delete_mail.run(cursor, list(writes.mail_out))
        if writes.mail_in:
            _insert_mail.run(cursor, [(*key, position) for key, position in writes.mail_in.items()])
        if writes.events:
            _insert_events.run(cursor, writes.events)
        if writes.requests:
            _insert_requests.run(cursor, writes.requests)
        if writes.schedules:
            _delete_schedules.run(cursor, [key for key, row in writes.schedules.items() if row is None])
            _put_schedules.run(cursor, [row for row in writes.schedules.values() if row is not None])

    def _write_heads(self, writes: Writes) -> None:
        new_rows: list[Row] = []
        state_rows: list[Row] = []
        shape_rows: list[Row] = []
        for run_no, (run, head) in writes.heads.items():
            state = (
                head.seq,
                head.updated_at,
                head.step_budget,
                head.current_node,
                head.error_type,
                head.head_hash,
            )
            if run.shape is None:
                new_rows.append(new_run_row(run, writes.new_runs[run_no], head))
            elif (shape := head_shape(head)) == run.shape:
                state_rows.append((run_no, *state))
            else:
                shape_rows.append((run_no, *shape, *state))
        _insert_runs.run(self._cursor, new_rows)
        _update_heads.run(self._cursor, state_rows)
        _update_shapes.run(self._cursor, shape_rows)

    def _write_obligations(self, writes: Writes) -> None:
        if writes.waits:
            self._replace(writes.waits, _delete_waits, _put_waits)
        if writes.tasks:
            self._replace(writes.tasks, _delete_tasks, _put_tasks)
        if writes.turns:
            self._replace(writes.turns, _delete_turns, _put_turns)
        if writes.slots:
            self._replace(writes.slots, _delete_slots, _put_slots)
        if writes.timers:
            gone = [key for key, row in writes.timers.items() if row is None]
            _delete_timers.run(self._cursor, gone)
            _put_timers.run(self._cursor, [row for row in writes.timers.values() if row is not None])

    def _replace(self, rows: dict[int, Row | None], deletion: Grouped, upsert: Grouped) -> None:
        deletion.run(self._cursor, [(key,) for key, row in rows.items() if row is None])
        upsert.run(self._cursor, [row for row in rows.values() if row is not None])
