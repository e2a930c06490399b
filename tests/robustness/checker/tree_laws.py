"""Laws between runs (P6): a child's end reaches its parent once.

A run that is opened again has left the children behind that it had: their ends are told to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed
from tests.robustness.checker.step_laws import TERMINAL


def tree_findings(runs: Mapping[str, Sequence[Sealed]]) -> Iterator[Finding]:
    """Everything that breaks a law of children, over all runs of an export."""
    for run_id, records in runs.items():
        if records:
            yield from _parent_of(run_id, records, runs)
            yield from _children_of(run_id, records, runs)


def is_over(records: Sequence[Sealed]) -> bool:
    """Whether the run has ended, and was not opened again."""
    over = False
    for sealed in records:
        over = (over or sealed.kind in TERMINAL) and sealed.kind != pb.RECORD_KIND_REOPENED
    return over


def was_over(records: Sequence[Sealed]) -> bool:
    """Whether the run has ended, at least once."""
    return any(sealed.kind in TERMINAL for sealed in records)


def _parent_of(run_id: str, records: Sequence[Sealed], runs: Mapping[str, Sequence[Sealed]]) -> Iterator[Finding]:
    parent_id = records[0].record.run_started.parent_run_id
    if parent_id and run_id not in {link.run_id for _, link in _links(runs.get(parent_id, ()))}:
        yield Finding("CHILD_UNKNOWN", run_id, 1, f"its parent {parent_id} knows nothing of it")


def _children_of(run_id: str, records: Sequence[Sealed], runs: Mapping[str, Sequence[Sealed]]) -> Iterator[Finding]:
    told = Counter(
        sealed.record.child_ended.child_run_id for sealed in records if sealed.kind == pb.RECORD_KIND_CHILD_ENDED
    )
    reopened = max((sealed.record.seq for sealed in records if sealed.kind == pb.RECORD_KIND_REOPENED), default=0)
    for seq, link in _links(records):
        child = runs.get(link.run_id)
        if not child or child[0].record.run_started.parent_run_id != run_id:
            yield Finding("CHILD_MISSING", run_id, seq, f"there is no child {link.run_id}")
        elif seq > reopened and is_over(child) and not told[link.run_id] and not is_over(records):
            yield Finding("CHILD_END_LOST", run_id, seq, f"child {link.run_id} has ended")
        elif not was_over(child) and told[link.run_id]:
            yield Finding("CHILD_END_INVENTED", run_id, seq, f"child {link.run_id} has not ended")
        if told[link.run_id] > 1:
            yield Finding("CHILD_END_DOUBLED", run_id, seq, f"the end of {link.run_id} came {told[link.run_id]} times")


def _links(records: Sequence[Sealed]) -> Iterator[tuple[int, pb.ChildLink]]:
    for sealed in records:
        record = sealed.record
        for body in (record.waiting, record.step_completed):
            if body.HasField("child"):
                yield record.seq, body.child
        for run_id in record.branches_started.run_ids:
            yield record.seq, pb.ChildLink(run_id=run_id, awaited=True)
