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


class ScheduleNotFoundError(EngineError):
    """No such schedule."""

    reason = "SCHEDULE_NOT_FOUND"


class ScheduleExistsError(EngineError):
    """The schedule exists."""

    reason = "SCHEDULE_EXISTS"


class ScheduleChangedError(EngineError):
    """The schedule is not as it was when somebody looked at it."""

    reason = "SCHEDULE_CHANGED"


class LimitReachedError(EngineError):
    """A limit of the server."""

    reason = "LIMIT_REACHED"


class InvalidFieldError(EngineError):
    """A field that only the state of things shows to be wrong."""

    reason = "INVALID_FIELD"


class RequestIdReusedError(EngineError):
    """The request id was used with another body."""

    reason = "REQUEST_ID_REUSED"


class ConflictError(EngineError):
    """Others changed the run at the same time, repeatedly."""

    reason = "CONFLICT"


class StoreUnavailableError(EngineError):
    """The store does not answer."""

    reason = "STORE_UNAVAILABLE"


class DamagedError(EngineError):
    """Part of what is stored cannot be read."""

    reason = "STORE_DAMAGED"


class DrainingError(EngineError):
    """The server is going away."""

    reason = "DRAINING"


class AnswerNotAllowedError(EngineError):
    """An answer does not meet the wait's schema."""

    reason = "ANSWER_NOT_ALLOWED"


class InvalidTaskTokenError(EngineError):
    """A task token is not one of this server's."""

    reason = "INVALID_TASK_TOKEN"


class InvalidCursorError(EngineError):
    """A ledger cursor is not one of this scope and filter."""

    reason = "INVALID_CURSOR"


class CursorExpiredError(EngineError):
    """Records after the cursor were removed by retention; metadata `oldest_position`."""

    reason = "CURSOR_EXPIRED"


class CursorFromOtherStoreError(EngineError):
    """The cursor comes from another store, or from after a rollback."""

    reason = "CURSOR_FROM_OTHER_STORE"


class TooManyStreamsError(EngineError):
    """A caller has as many streams open as it may."""

    reason = "TOO_MANY_STREAMS"


class InvalidPageTokenError(EngineError):
    """A page token is not one of this list and filter."""

    reason = "INVALID_PAGE_TOKEN"
