"""The instants of a timing: cron expressions in local time, and intervals.

Cron expressions are read by `cronsim`. Five fields (minute, hour, day of month, month, day of week) behave at the
changes of a zone's offset as Debian's cron does: an instant in the hour that is skipped comes right after the gap, one
in the hour that is doubled comes once, at the first; expressions whose minute or hour begins with `*` follow elapsed
time instead, and so do six fields (second first).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from heapq import merge
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

import tzdata
from cronsim import CronSim, CronSimError

from perdure_server.kernel.bounds import MAX_INSTANT_US
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.schedules import Interval, Timing

_CRON: Final = re.compile(r"[0-9A-Za-z*,/#\- ]+", re.ASCII)
ZONE_VERSION: Final = tzdata.IANA_VERSION
"""Of the zones that zoneinfo takes where the system has none."""
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,2}", re.ASCII)


class TimingError(ValueError):
    """A cron expression or a time zone that cannot be; the text says why."""


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """An IANA time zone. Raises: TimingError."""
    if name in ("", "UTC"):
        return UTC
    try:
        if _ZONE.fullmatch(name) is None:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise TimingError(f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin") from error


def check_cron(expression: str, zone: tzinfo, after: int) -> None:
    """Raises: TimingError if the expression cannot be read, or never fires after `after` (Unix microseconds)."""
    if _CRON.fullmatch(expression) is None or len(expression.split()) not in (5, 6):
        raise TimingError(
            "must have five fields: minute, hour, day of month, month, day of week; or six, the second first"
        )
    try:
        first = next(_cron(expression, zone, after), None)
    except (CronSimError, AssertionError) as error:
        raise TimingError(f"cannot be read: {str(error) or 'a step or range that makes no sense'}") from error
    if first is None:
        raise TimingError("never fires: no day of the next 50 years is meant by it")


def instants_after(timing: Timing, after: int) -> Iterator[int]:
    """All instants above `after`, ascending, each once."""
    after = max(after, timing.start_at - 1)
    zone = zone_of(timing.time_zone)
    streams = [_cron(expression, zone, after) for expression in timing.crons]
    streams += [_interval(interval, after) for interval in timing.intervals]
    last, end = after, timing.end_at or MAX_INSTANT_US
    for at in merge(*streams):
        if at > end:
            return
        if at > last:
            yield at
            last = at


def next_firing(timing: Timing, after: int, seed: str) -> tuple[int, int]:
    """The first instant above `after`, and when it fires: later by its jitter, yet before the instant that follows.

    Args:
        seed: names the schedule; the same instant of it always has the same jitter.

    Returns: (0, 0) if there is none.
    """
    found = list(islice(instants_after(timing, after), 2))
    if not found:
        return 0, 0
    room = min(timing.jitter_us, found[1] - found[0] - 1) if len(found) > 1 else timing.jitter_us
    return found[0], found[0] + _jitter(seed, found[0], room)


def _jitter(seed: str, at: int, room: int) -> int:
    if room <= 0:
        return 0
    digest = hashlib.sha256(f"{seed}\0{at}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (room + 1)


def _cron(expression: str, zone: tzinfo, after: int) -> Iterator[int]:
    last = after
    try:
        for found in CronSim(expression, datetime.fromtimestamp(after // SECOND_US, tz=zone)):
            at = int(found.timestamp()) * SECOND_US
            if at > last:
                yield at
                last = at
    except OverflowError:  # the end of the calendar
        return


def _interval(interval: Interval, after: int) -> Iterator[int]:
    at = (after - interval.offset_us) // interval.every_us * interval.every_us + interval.offset_us
    while at <= MAX_INSTANT_US:
        if at > after:
            yield at
        at += interval.every_us
