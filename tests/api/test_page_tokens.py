"""Page tokens, and pages cut by count and by bytes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1 import run_service_pb2 as pb
from perdure_server.api.page_tokens import CHUNK, Pages, Place, collect
from perdure_server.api.problems import EdgeError


def pages(workflow_id: str = "") -> Pages:
    """Tokens of a list."""
    return Pages(pb.ListRunsRequest(filter=pb.RunFilter(workflow_id=workflow_id)), (int, str))


@given(st.integers(-(2**63), 2**63), st.text(max_size=128))
def test_a_token_survives(number: int, text: str) -> None:
    token = pages().encode((number, text))
    assert pages().decode(token) == (number, text)
    assert token.isascii()
    assert not set("+/=") & set(token)


def test_the_empty_token_is_the_first_page() -> None:
    assert pages().decode("") is None


def test_page_fields_are_not_part_of_the_filter() -> None:
    first = Pages(pb.ListRunsRequest(page_size=5), (int, str)).encode((1, "a"))
    request = pb.ListRunsRequest(page_size=7, page_token=first)
    assert Pages(request, (int, str)).decode(first) == (1, "a")


def test_a_token_of_another_filter_or_list_is_refused() -> None:
    token = pages("w").encode((1, "a"))
    others = [pages(), pages("x"), Pages(pb.ListWaitsRequest(), (int, str))]
    for other in others:
        with pytest.raises(EdgeError, match="another list or filter") as caught:
            other.decode(token)
        assert caught.value.reason == "INVALID_PAGE_TOKEN"
        assert [violation.field for violation in caught.value.violations] == ["page_token"]


@given(st.one_of(st.text(max_size=60), st.text("abcAB01-_", max_size=60)).filter(bool))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(EdgeError) as caught:
        pages().decode(text)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


@given(st.data())
def test_a_changed_token_is_refused_or_names_another_place(data: st.DataObject) -> None:
    token = pages().encode((12_345, "run"))
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("aZ09-_")) + token[at + 1 :]
    with suppress(EdgeError):
        place = pages().decode(changed)
        assert place is not None
        assert tuple(map(type, place)) == (int, str)


def test_a_place_of_another_shape_is_refused() -> None:
    request = pb.ListRunsRequest()
    for place in ((1,), ("a", 1), (1, "a", 2), (True, "a")):
        token = Pages(request, (int, str)).encode(place)
        with pytest.raises(EdgeError):
            pages().decode(token)


ROWS = list(range(1, 251))


async def fetch(after: Place | None, limit: int) -> Sequence[int]:
    """Rows after a place."""
    start = int(after[0]) if after else 0
    assert limit <= CHUNK
    return ROWS[start : start + limit]


def encode(row: int) -> pb.Event:
    """A message of about 100 bytes."""
    return pb.Event(event_id=str(row), payload_json="x" * 90)


@pytest.mark.parametrize("page_size", [1, 7, 99, 100, 101, 200, 249, 250, 251, 1_000])
async def test_pages_hold_each_row_once(page_size: int) -> None:
    found: list[int] = []
    after: Place | None = None
    while True:
        items, after = await collect(fetch, lambda row: (row,), encode, after, page_size, 10**9)
        assert len(items) == page_size or after is None
        assert items
        found += [int(item.event_id) for item in items]
        if after is None:
            break
    assert found == ROWS


@pytest.mark.promise("P10")
@pytest.mark.parametrize("max_bytes", [1, 250, 5_000])
async def test_a_page_ends_at_its_bytes_but_holds_one_item(max_bytes: int) -> None:
    found: list[int] = []
    after: Place | None = None
    while True:
        items, after = await collect(fetch, lambda row: (row,), encode, after, 1_000, max_bytes)
        assert len(items) == 1 or sum(item.ByteSize() for item in items) <= max_bytes
        found += [int(item.event_id) for item in items]
        if after is None:
            break
    assert found == ROWS
