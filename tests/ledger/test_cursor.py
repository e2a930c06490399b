"""Cursors: opaque, bound, and refused where they do not belong."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.engine.errors import (
    CursorExpiredError,
    CursorFromOtherStoreError,
    EngineError,
    InvalidCursorError,
)
from perdure_server.ledger.cursor import Anchor, Cursor, CursorCodec, check_cursor
from perdure_server.ledger.selection import ScopeKind, Selection
from tests.ledger.rig import EPOCH, select
from tests.ledger.writer import STARTED, RunLedger, stored

pytestmark = pytest.mark.promise("P8")

CODEC = CursorCodec(EPOCH)
RUN = select(ScopeKind.RUN, "r", kinds=(1, 2), node_ids=("a", "b"))
CURSOR = Cursor(17, Anchor(12, b"12345678"))


def encode(cursor: Cursor = CURSOR, selection: Selection = RUN) -> str:
    """Its text."""
    return CODEC.encode(selection.binding(), cursor)


@st.composite
def cursors(draw: st.DrawFn) -> Cursor:
    """Any cursor."""
    position = draw(st.integers(0, 2**63 - 1))
    anchor = Anchor(draw(st.integers(0, position)), draw(st.binary(min_size=8, max_size=8)))
    return Cursor(position, anchor)


@given(cursors(), st.sampled_from(ScopeKind), st.text(max_size=9))
def test_a_cursor_comes_back_as_it_was(cursor: Cursor, scope: ScopeKind, scope_id: str) -> None:
    selection = select(scope, scope_id)
    text = encode(cursor, selection)
    assert CODEC.decode(selection, text, "f") == cursor
    assert len(text) == 60
    assert text.replace("-", "").replace("_", "").isalnum()


OTHERS = {
    "scope": select(ScopeKind.TREE, "r", kinds=(1, 2), node_ids=("a", "b")),
    "scope id": select(ScopeKind.RUN, "q", kinds=(1, 2), node_ids=("a", "b")),
    "namespace": replace(RUN, namespace="other"),
    "fewer kinds": select(ScopeKind.RUN, "r", kinds=(1,), node_ids=("a", "b")),
    "statuses for kinds": select(ScopeKind.RUN, "r", statuses=(1, 2), node_ids=("a", "b")),
    "a status more": select(ScopeKind.RUN, "r", kinds=(1, 2), statuses=(1,), node_ids=("a", "b")),
    "nodes joined": select(ScopeKind.RUN, "r", kinds=(1, 2), node_ids=("ab",)),
    "no filter": select(ScopeKind.RUN, "r"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_cursor_of_another_selection_is_refused(name: str) -> None:
    with pytest.raises(InvalidCursorError, match="another scope, filter or namespace") as caught:
        CODEC.decode(OTHERS[name], encode(), "after_cursor")
    assert caught.value.field == "after_cursor"


def test_the_order_of_conditions_does_not_matter() -> None:
    same = select(ScopeKind.RUN, "r", kinds=(2, 1, 2), node_ids=("b", "a"))
    assert CODEC.decode(same, encode(), "f") == CURSOR


def test_a_cursor_of_another_epoch_is_refused() -> None:
    with pytest.raises(CursorFromOtherStoreError):
        CursorCodec("another").decode(RUN, encode(), "f")


def test_another_version_is_refused() -> None:
    data = bytearray(base64.urlsafe_b64decode(encode()))
    data[0] = 2
    with pytest.raises(InvalidCursorError):
        CODEC.decode(RUN, base64.urlsafe_b64encode(data).decode(), "f")


@pytest.mark.parametrize("forged", [Cursor(2**63), Cursor(5, Anchor(6)), Cursor(5, Anchor(2**64 - 1))])
def test_numbers_that_no_store_has_are_refused(forged: Cursor) -> None:
    with pytest.raises(InvalidCursorError, match="damaged"):
        CODEC.decode(RUN, encode(forged), "f")


@given(st.one_of(st.text(), st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode())))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursorError):
        CODEC.decode(RUN, text, "f")


@given(st.integers(0, 59), st.sampled_from("ABCxyz059-_=\n é"))
def test_a_mistyped_cursor_is_refused(at: int, char: str) -> None:
    text = encode()
    if text[at] != char:
        with pytest.raises(EngineError):
            CODEC.decode(RUN, text[:at] + char + text[at + 1 :], "f")


@given(st.integers(0, 59))
def test_a_shortened_cursor_is_refused(length: int) -> None:
    with pytest.raises(InvalidCursorError):
        CODEC.decode(RUN, encode()[:length], "f")


def a_record(position: int) -> Anchor:
    """The anchor of some record."""
    ledger = RunLedger("r")
    ledger.commit(STARTED)
    return Anchor.at(stored(ledger, [position])[0])


def test_a_cursor_that_fits_the_store_is_taken() -> None:
    ledger = RunLedger("r")
    ledger.commit(STARTED)
    record = stored(ledger, [5])[0]
    check_cursor(Cursor(7, Anchor.at(record)), record, 7, "f")
    check_cursor(Cursor(0), None, 0, "f")
    check_cursor(Cursor(7), None, 9, "f")


def test_a_cursor_above_the_horizon_is_of_another_store() -> None:
    with pytest.raises(CursorFromOtherStoreError) as caught:
        check_cursor(Cursor(8), None, 7, "f")
    assert caught.value.metadata == {"horizon": "7"}


def test_a_cursor_whose_record_is_another_one_is_of_a_rolled_back_store() -> None:
    ledger = RunLedger("r")
    ledger.commit(STARTED)
    record = stored(ledger, [5])[0]
    with pytest.raises(CursorFromOtherStoreError):
        check_cursor(Cursor(5, Anchor(5, bytes(8))), record, 7, "f")


def test_a_cursor_whose_record_is_gone_is_of_a_rolled_back_store() -> None:
    with pytest.raises(CursorFromOtherStoreError):
        check_cursor(Cursor(5, a_record(5)), None, 7, "f")


def test_a_cursor_below_what_retention_left_has_expired() -> None:
    with pytest.raises(CursorExpiredError) as caught:
        check_cursor(Cursor(5, a_record(5)), None, 90, "f", oldest=50)
    assert caught.value.metadata == {"oldest_position": "50"}
    check_cursor(Cursor(49, a_record(5)), None, 90, "f", oldest=50)
