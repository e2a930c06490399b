"""Values as people type them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure_server.cli import arguments
from perdure_server.cli.refusals import USAGE, Refusal

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ('{"big": 18446744073709551615}', {"big": 18446744073709551615}),
        ('"ünïcode"', "ünïcode"),
    ],
)
def test_json_is_read(text: str, value: object) -> None:
    assert arguments.json_value(text, "--vars") == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{amount: 1}", "--vars takes JSON"),
        ("", "--vars takes JSON"),
        ("NaN", "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ("[" * 100_000, "--vars takes JSON"),
        ("@/does/not/exist", "cannot read '/does/not/exist'"),
    ],
)
def test_what_is_not_json_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        arguments.json_value(text, "--vars")
    assert problem in refused.value.message
    assert refused.value.exit_code == USAGE


def test_json_comes_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vars.json"
    file.write_text('{"from": "file"}', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "stdin"}'))
    assert arguments.json_value(f"@{file}", "--vars") == {"from": "file"}
    assert arguments.json_value("-", "--vars") == {"from": "stdin"}


def test_an_object_is_wanted() -> None:
    with pytest.raises(Refusal, match="takes a JSON object"):
        arguments.json_object("[1]", "--vars")


@pytest.mark.parametrize(
    ("text", "value"),
    [("approve", "approve"), ("true", True), ('"true"', "true"), ("12", 12), ("{broken", "{broken"), ("NaN", "NaN")],
)
def test_an_answer_is_json_or_text(text: str, value: object) -> None:
    assert arguments.json_or_text(text, "ANSWER") == value


def test_pairs() -> None:
    assert arguments.pairs(["a=1", "b=x=y", "c="], "--label") == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("item", ["plain", "=x", ""])
def test_a_pair_without_key_or_sign_is_refused(item: str) -> None:
    with pytest.raises(Refusal, match="--label takes KEY=VALUE"):
        arguments.pairs([item], "--label")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400), ("1w", 604_800), ("250ms", 0.25)],
)
def test_spans(text: str, seconds: float) -> None:
    assert arguments.span(text, "--for") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 minutes", "1h30m", "s"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="--for takes a time such as"):
        arguments.span(text, "--for")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-01-31T13:00:00Z", NOW + timedelta(hours=1)),
        ("2027-01-31T13:00:00+01:00", NOW),
        ("+2h", NOW + timedelta(hours=2)),
        ("-15m", NOW - timedelta(minutes=15)),
    ],
)
def test_instants(text: str, instant: datetime) -> None:
    assert arguments.instant(text, "--start-at", NOW) == instant


@pytest.mark.parametrize(
    ("text", "problem"),
    [("tomorrow", "takes an instant"), ("2027-01-31T13:00:00", "has no time zone"), ("+soon", "takes a time")],
)
def test_what_is_no_instant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Refusal, match=problem):
        arguments.instant(text, "--start-at", NOW)


@pytest.mark.parametrize("read", [arguments.json_value, arguments.json_or_text, arguments.read_text])
def test_a_file_that_is_not_text_is_refused(read: Callable[[str, str], Any], tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Refusal, match="cannot read"):
        read(f"@{file}", "ANSWER")
