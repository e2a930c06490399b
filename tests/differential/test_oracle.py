"""The oracle itself: it finds faults that are planted into a store, and says by which few operations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.differential.grounds import MemoryGround
from tests.differential.operations import Operation, stream
from tests.differential.oracle import DifferenceError, OracleError, consult, problem_of
from tests.differential.planted import (
    Fault,
    ForgottenRequest,
    LostTimer,
    SwappedEvents,
    TwiceApplied,
    UnrenewedLease,
)
from tests.differential.shrinking import shrunk

TWO = (MemoryGround, MemoryGround)
SEED = 7
COUNT = 300


def found(operations: Sequence[Operation], fault: Fault) -> OracleError | None:
    """What the oracle says about a store with a fault, beside one without."""
    return problem_of(lambda: consult(operations, TWO, wrap=fault.around))


def test_two_good_stores_agree() -> None:
    assert found(stream(SEED, COUNT), Fault()) is None


@pytest.mark.parametrize("make", [LostTimer, SwappedEvents, ForgottenRequest, TwiceApplied, UnrenewedLease])
@pytest.mark.parametrize("occasion", [1, 3])
def test_a_planted_fault_is_found(make: type[Fault], occasion: int) -> None:
    fault = make(occasion)
    problem = found(stream(SEED, COUNT), fault)
    assert fault.happened
    assert problem is not None


def test_the_same_stream_does_the_same_again() -> None:
    """Nothing is left to chance: two consultations count the same."""
    assert consult(stream(SEED, 150), TWO) == consult(stream(SEED, 150), TWO)


def test_a_failing_stream_shrinks_to_what_matters() -> None:
    operations = stream(SEED, COUNT)
    problem = found(operations, LostTimer())
    assert isinstance(problem, DifferenceError)
    few = shrunk(operations[: problem.step + 1], lambda some: found(some, LostTimer()) is not None)
    assert 1 <= len(few) <= 3, few
    assert found(few, LostTimer()) is not None
