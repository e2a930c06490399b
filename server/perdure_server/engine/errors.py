"""Domain errors of the use cases. The edge maps `reason` to a status code (api/errors.py)."""

from __future__ import annotations


class EngineError(Exception):
    """A call that cannot be carried out; nothing has changed unless the text says so.

    Args:
        message: for people; says what to do.
        field: the request field at fault, if one is.
        retry_after_us: when a repeat may help; 0 for none.
        metadata: small facts for ErrorInfo.metadata.
    """

    reason = "INTERNAL"

    def __init__(self, message: str, field: str = "", retry_after_us: int = 0, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_us = retry_after_us
        self.metadata = metadata


class RunNotFoundError(EngineError):
    """No such run."""

    reason = "RUN_NOT_FOUND"


class WorkflowNotFoundError(EngineError):
    """No such workflow or version."""

    reason = "WORKFLOW_NOT_FOUND"


class NamespaceNotFoundError(EngineError):
    """No such namespace."""

    reason = "NAMESPACE_NOT_FOUND"


class NamespaceExistsError(EngineError):
    """The namespace exists."""

    reason = "NAMESPACE_EXISTS"


class RequestIdReusedError(EngineError):
    """The request id was used with another body."""

    reason = "REQUEST_ID_REUSED"


class ConflictError(EngineError):
    """Others changed the run at the same time, repeatedly."""

    reason = "CONFLICT"


class StoreUnavailableError(EngineError):
    """The store does not answer."""

    reason = "STORE_UNAVAILABLE"


class DrainingError(EngineError):
    """The server is going away."""

    reason = "DRAINING"


class AnswerNotAllowedError(EngineError):
    """An answer does not meet the wait's schema."""

    reason = "ANSWER_NOT_ALLOWED"


class InvalidTaskTokenError(EngineError):
    """A task token is not one of this server's."""

    reason = "INVALID_TASK_TOKEN"
