"""The instants of cron expressions and intervals, over years and changes of a zone's offset."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.schedules import Interval, Timing
from perdure_server.timetable.instants import TimingError, check_cron, instants_after, next_firing, zone_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "UTC")
DAY_US = 86_400 * SECOND_US


def at(*fields: int, zone: str = "UTC", fold: int = 0) -> int:
    """Unix microseconds of a local time."""
    moment = datetime(*fields, tzinfo=ZoneInfo(zone), fold=fold)
    return (moment - EPOCH) // timedelta(microseconds=1)


def local(instant: int, zone: str) -> str:
    """An instant as a clock in the zone shows it, with the offset."""
    return datetime.fromtimestamp(instant / SECOND_US, tz=ZoneInfo(zone)).strftime("%m-%d %H:%M %z")


def times(cron: str, zone: str, after: int, count: int) -> list[str]:
    """The next instants of one expression, as the zone's clock shows them."""
    timing = Timing((cron,), time_zone=zone)
    return [local(instant, zone) for instant in islice(instants_after(timing, after), count)]


def test_an_instant_in_the_skipped_hour_comes_right_after_the_gap() -> None:
    found = times("30 2 * * *", "Europe/Berlin", at(2026, 3, 28, 0, 0, zone="Europe/Berlin"), 3)
    assert found == ["03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200"]


def test_two_instants_in_the_skipped_hour_come_once() -> None:
    found = times("0,30 2 * * *", "Europe/Berlin", at(2026, 3, 28, 12, 0, zone="Europe/Berlin"), 3)
    assert found == ["03-29 03:00 +0200", "03-30 02:00 +0200", "03-30 02:30 +0200"]


def test_an_instant_in_the_doubled_hour_comes_once_the_first_time() -> None:
    found = times("30 2 * * *", "Europe/Berlin", at(2026, 10, 24, 12, 0, zone="Europe/Berlin"), 2)
    assert found == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_it_does_not_come_again_when_the_schedule_is_looked_at_in_the_second_pass() -> None:
    second = at(2026, 10, 25, 2, 10, zone="Europe/Berlin", fold=1)
    assert times("30 2 * * *", "Europe/Berlin", second, 1) == ["10-26 02:30 +0100"]


def test_a_star_follows_elapsed_time_through_both_changes() -> None:
    for day in (at(2026, 3, 29), at(2026, 10, 25)):
        timing = Timing(("0 * * * *",), time_zone="Europe/Berlin")
        found = list(islice(instants_after(timing, day - 1), 24))
        assert {later - earlier for earlier, later in pairwise(found)} == {3_600 * SECOND_US}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["30 1 * * *", "0 2 * * *", "45 2 * * *", "0 0 * * *", "15 3 * * SUN"])
def test_over_ten_years_each_day_has_its_instant_once(zone: str, cron: str) -> None:
    start, end = at(2020, 1, 1, zone=zone), at(2030, 1, 1, zone=zone)
    timing = Timing((cron,), time_zone=zone, end_at=end - 1)
    found = list(instants_after(timing, start - 1))
    days = [datetime.fromtimestamp(instant / SECOND_US, tz=ZoneInfo(zone)).date() for instant in found]
    step = 7 if cron.endswith("SUN") else 1
    every = [date(2020, 1, 1) + timedelta(days=number) for number in range(3_653)]
    assert days == [day for day in every if step == 1 or day.weekday() == 6]
    assert {(later - earlier).days for earlier, later in pairwise(days)} == {step}


def test_six_fields_have_seconds_first_and_names_lists_ranges_and_steps_are_read() -> None:
    assert times("*/20 0 12 1 JAN,JUL *", "UTC", at(2026, 6, 1), 1) == ["07-01 12:00 +0000"]
    timing = Timing(("*/20 0 12 1 JAN,JUL *",))
    assert [each // SECOND_US % 60 for each in islice(instants_after(timing, at(2026, 6, 1)), 3)] == [0, 20, 40]
    assert times("0 9 * * MON-FRI", "UTC", at(2026, 1, 2, 9), 1) == ["01-05 09:00 +0000"]
    assert times("0 0 LW * *", "UTC", at(2026, 1, 1), 1) == ["01-30 00:00 +0000"]
    assert times("0 0 29 2 *", "UTC", at(2026, 1, 1), 1) == ["02-29 00:00 +0000"]


@pytest.mark.parametrize(
    "cron",
    ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 *"],
)
def test_an_expression_that_never_fires_is_refused(cron: str) -> None:
    with pytest.raises(TimingError):
        check_cron(cron, UTC, at(2026, 1, 1))


@pytest.mark.parametrize(
    "cron",
    [
        "", "*", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
        "a b c d e", "*/0 * * * *", "5-1 * * * *", "1,,2 * * * *", "-1 * * * *", "@daily", "* * * FOO *",
        "1#2/3 * * * *", "* * * * MON#6", "0 0 * * 1#2/3", "0 0 * * 5L/2", "\u0661 * * * *", "1/2/3 * * * *",
    ],
)  # fmt: skip
def test_an_expression_that_cannot_be_read_is_refused(cron: str) -> None:
    with pytest.raises(TimingError) as refused:
        check_cron(cron, UTC, at(2026, 1, 1))
    assert str(refused.value)


@settings(max_examples=300)
@given(st.text(alphabet="0123456789*,/-#LWMONJA ", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        check_cron(text, UTC, at(2026, 1, 1))
    except TimingError:
        return
    assert next(instants_after(Timing((text,)), at(2026, 1, 1)))


@pytest.mark.parametrize("name", ["Nowhere", "../../etc/passwd", "/etc/passwd", "Europe", "a" * 100, "Europe/Berlin\0"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(TimingError, match="time zone"):
        zone_of(name)


def test_intervals_count_from_the_epoch_with_their_offset_and_merge_with_crons() -> None:
    timing = Timing(("0 * * * *",), (Interval(1_800 * SECOND_US), Interval(7_200 * SECOND_US, 300 * SECOND_US)))
    found = [local(each, "UTC")[6:11] for each in islice(instants_after(timing, at(2026, 1, 1)), 6)]
    assert found == ["00:05", "00:30", "01:00", "01:30", "02:00", "02:05"]


def test_start_and_end_are_part_of_the_span() -> None:
    timing = Timing((), (Interval(3_600 * SECOND_US),), start_at=at(2026, 1, 1, 2), end_at=at(2026, 1, 1, 4))
    assert [local(each, "UTC")[6:11] for each in instants_after(timing, 0)] == ["02:00", "03:00", "04:00"]
    assert next_firing(timing, at(2026, 1, 1, 4), "s") == (0, 0)


@given(st.integers(0, 2 * DAY_US), st.integers(1, 10_000), st.text(max_size=5))
def test_jitter_is_the_same_each_time_and_ends_before_the_next_instant(jitter: int, hours: int, seed: str) -> None:
    timing = Timing((), (Interval(3_600 * SECOND_US),), jitter_us=jitter)
    instant, due_at = next_firing(timing, hours * 3_600 * SECOND_US, seed)
    assert (instant, due_at) == next_firing(timing, hours * 3_600 * SECOND_US, seed)
    assert instant <= due_at <= instant + jitter
    assert due_at < instant + 3_600 * SECOND_US
