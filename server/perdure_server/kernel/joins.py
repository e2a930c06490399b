"""What a join of branches or items says about a run: which request it is for, what may start, what it gives."""

from __future__ import annotations

from collections.abc import Mapping

from perdure_server.kernel.model import Fanout, RunState
from perdure_server.kernel.values import Leaf, dump_json

NULL = Leaf(b"null", None)


def fanout_of(run: RunState) -> Fanout:
    """The request of the open join.

    Raises: ValueError if the run joins nothing.
    """
    effect = run.step.effect if run.step is not None else None
    if effect is None or not isinstance(effect.request, Fanout):
        raise ValueError(f"run {run.run_id} joins nothing at seq {run.seq}")
    return effect.request


def room(run: RunState) -> int:
    """How many branches or items may start now; 0 for a run that joins nothing."""
    join = run.join
    if join is None:
        return 0
    request = fanout_of(run)
    return max(min(request.max_concurrency - join.open, request.total - join.started), 0)


def joined_result(request: Fanout, results: Mapping[int, Leaf]) -> Leaf:
    """The result of a join: an object of the branches that completed, or an array of all items."""
    if request.names:
        named = ((name, results.get(place)) for place, name in enumerate(request.names, start=1))
        members = [dump_json(name) + b":" + result.data for name, result in named if result is not None]
        return Leaf(b"{" + b",".join(members) + b"}")
    places = range(1, request.total + 1)
    return Leaf(b"[" + b",".join([results.get(place, NULL).data for place in places]) + b"]")
