"""The shared mapping: a dict that its readers never see change, at a cost that its size does not show in."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

from perdure_server.kernel import persistent
from perdure_server.kernel.persistent import PersistentMap, empty_map


@pytest.mark.parametrize("seed", range(5))
def test_it_is_a_dict_that_does_not_change(seed: int) -> None:
    draw = random.Random(seed)
    shared: PersistentMap[str, int] = empty_map()
    plain: dict[str, int] = {}
    seen: list[tuple[PersistentMap[str, int], dict[str, int]]] = []
    for number in range(3_000):
        key = f"run-{draw.randrange(400)}"
        if draw.random() < 0.4:
            shared = shared.without(key)
            plain.pop(key, None)
        elif draw.random() < 0.1:
            more = [(f"run-{draw.randrange(400)}", number) for _ in range(5)]
            shared = shared.put_all(more)
            plain.update(more)
        else:
            shared = shared.put(key, number)
            plain[key] = number
        assert shared.get(key) == plain.get(key)
        assert (key in shared, len(shared)) == (key in plain, len(plain))
        if number % 300 == 0:
            seen.append((shared, dict(plain)))
    for then, copy in [*seen, (shared, plain)]:
        assert then == copy
        assert list(then.items()) == list(copy.items()), "in the order in which they came"


def test_keys_whose_hashes_are_alike_are_told_apart() -> None:
    many = PersistentMap((number << 2 * persistent.WIDTH_BITS, number) for number in range(100))
    assert [many[number << 2 * persistent.WIDTH_BITS] for number in range(100)] == list(range(100))
    assert many.without(0).get(0) is None
    with pytest.raises(KeyError):
        many[1]
    with pytest.raises(KeyError):
        many[5 << 2 * persistent.WIDTH_BITS | 1]


def test_what_has_nothing_to_lose_stays_as_it_is() -> None:
    one: PersistentMap[str, int] = PersistentMap([("a", 1)])
    assert one.without("b") is one
    assert one.without("a") == empty_map() == {}


def leaves(shared: PersistentMap[int, int]) -> list[dict[int, object]]:
    """The small dicts at the ends of its tree."""
    parts: list[Any] = gc.get_referents(shared)
    tree: Any = max(parts, key=lambda part: part.__class__ is tuple)
    return [bucket for branch in tree for bucket in branch if bucket]


@pytest.mark.promise("P10")
def test_a_change_leaves_all_but_one_way_shared() -> None:
    """Ten times the entries, and a change makes no more that is new than before: counted, not timed."""
    fresh: list[int] = []
    for size in (1_000, 10_000):
        before = PersistentMap((number, number) for number in range(size))
        after = before.put(7, -7)
        known = {id(bucket) for bucket in leaves(before)}
        buckets = leaves(after)
        fresh.append(sum(id(bucket) not in known for bucket in buckets))
        assert max(map(len, buckets)) <= 1 + size // persistent.WIDTH**2
    assert fresh == [1, 1]
