"""Whole servers over every store, asked the same: nobody can tell them apart.

Time is a virtual clock's, ids and salts are a seed's, there are no threads; crashes drop the server and let the next
one find what the store had at that moment. So what a server answers depends on its store and on nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

import pytest

from perdure import v1
from tests.differential.expected import LEFT_OUT, METHODS, missing
from tests.differential.grounds import MemoryGround, PostgresGround, journal, sqlite
from tests.differential.operations import stream
from tests.differential.oracle import DifferenceError, MakeGround, consult, problem_of
from tests.differential.shrinking import shrunk

OPERATIONS = 5_000
SHORT = 2_000
"""Of PostgreSQL's streams outside the long form: each statement is a round trip."""
SEEDS = (1, 2, 3)
LONG_SEEDS = range(101, 121)
TRIES = 30
"""Lists of operations tried when a failure is shrunk here; `python -m tests.differential` has more patience."""


def agree(seed: int, grounds: Sequence[MakeGround], count: int = OPERATIONS) -> None:
    """Gives a stream to the stores; fails with the seed, the step and few operations that show the difference."""
    operations = stream(seed, count)
    try:
        tally = consult(operations, grounds, seed=seed)
    except DifferenceError as error:
        until = operations[: error.step + 1]
        few = shrunk(until, lambda some: problem_of(lambda: consult(some, grounds, seed=seed)) is not None, TRIES)
        pytest.fail(f"seed {seed}, {error}\nshrunk to {len(few)} operations: {few}")
    if count >= OPERATIONS:  # a shorter one is the beginning of one of these, whose rare operations may come later
        assert missing(tally) == set(), f"seed {seed}"


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", SEEDS)
def test_memory_journal_and_sqlite_agree(seed: int) -> None:
    agree(seed, (MemoryGround, journal, sqlite))


@pytest.mark.postgres
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", SEEDS)
def test_memory_and_postgresql_agree(seed: int) -> None:
    agree(seed, (MemoryGround, PostgresGround), SHORT)


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_memory_journal_and_sqlite_agree_for_long(seed: int) -> None:
    agree(seed, (MemoryGround, journal, sqlite))


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_memory_and_postgresql_agree_for_long(seed: int) -> None:
    agree(seed, (MemoryGround, PostgresGround))


def test_every_rpc_is_an_operation_or_left_out_for_a_reason() -> None:
    names = [module.name for module in pkgutil.iter_modules(v1.__path__) if module.name.endswith("_service_pb2")]
    modules = [importlib.import_module(f"perdure.v1.{name}") for name in names]
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    assert {method.name for service in services for method in service.methods} == METHODS | set(LEFT_OUT)
