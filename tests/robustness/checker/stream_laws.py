"""Laws of cursor chains (P8): what was streamed is what is stored, in order, whole, and of its scope."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from perdure.v1.ledger_service_pb2 import LedgerScope
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.sealed import Sealed
from tests.robustness.checker.testimony import StreamedRecord, Testimony

Runs = Mapping[str, Sequence[Sealed]]

EVERYTHING = LedgerScope(all=True)


def stream_findings(testimony: Testimony, ledger: Runs) -> Iterator[Finding]:
    """Each chain has each record of its scope once up to its last one, in position and seq order, as it is stored; a
    chain that was read to its end has all of them."""
    chains: dict[str, list[StreamedRecord]] = defaultdict(list)
    for told in testimony.streamed:
        chains[told.chain].append(told)
    named = testimony.scopes if testimony.is_final else {}
    for chain in {**dict.fromkeys(chains), **dict.fromkeys(named)}:
        runs = _within(testimony.scopes.get(chain, EVERYTHING), ledger)
        yield from _chain(chain, chains[chain], ledger, runs, is_final=testimony.is_final)


def _chain(
    chain: str, streamed: Sequence[StreamedRecord], ledger: Runs, runs: frozenset[str], *, is_final: bool
) -> Iterator[Finding]:
    position = 0
    seqs: dict[str, int] = {}
    for told in streamed:
        run_id, seq = told.run_id, told.seq
        if told.position <= position:
            yield Finding("STREAM_DISORDER", run_id, seq, f"{chain}: position {told.position} after {position}")
        if seq != seqs.get(run_id, 0) + 1:
            yield Finding("STREAM_GAP", run_id, seq, f"{chain}: came after seq {seqs.get(run_id, 0)}")
        position, seqs[run_id] = told.position, seq
        yield from _as_stored(told, ledger)
        if run_id in ledger and run_id not in runs:
            yield Finding("STREAM_STRAY", run_id, seq, f"{chain}: the run is not of this scope")
    for run_id in runs:
        for sealed in ledger[run_id][seqs.get(run_id, 0) :]:
            seq = sealed.record.seq
            if sealed.position <= position:
                yield Finding("STREAM_SKIPPED", run_id, seq, f"{chain}: not streamed, and the stream is at {position}")
            elif is_final:
                yield Finding("STREAM_SHORT", run_id, seq, f"{chain}: ended at {position}, before {sealed.position}")


def _as_stored(told: StreamedRecord, ledger: Runs) -> Iterator[Finding]:
    records = ledger.get(told.run_id, ())
    stored = records[told.seq - 1] if 0 < told.seq <= len(records) else None
    if stored is None:
        yield Finding("STREAMED_LOST", told.run_id, told.seq, f"{told.chain}: a streamed record is not in the ledger")
    elif (stored.record_hash, stored.position) != (told.record_hash, told.position):
        yield Finding("STREAMED_DIFFERS", told.run_id, told.seq, f"{told.chain}: the ledger has another record there")


def _within(scope: LedgerScope, ledger: Runs) -> frozenset[str]:
    """Runs of a scope, by what their first records say."""
    return frozenset(run_id for run_id, records in ledger.items() if records and _is_within(scope, records[0]))


def _is_within(scope: LedgerScope, first: Sealed) -> bool:
    record = first.record
    match scope.WhichOneof("scope"):
        case "run_id":
            return record.run_id == scope.run_id
        case "root_run_id":
            return record.root_run_id == scope.root_run_id
        case "session_id":
            return record.session_id == scope.session_id
        case "workflow_id":
            return record.run_started.workflow_id == scope.workflow_id
        case _:
            return True
