"""Commands and replies of the use cases. Each use case is one file of this package with one async
function of the same name: `start_run(engine, StartRunCommand) -> StartReply`, and so on.

Commands arrive validated by the edge (fields, JSON, sizes). `request` is the caller's request id with
the hash of its request, or None. All use cases raise `kernel.decision.Rejection` or an `EngineError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perdure_server.kernel.inputs import EventOffered
from perdure_server.kernel.migration import MigrationFault
from perdure_server.kernel.model import Concurrency, Drive, EventScope, Failure, StepPlan, TraceContext, VarsOp
from perdure_server.kernel.records import Resolution
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import RunKey, RunQuery


@dataclass(frozen=True, slots=True)
class RequestId:
    """A caller's request id and the SHA-256 of the request it came with."""

    method: str
    request_id: str
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class StartRunCommand:
    """`workflow_version`, `run_id` and `event.event_id` empty: the default version, new UUIDv7s."""

    namespace: str
    workflow_id: str
    vars: Leaf
    workflow_version: str = ""
    run_id: str = ""
    actor_id: str = ""
    session_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    drive: Drive = Drive.AUTO
    start_at: int = 0
    deadline_at: int = 0
    return_existing: bool = False
    entry_node: str = ""
    trace_context: TraceContext | None = None
    event: EventOffered | None = None
    concurrency: Concurrency | None = None
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class TickRunCommand:
    """Adds `steps` node entries, then waits up to `wait_us`."""

    key: RunKey
    steps: int
    wait_us: int
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class ResumeRunCommand:
    """Ends a wait with an answer."""

    key: RunKey
    payload: Leaf
    wait_id: int = 0
    any_wait: bool = False
    wait_key: str = ""
    resumed_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class CancelRunCommand:
    """Cancels a run."""

    key: RunKey
    reason: str = ""
    cancelled_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class PauseRunCommand:
    """Pauses a run."""

    key: RunKey
    reason: str = ""
    paused_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class UnpauseRunCommand:
    """Unpauses a run."""

    key: RunKey
    unpaused_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class ResolveStepCommand:
    """Decides about a parked step; `result` or `plan` with COMPLETED, `failure` with FAILED."""

    key: RunKey
    step_id: int
    resolution: Resolution
    result: Leaf | None = None
    plan: StepPlan | None = None
    failure: Failure | None = None
    resolved_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """How failed runs are opened again; `deadline_at` 0: the deadline that a run has."""

    vars_ops: tuple[VarsOp, ...] = ()
    from_node: bool = False
    deadline_at: int = 0
    paused: bool = False
    retried_by: str = ""


@dataclass(frozen=True, slots=True)
class RetryRunCommand:
    """Opens a failed run again."""

    key: RunKey
    terms: RetryTerms = RetryTerms()
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class RetryRunsCommand:
    """Opens a page of failed runs again.

    Args:
        query: which; of failed runs.
        limit: runs looked at.
        dry_run: only tells.
    """

    query: RunQuery
    limit: int
    terms: RetryTerms
    dry_run: bool = False
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class MigrateRunCommand:
    """Moves a run to another version; `workflow_version` empty: the default one."""

    key: RunKey
    workflow_version: str
    node_map: Mapping[str, str]
    dry_run: bool = False
    migrated_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class EmitEventCommand:
    """Appends a client's event; `event_id` empty: a UUIDv7."""

    namespace: str
    scope: EventScope
    scope_id: str
    name: str
    payload: Leaf
    event_id: str = ""
    emitted_by: str = ""
    request: RequestId | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A run as of a commit. Numbers are those of RunStatus and Activity."""

    run_id: str
    seq: int
    status: int
    activity: int


@dataclass(frozen=True, slots=True)
class StartReply(Reply):
    """`created` False: the run existed. `event_id` empty: no event was asked for, or an ended run took none."""

    created: bool
    workflow_version: str
    event_id: str = ""
    event_position: int = 0
    event_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class TickReply(Reply):
    """The run when the wait ended."""

    step_budget: int


@dataclass(frozen=True, slots=True)
class RetryOutcome(Reply):
    """What became of one run of a page; `reason` empty: it was (dry run: would be) opened again."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RetryRunsReply:
    """Outcomes of a page; `after` None: there are no more runs."""

    outcomes: tuple[RetryOutcome, ...]
    after: tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True)
class MigrateReply(Reply):
    """A run that was moved, or what a dry run found. `current_node` empty: the target has none such."""

    from_version: str
    to_version: str
    current_node: str
    requeued: bool
    faults: tuple[MigrationFault, ...] = ()
    left_behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmitReply:
    """`delivered_run_ids` is an observation within the call."""

    event_id: str
    position: int
    duplicate: bool
    delivered_run_ids: tuple[str, ...]
