"""VerifyRun: reads a run's ledger and checks it."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_server.engine.errors import RunNotFoundError
from perdure_server.kernel.model import RunStatus
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.chain import ChainReport, ChainVerifier, RecordInspector, RunHeadClaim
from perdure_server.ledger.reads import PAGE_BYTES, PAGE_RECORDS, LedgerStore, StoreAccess
from perdure_server.ledger.selection import ScopeKind, Selection
from perdure_server.storage.port import RunKey, StoredRecord, StoreError

_ENDED = {
    RecordKind.COMPLETED: RunStatus.COMPLETED,
    RecordKind.FAILED: RunStatus.FAILED,
    RecordKind.CANCELLED: RunStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class RunVerification:
    """What was found, and the run's status (kernel RunStatus) when its head was read."""

    report: ChainReport
    status: int


async def verify_run(access: StoreAccess, key: RunKey, inspect: RecordInspector) -> RunVerification:
    """Recomputes hash chain and commitments of a run, page by page in reader threads.

    The head is read first: records that are committed meanwhile are left out. A run that the store itself
    finds damaged is checked as far as its records go.

    Raises: RunNotFoundError.
    """
    claim, status = await access.read(_read_head, access.store, key)
    verifier = ChainVerifier(key, claim, inspect)
    position = 0
    while not verifier.done:
        last = await access.read(_check_page, access.store, key, position, verifier)
        if last is None:
            break
        position = last.position
        if isinstance(claim, str):
            status = _ENDED.get(RecordKind(last.kind), RunStatus.RUNNING)
    return RunVerification(verifier.report(), status)


def _read_head(store: LedgerStore, key: RunKey) -> tuple[RunHeadClaim | str, int]:
    """The head and the status; or the store's words on why it cannot give them."""
    try:
        snapshot = store.load_run(key)
    except StoreError as error:
        # A store that is down says so again, at the first page.
        return str(error), RunStatus.RUNNING
    if snapshot is None:
        raise RunNotFoundError("There is no such run.", "run_id", run_id=key.run_id)
    return RunHeadClaim(snapshot.head.seq, snapshot.head.head_hash), snapshot.head.status


def _check_page(store: LedgerStore, key: RunKey, after: int, verifier: ChainVerifier) -> StoredRecord | None:
    """Checks the next page; returns its last record, None at the end."""
    selection = Selection.of(key.namespace, ScopeKind.RUN, key.run_id)
    records = store.read_records(selection.query(after, 0, PAGE_RECORDS, 4 * PAGE_BYTES))
    verifier.add(records)
    return records[-1] if records else None
