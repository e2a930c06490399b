"""Folding a journal into a state: the newest snapshot, then the segments after it, line by line.

What a crash can leave is put right, with a warning; everything else is refused, naming file and line:

- a last line without its end, or (after a power cut) a hole of zeros in the last batch: it was never confirmed, so
  it is cut;
- a next segment that was begun before this one was ended: it holds nothing yet, so it is removed;
- files that a finished snapshot replaces, and half-written `.tmp` files: removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, cast

import orjson

from perdure_server.storage.journal import changes, rows
from perdure_server.storage.journal.chain import START, TAIL_BYTES, is_intact, sum_of
from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.files import (
    CUT,
    END,
    EPOCH,
    FORMAT,
    SEGMENT,
    Place,
    is_temporary,
    numbers,
    segment_name,
    snapshot_name,
)
from perdure_server.storage.journal.rows import Json
from perdure_server.storage.journal.snapshot import SNAPSHOT
from perdure_server.storage.journal.state import State
from perdure_server.storage.memory.catalog import Catalog
from perdure_server.storage.memory.tables import Run, Turn, event_key
from perdure_server.storage.port import RunKey, StoredEvent, StoreError, VerdictKind

log = logging.getLogger(__name__)

_BAD_ROW: Final = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What reading a row raises that is not as this version writes it."""


def refuse(path: Path, number: int, why: str) -> NoReturn:
    """Raises: StoreError, with what to do."""
    advice = "Restore the journal's folder from a copy"
    if number > 1 and not path.name.startswith("snapshot"):
        advice += (
            f"; or, to give up this line and all that was written after it, keep the first {number - 1} lines of this"
            " file and remove the segments after it"
        )
    raise StoreError(f"{path}, line {number}: {why}. {advice}")


class Loader:
    """Loads one journal.

    Args:
        disk: its folder.
        state: empty; gets everything.
    """

    def __init__(self, disk: Disk, state: State) -> None:
        self._disk = disk
        self._state = state
        self._catalog = Catalog(state)
        self.epoch = ""
        self.was_cut = False
        """The last batch is not whole: a line of type "cut" must end it, before another one begins."""
        self.snapshot_bytes = 0
        """Size of the snapshot that was loaded."""
        self.segments_bytes = 0
        """Size of the segments after it, but for the last."""

    def load(self) -> Place:
        """Loads all there is, and returns where the next line goes (segment 0: the folder holds no journal yet).

        Raises: StoreError for anything that no crash can have left.
        """
        names = self._disk.names()
        snapshots, segments = numbers(names, "snapshot"), numbers(names, "journal")
        if not snapshots and not segments:
            return Place()
        covered, chain = 0, START
        if snapshots:
            covered = snapshots[-1]
            chain = SnapshotReader(self._disk.folder / snapshot_name(covered), self._state).read(self._adopt)
            self.snapshot_bytes = self._disk.size(snapshot_name(covered))
        self._remove_replaced(names, covered)
        place = Place(chain=chain)
        left = [number for number in segments if number > covered]
        self._check_whole(left, covered)
        for number in left:
            following = None if number == left[-1] else number + 1
            reader = SegmentReader(self._disk, number, place, following)
            place = reader.read(self._apply, self._adopt)
            if reader.was_last:
                self.was_cut = reader.was_cut
                break
            self.segments_bytes += place.size
        return place

    def _adopt(self, path: Path, epoch: str) -> None:
        if self.epoch and epoch != self.epoch:
            refuse(path, 1, f"it is of another journal (epoch {epoch}, this one is {self.epoch})")
        self.epoch = epoch

    def _check_whole(self, segments: list[int], covered: int) -> None:
        """Raises: StoreError if a segment is missing."""
        present = set(segments)
        for number in range(covered + 1, max(present, default=covered + 1) + 1):
            if number not in present:
                missing = self._disk.folder / segment_name(number)
                raise StoreError(f"{missing} is missing. Restore it from a copy: what it held cannot be done without")

    def _remove_replaced(self, names: list[str], covered: int) -> None:
        """What a crash between a snapshot's end and its clearing away has left."""
        gone = [segment_name(number) for number in numbers(names, "journal") if number <= covered]
        gone += [snapshot_name(number) for number in numbers(names, "snapshot") if number < covered]
        gone += [name for name in names if is_temporary(name)]
        for name in gone:
            self._disk.remove(name)

    def _apply(self, path: Path, line: Json) -> None:
        kind = line["type"]
        state = self._state
        if kind == changes.COMMIT:
            if line["position"] != state.position + 1:
                refuse(path, line["line"], f"its position is {line['position']}, and {state.position + 1} is next")
            verdict = state.apply(changes.read_commit(line))
            if verdict.kind is not VerdictKind.COMMITTED:
                refuse(path, line["line"], f"it cannot be applied: {verdict.kind.value}")
        elif kind == changes.CATALOG:
            self._catalog.change(changes.read_catalog(line))
        elif kind == changes.INSTALL:
            state.install(*changes.read_install(line))
        elif kind == changes.TRIM:
            state.drop(*state.trimmable(*changes.read_trim(line)))
        elif kind == EPOCH:
            self.epoch = line["epoch"]
        elif kind != CUT:
            refuse(path, line["line"], f"its type {kind!r} is not known: it was made by a newer Perdure")


class SegmentReader:
    """Reads one segment.

    Args:
        disk: the journal's folder.
        number: of the segment.
        before: where the one before it ended.
        following: number of the next one, if there is one.
    """

    def __init__(self, disk: Disk, number: int, before: Place, following: int | None) -> None:
        self._disk = disk
        self._path = disk.folder / segment_name(number)
        self._place = Place(number, 0, before.batch, before.chain, 0)
        self._following = following
        self._rest_of_batch = 0
        self._ended = False
        self.was_cut = False
        self.was_last = following is None
        """It goes on; a next one, if there was one, held nothing and is gone."""

    def read(self, apply: Callable[[Path, Json], None], adopt: Callable[[Path, str], None]) -> Place:
        """Applies its lines. Raises: StoreError."""
        place = self._place
        with self._path.open("rb") as file:
            for raw in file:
                if self._ended:
                    refuse(self._path, place.line + 1, "it stands after the line that ended this file")
                if not is_intact(place.chain, raw):
                    whole = self._put_right(raw, file)
                    if whole:
                        self._take(whole, apply, adopt)
                    break
                self._take(raw, apply, adopt)
        if place.line == 0:
            refuse(self._path, 1, "the file is empty")
        self.was_cut = self.was_cut or self._rest_of_batch > 0
        if not self._ended and self._following is not None:
            self._drop_following()
        elif self._ended and self._following is None:
            missing = self._disk.folder / segment_name(place.segment + 1)
            raise StoreError(f"{missing} is missing. Restore it from a copy: what it held cannot be done without")
        return place

    def _take(self, raw: bytes, apply: Callable[[Path, Json], None], adopt: Callable[[Path, str], None]) -> None:
        place = self._place
        line: Json = orjson.loads(raw)
        try:
            if place.line == 0:
                self._begin(line, adopt)
            elif line["type"] == END:
                self._ended = True
            else:
                apply(self._path, line)
            place.line, place.batch = line["line"], line["batch"]
            index, count = line["of"]
        except _BAD_ROW as error:
            refuse(self._path, place.line + 1, f"it cannot be read ({type(error).__name__}: {error})")
        self._rest_of_batch = count - index - 1
        place.chain = sum_of(raw)
        place.size += len(raw)

    def _begin(self, line: Json, adopt: Callable[[Path, str], None]) -> None:
        if line["type"] != SEGMENT or line["segment"] != self._place.segment:
            refuse(self._path, 1, "it is not the first line of this file")
        check_format(self._path, line)
        adopt(self._path, line["epoch"])

    # What a crash has left.

    def _put_right(self, raw: bytes, file: BinaryIO) -> bytes:
        """Repairs the end of the file; returns the last line if nothing but its line end was missing."""
        place = self._place
        if place.line == 0:
            refuse(self._path, 1, self._first_line_problem(raw))
        if self._following is not None and not self._following_is_empty():
            refuse(self._path, place.line + 1, _problem(raw))
        if not self._is_torn(raw, file):
            refuse(self._path, place.line + 1, _problem(raw))
        whole = raw + b"\n" if is_intact(place.chain, raw + b"\n") else b""
        descriptor = self._disk.open(self._path.name)
        try:
            if whole:
                self._disk.write(descriptor, b"\n")
            else:
                torn = self._disk.size(self._path.name) - place.size
                log.warning("%s: its last %d bytes were never confirmed; they are cut off", self._path, torn)
                self._disk.cut(descriptor, place.size)
                self.was_cut = True
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        return whole

    def _first_line_problem(self, raw: bytes) -> str:
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return "it is not the first line of a journal"
        if isinstance(line, dict) and is_intact(str(cast(Json, line).get("previous", "")).encode(), raw):
            return "the file before it is not the one that it follows: one of them is from elsewhere"
        return _problem(raw)

    def _is_torn(self, raw: bytes, file: BinaryIO) -> bool:
        """Whether a crash can have left what follows the last good line: one line that was broken off, or a batch
        with holes. No line of it was confirmed, unless one of a later batch stands behind it.
        """
        if not raw.endswith(b"\n") and 0 not in raw:
            return not _is_json(raw) or is_intact(self._place.chain, raw + b"\n")
        batch = self._place.batch + (0 if self._rest_of_batch else 1)
        holes = 0 in raw
        for later in file:
            holes = holes or 0 in later
            row = _json(later)
            if isinstance(row, dict) and cast(Json, row).get("batch", 0) > batch:
                return False
        return holes

    def _following_is_empty(self) -> bool:
        path = self._disk.folder / segment_name(self._place.segment + 1)
        with path.open("rb") as file:
            return len(list(_lines(file, 2))) < 2

    def _drop_following(self) -> None:
        if not self._following_is_empty():
            refuse(self._path, self._place.line + 1, "the line that ended this file is missing")
        self._disk.remove(segment_name(self._place.segment + 1))
        self._disk.sync_folder()
        self.was_last = True


class SnapshotReader:
    """Reads a snapshot into a state.

    Args:
        path: its file.
        state: empty.
    """

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._state = state
        self._line = 0
        self._previous = b""
        self._position = 0
        self._ended = False

    def read(self, adopt: Callable[[Path, str], None]) -> bytes:
        """Restores all of it; returns the sum that the journal after it goes on from. Raises: StoreError."""
        chain = START
        with self._path.open("rb") as file:
            for raw in file:
                if self._ended or not is_intact(chain, raw):
                    refuse(self._path, self._line + 1, _problem(raw))
                chain = sum_of(raw)
                line: Json = orjson.loads(raw)
                try:
                    self._take(line, adopt)
                except _BAD_ROW as error:
                    refuse(self._path, self._line + 1, f"it cannot be read ({type(error).__name__}: {error})")
                self._line += 1
        if not self._ended:
            refuse(self._path, self._line + 1, "the end is missing")
        self._state.restored(self._position)
        return self._previous

    def _take(self, line: Json, adopt: Callable[[Path, str], None]) -> None:
        state, kind = self._state, line["type"]
        if self._line == 0:
            if kind != SNAPSHOT:
                refuse(self._path, 1, "it is not the first line of a snapshot")
            check_format(self._path, line)
            adopt(self._path, line["epoch"])
            self._previous, self._position = line["previous"].encode(), line["position"]
        elif kind == "namespace":
            state.namespaces[line["namespace"]] = (line["description"], line["at"])
        elif kind == "workflow":
            row = rows.read_workflow(line["workflow"])
            state.workflows[line["namespace"], row.workflow_id, row.version] = row
        elif kind == "run":
            self._restore_run(line)
        elif kind == "records":
            key = RunKey(line["namespace"], line["run_id"])
            state.restore_records(state.runs[key], map(rows.read_record, line["records"]))
        elif kind == "event":
            event = rows.read_event(line["event"])
            state.put_event(event_key(line["namespace"], event), StoredEvent(line["position"], event))
            state.bytes_held += len(event.payload)
        elif kind == "request":
            request = rows.read_request(line["request"])
            state.put_request(line["namespace"], request)
            state.bytes_held += len(request.reply)
        elif kind == "mail":
            namespace, to_run_id, what, from_run_id = line["mail"]
            state.mail[namespace, to_run_id, what, from_run_id] = line["position"]
        elif kind == "schedule":
            schedule = rows.read_schedule(line["schedule"])
            state.put_schedule(line["namespace"], schedule.schedule_id, schedule)
        elif kind == END:
            self._ended = line["lines"] == self._line + 1
        else:
            refuse(self._path, line["line"], f"its type {kind!r} is not known: it was made by a newer Perdure")

    def _restore_run(self, line: Json) -> None:
        state = self._state
        identity = rows.read_identity(line["namespace"], line["identity"])
        run = Run(identity, rows.read_head(line["head"]))
        key = RunKey(identity.namespace, identity.run_id)
        if keyframe := line.get("keyframe"):
            run.keyframe_seq, run.keyframe = keyframe[0], rows.bytes_of(keyframe[1])
            state.bytes_held += len(run.keyframe)
        state.add_run(key, run)
        state.restore_records(run, map(rows.read_record, line["records"]))
        if "task" in line:
            state.put_task(key, rows.read_task(line["task"]))
        if "turn" in line:
            state.put_turn(key, Turn(line["turn"][0], line["turn"][1]))
        if "slot" in line:
            state.put_slot(key, rows.read_slot(line["slot"][0]), line["slot"][1])
        if "timers" in line:
            state.put_timers(key, {timer.kind: timer.due_at for timer in rows.read_timers(line["timers"])})


def check_format(path: Path, line: Json) -> None:
    """Raises: StoreError if a file is of a newer version."""
    if line["format"] > FORMAT:
        raise StoreError(
            f"{path} has format {line['format']}, made by a newer Perdure; this version reads up to {FORMAT}: install"
            " the newer one again"
        )


def _problem(raw: bytes) -> str:
    if len(raw) <= TAIL_BYTES or not _is_json(raw):
        return "it is not a whole line of a journal"
    return "it was changed after it was written, or lines before it are missing, doubled or moved"


def _is_json(raw: bytes) -> bool:
    return _json(raw) is not None


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _lines(file: BinaryIO, limit: int) -> Iterator[bytes]:
    for _ in range(limit):
        line = file.readline()
        if not line:
            return
        yield line
