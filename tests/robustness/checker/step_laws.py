"""Laws of steps inside one ledger (P5, P7): one outcome a step, the newest attempt only, nothing after the end.

A REOPENED record undoes the end of a failed run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed

TERMINAL = (pb.RECORD_KIND_COMPLETED, pb.RECORD_KIND_FAILED, pb.RECORD_KIND_CANCELLED)
_BY_ATTEMPT = (pb.RECORD_KIND_STEP_COMPLETED, pb.RECORD_KIND_STEP_BEGUN)


def is_final(record: pb.StepRecord) -> bool:
    """Whether a STEP_COMPLETED settles its step (a failed attempt that is tried again does not)."""
    return not record.step_completed.HasField("retry_at")


def step_findings(run_id: str, records: Sequence[Sealed]) -> Iterator[Finding]:
    """Everything that breaks a law of steps."""
    yield from _after_the_end(run_id, records)
    yield from _outcomes(run_id, records)
    yield from _fencing(run_id, records)
    yield from _dues(run_id, records)


def _after_the_end(run_id: str, records: Sequence[Sealed]) -> Iterator[Finding]:
    ended: Sealed | None = None
    for sealed in records:
        if sealed.kind == pb.RECORD_KIND_REOPENED:
            if ended is None or ended.kind != pb.RECORD_KIND_FAILED:
                yield Finding("REOPENED_UNFAILED", run_id, sealed.record.seq, "the run had not failed")
            ended = None
        elif ended is not None and sealed.kind != pb.RECORD_KIND_LATE_RESULT:
            yield Finding("AFTER_END", run_id, sealed.record.seq, f"the run ended at {ended.record.seq}")
        elif sealed.kind in TERMINAL:
            ended = sealed


def _outcomes(run_id: str, records: Sequence[Sealed]) -> Iterator[Finding]:
    """Each step is settled once: by its outcome, or by a wait that takes its place."""
    settled: dict[int, int] = {}
    for sealed in records:
        record = sealed.record
        waits = sealed.kind == pb.RECORD_KIND_WAITING
        completes = sealed.kind == pb.RECORD_KIND_STEP_COMPLETED and is_final(record)
        if not waits and not completes:
            continue
        first = settled.get(record.step_id)
        failed_wait = completes and record.status == pb.STEP_STATUS_FAILED and first is not None
        if first is not None and not (failed_wait and records[first - 1].kind == pb.RECORD_KIND_WAITING):
            yield Finding("EFFECT_DOUBLED", run_id, record.seq, f"step {record.step_id} was settled at {first}")
        settled[record.step_id] = record.seq


def _fencing(run_id: str, records: Sequence[Sealed]) -> Iterator[Finding]:
    """Attempts grow by one, over a retry of the run too, and only the newest one begins or settles."""
    attempts = _Attempts()
    begun: set[tuple[int, int]] = set()
    for sealed in records:
        record = sealed.record
        newest = attempts.of[record.step_id]
        if sealed.kind == pb.RECORD_KIND_STEP_STARTED:
            if record.attempt != newest + 1:
                yield Finding("ATTEMPT_GAP", run_id, record.seq, f"attempt {record.attempt} after {newest}")
            attempts.of[record.step_id] = max(newest, record.attempt)
        elif sealed.kind in _BY_ATTEMPT and record.attempt and record.attempt != newest:
            yield Finding("STALE_MERGED", run_id, record.seq, f"attempt {record.attempt}, the newest is {newest}")
        if sealed.kind == pb.RECORD_KIND_STEP_BEGUN:
            if (record.step_id, record.attempt) in begun:
                yield Finding("BEGUN_TWICE", run_id, record.seq, f"attempt {record.attempt}")
            begun.add((record.step_id, record.attempt))
        attempts.pass_by(record)


class _Attempts:
    """The newest attempt of each step. A reopened run has a new step for the one that failed: its attempts go on.

    Attributes:
        of: by step_id.
    """

    def __init__(self) -> None:
        self.of: Counter[int] = Counter()
        self._of_effect: Counter[int] = Counter()
        """By step_id of a node: what its visit's effect has had before."""
        self._at_effect = False
        self._due = 1

    def pass_by(self, record: pb.StepRecord) -> None:
        """Reads one more record."""
        if not _makes_due(record):
            return
        before, self._due = self._due, record.seq
        from_node = record.reopened.HasField("entry")
        if record.step_completed.HasField("effect"):
            self._at_effect = True
            self.of[record.seq] = self._of_effect[record.step_id]
        elif record.kind != pb.RECORD_KIND_REOPENED:
            self._at_effect = False
        elif from_node and self._at_effect:
            self._at_effect = False
            self._of_effect[record.seq] = self.of[before]
        else:
            self.of[record.seq], self._of_effect[record.seq] = self.of[before], self._of_effect[before]


def _dues(run_id: str, records: Sequence[Sealed]) -> Iterator[Finding]:
    """A step_id is the seq of the newest record that made a step due."""
    due = 0
    for sealed in records:
        record = sealed.record
        if sealed.kind == pb.RECORD_KIND_RUN_STARTED:
            due = record.seq
        if record.step_id and record.step_id != due and sealed.kind != pb.RECORD_KIND_LATE_RESULT:
            yield Finding("FOREIGN_STEP", run_id, record.seq, f"step {record.step_id}, due is {due}")
        if _makes_due(record):
            due = record.seq


def _makes_due(record: pb.StepRecord) -> bool:
    name = record.WhichOneof("body")
    body = getattr(record, name) if name else None
    if body is None:
        return False
    if isinstance(body, pb.Reopened) or (isinstance(body, pb.StepCompleted) and body.HasField("effect")):
        return True
    return "next" in body.DESCRIPTOR.fields_by_name and body.HasField("next")
