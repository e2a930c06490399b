"""VerifyRun: reads a run's ledger and checks it."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_server.engine.errors import RunNotFoundError
from perdure_server.ledger.chain import ChainReport, ChainVerifier, RecordInspector, RunHeadClaim
from perdure_server.ledger.reads import PAGE_BYTES, PAGE_RECORDS, LedgerStore, StoreAccess
from perdure_server.ledger.selection import ScopeKind, Selection
from perdure_server.storage.port import RunKey


@dataclass(frozen=True, slots=True)
class RunVerification:
    """What was found, and the run's status (kernel RunStatus) when its head was read."""

    report: ChainReport
    status: int


async def verify_run(access: StoreAccess, key: RunKey, inspect: RecordInspector) -> RunVerification:
    """Recomputes hash chain and commitments of a run, page by page in reader threads.

    The head is read first: records that are committed meanwhile are left out.

    Raises: RunNotFoundError.
    """
    claim, status = await access.read(_read_head, access.store, key)
    verifier = ChainVerifier(key, claim, inspect)
    position = 0
    while not verifier.done:
        reached = await access.read(_check_page, access.store, key, position, verifier)
        if reached == position:
            break
        position = reached
    return RunVerification(verifier.report(), status)


def _read_head(store: LedgerStore, key: RunKey) -> tuple[RunHeadClaim, int]:
    snapshot = store.load_run(key)
    if snapshot is None:
        raise RunNotFoundError("There is no such run.", "run_id", run_id=key.run_id)
    return RunHeadClaim(snapshot.head.seq, snapshot.head.head_hash), snapshot.head.status


def _check_page(store: LedgerStore, key: RunKey, after: int, verifier: ChainVerifier) -> int:
    """Checks the next page; returns the position it reached, `after` at the end."""
    selection = Selection.of(key.namespace, ScopeKind.RUN, key.run_id)
    records = store.read_records(selection.query(after, 0, PAGE_RECORDS, 4 * PAGE_BYTES))
    verifier.add(records)
    return records[-1].position if records else after
