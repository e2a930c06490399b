"""A failing stream of operations, made as short as possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.differential.operations import Operation


def shrunk(
    operations: Sequence[Operation], fails: Callable[[Sequence[Operation]], bool], tries: int = 200
) -> list[Operation]:
    """A shorter list that fails too: parts are left out, first large ones, then small ones.

    Delta debugging; see Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.

    Args:
        operations: a list that fails.
        tries: lists that are tried at most.
    """
    left = list(operations)
    size = max(len(left) // 2, 1)
    while tries > 0:
        start, shorter = 0, False
        while start < len(left) and tries > 0:
            candidate = left[:start] + left[start + size :]
            tries -= 1
            if candidate and fails(candidate):
                left, shorter = candidate, True
            else:
                start += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return left
