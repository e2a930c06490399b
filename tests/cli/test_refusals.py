"""Every reason that a command can meet has an advice, and failures end with the code that the help promises."""

from __future__ import annotations

import grpc
import pytest

from perdure.errors import FieldProblem, InvalidArgument, NotFound, PerdureError, Unauthenticated, Unavailable
from perdure.v1.errors_pb2 import ErrorReason
from perdure_server.cli import refusals
from perdure_server.cli.refusals import ADVICE, FAILED, UNREACHABLE, refusal

# Reasons that only workers, or programs that make their own bytes, are given.
NOT_FOR_THE_COMMAND = {
    "UNSPECIFIED",
    "MALFORMED_MESSAGE",
    "INVALID_TASK_TOKEN",
    "WORKER_SUPERSEDED",
    "STALE_ATTEMPT",
    "BAD_REPORT",
}


def test_every_reason_of_the_contract_has_an_advice() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name, _ in ErrorReason.items()}
    assert set(ADVICE) == reasons - NOT_FOR_THE_COMMAND


def test_a_refused_call_is_told_with_its_facts() -> None:
    error = InvalidArgument(
        "vars_json: not JSON",
        reason="INVALID_JSON",
        fields=[FieldProblem("vars_json", "line 1: no value")],
        metadata={"run_id": "r"},
    )
    why = refusal(error)
    assert why.exit_code == FAILED
    assert why.as_json() == {
        "error": {
            "reason": "INVALID_JSON",
            "code": "INVALID_ARGUMENT",
            "message": "vars_json: not JSON",
            "advice": ADVICE["INVALID_JSON"],
            "fields": [{"field": "vars_json", "description": "line 1: no value"}],
            "metadata": {"run_id": "r"},
        }
    }


@pytest.mark.parametrize(
    ("error", "reason", "exit_code"),
    [
        (Unavailable("nobody there"), "UNREACHABLE", UNREACHABLE),
        (Unavailable("draining", reason="DRAINING"), "DRAINING", FAILED),
        (NotFound("no run", reason="RUN_NOT_FOUND"), "RUN_NOT_FOUND", FAILED),
        (Unauthenticated("who are you"), "UNAUTHENTICATED", FAILED),
        (PerdureError("html", code=grpc.StatusCode.UNKNOWN), "UNREACHABLE", UNREACHABLE),
        (PerdureError("gone", code=grpc.StatusCode.DATA_LOSS), "DATA_LOSS", FAILED),
    ],
)
def test_exit_codes(error: PerdureError, reason: str, exit_code: int) -> None:
    why = refusal(error)
    assert (why.reason, why.exit_code) == (reason, exit_code)


def test_exit_codes_are_the_documented_ones() -> None:
    assert (refusals.FAILED, refusals.USAGE, refusals.UNREACHABLE) == (1, 2, 3)
