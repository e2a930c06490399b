"""The kernel's state machine, played for long."""

from __future__ import annotations

import pytest

from tests.kernel.test_machine import promises, run_machine


@pytest.mark.long
@promises
def test_no_interleaving_of_many_breaks_a_promise() -> None:
    run_machine(2_000)
