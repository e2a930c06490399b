"""Compaction: when the segments have grown as large as the state, a snapshot replaces them.

It runs in a thread of its own beside the commits. Old files go only after the snapshot is on disk under its name.
What cannot be written (a full disk) is given up and tried again at the next change of segment.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.files import numbers, segment_name, snapshot_name
from perdure_server.storage.journal.snapshot import Snapshot, SnapshotWriter, Stopped
from perdure_server.storage.journal.state import State

log = logging.getLogger(__name__)

MIN_BYTES: Final = 64 * 1024 * 1024
"""Segments of less than this together are left alone."""


class Compactor:
    """Keeps the journal no larger than twice its state.

    Args:
        disk: the journal's folder.
        lock: the store's.
        state: what snapshots show.
        epoch: identity of the data.
        snapshot_bytes: size of the snapshot that there is.
        segments_bytes: size of the ended segments after it.
        min_bytes: of ended segments, below which nothing is done.
    """

    def __init__(
        self,
        disk: Disk,
        lock: threading.RLock,
        state: State,
        epoch: str,
        *,
        snapshot_bytes: int,
        segments_bytes: int,
        min_bytes: int,
    ) -> None:
        self._disk = disk
        self._lock = lock
        self._state = state
        self._epoch = epoch
        self._min_bytes = min_bytes
        self.snapshot_bytes = snapshot_bytes
        self.segments_bytes = segments_bytes
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def segment_ended(self, segment: int, size: int, chain: bytes) -> None:
        """A segment was ended just now, and no commit came since; begins a snapshot if it is time.

        Args:
            chain: sum of its last line.
        """
        self.segments_bytes += size
        if self.segments_bytes < max(self._min_bytes, self.snapshot_bytes) or self.is_running:
            return
        with self._lock:
            snapshot = Snapshot(self._state, segment, chain)
            self._state.watcher = snapshot
        covered, self.segments_bytes = self.segments_bytes, 0
        self._thread = threading.Thread(
            target=self._compact, args=(snapshot, covered), name="perdure-compaction", daemon=True
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """A snapshot is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Returns when no snapshot is being written."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Gives up a snapshot that is being written. Idempotent."""
        self._stopping.set()
        self.wait()

    def _compact(self, snapshot: Snapshot, covered: int) -> None:
        try:
            self.snapshot_bytes = SnapshotWriter(self._disk, self._lock, self._stopping).write(snapshot, self._epoch)
            self._clear(snapshot.segment)
        except Stopped:
            log.info("%s: closing; %s is not written", self._disk.folder, snapshot_name(snapshot.segment))
        except OSError as error:
            self.segments_bytes += covered
            log.warning(
                "%s: cannot write %s (%s); it is tried again with the next segment",
                self._disk.folder,
                snapshot_name(snapshot.segment),
                error.strerror,
            )
        finally:
            with self._lock:
                self._state.watcher = None

    def _clear(self, segment: int) -> None:
        """Removes what the snapshot of this segment replaces."""
        names = self._disk.names()
        replaced = [segment_name(number) for number in numbers(names, "journal") if number <= segment]
        replaced += [snapshot_name(number) for number in numbers(names, "snapshot") if number < segment]
        for name in replaced:
            self._disk.remove(name)
        self._disk.sync_folder()
