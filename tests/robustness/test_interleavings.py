"""The kernel's state machine, played for long."""

from __future__ import annotations

import pytest

from tests.kernel.test_machine import promises, run_machine

BATCHES = 60
EXAMPLES = 60
"""In one batch: Hypothesis keeps in memory what it has tried, gigabytes for a few thousand of these."""


@pytest.mark.long
@promises
def test_no_interleaving_of_many_breaks_a_promise() -> None:
    for _ in range(BATCHES):
        run_machine(EXAMPLES)
