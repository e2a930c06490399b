"""Instants as text (RFC 3339, UTC, microseconds)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_instant(at: int) -> str:
    """Unix microseconds to text such as 2026-01-31T12:00:00.000000Z."""
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
