"""The one table of errors: reason -> (status code, retryable, public sentence), and what of an error leaves
the server: a google.rpc.Status of at most 4 KB with one ErrorInfo and the details that fit its reason.

Use cases raise domain errors that name a reason; nothing else of the server knows status codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.engine.errors import EngineError
from perdure_server.kernel.decision import Rejection
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.migration import MigrationRefusedError
from perdure_server.storage.port import StoreDamagedError, StoreError

DOMAIN: Final = "perdure"
MAX_STATUS_BYTES: Final = 4_096
MAX_MESSAGE_BYTES: Final = 512
MAX_FACT_BYTES: Final = 200
MAX_FACTS: Final = 8
MAX_DESCRIPTION_BYTES: Final = 200
RETRY_US: Final = SECOND_US


class ErrorRule(NamedTuple):
    """How a reason is answered. `retryable`: the same call may succeed later, unchanged."""

    code: StatusCode
    retryable: bool
    sentence: str


_INVALID: Final = StatusCode.INVALID_ARGUMENT
_MISSING: Final = StatusCode.NOT_FOUND
_EXISTS: Final = StatusCode.ALREADY_EXISTS
_STATE: Final = StatusCode.FAILED_PRECONDITION
_LIMIT: Final = StatusCode.RESOURCE_EXHAUSTED

ERRORS: Final[Mapping[str, ErrorRule]] = {
    "INVALID_FIELD": ErrorRule(_INVALID, False, "A field is missing, empty, too long or outside its range."),
    "INVALID_JSON": ErrorRule(_INVALID, False, "A JSON field is not acceptable JSON."),
    "MALFORMED_MESSAGE": ErrorRule(_INVALID, False, "The bytes are not the message of this method."),
    "INVALID_PAGE_TOKEN": ErrorRule(_INVALID, False, "The page token is not one of this list and filter."),
    "INVALID_CURSOR": ErrorRule(_INVALID, False, "The cursor is not one of this scope and filter."),
    "INVALID_TASK_TOKEN": ErrorRule(_INVALID, False, "The task token is not one of this server's."),
    "INVALID_SPEC": ErrorRule(_INVALID, False, "The workflow has problems."),
    "WAIT_ID_REQUIRED": ErrorRule(_INVALID, False, "Name the wait with wait_id, or set any_wait."),
    "ANSWER_NOT_ALLOWED": ErrorRule(_INVALID, False, "The wait does not accept this answer."),
    "PAYLOAD_TOO_LARGE": ErrorRule(_INVALID, False, "A value, or all payloads of a record, are too large."),
    "VARS_TOO_LARGE": ErrorRule(_LIMIT, False, "The run's vars would be too large."),
    "RUN_NOT_FOUND": ErrorRule(_MISSING, False, "There is no such run."),
    "WORKFLOW_NOT_FOUND": ErrorRule(_MISSING, False, "There is no such workflow or version."),
    "NODE_NOT_FOUND": ErrorRule(_MISSING, False, "The workflow has no such node."),
    "NAMESPACE_NOT_FOUND": ErrorRule(_MISSING, False, "There is no such namespace."),
    "RUN_EXISTS": ErrorRule(_EXISTS, False, "The run id is taken."),
    "REQUEST_ID_REUSED": ErrorRule(_EXISTS, False, "The request id was used with another body."),
    "NAMESPACE_EXISTS": ErrorRule(_EXISTS, False, "The namespace exists."),
    "RUN_ENDED": ErrorRule(_STATE, False, "The run has ended."),
    "RUN_NOT_WAITING": ErrorRule(_STATE, False, "The run does not wait."),
    "WAIT_ENDED": ErrorRule(_STATE, False, "The wait has ended."),
    "WAIT_NOT_RESUMABLE": ErrorRule(_STATE, False, "This wait is not ended by an answer."),
    "WAIT_KEY_MISMATCH": ErrorRule(_STATE, False, "The wait has another key."),
    "RUN_NOT_MANUAL": ErrorRule(_STATE, False, "The run drives itself."),
    "STEP_NOT_PARKED": ErrorRule(_STATE, False, "The step is not parked."),
    "CURSOR_EXPIRED": ErrorRule(StatusCode.OUT_OF_RANGE, False, "The cursor is older than what retention kept."),
    "CURSOR_FROM_OTHER_STORE": ErrorRule(
        StatusCode.OUT_OF_RANGE, False, "The cursor comes from another store, or from after a rollback."
    ),
    "TOO_MANY_CALLS": ErrorRule(_LIMIT, True, "Too many calls at once."),
    "TOO_MANY_STREAMS": ErrorRule(_LIMIT, True, "Too many streams of one caller."),
    "UNAUTHENTICATED": ErrorRule(
        StatusCode.UNAUTHENTICATED, False, "A valid bearer token or client certificate is needed."
    ),
    "NAMESPACE_DENIED": ErrorRule(StatusCode.PERMISSION_DENIED, False, "The token is not bound to this namespace."),
    "DRAINING": ErrorRule(StatusCode.UNAVAILABLE, True, "The server is going away."),
    "STORE_UNAVAILABLE": ErrorRule(StatusCode.UNAVAILABLE, True, "The store does not answer."),
    "STORE_DAMAGED": ErrorRule(StatusCode.DATA_LOSS, False, "Part of what is stored cannot be read."),
    "CONFLICT": ErrorRule(StatusCode.ABORTED, True, "Others changed the run at the same time."),
    "DEADLINE_EXCEEDED": ErrorRule(StatusCode.DEADLINE_EXCEEDED, True, "The caller's deadline passed."),
    "INTERNAL": ErrorRule(StatusCode.INTERNAL, False, "A defect of the server; error_id finds it in its log."),
    "WORKER_SUPERSEDED": ErrorRule(_STATE, False, "A newer stream of this worker is open."),
    "UNIMPLEMENTED": ErrorRule(StatusCode.UNIMPLEMENTED, False, "This version has no such method."),
    "LIMIT_REACHED": ErrorRule(_LIMIT, False, "A limit on runs is reached."),
    "STALE_ATTEMPT": ErrorRule(StatusCode.ABORTED, False, "A later attempt has the step."),
    "SCHEDULE_NOT_FOUND": ErrorRule(_MISSING, False, "There is no such schedule."),
    "SCHEDULE_EXISTS": ErrorRule(_EXISTS, False, "The schedule exists."),
    "SCHEDULE_CHANGED": ErrorRule(_STATE, False, "The schedule has another revision."),
    "CONCURRENCY_LIMIT": ErrorRule(_LIMIT, False, "All slots of the concurrency key are taken."),
    "BAD_REPORT": ErrorRule(_INVALID, False, "The report does not fit its task."),
    "RUN_NOT_FAILED": ErrorRule(_STATE, False, "The run has not failed."),
    "DEADLINE_PASSED": ErrorRule(_STATE, False, "A deadline that the retried run would have has passed."),
    "EFFECT_IN_DOUBT": ErrorRule(_STATE, False, "The effect may have been executed."),
    "MIGRATION_REFUSED": ErrorRule(_STATE, False, "The target lacks nodes that the run is bound for."),
}

_RESOURCES: Final[Mapping[str, tuple[str, str]]] = {
    "RUN_NOT_FOUND": ("run", "run_id"),
    "RUN_EXISTS": ("run", "run_id"),
    "WORKFLOW_NOT_FOUND": ("workflow", "workflow_id"),
    "NODE_NOT_FOUND": ("node", "node_id"),
    "NAMESPACE_NOT_FOUND": ("namespace", "namespace"),
    "NAMESPACE_EXISTS": ("namespace", "namespace"),
    "REQUEST_ID_REUSED": ("request", "request_id"),
    "SCHEDULE_NOT_FOUND": ("schedule", "schedule_id"),
    "SCHEDULE_EXISTS": ("schedule", "schedule_id"),
    "SCHEDULE_CHANGED": ("schedule", "schedule_id"),
}


@dataclass(frozen=True, slots=True)
class PublicError:
    """What a caller may know of an error."""

    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    retry_after_us: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: tuple[FieldViolation, ...] = ()
    """What of the run's state stands in the way, by its subject, where there is more to say than the reason."""

    def with_fact(self, name: str, value: str) -> PublicError:
        """The same with one more fact."""
        return replace(self, metadata={**self.metadata, name: value})

    @property
    def rule(self) -> ErrorRule:
        """Its line of the table."""
        return ERRORS[self.reason]

    @property
    def about(self) -> str:
        """The fact that names what the error speaks of, for example "run_id"; empty for none."""
        if self.reason in _RESOURCES:
            return _RESOURCES[self.reason][1]
        return "run_id" if self.rule.code is _STATE else ""


def public_error(error: BaseException) -> PublicError | None:
    """The public side of a domain error; None if it is no domain error but a defect."""
    match error:
        case EdgeError():
            return PublicError(error.reason, error.message, error.violations, error.retry_after_us, error.metadata)
        case MigrationRefusedError():
            faults = tuple(FieldViolation(fault.node_id, fault.problem) for fault in error.faults)
            facts = {**error.metadata, "faults": str(len(faults))}
            return PublicError(error.reason.value, error.message, metadata=facts, faults=faults)
        case Rejection() | EngineError():
            reason = error.reason if isinstance(error, EngineError) else error.reason.value
            if reason not in ERRORS or reason == "INTERNAL":
                return None
            violations = (FieldViolation(error.field, error.message),) if error.field else ()
            retry_after_us = error.retry_after_us if isinstance(error, EngineError) else 0
            return PublicError(reason, error.message, violations, retry_after_us, error.metadata)
        case StoreDamagedError():
            return PublicError("STORE_DAMAGED", "part of what is stored cannot be read; restore a backup")
        case StoreError():
            return PublicError("STORE_UNAVAILABLE", "the store does not answer; try again")
        case _:
            return None


def defect(error_id: str) -> PublicError:
    """The answer to a defect: nothing but the id under which it was logged."""
    return PublicError("INTERNAL", f"internal error {error_id}", metadata={"error_id": error_id})


def status_of(error: PublicError) -> status_pb2.Status:
    """The google.rpc.Status of an error, at most `MAX_STATUS_BYTES` long.

    Details: always one ErrorInfo; BadRequest for fields at fault, PreconditionFailure for a run in the
    wrong state, ResourceInfo for what is missing or taken, RetryInfo where a repeat may help.
    """
    rule = error.rule
    number: int = rule.code.value[0]
    status = status_pb2.Status(code=number, message=shorten(error.message, MAX_MESSAGE_BYTES))
    _add(status, _error_info(error))
    if rule.code is _STATE:
        _add(status, _precondition(error, MAX_STATUS_BYTES - status.ByteSize() - 1_024))
    if error.reason in _RESOURCES:
        _add(status, _resource(error))
    if rule.retryable or error.retry_after_us:
        delay = Duration()
        delay.FromMicroseconds(error.retry_after_us or RETRY_US)
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
    if error.violations:
        _add_bad_request(status, error.violations)
    return status


def shorten(text: str, max_bytes: int) -> str:
    """At most so many UTF-8 bytes of a text, cut between characters."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return text
    return data[: max_bytes - 3].decode("utf-8", "ignore") + "..."


def _error_info(error: PublicError) -> error_details_pb2.ErrorInfo:
    facts = [(key, value) for key, value in error.metadata.items() if value][:MAX_FACTS]
    return error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={shorten(key, 40): shorten(value, MAX_FACT_BYTES) for key, value in facts},
    )


def _precondition(error: PublicError, room: int) -> error_details_pb2.PreconditionFailure:
    """What of the state is at fault: the run, or as many faults as there is room for."""
    run_id = error.metadata.get("run_id", "")
    detail = error_details_pb2.PreconditionFailure()
    for subject, description in error.faults or (FieldViolation(run_id, error.rule.sentence),):
        item = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason,
            subject=shorten(subject, MAX_FACT_BYTES),
            description=shorten(description, MAX_DESCRIPTION_BYTES),
        )
        room -= item.ByteSize() + 4
        if room < 0:
            break
        detail.violations.append(item)
    return detail


def _resource(error: PublicError) -> error_details_pb2.ResourceInfo:
    kind, fact = _RESOURCES[error.reason]
    return error_details_pb2.ResourceInfo(
        resource_type=kind,
        resource_name=shorten(error.metadata.get(fact, ""), MAX_FACT_BYTES),
        description=error.rule.sentence,
    )


def _add_bad_request(status: status_pb2.Status, violations: tuple[FieldViolation, ...]) -> None:
    """As many violations as the limit leaves room for."""
    room = MAX_STATUS_BYTES - status.ByteSize() - 128
    detail = error_details_pb2.BadRequest()
    for path, description in violations:
        item = error_details_pb2.BadRequest.FieldViolation(
            field=shorten(path, MAX_FACT_BYTES), description=shorten(description, MAX_DESCRIPTION_BYTES)
        )
        room -= item.ByteSize() + 4
        if room < 0:
            break
        detail.field_violations.append(item)
    _add(status, detail)


def _add(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.PreconditionFailure
    | error_details_pb2.ResourceInfo
    | error_details_pb2.RetryInfo,
) -> None:
    status.details.add().Pack(detail)
