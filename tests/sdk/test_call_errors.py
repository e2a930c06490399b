"""Errors of calls, and when a call is made again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from perdure import (
    Aborted,
    CallCancelled,
    CallRetryPolicy,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    PerdureError,
    ResourceExhausted,
    Unavailable,
    errors,
)
from perdure.connection import Connection, full_target, open_channel
from tests.sdk.fake_server import span

Reply = Callable[[], Awaitable[str]]


def failure(code: grpc.StatusCode, *details: Message, message: str = "sentence", status: bytes | None = None) -> Any:
    """A failed call as grpc.aio raises it."""
    packed = [AnyMessage() for _ in details]
    for any_message, detail in zip(packed, details, strict=True):
        any_message.Pack(detail)
    if status is None:
        status = status_pb2.Status(code=code.value[0], message=message, details=packed).SerializeToString()
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, message)


def info(reason: str, domain: str = "perdure", **metadata: str) -> error_details_pb2.ErrorInfo:
    """The detail that names the reason."""
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    """The detail that says when."""
    return error_details_pb2.RetryInfo(retry_delay=span(seconds))


def test_an_error_carries_reason_fields_and_facts() -> None:
    bad = error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="run_id", description="too long")]
    )
    error = errors.error_from_rpc(failure(grpc.StatusCode.INVALID_ARGUMENT, info("INVALID_FIELD", limit="128"), bad))
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.code, error.message) == ("INVALID_FIELD", grpc.StatusCode.INVALID_ARGUMENT, "sentence")
    assert [(problem.field, problem.description) for problem in error.fields] == [("run_id", "too long")]
    assert error.metadata == {"limit": "128"}
    assert error.retry_after is None
    assert str(error) == "INVALID_FIELD: sentence; run_id: too long"


def test_another_domains_reason_is_not_ours() -> None:
    error = errors.error_from_rpc(failure(grpc.StatusCode.UNAVAILABLE, info("WAIT_ENDED", "elsewhere")))
    assert (error.reason, error.metadata) == ("", {})


def status_of(code: int) -> bytes:
    """The trailer of an error with another code than the call's."""
    detail = AnyMessage()
    detail.Pack(info("NOT_OF_THIS_CALL"))
    return status_pb2.Status(code=code, message="other", details=[detail]).SerializeToString()


OTHER_CODE = status_of(3)


@pytest.mark.parametrize(
    "status",
    [b"", b"\xff\xff", OTHER_CODE],
    ids=["empty", "garbage", "another-code"],
)
def test_a_trailer_that_makes_no_sense_is_left_aside(status: bytes) -> None:
    error = errors.error_from_rpc(failure(grpc.StatusCode.FAILED_PRECONDITION, status=status))
    assert isinstance(error, FailedPrecondition)
    assert (error.reason, error.message) == ("", "sentence")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=str)
def test_each_status_code_has_its_class(code: grpc.StatusCode) -> None:
    error = errors.error_from_rpc(failure(code))
    assert error.code is code
    assert type(error) is PerdureError if code is grpc.StatusCode.UNKNOWN else type(error).default_code is code


@pytest.mark.parametrize(
    ("error", "is_repeated"),
    [
        (Unavailable("x"), True),
        (Unavailable("x", retry_after=1), True),
        (ResourceExhausted("x"), False),
        (ResourceExhausted("x", retry_after=1), True),
        (Aborted("x"), False),
        (Aborted("x", retry_after=1), True),
        (DeadlineExceeded("x", retry_after=1), False),
        (CallCancelled("x", retry_after=1), False),
        (FailedPrecondition("x", retry_after=1), False),
        (PerdureError("x", retry_after=1), False),
    ],
    ids=lambda value: repr(value) if isinstance(value, bool) else type(value).__name__,
)
def test_what_is_called_again(error: PerdureError, is_repeated: bool) -> None:
    assert (CallRetryPolicy().delay(error, 1) is not None) is is_repeated


@given(st.integers(1, 2000), st.floats(0, 1), st.none() | st.floats(0, 100))
def test_the_delay_is_the_servers_wish_plus_full_jitter(attempt: int, part: float, wish: float | None) -> None:
    policy = CallRetryPolicy(initial_delay=0.1, max_delay=2.0, multiplier=2.0)
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low + part * (high - low)

    delay = policy.delay(Unavailable("x", retry_after=wish), attempt, uniform)
    ceiling = min(2.0, 0.1 * 2.0 ** min(attempt - 1, 64))
    assert bounds == [(0.0, ceiling)]
    assert delay == (wish or 0.0) + part * ceiling


def test_attempts_may_be_counted() -> None:
    policy = CallRetryPolicy(max_attempts=3)
    assert [policy.delay(Unavailable("x"), attempt) is not None for attempt in (1, 2, 3, 4)] == [
        True,
        True,
        False,
        False,
    ]


class Script:
    """A method whose calls end as scripted; notes the deadlines it was given."""

    def __init__(self, *endings: Any) -> None:
        self._endings = list(endings)
        self.calls: list[dict[str, Any]] = []

    async def __call__(self, request: str, **options: Any) -> str:
        self.calls.append({"request": request, **options})
        ending = self._endings.pop(0)
        if isinstance(ending, BaseException):
            raise ending
        return ending


async def unary(
    script: Script, *, timeout: float = 30.0, policy: CallRetryPolicy | None = None
) -> tuple[str, list[float]]:
    """Calls the script through a connection; returns the reply and the pauses."""
    pauses: list[float] = []

    async def sleep(delay: float) -> None:
        pauses.append(delay)

    channel = open_channel("127.0.0.1:1")
    connection = Connection(channel, token="secret", retry=policy, sleep=sleep)
    try:
        method: Any = script
        return await connection.unary(method, "request", timeout=timeout), pauses
    finally:
        await channel.close()


async def test_a_call_is_repeated_until_it_succeeds_within_one_deadline() -> None:
    wish = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, info("TOO_MANY_CALLS"), retry_after(0.5))
    script = Script(failure(grpc.StatusCode.UNAVAILABLE), wish, "reply")
    reply, pauses = await unary(script)
    assert reply == "reply"
    assert len(pauses) == 2
    assert pauses[0] <= 0.1
    assert 0.5 <= pauses[1] <= 0.7
    assert [call["request"] for call in script.calls] == ["request"] * 3
    assert all(call["metadata"] == (("authorization", "Bearer secret"),) for call in script.calls)
    deadlines = [call["timeout"] for call in script.calls]
    assert deadlines == sorted(deadlines, reverse=True)
    assert deadlines[0] <= 30.0


async def test_a_pause_beyond_the_deadline_is_not_taken() -> None:
    with pytest.raises(Unavailable) as caught:
        await unary(Script(failure(grpc.StatusCode.UNAVAILABLE, info("DRAINING"), retry_after(40))))
    assert caught.value.reason == "DRAINING"


async def test_other_failures_are_raised_at_once() -> None:
    script = Script(failure(grpc.StatusCode.FAILED_PRECONDITION, info("WAIT_ENDED")))
    with pytest.raises(FailedPrecondition, match="WAIT_ENDED"):
        await unary(script)
    assert len(script.calls) == 1


async def test_a_call_cancelled_by_others_is_an_error_not_a_cancellation() -> None:
    with pytest.raises(CallCancelled):
        await unary(Script(asyncio.CancelledError()))


async def test_a_cancelled_caller_stays_cancelled() -> None:
    started = asyncio.Event()

    async def method(request: str, **options: Any) -> str:
        started.set()
        await asyncio.Event().wait()
        return "never"

    channel = open_channel("127.0.0.1:1")
    hanging: Any = method
    task = asyncio.create_task(Connection(channel).unary(hanging, "request"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await channel.close()


async def test_nobody_at_the_address_is_told_with_the_address() -> None:
    channel = open_channel("127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"no server answers at 127\.0\.0\.1:1"):
        await Connection(channel).wait_ready("127.0.0.1:1", 0.01)
    await channel.close()


@pytest.mark.parametrize(
    ("given_target", "target"),
    [
        ("localhost", "localhost:7171"),
        ("localhost:9", "localhost:9"),
        ("[::1]", "[::1]:7171"),
        ("[::1]:9", "[::1]:9"),
        ("::1", "[::1]:7171"),
        ("unix:/run/perdure.sock", "unix:/run/perdure.sock"),
        ("dns:///perdure:9", "dns:///perdure:9"),
    ],
)
def test_targets_have_a_default_port(given_target: str, target: str) -> None:
    assert full_target(given_target) == target


async def test_a_token_does_not_travel_in_plain_text() -> None:
    for target in ("example.invalid:1", "10.0.0.1", "dns:///example.invalid:1"):
        with pytest.raises(ValueError, match="plain text"):
            open_channel(target, token="secret")
    for target in ("localhost", "127.0.0.1:1", "[::1]:1", "unix:/run/perdure.sock"):
        await open_channel(target, token="secret").close()
    await open_channel("example.invalid:1", token="secret", tls=True).close()
