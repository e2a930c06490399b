"""Laws of the end and of the world outside (P5, P7), once every client has come to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed
from tests.robustness.checker.step_laws import TERMINAL
from tests.robustness.checker.testimony import Testimony
from tests.robustness.checker.tree_laws import is_over

Runs = Mapping[str, Sequence[Sealed]]


def ending_findings(testimony: Testimony, ledger: Runs) -> Iterator[Finding]:
    """Runs that are stranded or failed for no reason of theirs, and irreversible effects that were repeated."""
    if testimony.is_final:
        for run_id, records in ledger.items():
            yield from _ended(run_id, records)
    yield from _repeated(testimony, ledger)


def _ended(run_id: str, records: Sequence[Sealed]) -> Iterator[Finding]:
    if not records:
        return
    last = records[-1].record.seq
    if not is_over(records):
        yield Finding("RUN_STRANDED", run_id, last, "it has not ended, and nobody is to do anything about it any more")
    elif _has_failed(records):
        yield Finding("RUN_FAILED", run_id, last, "nothing that was asked of it can fail")


def _has_failed(records: Sequence[Sealed]) -> bool:
    """Whether the last end is a failure: one that was retried is undone."""
    ends = [sealed.kind for sealed in records if sealed.kind in TERMINAL]
    return ends[-1] == pb.RECORD_KIND_FAILED


def _repeated(testimony: Testimony, ledger: Runs) -> Iterator[Finding]:
    """An irreversible effect is executed once for each begin, and begun again only if somebody said so.

    Counted by key: the step of a reopened run is a new one, its effect is not.
    """
    executed = Counter(each.idempotency_key for each in testimony.executed)
    for run_id, records in ledger.items():
        begun: Counter[str] = Counter()
        steps: dict[int, str] = {}
        for sealed in records:
            if sealed.kind == pb.RECORD_KIND_STEP_BEGUN:
                begun[sealed.record.idempotency_key] += 1
                steps[sealed.record.step_id] = sealed.record.idempotency_key
        reruns = (s.record.step_id for s in records if s.record.unparked.resolution == pb.Unparked.RESOLUTION_RERUN)
        allowed = Counter(steps[step_id] for step_id in reruns if step_id in steps)
        for step_id, key in steps.items():
            if begun[key] > 1 + allowed[key]:
                yield Finding("BEGUN_AGAIN", run_id, step_id, f"begun {begun[key]} times, with {allowed[key]} reruns")
            if executed[key] > begun[key]:
                yield Finding("EFFECT_REPEATED", run_id, step_id, f"begun {begun[key]} times, executed {executed[key]}")
