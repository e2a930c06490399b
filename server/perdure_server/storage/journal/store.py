"""The journal store: one folder of JSONL files, one process, the whole state in memory.

A batch is decided, appended to the journal with one write, flushed (fdatasync), and only then applied to the state
that readers see. A start folds the newest snapshot and the lines after it.

Renewals of leases are not written: at a start every lease gets one fresh term (`reset_leases`), whatever it had.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from perdure_server.storage.journal import changes, reads
from perdure_server.storage.journal.compaction import MIN_BYTES, Compactor
from perdure_server.storage.journal.disk import LOCK_NAME, Disk, folder_lock, make_folder
from perdure_server.storage.journal.files import CUT, JournalFiles, Place, is_temporary, numbers
from perdure_server.storage.journal.loading import Loader
from perdure_server.storage.journal.rows import Json
from perdure_server.storage.journal.stage import Stage
from perdure_server.storage.journal.state import State
from perdure_server.storage.memory.catalog import Catalog
from perdure_server.storage.memory.tables import Tables
from perdure_server.storage.port import (
    CatalogChange,
    CatalogVerdict,
    Commit,
    DueSchedules,
    DueWork,
    Feature,
    LeaseRenewal,
    ObligationRows,
    ReadyTask,
    RecordQuery,
    RequestRow,
    RunChange,
    RunKey,
    RunQuery,
    RunSnapshot,
    RunSummary,
    ScheduleRow,
    SlotLine,
    StoredEvent,
    StoredRecord,
    StoreError,
    StoreInfo,
    TaskQuery,
    TimerRow,
    Verdict,
    WaitQuery,
    WaitRow,
    WorkflowRow,
)
from perdure_server.storage.process_lock import ProcessLock
from perdure_server.storage.rules import Genesis

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 64 * 1024 * 1024
MEMORY_BYTES: Final = 4 * 1024 * 1024 * 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes that tests make smaller.

    Args:
        segment_bytes: a file as large as this is ended before the next batch.
        compact_bytes: ended files of less than this together are not replaced by a snapshot.
        memory_bytes: estimated memory of the state beyond which commits are refused.
    """

    segment_bytes: int = SEGMENT_BYTES
    compact_bytes: int = MIN_BYTES
    memory_bytes: int = MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class JournalStats:
    """What the store holds; bytes of memory are an estimate."""

    memory_bytes: int
    runs: int
    records: int
    events: int
    requests: int
    snapshot_bytes: int
    segments_bytes: int


class JournalStore:
    """A store in one folder. Made by `open_journal`."""

    def __init__(
        self,
        disk: Disk,
        process_lock: ProcessLock,
        state: State,
        files: JournalFiles,
        compactor: Compactor,
        *,
        lock: threading.RLock,
        info: StoreInfo,
        bounds: Bounds,
    ) -> None:
        self._disk = disk
        self._process_lock = process_lock
        self._state = state
        self._files = files
        self.compaction = compactor
        self._lock = lock
        self._info = info
        self._bounds = bounds
        self._catalog = Catalog(state)
        self._writing = threading.Lock()
        self._horizon = state.position
        self._closed = threading.Event()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StoreError("the store is closed")

    @contextmanager
    def _write(self) -> Generator[State]:
        with self._writing:
            self._check_open()
            yield self._state

    @contextmanager
    def _read(self) -> Generator[State]:
        with self._lock:
            self._check_open()
            yield self._state

    def _append(self, lines: Sequence[bytes]) -> None:
        """On disk on return."""
        files = self._files
        if files.size >= self._bounds.segment_bytes:
            ended, size = files.segment, files.size
            if files.rotate():
                self.compaction.segment_ended(ended, size, files.previous_chain)
        files.append(lines)

    def _append_row(self, row: Json) -> None:
        try:
            line = orjson.dumps(row)
        except orjson.JSONEncodeError as error:
            raise StoreError(f"it cannot be stored: {error}") from error
        self._append([line])

    # The writing side.

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        with self._write() as state:
            stage = Stage(state)
            decided = [stage.decide(commit) for commit in batch]
            if not stage.lines:
                return [verdict for verdict in decided if verdict is not None]
            if state.memory_bytes + sum(map(len, stage.lines)) > self._bounds.memory_bytes:
                raise StoreError(
                    f"{self._disk.folder}: the state would take more than {self._bounds.memory_bytes // _MIB} MiB of"
                    " memory, which is what a journal may; move to a store that keeps it on disk (sqlite:///FILE)"
                )
            self._append(stage.lines)
            with self._lock:
                verdicts = [
                    state.apply(commit) if verdict is None else verdict
                    for commit, verdict in zip(batch, decided, strict=True)
                ]
                self._horizon = state.position
            return verdicts

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """See StoreWriter. Not written: a start gives every lease a fresh term."""
        with self._write() as state, self._lock:
            return [state.renew(renewal) for renewal in renewals]

    def reset_leases(self, expires_at: int) -> int:
        """See StoreWriter. Not written. A heartbeat that was due gets the same instant."""
        with self._write() as state, self._lock:
            return state.reset_leases(expires_at)

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """See StoreWriter."""
        with self._write() as state:
            draft = _catalog_of(state, change)
            known = len(draft.requests)
            verdict = Catalog(draft).change(change)
            if not verdict.changed and len(draft.requests) == known:
                return verdict
            self._append_row(changes.write_catalog(change))
            with self._lock:
                return self._catalog.change(change)

    def install(self, key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
        """See StoreWriter."""
        with self._write() as state:
            run = state.runs.get(key)
            if run is None or run.head.seq != expected_seq:
                return False
            if problem := state.why_not_installed(key, expected_seq, rows, wait):
                raise StoreError(problem)
            self._append_row(changes.write_install(key, expected_seq, rows, wait))
            with self._lock:
                return state.install(key, expected_seq, rows, wait)

    def trim(self, requests_before: int, events_before: int, events_per_key: int, limit: int) -> int:
        """See StoreWriter."""
        with self._write() as state:
            requests, events = state.trimmable(requests_before, events_before, events_per_key, limit)
            if requests or events:
                self._append_row(changes.write_trim(requests_before, events_before, events_per_key, limit))
                with self._lock:
                    state.drop(requests, events)
            return len(requests) + len(events)

    def close(self) -> None:
        """See StoreWriter."""
        with self._writing:
            if not self._closed.is_set():
                self._closed.set()
                self.compaction.stop()
                self._files.close()
                self._process_lock.release()

    # The reading side.

    def stats(self) -> JournalStats:
        """Sizes and counts."""
        with self._read() as state:
            return JournalStats(
                memory_bytes=state.memory_bytes,
                runs=len(state.runs),
                records=len(state.ledger),
                events=len(state.events),
                requests=len(state.requests),
                snapshot_bytes=self.compaction.snapshot_bytes,
                segments_bytes=self.compaction.segments_bytes + self._files.size,
            )

    def info(self) -> StoreInfo:
        """See StoreReader."""
        self._check_open()
        return self._info

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """See StoreReader."""
        with self._read() as state:
            run = state.runs.get(key)
            if run is None:
                return None
            tail = tuple(run.records[run.keyframe_seq :])
            return RunSnapshot(run.identity, run.head, run.keyframe_seq, run.keyframe, tail)

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """See StoreReader. A record that would go beyond `byte_limit` begins the next page."""
        self._check_open()
        return reads.record_page(self._state, query, self._horizon)

    def horizon(self) -> int:
        """See StoreReader."""
        self._check_open()
        return self._horizon

    def read_changes(self, after_position: int, until_position: int, limit: int) -> list[RunChange]:
        """See StoreReader."""
        self._check_open()
        return reads.changes(self._state, after_position, min(until_position, self._horizon), limit)

    def lease_offset(self) -> int:
        """See StoreReader. Leases are in the monotonic clock itself."""
        self._check_open()
        return 0

    def wait_for_change(self, timeout_us: int) -> bool:
        """See StoreReader. There are no other processes: ends with the time or the store."""
        self._check_open()
        self._closed.wait(timeout_us / 1_000_000)
        return False

    def list_runs(self, query: RunQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """See StoreReader."""
        with self._read() as state:
            return reads.run_page(state, query, after, limit)

    def count_runs(self, query: RunQuery, limit: int) -> int:
        """See StoreReader."""
        with self._read() as state:
            return reads.run_count(state, query, limit)

    def list_waits(self, query: WaitQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
        """See StoreReader."""
        with self._read() as state:
            return reads.wait_page(state, query, after, limit)

    def due_work(self, now: int, lease_now: int, limit: int) -> DueWork:
        """See StoreReader. Turns and mail in the order in which they came."""
        with self._read() as state:
            return reads.due_work(state, now, lease_now, limit)

    def ready_tasks(self, query: TaskQuery) -> list[ReadyTask]:
        """See StoreReader."""
        with self._read() as state:
            return reads.ready_tasks(state, query)

    def waits_for_event(
        self, namespace: str, scope: int, scope_id: str, name: str, after_run_id: str, limit: int
    ) -> list[RunKey]:
        """See StoreReader."""
        with self._read() as state:
            return reads.listeners(state, namespace, (scope, scope_id), name, after_run_id, limit)

    def read_events(
        self,
        namespace: str,
        scope: int,
        scope_id: str,
        name: str,
        after_position: int,
        until_position: int,
        limit: int,
    ) -> list[StoredEvent]:
        """See StoreReader. `until_position` 0: up to the horizon."""
        with self._read() as state:
            positions = (after_position, until_position or state.position)
            return reads.event_page(state, namespace, (scope, scope_id), name, positions, limit)

    def find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        """See StoreReader."""
        with self._read() as state:
            return state.find_request(namespace, method, request_id)

    def find_workflow(self, namespace: str, workflow_id: str, version: str) -> WorkflowRow | None:
        """See StoreReader."""
        with self._read():
            return self._catalog.find(namespace, workflow_id, version)

    def list_workflows(
        self,
        namespace: str,
        workflow_id: str,
        defaults_only: bool,
        after: tuple[int, str, str] | None,
        limit: int,
    ) -> list[WorkflowRow]:
        """See StoreReader."""
        with self._read():
            return self._catalog.page(namespace, workflow_id, defaults_only, after)[:limit]

    def list_namespaces(self) -> list[str]:
        """See StoreReader. Sorted."""
        with self._read() as state:
            return sorted(state.namespaces)

    def read_obligations(self, key: RunKey) -> ObligationRows | None:
        """See StoreReader."""
        with self._read() as state:
            if key not in state.runs:
                return None
            turn = state.turns.get(key)
            timers = sorted(state.timers.get(key, {}).items())
            return ObligationRows(
                state.tasks.get(key),
                turn.held if turn else None,
                tuple(TimerRow(kind, due_at) for kind, due_at in timers),
                state.slots[key][0] if key in state.slots else None,
            )

    def find_schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """See StoreReader."""
        with self._read() as state:
            return state.find_schedule(namespace, schedule_id)

    def list_schedules(self, namespace: str, after: str, limit: int) -> list[ScheduleRow]:
        """See StoreReader."""
        with self._read() as state:
            return reads.schedule_page(state, namespace, after, limit)

    def due_schedules(self, now: int, limit: int) -> DueSchedules:
        """See StoreReader."""
        with self._read() as state:
            return reads.due_schedules(state, now, limit)

    def slot_line(self, namespace: str, key: str, limit: int) -> SlotLine:
        """See StoreReader."""
        with self._read() as state:
            return reads.slots(state, namespace, key, limit)

    def due_slots(self, limit: int) -> list[tuple[str, str]]:
        """See StoreReader."""
        with self._read() as state:
            return reads.due_slots(state, limit)


def _catalog_of(state: State, change: CatalogChange) -> Tables:
    """Tables with the catalogue alone, to try a change on."""
    draft = Tables(lambda namespace, run_id: b"")
    draft.namespaces = dict(state.namespaces)
    draft.workflows = dict(state.workflows)
    request = change.request
    if request is not None:
        known = state.find_request(change.namespace, request.method, request.request_id)
        if known is not None:
            draft.put_request(change.namespace, known)
    return draft


def open_journal(
    folder: str | Path,
    *,
    genesis: Genesis,
    epoch: str,
    bounds: Bounds | None = None,
    disk: Callable[[Path], Disk] = Disk,
) -> JournalStore:
    """Opens a journal, or begins one if the folder is empty or not there.

    Args:
        folder: of its files, which are nobody else's.
        genesis: gives the `prev_hash` of a run's first record.
        epoch: identity of the data if it is new.
        bounds: sizes.
        disk: makes the system calls.

    Raises: StoreError if the folder is in use, not ours, damaged, or cannot be used.
    """
    folder = Path(folder)
    _check_folder(folder)
    process_lock = folder_lock(folder)
    process_lock.acquire()
    try:
        return _open(disk(folder), process_lock, genesis, epoch, bounds or Bounds())
    except OSError as error:
        process_lock.release()
        raise StoreError(f"{folder} is not a usable journal: {error}") from error
    except BaseException:
        process_lock.release()
        raise


def _check_folder(folder: Path) -> None:
    try:
        make_folder(folder)
        names = [path.name for path in folder.iterdir()]
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(f"{folder} is a file: a journal is a folder; name a new or an empty one") from error
    except OSError as error:
        raise StoreError(f"cannot use {folder}: {error.strerror}; does it exist, and may this user write?") from error
    strange = [name for name in names if name not in {LOCK_NAME, "lost+found"} and not is_temporary(name)]
    if strange and not numbers(names, "journal") and not numbers(names, "snapshot"):
        raise StoreError(f"{folder} holds other things ({min(strange)}) and no journal; name a new or an empty folder")


def _open(disk: Disk, process_lock: ProcessLock, genesis: Genesis, epoch: str, bounds: Bounds) -> JournalStore:
    state = State(genesis)
    loader = Loader(disk, state)
    place = _load(loader)
    epoch = loader.epoch or epoch
    files = JournalFiles(disk, epoch, place)
    if loader.was_cut:
        files.append([orjson.dumps({"type": CUT})])
    lock = threading.RLock()
    compactor = Compactor(
        disk,
        lock,
        state,
        epoch,
        snapshot_bytes=loader.snapshot_bytes,
        segments_bytes=loader.segments_bytes,
        min_bytes=bounds.compact_bytes,
    )
    features = {
        "durable": Feature(True, "JSONL files: a commit returns after fdatasync"),
        "memory": Feature(True, f"the whole state is kept in memory, at most {bounds.memory_bytes // _MIB} MiB"),
        "replicas": Feature(False, "one process serves one folder; the folder is locked against a second one"),
    }
    info = StoreInfo("journal", epoch, shared=False, features=features)
    store = JournalStore(disk, process_lock, state, files, compactor, lock=lock, info=info, bounds=bounds)
    if place.segment:
        held = store.stats()
        mib = held.memory_bytes // _MIB
        log.info("%s: %d runs, %d records, about %d MiB in memory", disk.folder, held.runs, held.records, mib)
    return store


def _load(loader: Loader) -> Place:
    """Without the garbage collector, which would look again and again at millions of objects that all stay."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return loader.load()
    finally:
        if collects:
            gc.enable()
