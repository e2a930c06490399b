"""VerifyRun: reads a run's ledger and checks it."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_server.engine.errors import RunNotFoundError
from perdure_server.kernel.model import RunStatus
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.chain import ChainReport, ChainVerifier, RecordInspector, RunHeadClaim
from perdure_server.ledger.reads import PAGE_BYTES, PAGE_RECORDS, LedgerStore, StoreAccess
from perdure_server.storage.port import RecordQuery, RunKey, StoredRecord, StoreError

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
    while not verifier.done:
        last = await access.read(_check_page, access.store, key, verifier)
        if last is None:
            break
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


def _check_page(store: LedgerStore, key: RunKey, verifier: ChainVerifier) -> StoredRecord | None:
    """Checks the next page; returns its last record, None at the end."""
    query = RecordQuery(
        namespace=key.namespace,
        run_id=key.run_id,
        after_seq=verifier.seq,
        limit=PAGE_RECORDS,
        byte_limit=4 * PAGE_BYTES,
    )
    records = store.read_records(query)
    verifier.add(records)
    return records[-1] if records else None
