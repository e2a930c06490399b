"""The tailer: the newest records of the process, encoded once, for every subscriber that is live.

Each watched (selection, view) is a *line*: the strip of its newest records above `floor`. Subscribers hold a
position and look it up in their line; equal subscriptions share one. All lines together form the ring: a
record is encoded when it is committed, its frames are shared by the lines that show it, and when the ring
is over its bounds the oldest record leaves every line and raises their floors. Whoever stands below a floor
reads the store until it is above (`subscription.py`). What nobody watches is not encoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perdure_server.kernel.limits import MIB
from perdure_server.ledger.cursor import NO_ANCHOR, Anchor
from perdure_server.ledger.selection import ScopeKey, Selection, View, scope_keys
from perdure_server.ledger.strip import Strip
from perdure_server.ledger.wire import frame
from perdure_server.storage.port import StoredRecord


@dataclass(frozen=True, slots=True)
class RingBounds:
    """How much the ring holds: records, and bytes of their frames."""

    records: int = 8_192
    frame_bytes: int = 64 * MIB


class Watcher(Protocol):
    """Somebody who waits at a line."""

    def wake(self) -> None:
        """Look at the line again: it has grown, or its floor has risen."""
        ...


class Line:
    """The newest records of one selection, in one view.

    Args:
        floor: the strip holds every matching record above this position (and at or below the tailer's).
    """

    def __init__(self, selection: Selection, view: View, floor: int) -> None:
        self.selection = selection
        self.view = view
        self.floor = floor
        self.strip = Strip()
        self.watchers: set[Watcher] = set()

    def drop_first(self) -> None:
        """The ring lets go of the oldest record."""
        self.floor = self.strip.drop_first()

    def clear(self, floor: int) -> None:
        """Forgets everything up to `floor`."""
        self.strip = Strip()
        self.floor = floor


class Tailer:
    """Keeps the lines. Everything happens on the event loop; nothing here waits.

    Fed with records in position order: by `announce` with what this process committed, and by `append` with
    what was read from the store behind its horizon (`feed.py`). What comes twice is ignored. An announcement
    is taken only if it follows without a gap; otherwise the store is asked, because the gap may be an event's
    position or an announcement that was lost.

    Args:
        position: the store's horizon when the process began; lines know nothing at or below it.
    """

    def __init__(self, position: int = 0, bounds: RingBounds | None = None) -> None:
        self.position = position
        """Everything at or below it that a line wants is in the line, or below the line's floor."""
        self.epoch = 0
        """Changes when a namespace comes to be watched or is left: a read begun before may lack records."""
        self.on_gap: Callable[[], None] | None = None
        """Called when an announcement does not follow; brings what lies between, soon, by `append`."""
        self._bounds = bounds or RingBounds()
        self._lines: dict[ScopeKey, dict[tuple[Selection, View], Line]] = {}
        self._watched: dict[str, int] = {}
        self._anchors: dict[str, Anchor] = {}
        self._ring: deque[tuple[int, list[Line]]] = deque()
        self._ring_bytes = 0

    @property
    def ring_records(self) -> int:
        """Records in the ring."""
        return len(self._ring)

    @property
    def ring_bytes(self) -> int:
        """Bytes of their frames."""
        return self._ring_bytes

    def lag(self, horizon: int) -> int:
        """How many final positions subscribers could not be shown yet; 0 while nobody watches."""
        return max(horizon - self.position, 0) if self._lines else 0

    def watched_namespaces(self) -> list[str]:
        """Namespaces that have a line, sorted."""
        return sorted(self._watched)

    def anchor(self, namespace: str) -> Anchor:
        """The newest record of a watched namespace that the tailer saw, if it saw one."""
        return self._anchors.get(namespace, NO_ANCHOR)

    def attach(self, selection: Selection, view: View, watcher: Watcher) -> Line:
        """The line of a selection, made if there is none; it stays while somebody watches it."""
        siblings = self._lines.setdefault(selection.scope_key, {})
        line = siblings.get((selection, view))
        if line is None:
            line = siblings[(selection, view)] = Line(selection, view, self.position)
            self._count(selection.namespace, +1)
        line.watchers.add(watcher)
        return line

    def detach(self, line: Line, watcher: Watcher) -> None:
        """The watcher leaves; the last one closes the line."""
        line.watchers.discard(watcher)
        key = line.selection.scope_key
        siblings = self._lines.get(key, {})
        if line.watchers or siblings.get((line.selection, line.view)) is not line:
            return
        del siblings[(line.selection, line.view)]
        if not siblings:
            del self._lines[key]
        self._count(line.selection.namespace, -1)
        if not self._lines:
            self._ring.clear()
            self._ring_bytes = 0

    def announce(self, records: Sequence[StoredRecord]) -> None:
        """Takes the records of one commit, if they follow what came before."""
        fresh = [record for record in records if record.position > self.position]
        if fresh and self._lines and fresh[0].position != self.position + 1:
            if self.on_gap is not None:
                self.on_gap()
        elif fresh:
            self.append(fresh)

    def append(self, records: Sequence[StoredRecord], horizon: int = 0) -> None:
        """Takes what was committed and wakes who watches it.

        Args:
            records: in position order, complete above `self.position` (for the watched namespaces).
            horizon: nothing can still appear at or below it; 0: below the last record's position.
        """
        horizon = max(horizon, records[-1].position if records else 0)
        try:
            touched = self._place_all(records) if self._lines else set[Line]()
        except BaseException:
            self.skip_to(horizon)  # lines that hold half of it would repeat or lose the rest
            raise
        self._advance(horizon)
        self._evict()
        _wake(touched)

    def skip_to(self, position: int) -> None:
        """Gives up on what is not in the ring: every line begins anew at `position`. Nothing is lost, since
        whoever stands below reads the store."""
        self._advance(position)
        self._ring.clear()
        self._ring_bytes = 0
        lines = [line for siblings in self._lines.values() for line in siblings.values()]
        for line in lines:
            line.clear(self.position)
        _wake(lines)

    def _place_all(self, records: Sequence[StoredRecord]) -> set[Line]:
        """Puts what is new into the lines; returns those that have grown."""
        touched: set[Line] = set()
        newest: dict[str, StoredRecord] = {}
        run: tuple[str, str] | None = None
        lines: list[Line] = []
        for record in records:
            if record.position > self.position and record.namespace in self._watched:
                newest[record.namespace] = record
                if run != (record.namespace, record.run_id):
                    run, lines = (record.namespace, record.run_id), self._lines_of(record)
                touched.update(self._place(record, lines))
        for namespace, record in newest.items():
            self._anchors[namespace] = Anchor.at(record)
        return touched

    def _lines_of(self, record: StoredRecord) -> list[Line]:
        """The lines of every scope that holds the record; the same for all records of its run."""
        keys = scope_keys(record)
        return [line for key in keys if key in self._lines for line in self._lines[key].values()]

    def _place(self, record: StoredRecord, candidates: Iterable[Line]) -> list[Line]:
        """Puts the record into every line that shows it; returns them."""
        frames: dict[View, bytes] = {}
        lines = [line for line in candidates if line.selection.admits(record)]
        for line in lines:
            if line.view not in frames:
                frames[line.view] = frame(record, line.view)
            line.strip.add(record, frames[line.view])
        if lines:
            size = sum(map(len, frames.values()))
            self._ring.append((size, lines))
            self._ring_bytes += size
        return lines

    def _evict(self) -> None:
        while len(self._ring) > self._bounds.records or self._ring_bytes > self._bounds.frame_bytes:
            size, lines = self._ring.popleft()
            self._ring_bytes -= size
            for line in lines:
                line.drop_first()

    def _advance(self, position: int) -> None:
        self.position = max(self.position, position)

    def _count(self, namespace: str, change: int) -> None:
        before = self._watched.get(namespace, 0)
        self._watched[namespace] = before + change
        if not before + change:
            del self._watched[namespace]
            self._anchors.pop(namespace, None)
        if not before or not before + change:
            self.epoch += 1


def _wake(lines: Iterable[Line]) -> None:
    for watcher in {watcher for line in lines for watcher in line.watchers}:
        watcher.wake()
