"""The ledger of one process: what the edge calls and the engine feeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure_server.clock import Clock
from perdure_server.engine.errors import DrainingError
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.ledger.chain import RecordInspector
from perdure_server.ledger.cursor import CursorCodec
from perdure_server.ledger.deadlines import Deadlines
from perdure_server.ledger.feed import OWN_COMMITS_POLL_US, SHARED_POLL_US, StoreFeed
from perdure_server.ledger.messages import GoodbyeReason
from perdure_server.ledger.pages import ListRecordsCommand, RecordPage, read_page, token_position
from perdure_server.ledger.reads import StoreAccess, find_start, position_of, require_run
from perdure_server.ledger.selection import ScopeKind
from perdure_server.ledger.slots import StreamSlots
from perdure_server.ledger.subscription import (
    SubscribeCommand,
    Subscription,
    SubscriptionParts,
)
from perdure_server.ledger.tailer import RingBounds, Tailer
from perdure_server.ledger.verification import RunVerification, verify_run
from perdure_server.loop import Loop
from perdure_server.storage.port import RunKey, StoredRecord

CURSOR_WAIT_US = 5 * SECOND_US
"""How long a cursor of another replica may be above the horizon of this one, before it is refused."""
CURSOR_POLL_US = 20_000


class Ledger:
    """Reads the ledger, follows it and verifies it. `start` comes first.

    Args:
        access: the engine.
        new_id: makes a subscription's id from the time (ids.new_id).
        inspect: reads sealed record bytes (the edge's codec).
    """

    def __init__(
        self,
        access: StoreAccess,
        clock: Clock,
        limits: Limits,
        new_id: Callable[[int], str],
        inspect: RecordInspector,
        ring: RingBounds | None = None,
    ) -> None:
        info = access.store.info()
        self._access = access
        self._clock = clock
        self._limits = limits
        self._new_id = new_id
        self._inspect = inspect
        self._shared = info.shared
        self._slots = StreamSlots(limits.streams_per_caller)
        self._open: set[Subscription] = set()
        self._draining = False
        self.tailer = Tailer(0, ring)
        self.feed = StoreFeed(access, self.tailer, clock, SHARED_POLL_US if info.shared else OWN_COMMITS_POLL_US)
        self._parts = SubscriptionParts(
            access=access,
            tailer=self.tailer,
            deadlines=Deadlines(clock),
            clock=clock,
            cursors=CursorCodec(info.epoch),
            store_epoch=info.epoch,
            slow_reader_us=limits.slow_reader_us,
            stream_age_us=limits.stream_age_us,
        )

    @property
    def open_streams(self) -> int:
        """Subscriptions that are open."""
        return len(self._open)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All loops."""
        return self.feed.loop, self._parts.deadlines.loop

    async def start(self) -> None:
        """Begins to follow the store, from its horizon. Before the first commit of this process."""
        self.tailer.skip_to(await self._access.read(self._access.store.horizon))
        self._parts.deadlines.loop.start()
        self.feed.loop.start()

    async def stop(self) -> None:
        """Ends the loops; subscriptions are the edge's to close. Idempotent."""
        self.drain()
        await self.feed.loop.stop()
        await self._parts.deadlines.loop.stop()

    def drain(self) -> None:
        """Every subscription says goodbye; new ones are refused. Idempotent."""
        self._draining = True
        for subscription in tuple(self._open):
            subscription.stop(GoodbyeReason.DRAINING)

    @property
    def watched(self) -> bool:
        """Whether somebody follows the ledger here."""
        return bool(self.tailer.watched_namespaces())

    def records_committed(self, records: Sequence[StoredRecord]) -> None:
        """This process committed records; in position order (engine.ports.Wakeups)."""
        if not self._shared:
            self.tailer.announce(records)

    def horizon_moved(self) -> None:
        """A shared store has records that are new; they are read if somebody follows (engine.follower)."""
        if self.watched:
            self.feed.loop.wake()

    async def list_records(self, command: ListRecordsCommand) -> RecordPage:
        """One page. Raises: InvalidPageTokenError, CursorFromOtherStoreError, CursorExpiredError."""
        access, cursors = self._access, self._parts.cursors
        if self._shared and command.page_token:
            await self._reach(token_position(cursors, command))
        return await access.read(read_page, access.store, cursors, command, self._limits.message_bytes)

    async def verify_run(self, key: RunKey) -> RunVerification:
        """Recomputes a run's chain and commitments. Raises: RunNotFoundError."""
        return await verify_run(self._access, key, self._inspect)

    async def subscribe(self, command: SubscribeCommand, caller: str) -> Subscription:
        """Opens a subscription; the caller leaves it as a context manager.

        Args:
            caller: whose stream it is; one caller has at most `streams_per_caller`.

        Raises: DrainingError, TooManyStreamsError, RunNotFoundError (RUN scope), InvalidCursorError,
            CursorFromOtherStoreError, CursorExpiredError.
        """
        if self._draining:
            raise DrainingError("The server is going away; try another one.", retry_after_us=SECOND_US)
        self._slots.take(caller)
        try:
            subscription = await self._open_subscription(command, caller)
        except BaseException:
            self._slots.give_back(caller)
            raise
        self._open.add(subscription)
        if self._draining:
            subscription.stop(GoodbyeReason.DRAINING)
        return subscription

    async def _reach(self, position: int) -> None:
        """Waits for the horizon where another replica has seen it, but not for one that nobody has seen."""
        access, clock = self._access, self._clock
        give_up_at = clock.monotonic() + CURSOR_WAIT_US
        while position and await access.read(access.store.horizon) < position and clock.monotonic() < give_up_at:
            await clock.sleep(CURSOR_POLL_US)

    async def _open_subscription(self, command: SubscribeCommand, caller: str) -> Subscription:
        access, selection = self._access, command.selection
        if selection.scope is ScopeKind.RUN:
            await access.read(require_run, access.store, selection.namespace, selection.scope_id)
        if self._shared:
            await self._reach(position_of(self._parts.cursors, selection, command.start))
        start, horizon = await access.read(find_start, access.store, self._parts.cursors, selection, command.start)

        def on_close() -> None:
            self._open.discard(subscription)
            self._slots.give_back(caller)

        subscription = Subscription(self._parts, command, start, horizon, self._new_id(self._clock.now()), on_close)
        return subscription
