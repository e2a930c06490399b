"""Leaves keep their bytes, and a fold takes the records of a run in their order only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.values import Leaf
from tests.kernel.scene import Scene, leaf


def test_leaves_are_equal_if_their_bytes_are() -> None:
    assert leaf({"a": 1}) == Leaf(b'{"a":1}')
    assert leaf(1) != leaf(2)
    assert Leaf(b"1.0") != Leaf(b"1")
    assert leaf(1) != b"1"
    assert len({leaf(1), Leaf(b"1"), leaf(2)}) == 2


def test_a_leaf_gives_its_text_its_size_and_its_value() -> None:
    made = Leaf('{ "a": "\u00e9" }'.encode())
    assert (made.text, made.size, made.value) == ('{ "a": "\u00e9" }', 13, {"a": "\u00e9"})
    assert Leaf.of({"a": ["\u00e9", None]}).data == '{"a":["\u00e9",null]}'.encode()


@pytest.mark.promise("P3")
def test_a_ledger_is_folded_from_its_first_record_on_without_a_gap() -> None:
    scene = Scene().start()
    scene.lease()
    first, second = scene.ledger
    assert evolve(evolve(None, first), second).seq == 2
    for run, record in [
        (None, second),
        (None, replace(second, seq=1)),
        (None, replace(first, seq=2)),
        (evolve(None, first), first),
        (evolve(None, first), replace(second, seq=3)),
        (evolve(None, first), replace(first, seq=2)),
    ]:
        with pytest.raises(ValueError, match=r"seq|follow"):
            evolve(run, record)
