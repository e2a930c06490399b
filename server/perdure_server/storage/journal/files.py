"""The files of a journal: their names, the one that is written, and the change to the next.

journal-000001.jsonl    lines in the order of the commits; the highest number is being written
snapshot-000001.jsonl   the whole state at the end of journal-000001: replaces that file and those before it
lock                    who has the journal open
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from perdure_server.storage.journal.chain import START, link, seal
from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.rows import Json
from perdure_server.storage.port import StoreError

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Of the files. A newer one is refused."""

SEGMENT: Final = "segment"
END: Final = "end"
CUT: Final = "cut"
EPOCH: Final = "epoch"

_NAME: Final = re.compile(r"(journal|snapshot)-(\d{6,12})\.jsonl")


def segment_name(number: int) -> str:
    """File name of a segment."""
    return f"journal-{number:06d}.jsonl"


def snapshot_name(number: int) -> str:
    """File name of the snapshot that replaces this segment and those before it."""
    return f"snapshot-{number:06d}.jsonl"


def is_temporary(name: str) -> bool:
    """Whether a file was never finished."""
    return name.endswith(".tmp") and _NAME.fullmatch(name.removesuffix(".tmp")) is not None


def numbers(names: Sequence[str], kind: str) -> list[int]:
    """Numbers of the files of a kind ("journal" or "snapshot"), ascending."""
    found = (_NAME.fullmatch(name) for name in names)
    return sorted(int(match[2]) for match in found if match and match[1] == kind)


@dataclass(slots=True)
class Place:
    """Where the next line goes.

    Args:
        segment: number of the file.
        line, batch: numbers of the last line in it, and of the last batch.
        chain: sum of the last line.
        size: bytes of the file.
    """

    segment: int = 0
    line: int = 0
    batch: int = 0
    chain: bytes = b""
    size: int = 0


class JournalFiles:
    """The writing end of a journal.

    Args:
        disk: its folder.
        epoch: identity of the data.
        place: where the next line goes; segment 0: there is no file yet.
    """

    def __init__(self, disk: Disk, epoch: str, place: Place) -> None:
        self._disk = disk
        self._epoch = epoch
        self._place = place
        self._broken = ""
        self._descriptor = -1
        self.previous_chain = b""
        """Sum of the line that ended the file before."""
        if place.segment == 0:
            self._descriptor, self._place = self._begin(1, START, 0)
        else:
            self._descriptor = disk.open(segment_name(place.segment))

    @property
    def segment(self) -> int:
        """Number of the file that is written."""
        return self._place.segment

    @property
    def size(self) -> int:
        """Its bytes."""
        return self._place.size

    def append(self, bodies: Sequence[bytes]) -> None:
        """Writes JSON objects as one batch, a line each: one write, one flush; on disk on return.

        Raises: StoreError; then nothing of it is kept, or, where even that is uncertain, every later call raises.
        """
        if self._broken:
            raise StoreError(self._broken)
        data, place = self._lines(bodies)
        name = segment_name(place.segment)
        try:
            self._disk.write(self._descriptor, data)
        except OSError as error:
            self._take_back(error)
            raise StoreError(f"{self._disk.folder / name}: {error.strerror}") from error
        try:
            self._disk.sync(self._descriptor)
        except OSError as error:
            # What a failed flush has written nobody can tell, and a second one would claim that all is well.
            self._break(f"{name} could not be flushed ({error.strerror})")
            raise StoreError(self._broken) from error
        self._place = place

    def _lines(self, bodies: Sequence[bytes]) -> tuple[bytes, Place]:
        before = self._place
        place = Place(before.segment, before.line, before.batch + 1, before.chain, before.size)
        lines: list[bytes] = []
        for number, body in enumerate(bodies):
            place.line += 1
            text = link(place.line, place.batch, number, len(bodies)) + body[1:-1]
            line, place.chain = seal(place.chain, text)
            lines.append(line)
        data = b"".join(lines)
        place.size += len(data)
        return data, place

    def _take_back(self, error: OSError) -> None:
        """Half a batch is worse than none: the file gets the length that it had."""
        try:
            self._disk.cut(self._descriptor, self._place.size)
        except OSError as second:
            self._break(f"a write failed ({error.strerror}) and could not be taken back ({second.strerror})")

    def _break(self, why: str) -> None:
        self._broken = (
            f"{self._disk.folder}: {why}: what is on disk is uncertain; check the disk, then start the server again"
        )

    def rotate(self) -> bool:
        """Ends the file and begins the next. False if there is no room for it: then this one goes on."""
        before = self._place
        next_number = before.segment + 1
        body = orjson.dumps({"type": END, "next": segment_name(next_number)})
        data, ended = self._lines([body])
        try:
            descriptor, place = self._begin(next_number, ended.chain, ended.batch)
        except OSError as error:
            log.warning("%s: cannot begin %s: %s", self._disk.folder, segment_name(next_number), error.strerror)
            return False
        try:
            self._disk.write(self._descriptor, data)
            self._disk.sync(self._descriptor)
        except OSError as error:
            # The new file names the end of this one as what comes before it: they go on together or not at all.
            self._disk.close(descriptor)
            self._break(f"{segment_name(before.segment)} could not be ended ({error.strerror})")
            return False
        self._disk.close(self._descriptor)
        self._descriptor, self._place = descriptor, place
        self.previous_chain = ended.chain
        return True

    def _begin(self, number: int, chain: bytes, batch: int) -> tuple[int, Place]:
        row: Json = {"type": SEGMENT, "format": FORMAT, "segment": number, "epoch": self._epoch}
        row["previous"] = chain.decode()
        line, total = seal(chain, link(1, batch, 0, 1) + orjson.dumps(row)[1:-1])
        descriptor = self._disk.make(segment_name(number), line)
        return descriptor, Place(number, 1, batch, total, len(line))

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1
