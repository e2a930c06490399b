"""Every metric there is: its name, kind, labels and meaning. docs/metrics.md is compared with this list.

Names and units follow Prometheus: base units (seconds, bytes), `_total` for what only grows, no unit in a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. A counter's name ends in `_total`."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    text: str
    labels: tuple[str, ...] = ()


INFO: Final = Family("perdure_info", "gauge", "1; the labels tell release and store.", ("version", "store"))
READY: Final = Family("perdure_ready", "gauge", "1 while the store answers, takes writes, and nothing drains.")
DRAINING: Final = Family("perdure_draining", "gauge", "1 once the process was asked to stop.")
UPTIME: Final = Family("perdure_uptime_seconds", "gauge", "Since the server came up.")

RUNS: Final = Family(
    "perdure_runs",
    "gauge",
    "Runs that have not ended, all namespaces together, by what they do. At most 100,000 of an activity are counted in"
    " a namespace; refreshed every ten seconds.",
    ("activity",),
)
PAUSED: Final = Family("perdure_runs_paused", "gauge", "Of these, the paused ones.")
RUNS_CUT: Final = Family(
    "perdure_runs_count_is_partial", "gauge", "1 if there are more runs or namespaces than were counted."
)
RUNS_CACHED: Final = Family("perdure_runs_cached", "gauge", "Runs held in memory.")

RECORDS: Final = Family(
    "perdure_records_total",
    "counter",
    "Records that this process committed, by kind: run_started, step_completed, parked, failed, ...",
    ("kind",),
)
COMMITS: Final = Family("perdure_commits_total", "counter", "Atomic changes that this process committed.")
COMMIT_BATCH: Final = Family("perdure_commit_batch_size", "histogram", "Commits that shared one store transaction.")
COMMIT_SECONDS: Final = Family("perdure_commit_seconds", "histogram", "Time of one store transaction with its flush.")
CONFLICTS: Final = Family("perdure_conflicts_total", "counter", "Commits refused because the run had moved on.")
STORE_ERRORS: Final = Family("perdure_store_errors_total", "counter", "Transactions that the store refused.")
REPAIRS: Final = Family("perdure_repairs_total", "counter", "Rows the sweeper had to put right; not expected.")
LOOP_FAILURES: Final = Family("perdure_loop_failures_total", "counter", "Failed passes of background loops.", ("loop",))
TRIMMED: Final = Family("perdure_rows_trimmed_total", "counter", "Rows that retention deleted.")

HORIZON: Final = Family("perdure_ledger_horizon", "gauge", "Position up to which the ledger is final.")
HORIZON_LAG: Final = Family(
    "perdure_ledger_horizon_lag_positions", "gauge", "Positions this process committed that are not final yet."
)
TAILER_LAG: Final = Family(
    "perdure_ledger_tailer_lag_positions", "gauge", "Final positions that subscribers could not be shown yet."
)
RING_RECORDS: Final = Family("perdure_ledger_ring_records", "gauge", "Records kept in memory for subscribers.")
RING_BYTES: Final = Family("perdure_ledger_ring_bytes", "gauge", "Their size.")
SUBSCRIBERS: Final = Family("perdure_ledger_subscribers", "gauge", "Open ledger subscriptions.")

STREAMS: Final = Family("perdure_worker_streams", "gauge", "Open worker streams.")
POLLS: Final = Family("perdure_worker_polls", "gauge", "Polls of workers that wait for tasks.")
CREDIT: Final = Family("perdure_worker_credit", "gauge", "Tasks that connected workers would take now.")
LEASES: Final = Family("perdure_leases_held", "gauge", "Leases that workers known to this process hold.")
LAPSES: Final = Family("perdure_leases_lapsed_total", "counter", "Leases that ended without a report.")
TASKS_SENT: Final = Family("perdure_tasks_sent_total", "counter", "Tasks handed to workers.")
QUEUE_TASKS: Final = Family(
    "perdure_queue_tasks",
    "gauge",
    "Tasks that wait for a worker, as far as this process remembers them (10,000 of each kind). The 50 oldest queues"
    " have labels, the others are together under (other).",
    ("namespace", "queue"),
)
QUEUE_AGE: Final = Family(
    "perdure_queue_oldest_task_seconds", "gauge", "Age of the oldest of them.", ("namespace", "queue")
)
BLOCKED: Final = Family("perdure_tasks_blocked", "gauge", "Of these, due for a minute with nobody to take them.")

TIMER_LATENESS: Final = Family(
    "perdure_timer_lateness_seconds", "histogram", "From a timer's instant until its run was given it."
)

CALLS: Final = Family("perdure_requests_total", "counter", "Ended calls.", ("method", "code"))
CALL_SECONDS: Final = Family(
    "perdure_request_seconds", "histogram", "Time of unary calls that do not wait by design.", ("method",)
)
CALLS_OPEN: Final = Family("perdure_requests_under_way", "gauge", "Unary calls being handled.")
CALLS_REFUSED: Final = Family("perdure_requests_refused_total", "counter", "Calls refused by TOO_MANY_CALLS.")
DEFECTS: Final = Family("perdure_defects_total", "counter", "Calls that failed by a defect of the server.")

LOOP_LAG: Final = Family(
    "perdure_event_loop_lag_seconds", "histogram", "How much later than asked the event loop woke, four times a second."
)
OWN: Final = tuple(each for each in vars().copy().values() if isinstance(each, Family))
"""All of the above."""

PROCESS: Final = (
    Family("process_cpu_seconds_total", "counter", "Processor time."),
    Family("process_resident_memory_bytes", "gauge", "Resident memory (RSS)."),
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory."),
    Family("process_start_time_seconds", "gauge", "When the process started, Unix time."),
    Family("process_open_fds", "gauge", "Open file descriptors."),
    Family("process_max_fds", "gauge", "Most that it may open."),
)
"""What prometheus-client tells of any process on Linux."""
