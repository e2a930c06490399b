"""docs/limits.md lists every limit and every bound with the number in force, and nothing else (P10)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perdure_server.kernel import bounds
from perdure_server.kernel.limits import DEFAULT_LIMITS

PAGE = Path(__file__).parents[2] / "docs/limits.md"
ROW = re.compile(r"^\| (\w+) \| (-?[\d,]+) \| (.+) \| (.+) \|$", re.MULTILINE)

pytestmark = pytest.mark.promise("P10")


def rows() -> list[tuple[str, int, str, str]]:
    """Name, number, meaning and error of every row."""
    found = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return [(name, int(number.replace(",", "")), what, error) for name, number, what, error in found]


def test_the_page_lists_every_limit_and_bound_with_its_number() -> None:
    of_fields = {
        name: value for name, value in vars(bounds).items() if name.isupper() and name not in ("KIB", "SECOND_US")
    }
    documented = [(name, number) for name, number, _, _ in rows()]
    assert dict(documented) == {**DEFAULT_LIMITS.as_dict(), **of_fields}
    assert len(documented) == len(dict(documented))


def test_every_number_of_the_page_says_what_it_limits_and_what_happens_over_it() -> None:
    for name, _, what, error in rows():
        assert what.strip(), name
        assert error.strip(), name
