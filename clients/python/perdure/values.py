"""The contract's enumerations as strings, so that `run.status == "completed"` reads as it should.

Members stand in the contract's order; a number that this version does not know becomes UNSPECIFIED.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Self


class ContractEnum(StrEnum):
    """A string that stands for a number of the contract."""

    @classmethod
    def from_wire(cls, number: int) -> Self:
        """The member for a number; UNSPECIFIED for one this version does not know."""
        members = _members(cls)
        return members.get(number, members[0])

    @property
    def wire(self) -> Any:
        """The contract's number. `Any`, because each generated enum type is a type of its own."""
        return next(number for number, member in _members(type(self)).items() if member is self)


@cache
def _members(kind: type[ContractEnum]) -> Mapping[int, Any]:
    return dict(enumerate(kind))


class RunStatus(ContractEnum):
    """What became of a run."""

    UNSPECIFIED = "unspecified"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """The run has ended."""
        return self in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}


class RunActivity(ContractEnum):
    """What a run that has not ended is doing; UNSPECIFIED once it has."""

    UNSPECIFIED = "unspecified"
    QUEUED = "queued"
    LEASED = "leased"
    BACKOFF = "backoff"
    WAITING = "waiting"
    PARKED = "parked"
    IDLE = "idle"


class DriveMode(ContractEnum):
    """Who moves a run: the server (AUTO) or `tick_run` (MANUAL)."""

    UNSPECIFIED = "unspecified"
    AUTO = "auto"
    MANUAL = "manual"


class EffectRisk(ContractEnum):
    """What a second execution of an effect would do to the world."""

    UNSPECIFIED = "unspecified"
    READ = "read"
    IDEMPOTENT = "idempotent"
    IRREVERSIBLE = "irreversible"


class EventScope(ContractEnum):
    """Who can hear an event; unset means SESSION."""

    UNSPECIFIED = "unspecified"
    SESSION = "session"
    WORKFLOW = "workflow"
    RUN = "run"
    GLOBAL = "global"


class WaitReason(ContractEnum):
    """What a wait waits for."""

    UNSPECIFIED = "unspecified"
    EVENT = "event"
    UNTIL = "until"
    USER = "user"
    JOB = "job"
    SUBWORKFLOW = "subworkflow"
    JOIN = "join"


class ChildCancelPolicy(ContractEnum):
    """What a parent's cancel does to a child run."""

    UNSPECIFIED = "unspecified"
    CANCEL = "cancel"
    ABANDON = "abandon"


class StepStatus(ContractEnum):
    """Status of the step that a record speaks of."""

    UNSPECIFIED = "unspecified"
    STARTED = "started"
    COMPLETED = "completed"
    WAITING = "waiting"
    FAILED = "failed"


class RecordKind(ContractEnum):
    """What a record of the ledger tells."""

    UNSPECIFIED = "unspecified"
    RUN_STARTED = "run_started"
    STEP_STARTED = "step_started"
    STEP_BEGUN = "step_begun"
    STEP_COMPLETED = "step_completed"
    REQUEUED = "requeued"
    WAITING = "waiting"
    RESUMED = "resumed"
    EVENT_CONSUMED = "event_consumed"
    CHILD_ENDED = "child_ended"
    PARKED = "parked"
    UNPARKED = "unparked"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    BUDGET_ADDED = "budget_added"
    CANCEL_REQUESTED = "cancel_requested"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LATE_RESULT = "late_result"
    REOPENED = "reopened"
    MIGRATED = "migrated"
    BRANCHES_STARTED = "branches_started"
    JOINED = "joined"

    @property
    def is_terminal(self) -> bool:
        """The run ends with such a record; only late results may follow it, and after a failure a retry."""
        return self in {RecordKind.COMPLETED, RecordKind.FAILED, RecordKind.CANCELLED}


class OnExisting(ContractEnum):
    """What `start_run` does when the run id is taken."""

    UNSPECIFIED = "unspecified"
    FAIL = "fail"
    RETURN = "return"


class OnLimit(ContractEnum):
    """What becomes of a run for which its concurrency key has no slot."""

    UNSPECIFIED = "unspecified"
    QUEUE = "queue"
    REJECT = "reject"
    CANCEL_OLDEST = "cancel_oldest"


class ScheduleOverlap(ContractEnum):
    """What becomes of an instant while a run of the schedule has not ended; unset means SKIP."""

    UNSPECIFIED = "unspecified"
    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    ALLOW_ALL = "allow_all"


class TriggerOutcome(ContractEnum):
    """What became of a triggered instant."""

    UNSPECIFIED = "unspecified"
    STARTED = "started"
    WAITING = "waiting"
    SKIPPED = "skipped"


class SlotState(ContractEnum):
    """Whether a run has a slot of its concurrency key; UNSPECIFIED: it needs none (now)."""

    UNSPECIFIED = "unspecified"
    IN_LINE = "in_line"
    HELD = "held"


class JoinMode(ContractEnum):
    """How many of the branches or items must complete."""

    UNSPECIFIED = "unspecified"
    ALL = "all"
    ANY = "any"
    COUNT = "count"


class NodeKind(ContractEnum):
    """Where a node's plan comes from."""

    UNSPECIFIED = "unspecified"
    WORKER = "worker"
    EFFECT = "effect"
    COMPLETE = "complete"
    FAIL = "fail"
    CHOICE = "choice"
    ASSIGN = "assign"
    PARALLEL = "parallel"
    FOREACH = "foreach"
    SUBWORKFLOW = "subworkflow"
