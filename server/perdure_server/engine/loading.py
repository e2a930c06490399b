"""From a snapshot in the store to a run in memory: newest keyframe, then the records after it (P4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure_server.engine.errors import DamagedError
from perdure_server.engine.run_slot import RunSlot
from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.model import RunState, RunStatus
from perdure_server.kernel.obligations import obligations
from perdure_server.storage.port import RecordQuery, RunKey, RunSnapshot

if TYPE_CHECKING:
    from perdure_server.engine.core import Engine


PAGE = 500


def is_complete(keyframe: RunState) -> bool:
    """Whether a keyframe holds all that a state has. Those of version 0.1 know no failed step, which a failed run
    needs to be retried: its ledger is then folded from the first record."""
    return keyframe.status is not RunStatus.FAILED or keyframe.failed_step is not None


async def fill_slot(engine: Engine, slot: RunSlot, snapshot: RunSnapshot) -> None:
    """Folds a snapshot into a slot.

    Raises: DamagedError if the ledger does not reach the head, or the workflow is missing.
    """
    run = engine.codec.decode_state(snapshot.keyframe) if snapshot.keyframe is not None else None
    if run is not None and not is_complete(run):
        run = await _fold_until(engine, slot.key, run.seq)
    for row in snapshot.records:
        run = evolve(run, engine.codec.decode_record(row.record, row.payloads))
    if run is None or run.seq != snapshot.head.seq:
        raise DamagedError(f"the ledger of run {slot.key.run_id!r} does not reach its head; restore a backup")
    spec = await engine.catalog.find(run.namespace, run.workflow_id, run.workflow_version)
    if spec is None:
        raise DamagedError(f"workflow {run.workflow_id!r} {run.workflow_version!r} of run {run.run_id!r} is missing")
    slot.run = run
    slot.spec = spec
    slot.head_hash = snapshot.head.head_hash
    slot.due = obligations(run)
    slot.wait_row = snapshot.head.wait
    slot.since_records = run.seq - snapshot.keyframe_seq
    slot.since_bytes = sum(len(row.record) for row in snapshot.records)


async def _fold_until(engine: Engine, key: RunKey, last_seq: int) -> RunState | None:
    """The run after record `last_seq`, from its ledger alone."""
    run: RunState | None = None
    seq = 0
    while seq < last_seq:
        query = RecordQuery(key.namespace, run_id=key.run_id, after_seq=seq, limit=min(PAGE, last_seq - seq))
        page = await engine.read(engine.store.read_records, query)
        if not page:
            return None
        for row in page:
            run = evolve(run, engine.codec.decode_record(row.record, row.payloads))
        seq = page[-1].seq
    return run
