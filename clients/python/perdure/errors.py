"""Errors of calls: one exception class per status code, the reason as data.

Branch on the class or on `reason` (a name of the contract's ErrorReason without its prefix), never on
the message text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from perdure.instants import duration_seconds

_Detail = TypeVar("_Detail", bound=Message)

_DOMAIN = "perdure"
_STATUS_TRAILER = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of the request that was refused, and why."""

    field: str
    description: str


class PerdureError(Exception):
    """A call failed.

    Attributes:
        reason: stable word, for example "WAIT_ENDED"; empty when the failure did not come from the server.
        code: gRPC status code.
        message: for people.
        fields: the fields at fault, for InvalidArgument.
        metadata: facts about the failure, by name.
        retry_after: seconds after which the server asks to be called again; None if it does not.
    """

    default_code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode | None = None,
        fields: Sequence[FieldProblem] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code or self.default_code
        self.fields = tuple(fields)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    def __str__(self) -> str:
        problems = "".join(f"; {problem.field}: {problem.description}" for problem in self.fields)
        return f"{self.reason or self.code.name}: {self.message}{problems}"


class InvalidArgument(PerdureError):
    """The request is wrong whatever the state of the run; `fields` names what is."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(PerdureError):
    """No such run, workflow, version, node or namespace."""

    default_code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(PerdureError):
    """The run id, request id or namespace is taken."""

    default_code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(PerdureError):
    """The run is not in a state that allows this."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(PerdureError):
    """The cursor points at what is no longer, or not here."""

    default_code = grpc.StatusCode.OUT_OF_RANGE


class ResourceExhausted(PerdureError):
    """A limit is reached."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unauthenticated(PerdureError):
    """No valid token or client certificate."""

    default_code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(PerdureError):
    """The token is not bound to this namespace."""

    default_code = grpc.StatusCode.PERMISSION_DENIED


class Unavailable(PerdureError):
    """The server cannot be reached or is draining; the SDK has tried again until the deadline."""

    default_code = grpc.StatusCode.UNAVAILABLE


class Aborted(PerdureError):
    """Others changed the run at the same time, repeatedly."""

    default_code = grpc.StatusCode.ABORTED


class DeadlineExceeded(PerdureError):
    """The call's deadline passed. What it asked for may have happened; a repeat is safe."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


class CallCancelled(PerdureError):
    """The other side or a closed connection ended the call."""

    default_code = grpc.StatusCode.CANCELLED


class Internal(PerdureError):
    """A defect of the server; `metadata["error_id"]` finds it in its log."""

    default_code = grpc.StatusCode.INTERNAL


class Unimplemented(PerdureError):
    """The server does not have this method."""

    default_code = grpc.StatusCode.UNIMPLEMENTED


class DataLoss(PerdureError):
    """A ledger stream had a gap, a repeat or a disorder within a run."""

    default_code = grpc.StatusCode.DATA_LOSS


def _leaves(kind: type[PerdureError]) -> Iterator[type[PerdureError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _leaves(child)


_BY_CODE = {kind.default_code: kind for kind in _leaves(PerdureError)}


class RpcFailure(Protocol):
    """What grpc.aio.AioRpcError and a synchronous failed call have in common."""

    def code(self) -> grpc.StatusCode:
        """Status code."""
        ...

    def details(self) -> str | None:
        """Status message."""
        ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Trailers."""
        ...


def error_from_rpc(failure: RpcFailure) -> PerdureError:
    """The exception for a failed call, with what google.rpc.Status in its trailers tells."""
    code = failure.code()
    kind = _BY_CODE.get(code, PerdureError)
    message = failure.details() or code.name
    status = _status_of(failure)
    if status is None:
        return kind(message, code=code)
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    bad = _detail(status, error_details_pb2.BadRequest)
    is_ours = info is not None and info.domain == _DOMAIN
    return kind(
        message,
        reason=info.reason if info is not None and is_ours else "",
        code=code,
        fields=[FieldProblem(each.field, each.description) for each in bad.field_violations] if bad else (),
        metadata=dict(info.metadata) if info is not None and is_ours else None,
        retry_after=duration_seconds(retry.retry_delay) if retry is not None else None,
    )


def _status_of(failure: RpcFailure) -> status_pb2.Status | None:
    """The google.rpc.Status of the trailers, if there is one and it agrees with the status code."""
    for key, value in failure.trailing_metadata() or ():
        if key == _STATUS_TRAILER and isinstance(value, bytes):
            status = status_pb2.Status()
            try:
                status.ParseFromString(value)
            except DecodeError:
                return None
            return status if status.code == failure.code().value[0] else None
    return None


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details:
        found = kind()
        if packed.TypeName() == found.DESCRIPTOR.full_name:
            packed.Unpack(found)
            return found
    return None
