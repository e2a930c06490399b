"""What handlers raise, and how an exception becomes a failure of the step.

Any exception is a failure: its type is the exception's `type` attribute if that is a string, else the name of
its class; it may be retried unless it is a `NonRetryable`.
"""

from __future__ import annotations

from datetime import timedelta

from perdure.instants import Span, to_duration
from perdure.json_text import Json, UnserialisableError, encode
from perdure.v1 import common_pb2, model_pb2

_TYPE_BYTES = 128
_MESSAGE_BYTES = 64 * 1024


class StepError(Exception):
    """A failure with everything said about it.

    Args:
        message: for people.
        type: stable word to branch on; default: the name of the class.
        retryable: whether another attempt may help.
        details: any JSON value.
        retry_after: earliest time of the next attempt, instead of the policy's delay.
        not_executed: for an irreversible effect: nothing was executed, so it may be tried again.
    """

    def __init__(
        self,
        message: str = "",
        *,
        type: str = "",
        retryable: bool = True,
        details: Json = None,
        retry_after: Span | None = None,
        not_executed: bool = False,
    ) -> None:
        super().__init__(message)
        self.type = type or self.__class__.__name__
        self.retryable = retryable
        self.details = details
        self.retry_after = retry_after
        self.not_executed = not_executed


class NonRetryable(StepError):
    """Another attempt will not help: the failure is final."""

    def __init__(self, message: str = "", *, type: str = "", details: Json = None) -> None:
        super().__init__(message, type=type, retryable=False, details=details)


class NotExecuted(StepError):
    """An irreversible effect failed before it did anything, so that it may be tried again."""

    def __init__(
        self, message: str = "", *, type: str = "", details: Json = None, retry_after: Span | None = None
    ) -> None:
        super().__init__(message, type=type, details=details, retry_after=retry_after, not_executed=True)


class ReleaseTask(Exception):
    """Give the task back unexecuted, for another worker or for later; counts as no failure.

    Args:
        delay: not before this time from now.
    """

    def __init__(self, delay: Span = timedelta(0)) -> None:
        super().__init__("released")
        self.delay = delay


def step_failure(error: BaseException) -> model_pb2.StepFailure:
    """The report of a failed handler."""
    given = getattr(error, "type", None)
    failure = common_pb2.Failure(
        type=_cut(given if isinstance(given, str) and given else type(error).__name__, _TYPE_BYTES),
        message=_cut(str(error) or type(error).__name__, _MESSAGE_BYTES),
        retryable=True,
    )
    report = model_pb2.StepFailure(failure=failure)
    if not isinstance(error, StepError):
        return report
    report.failure.retryable = error.retryable
    report.not_executed = error.not_executed
    if error.retry_after is not None:
        report.retry_after.CopyFrom(to_duration(error.retry_after))
    if error.details is not None:
        try:
            report.failure.details_json = encode(error.details)
        except UnserialisableError as unserialisable:
            report.failure.details_json = encode({"unserialisable_details": str(unserialisable)})
    return report


def plain_failure(type: str, message: str, *, retryable: bool, not_executed: bool = False) -> model_pb2.StepFailure:
    """The report of a failure that is not an exception of the handler."""
    failure = common_pb2.Failure(
        type=_cut(type, _TYPE_BYTES), message=_cut(message, _MESSAGE_BYTES), retryable=retryable
    )
    return model_pb2.StepFailure(failure=failure, not_executed=not_executed)


def _cut(text: str, size: int) -> str:
    """The text in at most `size` bytes of UTF-8; what has no UTF-8 is replaced."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= size else data[: size - 3].decode(errors="ignore") + "..."
