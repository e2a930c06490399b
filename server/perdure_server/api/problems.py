"""What the edge itself refuses. Use cases have their own errors; `errors.py` gives both their status."""

from __future__ import annotations

from typing import NamedTuple


class FieldViolation(NamedTuple):
    """One field that is not as the contract says: its path from the request, and what to do."""

    field: str
    description: str


class EdgeError(Exception):
    """A call that the edge refuses before any use case sees it.

    Args:
        reason: name of the contract's ErrorReason, without prefix.
        message: for people; says what to do.
        violations: the fields at fault.
        retry_after_us: when a repeat may help; 0 for none.
        metadata: small facts for ErrorInfo.metadata.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_us: int = 0,
        **metadata: str,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = violations
        self.retry_after_us = retry_after_us
        self.metadata = metadata
