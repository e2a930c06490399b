"""Fixtures of the contract suite: each test that takes `store` runs on every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure_server.storage.port import Store
from tests.contract.bindings import Binding, as_params


@pytest.fixture(params=as_params())
def binding(request: pytest.FixtureRequest) -> Binding:
    """The store under test, as its binding."""
    return request.param


@pytest.fixture
def store(binding: Binding, tmp_path: Path) -> Iterator[Store]:
    """A new store, closed in the end."""
    opened = binding.open(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def reopen(binding: Binding, store: Store, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Closes the store and opens it again on the same data."""
    if "reopen" in binding.excluded:
        pytest.skip(f"{binding.name}: {binding.excluded['reopen']}")
    opened: list[Store] = [store]

    def again() -> Store:
        opened[-1].close()
        opened.append(binding.open(tmp_path))
        return opened[-1]

    yield again
    opened[-1].close()
