"""AuditRuns: are runs what their ledgers say, and can each that has not ended move? (P3, P7)"""

from __future__ import annotations

from dataclasses import dataclass, fields

from perdure_server.engine.core import Engine
from perdure_server.engine.errors import DamagedError
from perdure_server.engine.loading import is_complete
from perdure_server.engine.rows import rows_differ
from perdure_server.engine.sealing import genesis_hash, record_hash
from perdure_server.kernel.decision import Obligations
from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.model import Activity, RunState
from perdure_server.kernel.obligations import obligations
from perdure_server.storage.port import RecordQuery, RunKey, RunSnapshot

PAGE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `kind` as in AuditFinding of the contract."""

    run_id: str
    kind: str
    detail: str
    seq: int


@dataclass(frozen=True, slots=True)
class RunAudit:
    """What an audit of one run found."""

    findings: tuple[Finding, ...]
    records: int


async def audit_run(engine: Engine, key: RunKey) -> RunAudit:
    """Folds the whole ledger of a run and compares it with head, keyframe, memory and rows. Reads only.

    A run that changes while it is read is read again; one that cannot be read is a finding. Raises: RunNotFoundError.
    """
    try:
        return await _audit_run(engine, key)
    except DamagedError as error:
        return RunAudit((Finding(key.run_id, "UNREADABLE", error.message, 0),), 0)


async def _audit_run(engine: Engine, key: RunKey) -> RunAudit:
    await engine.load(key)
    while True:
        snapshot = await engine.read(engine.store.load_run, key)
        rows = await engine.read(engine.store.read_obligations, key)
        audit = _Audit(engine, key)
        await audit.fold(snapshot.keyframe_seq if snapshot else 0)
        again = await engine.read(engine.store.load_run, key)
        if snapshot is None or again is None or rows is None:
            return RunAudit((Finding(key.run_id, "HEAD_DIFFERS", "the run has a ledger but no head", 0),), 0)
        if again.head.seq != snapshot.head.seq:
            continue
        audit.compare(snapshot)
        run = audit.run
        if run is not None:
            problem = rows_differ(obligations(run), rows)
            if problem:
                audit.find("OBLIGATIONS_DIFFER", problem, run.seq)
            _check_movable(audit, run)
            await _check_memory(engine, audit, run)
        return RunAudit(tuple(audit.findings), audit.records)


class _Audit:
    def __init__(self, engine: Engine, key: RunKey) -> None:
        self.engine = engine
        self.key = key
        self.run: RunState | None = None
        self.at_keyframe: RunState | None = None
        self.head_hash = genesis_hash(key.namespace, key.run_id)
        self.records = 0
        self.findings: list[Finding] = []

    def find(self, kind: str, detail: str, seq: int) -> None:
        self.findings.append(Finding(self.key.run_id, kind, detail, seq))

    async def fold(self, keyframe_seq: int) -> None:
        engine = self.engine
        while True:
            query = RecordQuery(self.key.namespace, run_id=self.key.run_id, after_seq=self.records, limit=PAGE)
            page = await engine.read(engine.store.read_records, query)
            for row in page:
                if row.seq != self.records + 1:
                    self.find("SEQ_GAP", f"record {row.seq} follows {self.records}", row.seq)
                    return
                if record_hash(self.head_hash, row.record) != row.record_hash:
                    self.find("CHAIN_BROKEN", "the record's hash does not follow from its bytes", row.seq)
                    return
                self.head_hash = row.record_hash
                self.run = evolve(self.run, engine.codec.decode_record(row.record, row.payloads))
                self.records += 1
                if self.records == keyframe_seq:
                    self.at_keyframe = self.run
            if not page:
                return

    def compare(self, snapshot: RunSnapshot) -> None:
        run, head = self.run, snapshot.head
        if run is None:
            self.find("SEQ_GAP", "the ledger is empty", 0)
            return
        keyframe = self.engine.codec.decode_state(snapshot.keyframe) if snapshot.keyframe is not None else None
        if keyframe is not None and is_complete(keyframe):
            different = differing_fields(keyframe, self.at_keyframe)
            if different:
                self.find("KEYFRAME_DIFFERS", f"differs from the fold in {different}", snapshot.keyframe_seq)
        wanted = (run.seq, int(run.status), int(run.activity), run.paused, run.current_node, self.head_hash)
        found = (head.seq, head.status, head.activity, head.paused, head.current_node, head.head_hash)
        if wanted != found:
            self.find("HEAD_DIFFERS", f"head is {found[:5]}, the fold {wanted[:5]}", run.seq)
        wait_id = run.waiting.wait_id if run.waiting else 0
        if wait_id != (head.wait.wait_id if head.wait else 0):
            self.find("OBLIGATIONS_DIFFER", "the registered wait differs", run.seq)


def differing_fields(state: RunState, fold: RunState | None) -> list[str]:
    """Names of the fields in which a state differs from a fold."""
    if fold is None:
        return ["seq"]
    return [item.name for item in fields(RunState) if getattr(state, item.name) != getattr(fold, item.name)]


def _comes_back(due: Obligations) -> bool:
    """Whether a timer brings a run in BACKOFF back, or its place in the line of its concurrency key."""
    in_line = due.slot is not None and not due.slot.held
    return in_line or TimerKind.START in due.timers or TimerKind.RETRY in due.timers


def _check_movable(audit: _Audit, run: RunState) -> None:
    if run.ended:
        return
    due = obligations(run)
    stuck = {
        Activity.QUEUED: due.task is None and due.turn is None,
        Activity.LEASED: due.task is None or not due.task.leased,
        Activity.BACKOFF: not _comes_back(due),
        Activity.WAITING: run.waiting is None or (run.join is not None and not run.join.open and due.turn is None),
        Activity.PARKED: run.step is None or run.step.park_reason is None,
        Activity.IDLE: run.step is None,
    }
    if stuck.get(run.activity, True):
        audit.find("STRANDED", f"activity {run.activity.name} without what moves it", run.seq)


async def _check_memory(engine: Engine, audit: _Audit, run: RunState) -> None:
    loaded = await engine.load(audit.key)
    if loaded.seq == run.seq:
        different = differing_fields(loaded, run)
        if different:
            audit.find("STATE_DIFFERS", f"the state in memory differs from the fold in {different}", run.seq)
