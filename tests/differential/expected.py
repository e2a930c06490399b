"""What must have happened in a long stream: one in which some operation never succeeded has proved too little."""

from __future__ import annotations

from typing import Final

from perdure_server.kernel.records import RecordKind
from tests.differential.operations import KINDS
from tests.differential.oracle import Tally

NEVER_SUCCEEDS: Final = {"bad"}

METHODS: Final = {
    *("StartRun", "TickRun", "ResumeRun", "CancelRun", "PauseRun", "UnpauseRun", "ResolveStep", "RetryRun"),
    *("RetryRuns", "MigrateRun", "EmitEvent", "GetRun", "ListRuns", "CountRuns", "ListWaits", "WaitRun", "ListEvents"),
    *("ListRecords", "VerifyRun"),
    *("RegisterWorkflow", "GetWorkflow", "ListWorkflows", "ValidateWorkflow", "SetDefaultVersion"),
    *("PollTasks", "ReportTasks", "HeartbeatTasks"),
    *("AuditRuns", "ListWorkers", "CreateNamespace"),
}

LEFT_OUT: Final = {
    "WatchRun": "a stream: what it tells is what GetRun tells",
    "SubscribeLedger": "a stream: tests/ledger has its order; ListRecords shares its cursors",
    "Work": "a stream: which message goes first is the network's choice; the unary calls are the same code",
    "GetServerInfo": "tells of the process and the kind of its store",
    **dict.fromkeys(
        (
            "CreateSchedule",
            "GetSchedule",
            "ListSchedules",
            "UpdateSchedule",
            "DeleteSchedule",
            "PauseSchedule",
            "UnpauseSchedule",
            "TriggerSchedule",
            "BackfillSchedule",
            "PreviewSchedule",
        ),
        "not an operation yet: schedules came after the oracle",
    ),
}
"""RPCs that are no operations, and why."""

ACKS: Final = {
    "TASK",
    *(f"REPORT {status}" for status in ("ACCEPTED", "DUPLICATE", "STALE", "REFUSED")),
    *(f"BEGIN {status}" for status in ("ACCEPTED", "DUPLICATE", "STALE", "REFUSED")),
    *(f"LEASE {state}" for state in ("HELD", "LOST")),
}

ERRORS: Final = {
    *("RUN_NOT_FOUND", "RUN_EXISTS", "RUN_ENDED", "RUN_NOT_WAITING", "RUN_NOT_FAILED"),
    *("WAIT_ENDED", "WAIT_KEY_MISMATCH", "STEP_NOT_PARKED", "REQUEST_ID_REUSED", "CONCURRENCY_LIMIT"),
    *("WORKFLOW_NOT_FOUND", "NODE_NOT_FOUND", "NAMESPACE_NOT_FOUND", "NAMESPACE_EXISTS", "MIGRATION_REFUSED"),
    *("INVALID_FIELD", "INVALID_PAGE_TOKEN", "INVALID_SPEC"),
}


def missing(tally: Tally) -> set[str]:
    """What has not happened and should have."""
    kinds = {f"operation {kind}" for kind in KINDS if kind not in NEVER_SUCCEEDS and not tally.succeeded[kind]}
    methods = {f"method {name}" for name in METHODS if not tally.succeeded[name]}
    acks = {f"ack {name}" for name in ACKS if not tally.acks[name]}
    errors = {f"error {name}" for name in ERRORS if not tally.errors[name]}
    records = {f"record {kind.name}" for kind in RecordKind if not tally.records[kind.name]}
    return kinds | methods | acks | errors | records
