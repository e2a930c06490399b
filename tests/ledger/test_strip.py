"""A strip cuts the batches that a plain list would give."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from perdure_server.ledger.strip import Strip
from perdure_server.storage.port import StoredRecord
from tests.ledger.writer import STARTED, RunLedger, stored

Row = tuple[int, bytes]


def stored_rows(*positions: int) -> list[StoredRecord]:
    """Some record at these positions."""
    ledger = RunLedger("r")
    ledger.commit(STARTED)
    (record,) = stored(ledger, [1])
    return [replace(record, position=position) for position in positions]


def a_strip(rows: list[Row]) -> Strip:
    """A strip of these positions and frames."""
    strip = Strip()
    for record, (_, frame) in zip(stored_rows(*(position for position, _ in rows)), rows, strict=True):
        strip.add(record, frame)
    return strip


def plain_cut(rows: list[Row], after: int, until: int, max_records: int, max_bytes: int) -> list[Row]:
    """The words of `Strip.cut`, on a list."""
    taken: list[Row] = []
    for position, frame in rows:
        if not after < position <= until:
            continue
        if taken and (len(taken) == max_records or sum(len(f) for _, f in taken) + len(frame) > max_bytes):
            break
        taken.append((position, frame))
    return taken


@given(
    st.lists(st.tuples(st.integers(1, 60), st.binary(max_size=9)), unique_by=lambda row: row[0]).map(sorted),
    st.integers(0, 20),
    st.integers(0, 70),
    st.integers(0, 70),
    st.integers(1, 8),
    st.integers(1, 40),
)
def test_a_cut_is_that_of_a_list(
    rows: list[Row], dropped: int, after: int, until: int, max_records: int, max_bytes: int
) -> None:
    strip = a_strip(rows)
    for position, _ in rows[:dropped]:
        assert strip.drop_first() == position
    left = rows[dropped:]
    cut = strip.cut(after, until, max_records, max_bytes)
    expected = plain_cut(left, after, until, max_records, max_bytes)
    assert (cut is None) == (not expected)
    if cut is not None:
        assert cut.frames == b"".join(frame for _, frame in expected)
        assert (cut.count, cut.last.position) == (len(expected), expected[-1][0])
    assert strip.first_after(after) == next((position for position, _ in left if position > after), 0)
    assert len(strip) == len(left)


def test_a_strip_that_moves_on_for_long_stays_right() -> None:
    rows: list[Row] = []
    strip = a_strip([])
    (record,) = stored_rows(1)
    for position in range(2, 9_000, 3):
        rows.append((position, b"x" * (position % 7)))
        strip.add(replace(record, position=position), rows[-1][1])
        if len(rows) > 700:
            assert strip.drop_first() == rows.pop(0)[0]
        for after in (0, rows[len(rows) // 2][0]):
            cut = strip.cut(after, position, 30, 100)
            expected = plain_cut(rows, after, position, 30, 100)
            assert (cut.frames if cut else b"") == b"".join(frame for _, frame in expected)
    assert len(strip) == 700
