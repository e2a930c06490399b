"""The tables, once for every SQL backend. `migrations/` brings a database here; a test compares the two.

Three decisions hold everywhere:

- Ids are numbered per namespace (`identifiers`). A run's `run_no` is the number of its run_id, and the
  scopes of the ledger (root, session, workflow, namespace) are numbers too: the ledger's indexes take most
  of the pages that a commit writes, and small keys halved its processor time against text.
- A root run in a session of its own, the usual run, is in none of the indexes for trees and sessions: it is
  found by its own number (`ix_records_tree`, `ix_records_session` are partial).
- Flags are 0 and 1, instants Unix microseconds, text compares by code point.

CHECKs refuse combinations that no Commit may bring about; `memory/constraints.py` is their twin.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

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


store_meta: Final = sa.Table(
    "store_meta",
    metadata,
    *_texts("name", "value"),
    sa.PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
"""Facts about the data as a whole: `epoch`; `position` where trimmed rows took the last one with them;
`tokens_name_epoch`, not in a store that 0.1 made, until it gets another epoch."""

identifiers: Final = sa.Table(
    "identifiers",
    metadata,
    _key("identifier_no"),
    *_texts("namespace", "identifier"),
    sa.UniqueConstraint("namespace", "identifier", name="uq_identifiers"),
    sqlite_strict=True,
)
"""Numbers of ids. The empty identifier stands for the namespace itself."""

runs: Final = sa.Table(
    "runs",
    metadata,
    _key("run_no"),
    *_numbers("namespace_no", "root_no", "parent_no", "session_no", "workflow_no", "version_no"),
    *_texts("namespace", "run_id", "root_run_id", "parent_run_id", "workflow_id", "workflow_version"),
    *_texts("entry_node", "branch", "session_id", "actor_id"),
    *_numbers("depth", "drive", "created_at", "deadline_at"),
    *_numbers("status", "activity", "paused", "ended_at", "wait_id"),
    *_numbers("seq", "updated_at", "step_budget"),
    *_texts("current_node", "error_type"),
    *_blobs("head_hash"),
    _check("runs_ids", "run_id <> '' AND root_run_id <> '' AND session_id <> ''"),
    _check("runs_workflow", "workflow_id <> '' AND workflow_version <> ''"),
    _check("runs_fixed", "depth >= 0 AND drive IN (1, 2)"),
    _check("runs_parent", "(parent_run_id = '') = (parent_no = 0)"),
    _check("runs_head", "status BETWEEN 1 AND 5 AND activity BETWEEN 0 AND 6 AND paused IN (0, 1) AND seq >= 1"),
    _check("runs_ended", "(status >= 3) = (activity = 0) AND (status >= 3) = (ended_at <> 0)"),
    _check("runs_ended_paused", "status < 3 OR paused = 0"),
    _check("runs_waiting", "(activity = 4) = (wait_id <> 0)"),
    _check("runs_hash", "length(head_hash) = 32"),
    _index("ix_runs_created", "namespace_no", "created_at"),
    _index("ix_runs_status", "namespace_no", "status", "created_at"),
    _index("ix_runs_activity", "namespace_no", "activity", "created_at", where="activity <> 0"),
    _index("ix_runs_paused", "namespace_no", "created_at", where="paused = 1"),
    _index("ix_runs_roots", "namespace_no", "created_at", where="parent_no = 0"),
    _index("ix_runs_ended", "namespace_no", "ended_at", where="ended_at <> 0"),
    _index("ix_runs_workflow", "workflow_no", "status", "created_at"),
    _index("ix_runs_version", "version_no", "created_at"),
    _index("ix_runs_session", "session_no", "created_at"),
    _index("ix_runs_root", "root_no", "created_at"),
    _index("ix_runs_parent", "parent_no", "created_at", where="parent_no <> 0"),
    sqlite_strict=True,
)
"""One row a run: its identity, which hardly ever changes, and the head that every commit writes."""

labels: Final = sa.Table(
    "labels",
    metadata,
    *_numbers("run_no"),
    *_texts("name", "value"),
    *_numbers("namespace_no", "created_at"),
    sa.PrimaryKeyConstraint("run_no", "name"),
    _index("ix_labels", "namespace_no", "name", "value", "created_at"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

records: Final = sa.Table(
    "records",
    metadata,
    _key("position"),
    *_numbers("run_no", "seq", "namespace_no", "root_no", "session_no", "workflow_no"),
    *_numbers("kind", "status", "at", "payload_bytes"),
    *_texts("node_id"),
    *_blobs("prev_hash", "record_hash", "record"),
    _check("records_numbers", "position >= 1 AND seq >= 1 AND kind >= 1 AND status >= 0 AND payload_bytes >= 0"),
    _check("records_hashes", "length(prev_hash) = 32 AND length(record_hash) = 32"),
    _index("ix_records_run", "run_no", "seq", unique=True),
    _index("ix_records_namespace", "namespace_no", "position"),
    _index("ix_records_workflow", "workflow_no", "position"),
    _index("ix_records_tree", "root_no", "position", where="root_no <> run_no"),
    _index("ix_records_session", "session_no", "position", where="session_no <> root_no"),
    sqlite_strict=True,
)
"""The ledger, in the order of its positions."""

payloads: Final = sa.Table(
    "payloads",
    metadata,
    _key("payload_no"),
    *_blobs("salt"),
    sa.Column("data", sa.LargeBinary()),
    _check("payloads", "payload_no >= 256 AND length(salt) = 16"),
    sqlite_strict=True,
)
"""What records commit to. `payload_no` is the record's position * 256 + the slot: one integer key appends to
the end of the table, where a key of two columns rebalanced two pages a commit. `data` NULL: erased."""

keyframes: Final = sa.Table(
    "keyframes",
    metadata,
    _key("run_no"),
    *_numbers("seq"),
    *_blobs("state"),
    _check("keyframes", "seq >= 1"),
    sqlite_strict=True,
)
"""The newest keyframe of a run; a cache of the fold, never the truth."""

waits: Final = sa.Table(
    "waits",
    metadata,
    _key("run_no"),
    *_numbers("namespace_no", "session_no", "workflow_no", "wait_id", "reason", "event_scope", "since_at"),
    *_texts("run_id", "wait_key", "assignee", "event_name", "event_scope_id"),
    *_blobs("detail"),
    _check("waits", "wait_id >= 1 AND reason BETWEEN 1 AND 6"),
    _check("waits_event", "event_name = '' OR event_scope BETWEEN 1 AND 4"),
    _index("ix_waits_since", "namespace_no", "since_at"),
    _index("ix_waits_reason", "namespace_no", "reason", "since_at"),
    _index("ix_waits_key", "namespace_no", "wait_key", "since_at", where="wait_key <> ''"),
    _index("ix_waits_assignee", "namespace_no", "assignee", "since_at", where="assignee <> ''"),
    _index("ix_waits_workflow", "workflow_no", "since_at"),
    _index("ix_waits_session", "session_no", "since_at"),
    _index(
        "ix_waits_event",
        "namespace_no",
        "event_scope",
        "event_scope_id",
        "event_name",
        "run_id",
        where="event_name <> ''",
    ),
    sqlite_strict=True,
)
"""The registered waits."""

tasks: Final = sa.Table(
    "tasks",
    metadata,
    _key("run_no"),
    *_numbers("namespace_no", "step_id", "attempt", "priority", "queued_at", "held", "leased"),
    *_numbers("lease_expires_at", "heartbeat_due_at"),
    *_texts("node_id", "effect_type", "workflow_id", "workflow_version", "queue", "worker_id"),
    _check("tasks_step", "step_id >= 1 AND attempt >= 0"),
    _check("tasks_state", "held IN (0, 1) AND leased IN (0, 1) AND held + leased <= 1"),
    _check("tasks_lease", "(leased = 1) = (worker_id <> '') AND (leased = 1) = (lease_expires_at > 0)"),
    _check("tasks_heartbeat", "heartbeat_due_at >= 0 AND (leased = 1 OR heartbeat_due_at = 0)"),
    _index(
        "ix_tasks_ready",
        "namespace_no",
        "queue",
        sa.text("priority DESC"),
        "queued_at",
        "effect_type",
        "workflow_id",
        where="held = 0 AND leased = 0",
    ),
    _index("ix_tasks_lease", "lease_expires_at", where="leased = 1"),
    _index("ix_tasks_heartbeat", "heartbeat_due_at", where="heartbeat_due_at <> 0"),
    sqlite_strict=True,
)

turns: Final = sa.Table(
    "turns",
    metadata,
    _key("run_no"),
    *_numbers("held", "position"),
    _check("turns", "held IN (0, 1)"),
    _index("ix_turns_ready", "position", where="held = 0"),
    sqlite_strict=True,
)
"""Further turns of the server's own; `position` is their place in line."""

timers: Final = sa.Table(
    "timers",
    metadata,
    *_numbers("run_no", "kind", "due_at"),
    sa.PrimaryKeyConstraint("run_no", "kind"),
    _check("timers", "kind >= 1 AND due_at > 0"),
    _index("ix_timers_due", "due_at"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

slots: Final = sa.Table(
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
"""Runs with a concurrency key: those that hold a slot of it (kind 3), and those in line by their rank (1; 2: aside)."""

mail: Final = sa.Table(
    "mail",
    metadata,
    *_texts("namespace", "to_run_id", "kind", "from_run_id"),
    *_numbers("position"),
    sa.PrimaryKeyConstraint("namespace", "to_run_id", "kind", "from_run_id"),
    _index("ix_mail_line", "position"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
"""Messages to runs; `position` is their place in line."""

events: Final = sa.Table(
    "events",
    metadata,
    _key("position"),
    *_texts("namespace"),
    *_numbers("scope"),
    *_texts("scope_id", "name", "event_id"),
    *_numbers("at"),
    *_texts("run_id", "workflow_id", "node_id", "session_id", "emitted_by"),
    *_blobs("payload"),
    _check("events", "scope BETWEEN 1 AND 4 AND name <> ''"),
    _index("ix_events_id", "namespace", "scope", "scope_id", "name", "event_id", unique=True),
    _index("ix_events_name", "namespace", "scope", "scope_id", "name", "position"),
    _index("ix_events_scope", "namespace", "scope", "scope_id", "position"),
    _index("ix_events_at", "at"),
    sqlite_strict=True,
)

requests: Final = sa.Table(
    "requests",
    metadata,
    *_texts("namespace", "method", "request_id"),
    *_numbers("at"),
    *_blobs("body_hash", "reply"),
    sa.PrimaryKeyConstraint("namespace", "method", "request_id"),
    _index("ix_requests_at", "at"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

namespaces: Final = sa.Table(
    "namespaces",
    metadata,
    *_texts("namespace", "description"),
    *_numbers("created_at"),
    sa.PrimaryKeyConstraint("namespace"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

workflows: Final = sa.Table(
    "workflows",
    metadata,
    *_texts("namespace", "workflow_id", "version", "entry_node"),
    *_numbers("node_count", "registered_at", "is_default"),
    *_blobs("spec"),
    sa.PrimaryKeyConstraint("namespace", "workflow_id", "version"),
    _check("workflows", "is_default IN (0, 1)"),
    _index("ix_workflows_default", "namespace", "workflow_id", where="is_default = 1", unique=True),
    _index("ix_workflows_registered", "namespace", "registered_at", "workflow_id", "version"),
    sqlite_strict=True,
)

schedules: Final = sa.Table(
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
"""Schedules: what the loop looks for, and the rest as the codec wrote it. `next_at` 0: nothing is to come."""
