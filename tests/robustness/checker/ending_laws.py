"""Laws of the end and of the world outside (P5, P7), once every client has come to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed
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
    elif any(sealed.kind == pb.RECORD_KIND_FAILED for sealed in records):
        yield Finding("RUN_FAILED", run_id, last, "nothing that was asked of it can fail")


def _repeated(testimony: Testimony, ledger: Runs) -> Iterator[Finding]:
    """An irreversible effect is executed once for each begin, and begun again only if somebody said so."""
    executed = Counter(each.idempotency_key for each in testimony.executed)
    for run_id, records in ledger.items():
        begun: Counter[tuple[int, str]] = Counter()
        allowed: Counter[int] = Counter()
        for sealed in records:
            record = sealed.record
            if sealed.kind == pb.RECORD_KIND_STEP_BEGUN:
                begun[record.step_id, record.idempotency_key] += 1
            elif record.unparked.resolution == pb.Unparked.RESOLUTION_RERUN:
                allowed[record.step_id] += 1
        for (step_id, key), times in begun.items():
            if times > 1 + allowed[step_id]:
                yield Finding("BEGUN_AGAIN", run_id, step_id, f"begun {times} times, with {allowed[step_id]} reruns")
            if executed[key] > times:
                yield Finding("EFFECT_REPEATED", run_id, step_id, f"begun {times} times, executed {executed[key]}")
