"""Perdure: durable workflows over gRPC.

    from perdure import Client, Worker, Workflow, effect, plan

The client starts, moves and reads runs; the worker executes their nodes and effects. `perdure.v1` is the
generated code of the contract, `perdure.sync` a client for scripts without asyncio, `perdure.testing` a server
for tests.
"""

from perdure import effect, plan
from perdure.admin_calls import Audit, AuditFinding, ServerInfo, WorkerInfo
from perdure.call_retry import CallRetryPolicy
from perdure.client import Client
from perdure.connection import DEFAULT_PORT, TlsConfig
from perdure.context import BeginRefusedError, EffectContext, NodeContext
from perdure.effect import Effect
from perdure.effect_key import effect_key
from perdure.errors import (
    Aborted,
    AlreadyExists,
    CallCancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldProblem,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PerdureError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from perdure.failures import NonRetryable, NotExecuted, ReleaseTask, StepError
from perdure.flow import ALL, ANY, Append, Branch, Join, Remove, Set
from perdure.json_text import Json, JsonObject, UnserialisableError
from perdure.ledger import LedgerBatch, LedgerEntry, LedgerFilter, LedgerScope, Verification
from perdure.model import Failure, RunState, StepState, TraceContext, WaitState
from perdure.outcome import Waiting
from perdure.pages import Page, Pages
from perdure.plan import Plan
from perdure.policies import RetryPolicy, Timeouts
from perdure.run_handle import RunCancelled, RunFailed, RunHandle
from perdure.runs import (
    CompletedEffect,
    Concurrency,
    EmittedEvent,
    Event,
    MigrateReply,
    MigrationFault,
    RetryOutcome,
    RunCount,
    RunFilter,
    RunReply,
    RunWait,
    StartEvent,
    StartReply,
    TickReply,
)
from perdure.schedules import ScheduleSpec, ScheduleState
from perdure.subscription import RunWatch, Subscription
from perdure.values import (
    ChildCancelPolicy,
    DriveMode,
    EffectRisk,
    EventScope,
    RecordKind,
    RunActivity,
    RunStatus,
    StepStatus,
    WaitReason,
)
from perdure.worker.worker import Worker
from perdure.workflow import Workflow
from perdure.workflow_calls import RegisteredWorkflow, Registration, SpecProblem, Validation, WorkflowSummary

__all__ = [
    "ALL",
    "ANY",
    "DEFAULT_PORT",
    "Aborted",
    "AlreadyExists",
    "Append",
    "Audit",
    "AuditFinding",
    "BeginRefusedError",
    "Branch",
    "CallCancelled",
    "CallRetryPolicy",
    "ChildCancelPolicy",
    "Client",
    "CompletedEffect",
    "Concurrency",
    "DataLoss",
    "DeadlineExceeded",
    "DriveMode",
    "Effect",
    "EffectContext",
    "EffectRisk",
    "EmittedEvent",
    "Event",
    "EventScope",
    "FailedPrecondition",
    "Failure",
    "FieldProblem",
    "Internal",
    "InvalidArgument",
    "Join",
    "Json",
    "JsonObject",
    "LedgerBatch",
    "LedgerEntry",
    "LedgerFilter",
    "LedgerScope",
    "MigrateReply",
    "MigrationFault",
    "NodeContext",
    "NonRetryable",
    "NotExecuted",
    "NotFound",
    "OutOfRange",
    "Page",
    "Pages",
    "PerdureError",
    "PermissionDenied",
    "Plan",
    "RecordKind",
    "RegisteredWorkflow",
    "Registration",
    "ReleaseTask",
    "Remove",
    "ResourceExhausted",
    "RetryOutcome",
    "RetryPolicy",
    "RunActivity",
    "RunCancelled",
    "RunCount",
    "RunFailed",
    "RunFilter",
    "RunHandle",
    "RunReply",
    "RunState",
    "RunStatus",
    "RunWait",
    "RunWatch",
    "ScheduleSpec",
    "ScheduleState",
    "ServerInfo",
    "Set",
    "SpecProblem",
    "StartEvent",
    "StartReply",
    "StepError",
    "StepState",
    "StepStatus",
    "Subscription",
    "TickReply",
    "Timeouts",
    "TlsConfig",
    "TraceContext",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UnserialisableError",
    "Validation",
    "Verification",
    "WaitReason",
    "WaitState",
    "Waiting",
    "Worker",
    "WorkerInfo",
    "Workflow",
    "WorkflowSummary",
    "effect",
    "effect_key",
    "plan",
]
