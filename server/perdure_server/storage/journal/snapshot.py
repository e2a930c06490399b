"""Snapshots: the whole state in one file, written beside the commits, that replaces the journal before it.

A snapshot shows the state as it was when its segment ended. Rows are never changed once they are made, so the
copies taken at that moment are dicts of references; runs alone go on, and one that is about to change before it is
written leaves its head and the length of its ledger behind. Chunks are copied out under the store's lock and
written outside of it: no commit waits longer than for one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

import orjson

from perdure_server.storage.journal import rows
from perdure_server.storage.journal.chain import START, seal
from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.files import END, FORMAT, snapshot_name
from perdure_server.storage.journal.rows import Json
from perdure_server.storage.journal.state import State
from perdure_server.storage.memory.tables import Run
from perdure_server.storage.port import RunHead, RunIdentity, RunKey, StoredRecord, TimerRow

SNAPSHOT: Final = "snapshot"

RUNS_A_CHUNK: Final = 64
RECORD_BYTES_A_LINE: Final = 256 * 1024
PAUSE_S: Final = 0.002
"""Between two chunks, so that the commits and the event loop get the interpreter."""


class Stopped(Exception):
    """The store closes: the snapshot is given up."""


class Past(NamedTuple):
    """What a run was when the snapshot began."""

    identity: RunIdentity
    head: RunHead
    records: int
    keyframe_seq: int
    keyframe: bytes | None


class RunImage(NamedTuple):
    """A run as the snapshot shows it."""

    key: RunKey
    past: Past
    records: list[StoredRecord]


class Snapshot:
    """One snapshot that is being written. Made under the store's lock, and registered as the state's watcher.

    Args:
        state: what it shows.
        segment: number of the segment that ends here.
        chain: sum of that segment's last line.
    """

    def __init__(self, state: State, segment: int, chain: bytes) -> None:
        self.segment = segment
        self.chain = chain
        self.position = state.position
        self._left = dict.fromkeys(state.runs)
        self._past: dict[RunKey, Past] = {}
        self._state = state
        self._tasks = dict(state.tasks)
        self._turns = dict(state.turns)
        self._timers = dict(state.timers)
        self._slots = dict(state.slots)
        self._mail = dict(state.mail)
        self._events = dict(state.events)
        self._requests = dict(state.requests)
        self._schedules = dict(state.schedules)
        self._namespaces = dict(state.namespaces)
        self._workflows = dict(state.workflows)

    def before_change(self, key: RunKey, run: Run) -> None:
        """See Watcher."""
        if key in self._left and key not in self._past:
            self._past[key] = _past(run)

    def take(self) -> list[RunImage]:
        """The next runs, as they were; empty after the last. Under the store's lock."""
        chunk = list(islice(self._left, RUNS_A_CHUNK))
        images: list[RunImage] = []
        for key in chunk:
            del self._left[key]
            run = self._state.runs[key]
            past = self._past.pop(key, None) or _past(run)
            images.append(RunImage(key, past, run.records[: past.records]))
        return images

    def header(self, epoch: str) -> Json:
        """The first line."""
        return {
            "type": SNAPSHOT,
            "format": FORMAT,
            "segment": self.segment,
            "epoch": epoch,
            "previous": self.chain.decode(),
            "position": self.position,
        }

    def catalog_lines(self) -> Iterator[Json]:
        """Namespaces and workflows."""
        for name, (description, at) in self._namespaces.items():
            yield {"type": "namespace", "namespace": name, "description": description, "at": at}
        for (namespace, _, _), workflow in self._workflows.items():
            yield {"type": "workflow", "namespace": namespace, "workflow": rows.write_workflow(workflow)}

    def run_lines(self, image: RunImage) -> Iterator[Json]:
        """A run with its rows, then its ledger in pieces."""
        key, past = image.key, image.past
        line: Json = {
            "type": "run",
            "namespace": key.namespace,
            "identity": rows.write_identity(past.identity),
            "head": rows.write_head(past.head),
        }
        if past.keyframe is not None:
            line["keyframe"] = [past.keyframe_seq, rows.text_of(past.keyframe)]
        if task := self._tasks.get(key):
            line["task"] = rows.write_task(task)
        if turn := self._turns.get(key):
            line["turn"] = [turn.held, turn.position]
        if timers := self._timers.get(key):
            line["timers"] = rows.write_timers(TimerRow(*timer) for timer in timers.items())
        if slot := self._slots.get(key):
            line["slot"] = [rows.write_slot(slot[0]), slot[1]]
        pieces = list(_pieces(image.records))
        line["records"] = pieces[0] if pieces else []
        yield line
        for piece in pieces[1:]:
            yield {"type": "records", "namespace": key.namespace, "run_id": key.run_id, "records": piece}

    def other_lines(self) -> Iterator[Json]:
        """Events, kept replies, mail and schedules."""
        for key, event in self._events.items():
            row = rows.write_event(event.event)
            yield {"type": "event", "namespace": key[0], "position": event.position, "event": row}
        for (namespace, _, _), request in self._requests.items():
            yield {"type": "request", "namespace": namespace, "request": rows.write_request(request)}
        for key, position in self._mail.items():
            yield {"type": "mail", "mail": key, "position": position}
        for (namespace, _), schedule in self._schedules.items():
            yield {"type": "schedule", "namespace": namespace, "schedule": rows.write_schedule(schedule)}


def _past(run: Run) -> Past:
    return Past(run.identity, run.head, len(run.records), run.keyframe_seq, run.keyframe)


def _pieces(records: list[StoredRecord]) -> Iterator[list[Json]]:
    piece: list[Json] = []
    size = 0
    for record in records:
        length = len(record.record) + sum(len(payload.data or b"") for payload in record.payloads)
        if piece and size + length > RECORD_BYTES_A_LINE:
            yield piece
            piece, size = [], 0
        piece.append({"position": record.position, **rows.write_record(record)})
        size += length
    if piece:
        yield piece


class SnapshotWriter:
    """Writes a snapshot into its file.

    Args:
        disk: the journal's folder.
        lock: the store's.
        stopping: set when the store closes.
    """

    def __init__(self, disk: Disk, lock: threading.RLock, stopping: threading.Event) -> None:
        self._disk = disk
        self._lock = lock
        self._stopping = stopping
        self._chain = START
        self._line = 0

    def write(self, snapshot: Snapshot, epoch: str) -> int:
        """Writes it, on disk and under its name on return. Returns: bytes.

        Raises: OSError; Stopped.
        """
        name = snapshot_name(snapshot.segment)
        temporary = f"{name}.tmp"
        descriptor = self._disk.open(temporary)
        size = 0
        try:
            self._disk.cut(descriptor, 0)
            for chunk in self._chunks(snapshot, epoch):
                if self._stopping.wait(PAUSE_S):
                    raise Stopped
                self._disk.write(descriptor, chunk)
                size += len(chunk)
            self._disk.sync(descriptor)
        except (OSError, Stopped):
            self._disk.remove(temporary)
            raise
        finally:
            self._disk.close(descriptor)
        self._disk.rename(temporary, name)
        self._disk.sync_folder()
        return size

    def _chunks(self, snapshot: Snapshot, epoch: str) -> Iterator[bytes]:
        yield self._seal([snapshot.header(epoch), *snapshot.catalog_lines()])
        while True:
            with self._lock:
                images = snapshot.take()
            if not images:
                break
            for image in images:
                for line in snapshot.run_lines(image):
                    yield self._seal([line])
        others = snapshot.other_lines()
        while chunk := list(islice(others, RUNS_A_CHUNK)):
            yield self._seal(chunk)
        yield self._seal([{"type": END, "lines": self._line + 1}])

    def _seal(self, lines: list[Json]) -> bytes:
        sealed: list[bytes] = []
        for line in lines:
            self._line += 1
            text = b'{"line":%d,' % self._line + orjson.dumps(line)[1:-1]
            whole, self._chain = seal(self._chain, text)
            sealed.append(whole)
        return b"".join(sealed)
