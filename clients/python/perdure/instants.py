"""Instants and spans between Python and the contract: aware datetimes, timedeltas or seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

Span: TypeAlias = timedelta | float | int
"""A timedelta, or a number of seconds."""


def to_timestamp(instant: datetime) -> Timestamp:
    """An instant for the wire.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; use datetime.now(UTC) or .replace(tzinfo=...)")
    stamp = Timestamp()
    stamp.FromDatetime(instant.astimezone(UTC))
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime:
    """An instant from the wire, in UTC, to the microsecond."""
    return stamp.ToDatetime(tzinfo=UTC)


def to_duration(span: Span) -> Duration:
    """A span for the wire, to the microsecond."""
    return Duration(seconds=(total := micros(span)) // 1_000_000, nanos=total % 1_000_000 * 1_000)


def micros(span: Span) -> int:
    """A span in microseconds.

    Raises:
        ValueError: it is negative.
    """
    total = span // timedelta(microseconds=1) if isinstance(span, timedelta) else round(span * 1_000_000)
    if total < 0:
        raise ValueError(f"a span of time must not be negative: {span!r}")
    return total


def seconds(span: Span) -> float:
    """A span in seconds."""
    return micros(span) / 1_000_000


def duration_seconds(duration: Duration) -> float:
    """A span from the wire, in seconds."""
    return duration.seconds + duration.nanos / 1_000_000_000
