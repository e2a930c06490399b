"""Whether an answer is one that the contract knows: a status with a reason, the fields at fault, and nothing of the
server's insides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2, status_pb2

from tests.robustness.bad_input.mutations import field_exists

ERRORS_PROTO: Final = Path(__file__).parents[3] / "proto/perdure/v1/errors.proto"
MAX_STATUS_BYTES: Final = 4_096
DETAILS_KEY: Final = "grpc-status-details-bin"

EXPECTED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)
NAMES_FIELDS: Final = frozenset(
    {"INVALID_FIELD", "INVALID_JSON", "INVALID_SPEC", "INVALID_PAGE_TOKEN", "INVALID_CURSOR", "PAYLOAD_TOO_LARGE"}
)
"""Reasons whose errors say which field is wrong."""

_INSIDES: Final = re.compile(
    r"Traceback|File \"|\.py\b|perdure_server|sqlalchemy|sqlite3|<class|object at 0x", re.IGNORECASE
)


def contract_codes() -> dict[str, str]:
    """Reason to the status code that its comment in the contract names."""
    text = ERRORS_PROTO.read_text(encoding="utf-8")
    reason = re.compile(r"\n  // ([A-Z_]+)\.[^\n]*\n(?:  //[^\n]*\n)*  ERROR_REASON_(\w+) = \d+;")
    return {name: code for code, name in reason.findall(text)}


CODES: Final = contract_codes()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of a call, taken apart. `reason` is empty for an error that does not carry one, and so is
    `retry_after_s`."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: tuple[str, ...]
    retry_after_s: float
    problems: tuple[str, ...]


def refusal(error: grpc.aio.AioRpcError, request: Descriptor) -> Refusal:
    """The error of a call; `problems` tell what the contract does not allow of it."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            status.ParseFromString(value)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for packed in status.details:
        packed.Unpack(info)
        packed.Unpack(bad)
        packed.Unpack(retry)
    fields = [violation.field for violation in bad.field_violations]
    problems = tuple(_problems(error, status, info, fields, request))
    return Refusal(
        error.code(),
        error.details() or "",
        info.reason,
        tuple(fields),
        retry.retry_delay.ToMilliseconds() / 1_000,
        problems,
    )


def _problems(
    error: grpc.aio.AioRpcError,
    status: status_pb2.Status,
    info: error_details_pb2.ErrorInfo,
    fields: list[str],
    request: Descriptor,
) -> Iterator[str]:
    code = error.code()
    if code not in EXPECTED:
        yield f"answered {code.name}: {error.details()}"
    if info.domain != "perdure" or info.reason not in CODES:
        yield f"{code.name} without a reason of the contract: {error.details()}"
        return
    if CODES[info.reason] != code.name:
        yield f"{info.reason} with {code.name}, the contract says {CODES[info.reason]}"
    if info.reason in NAMES_FIELDS and not fields:
        yield f"{info.reason} names no field: {error.details()}"
    for field in fields:
        if not field_exists(request, field):
            yield f"{info.reason} names {field!r}, which is no field of {request.name}"
    if status.ByteSize() > MAX_STATUS_BYTES:
        yield f"a status of {status.ByteSize()} bytes"
    found = _INSIDES.search(f"{error.details()} {status}")
    if found:
        yield f"tells of its insides: {found[0]!r} in {error.details()}"
