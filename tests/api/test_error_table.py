"""The error table is total: every reason the server can name has a line, and every line is used."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

import perdure_server.dispatch
import perdure_server.ledger
import perdure_server.scheduler
from perdure.v1.errors_pb2 import ErrorReason
from perdure_server.api.errors import ERRORS, MAX_STATUS_BYTES, PublicError, defect, public_error, status_of
from perdure_server.api.problems import EdgeError, FieldViolation
from perdure_server.engine.errors import EngineError, RunNotFoundError
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.storage.port import StoreError

PREFIX = "ERROR_REASON_"
ENUM = ErrorReason.DESCRIPTOR
PROTO = Path(__file__).parents[2] / "proto/perdure/v1/errors.proto"
CONTRACT = {name.removeprefix(PREFIX) for name in ENUM.values_by_name if name != f"{PREFIX}UNSPECIFIED"}
INTERNAL_REASONS = {Reason.NOT_DUE}


def engine_errors() -> set[type[EngineError]]:
    """Every domain error class below the edge."""
    for package in (perdure_server.dispatch, perdure_server.ledger, perdure_server.scheduler):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found: set[type[EngineError]] = set()
    waiting = [EngineError]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        found.update(kinds)
        waiting.extend(kinds)
    return found


def test_it_has_the_reasons_of_the_contract_and_no_others() -> None:
    assert set(ERRORS) == CONTRACT


def test_it_has_every_reason_of_the_kernel() -> None:
    assert {reason.value for reason in set(Reason) - INTERNAL_REASONS} <= set(ERRORS)


def test_it_has_the_reason_of_every_domain_error() -> None:
    kinds = engine_errors()
    assert len(kinds) >= 10
    assert {kind.reason for kind in kinds} <= set(ERRORS)
    assert len({kind.reason for kind in kinds}) == len(kinds), "two classes for one reason"


def test_the_codes_are_those_the_contract_states() -> None:
    stated = re.findall(r"(?s)// ([A-Z_]+)\. .*?ERROR_REASON_([A-Z_]+) = \d+;", PROTO.read_text(encoding="utf-8"))
    assert {reason: code for code, reason in stated} == {reason: rule.code.name for reason, rule in ERRORS.items()}


@pytest.mark.parametrize("reason", sorted(ERRORS))
def test_an_answer_has_one_error_info_and_at_most_one_of_each_other_detail(reason: str) -> None:
    error = PublicError(reason, "text", (FieldViolation("f", "d"),), 5, {"run_id": "r"})
    status = status_of(error)
    kinds = [detail.type_url for detail in status.details]
    assert len(kinds) == len(set(kinds))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason, "perdure", {"run_id": "r"})
    assert status.code == ERRORS[reason].code.value[0]


def details_of(reason: str, **facts: str) -> set[str]:
    """Names of the details of an answer without fields at fault."""
    status = status_of(PublicError(reason, "text", metadata=facts))
    return {detail.type_url.rpartition(".")[2] for detail in status.details}


def test_details_fit_the_reason() -> None:
    assert details_of("RUN_ENDED") == {"ErrorInfo", "PreconditionFailure"}
    assert details_of("RUN_NOT_FOUND", run_id="r") == {"ErrorInfo", "ResourceInfo"}
    assert details_of("DRAINING") == {"ErrorInfo", "RetryInfo"}
    assert details_of("INTERNAL", error_id="e") == {"ErrorInfo"}


def test_retryable_answers_say_when() -> None:
    for reason, rule in ERRORS.items():
        assert ("RetryInfo" in details_of(reason)) == rule.retryable, reason
    delayed = status_of(PublicError("CONFLICT", "text", retry_after_us=1_500_000))
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in delayed.details)
    assert info.retry_delay.ToMicroseconds() == 1_500_000


long_texts = st.text(max_size=3_000)


@given(
    st.sampled_from(sorted(ERRORS)),
    long_texts,
    st.lists(st.builds(FieldViolation, long_texts, long_texts), max_size=40).map(tuple),
    st.dictionaries(st.text(max_size=300), long_texts, max_size=20),
)
@pytest.mark.promise("P10")
def test_a_status_is_never_too_large_for_trailers(
    reason: str, message: str, violations: tuple[FieldViolation, ...], facts: dict[str, str]
) -> None:
    status = status_of(PublicError(reason, message, violations, 1, facts))
    assert status.ByteSize() <= MAX_STATUS_BYTES
    assert status_pb2.Status.FromString(status.SerializeToString()) == status


def test_the_largest_status_still_says_what_is_wrong() -> None:
    wide = "\U0001f600" * 5_000
    facts = {f"{number}{wide}": wide for number in range(20)}
    status = status_of(PublicError("RUN_NOT_FOUND", wide, (FieldViolation(wide, wide),) * 30, 1, facts))
    assert status.ByteSize() <= MAX_STATUS_BYTES
    request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(request) for detail in status.details)
    assert request.field_violations


def test_domain_errors_become_public() -> None:
    rejection = public_error(Rejection(Reason.WAIT_ENDED, "gone", "wait_id", ended_by="timer"))
    assert rejection == PublicError(
        "WAIT_ENDED", "gone", (FieldViolation("wait_id", "gone"),), 0, {"ended_by": "timer"}
    )
    assert public_error(RunNotFoundError("no run", retry_after_us=7)) == PublicError(
        "RUN_NOT_FOUND", "no run", (), 7, {}
    )
    edge = EdgeError("INVALID_JSON", "bad", (FieldViolation("a", "b"),), 3, size="1")
    assert public_error(edge) == PublicError("INVALID_JSON", "bad", (FieldViolation("a", "b"),), 3, {"size": "1"})
    stored = public_error(StoreError("disk /secret is full"))
    assert stored is not None
    assert stored.reason == "STORE_UNAVAILABLE"
    assert "secret" not in stored.message


@pytest.mark.parametrize(
    "error", [ValueError("secret"), Rejection(Reason.NOT_DUE, "secret"), EngineError("secret"), KeyError()]
)
def test_everything_else_is_a_defect_that_tells_nothing(error: Exception) -> None:
    assert public_error(error) is None
    assert "secret" not in str(status_of(defect("id-1")))
    assert "id-1" in str(status_of(defect("id-1")))
