"""Runs that give way to a newer one."""

from __future__ import annotations

from collections.abc import Callable

from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import Cancel, Input
from perdure_server.kernel.model import RunState


def superseded(winner: str) -> Callable[[RunState], Input]:
    """Cancels a run once: one that is on its way to its end is left to it, as a second cancel would cut it short."""

    def cancel(run: RunState) -> Input:
        if run.ended or run.cancelling:
            raise Rejection(Reason.NOT_DUE, "the run gives way already")
        return Cancel(f"Superseded by run {winner}", cancelled_by=f"run:{winner}")

    return cancel
