"""One stream of ledger records: a position, and where to look next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

from perdure_server.clock import Clock
from perdure_server.kernel.limits import SECOND_US
from perdure_server.ledger.cursor import Cursor, CursorCodec
from perdure_server.ledger.deadlines import NEVER, Deadlines
from perdure_server.ledger.messages import (
    Batch,
    CaughtUp,
    Checkpoint,
    Event,
    FellBehind,
    Goodbye,
    GoodbyeReason,
    Message,
    Subscribed,
)
from perdure_server.ledger.reads import Start, StoreAccess, StorePage, last_ending, read_strip
from perdure_server.ledger.selection import Selection, View
from perdure_server.ledger.strip import Strip
from perdure_server.ledger.tailer import Line, Tailer

DRAIN_RECONNECT_US = SECOND_US
"""What a client of a draining server is asked to wait."""


@dataclass(frozen=True, slots=True)
class SubscribeCommand:
    """What a client asks for; values in force, after defaults and bounds.

    Args:
        stop_when_caught_up: send what exists, then end.
        stop_when_terminal: RUN scope: end after the record that ends the run.
    """

    selection: Selection
    start: Start
    view: View
    max_batch_records: int
    max_batch_bytes: int
    checkpoint_interval_us: int
    stop_when_caught_up: bool = False
    stop_when_terminal: bool = False


@dataclass(frozen=True, slots=True)
class SubscriptionParts:
    """What subscriptions of one process share.

    Args:
        slow_reader_us: how long a client may leave its stream unread.
        stream_age_us: how long a stream may last.
    """

    access: StoreAccess
    tailer: Tailer
    deadlines: Deadlines
    clock: Clock
    cursors: CursorCodec
    store_epoch: str
    slow_reader_us: int
    stream_age_us: int


class _Phase(Enum):
    OPENING = 1  # `subscribed` is not sent yet
    READING = 2  # from the store, up to `_until`
    LIVE = 3  # from the line
    LEAVING = 4  # goodbye is sent, or the subscription is closed


class Subscription:
    """A stream of the ledger's records; `next` gives its messages.

    1. The first message is `Subscribed`. Only then is `now` fixed.
    2. Records come in position order, the same for every observer, each exactly once per stream; within a
       run and without a filter, seq has no gap.
    3. The cursor of any message covers all matching records up to it: a new stream after it goes on without
       gap or repeat. A batch's cursor is its last record; a checkpoint's also covers records that the filter
       or the scope left out.
    4. `Checkpoint` comes whenever no other message was sent for checkpoint_interval. It takes the same way as
       records, so it never overtakes one.
    5. `CaughtUp` comes when what existed has been sent, `FellBehind` when the stream went back to reading the
       store. Nothing is lost by either.
    6. A stream ends well only after `Goodbye`; then `next` gives None.
    7. A client that does not read for `slow_reader_us` gets no more records: the next message that it can
       take is `Goodbye` SLOW_CONSUMER. (A message given to the transport cannot be taken back, so the goodbye
       follows it; the stream costs nothing but that message until then.)

    The subscription is a position. While it is above the floor of its line it cuts batches from there; below
    it reads the store up to the horizon, and enters the line once its position is at or above the floor:
    what lies at or below the floor was read, what lies above is in the line. There is no queue and, live, no
    query.

    Use as an async context manager; leaving it ends the subscription. Only one task may call `next`.
    """

    def __init__(
        self,
        parts: SubscriptionParts,
        command: SubscribeCommand,
        start: Cursor,
        horizon: int,
        subscription_id: str,
        on_close: Callable[[], None],
    ) -> None:
        self.due_at = NEVER
        self._parts = parts
        self._command = command
        self._binding = command.selection.binding()
        self._subscription_id = subscription_id
        self._on_close: Callable[[], None] | None = on_close
        self._opened_at = self._sent_at = parts.clock.monotonic()
        self._goodbye: GoodbyeReason | None = None
        self._waiter: asyncio.Future[None] | None = None

        self._phase = _Phase.OPENING
        self._position = start.position
        self._anchor = start.anchor
        self._caught_up_at = horizon  # what existed: at or below it
        self._caught_up = False
        self._end_at = NEVER  # position of the record that ended the run, once known

        self._until = horizon  # READING: a round goes up to here
        self._round_begun = False
        self._page = StorePage(Strip(), 0)

        self._line: Line | None = None
        self._ending: Line | None = None  # the run's terminal record, if that is to end the stream
        parts.deadlines.add(self)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def next(self) -> Message | None:
        """The next message, as soon as there is one; None after the goodbye.

        Raises: StoreError (or the engine's form of it) if the store does not answer.
        """
        while self._phase is not _Phase.LEAVING:
            event = self._take()
            if event is not None:
                cursor = self._parts.cursors.encode(self._binding, Cursor(self._position, self._anchor))
                return Message(cursor, event)
            if self._phase is _Phase.READING:
                await self._read()
            else:
                await self._sleep()
        return None

    @contextmanager
    def writing(self) -> Generator[None]:
        """Around the write of a message: notices a client that does not read."""
        self.due_at = self._parts.clock.monotonic() + self._parts.slow_reader_us
        try:
            yield
        finally:
            self.due_at = NEVER
            self._sent_at = self._parts.clock.monotonic()

    def stop(self, reason: GoodbyeReason) -> None:
        """The next message is the goodbye. The first reason stays."""
        if self._goodbye is None and self._phase is not _Phase.LEAVING:
            self._goodbye = reason
            self._leave_lines()
            self.wake()

    def close(self) -> None:
        """Ends the subscription and gives back what it holds. Idempotent."""
        self._phase = _Phase.LEAVING
        self._leave_lines()
        self._parts.deadlines.remove(self)
        self.due_at = NEVER
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        self.wake()

    def wake(self) -> None:
        """Something may have changed: look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def deadline_passed(self) -> None:
        """Written for too long, or slept until the checkpoint or the end of its age."""
        self.due_at = NEVER
        if self._waiter is None:
            self.stop(GoodbyeReason.SLOW_CONSUMER)
        self.wake()

    def _take(self) -> Event | None:
        """The next event that needs no waiting. Moves position and phase."""
        now = self._parts.clock.monotonic()
        if self._phase is _Phase.OPENING:
            return self._open()
        if now - self._opened_at >= self._parts.stream_age_us:
            self.stop(GoodbyeReason.MAX_AGE)
        if self._goodbye is not None:
            return self._leave(self._goodbye)
        event = self._take_live() if self._phase is _Phase.LIVE else self._take_read()
        if event is None and now - self._sent_at >= self._command.checkpoint_interval_us:
            return Checkpoint(self._parts.clock.now())
        return event

    def _open(self) -> Event:
        self._phase = _Phase.READING
        return Subscribed(
            self._subscription_id,
            self._parts.store_epoch,
            self._command.max_batch_records,
            self._command.max_batch_bytes,
            self._command.checkpoint_interval_us,
        )

    def _take_read(self) -> Event | None:
        """READING: records of the page; after the last page of a round, the way on."""
        batch = self._cut(self._page.strip)
        if batch is not None:
            return batch
        self._position = max(self._position, self._page.covered)
        if not self._round_begun or self._position < min(self._until, self._end_at):
            return None
        if self._command.stop_when_caught_up or self._position >= self._end_at:
            return self._say_caught_up() or self._leave(GoodbyeReason.COMPLETE)
        self._attach()
        if self._position < self._floor():
            self._begin_round()
            return None
        self._phase = _Phase.LIVE
        return self._take_live()

    def _take_live(self) -> Event | None:
        """LIVE: records of the line, or the way back to the store."""
        if self._position < self._floor():
            self._phase = _Phase.READING
            self._caught_up, self._caught_up_at = False, self._parts.tailer.position
            self._begin_round()
            return FellBehind(self._parts.clock.now())
        if self._ending is not None and self._end_at == NEVER:
            self._end_at = self._ending.strip.first_after(self._position) or NEVER
        if self._position >= self._caught_up_at and not self._caught_up:
            return self._say_caught_up()
        batch = self._cut(self._line.strip) if self._line is not None else None
        if batch is not None:
            return batch
        self._advance(min(self._parts.tailer.position, self._end_at))
        if not self._caught_up:
            return self._say_caught_up()
        return self._leave(GoodbyeReason.COMPLETE) if self._position >= self._end_at else None

    def _cut(self, strip: Strip) -> Event | None:
        """The next batch, up to the end of the run."""
        cut = strip.cut(self._position, self._end_at, self._command.max_batch_records, self._command.max_batch_bytes)
        if cut is None:
            return None
        self._position, self._anchor = cut.last.position, cut.last
        return Batch(cut.frames, cut.count)

    def _advance(self, position: int) -> None:
        """Nothing that matches lies in (self._position, position]."""
        self._position = max(self._position, position)
        newest = self._parts.tailer.anchor(self._command.selection.namespace)
        if self._anchor.position < newest.position <= self._position:
            self._anchor = newest

    def _say_caught_up(self) -> Event | None:
        """CaughtUp, once until the stream falls behind again."""
        if self._caught_up:
            return None
        self._caught_up = True
        return CaughtUp(self._parts.clock.now())

    def _leave(self, reason: GoodbyeReason) -> Event:
        self._phase = _Phase.LEAVING
        self._leave_lines()
        return Goodbye(reason, DRAIN_RECONNECT_US if reason is GoodbyeReason.DRAINING else 0)

    def _attach(self) -> None:
        if self._line is None:
            selection, view = self._command.selection, self._command.view
            self._line = self._parts.tailer.attach(selection, view, self)
            if self._command.stop_when_terminal:
                self._ending = self._parts.tailer.attach(selection.ending(), view, self)

    def _leave_lines(self) -> None:
        for line in (self._line, self._ending):
            if line is not None:
                self._parts.tailer.detach(line, self)
        self._line = self._ending = None
        self._page = StorePage(Strip(), 0)

    def _floor(self) -> int:
        """At or above it the lines have everything."""
        return max(line.floor for line in (self._line, self._ending) if line is not None)

    def _begin_round(self) -> None:
        self._until = self._floor()
        self._round_begun = False
        self._page = StorePage(Strip(), 0)

    async def _read(self) -> None:
        """One step of a round: first whether the run ends within it, then page by page."""
        access, selection = self._parts.access, self._command.selection
        if not self._round_begun:
            if self._command.stop_when_terminal:
                end_at = await access.read(last_ending, access.store, selection, self._until)
                self._end_at = end_at or NEVER
            self._round_begun = True
            return
        until = min(self._until, self._end_at)
        view = self._command.view
        self._page = await access.read(read_strip, access.store, selection, view, self._position, until)

    async def _sleep(self) -> None:
        """LIVE: until the line changes, a checkpoint is due, or the stream is old."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.due_at = min(
            self._sent_at + self._command.checkpoint_interval_us,
            self._opened_at + self._parts.stream_age_us,
        )
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.due_at = NEVER
