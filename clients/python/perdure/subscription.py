"""Following the ledger and watching runs, across reconnects."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Literal, Self, TypedDict

import grpc.aio

from perdure.connection import Connection
from perdure.errors import DataLoss
from perdure.instants import Span, duration_seconds, to_duration
from perdure.ledger import RECORD_VIEWS, LedgerBatch, LedgerEntry, LedgerFilter, LedgerScope, RecordView
from perdure.model import RunState
from perdure.reopening import SILENT_INTERVALS, ReopeningStream
from perdure.runs import VIEWS, View
from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1 import run_service_pb2
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.values import RecordKind


class SubscribeOptions(TypedDict, total=False):
    """Where a subscription starts, what it carries, when it ends.

    start: with the first record (the default), or with what is committed from now on.
    after_cursor: instead: go on after the cursor of an earlier subscription of the same scope and filter.
    after_seq: instead, for the scope of one run: after this record.
    filter: which records; unset: all.
    view: "record_bytes" for verification.
    stop_when_caught_up: end when what exists has been sent.
    stop_when_terminal: for the scope of one run: end after its last record.
    checkpoint_interval: how often the server gives a sign of life, 1 s to 15 s.
    """

    start: Literal["beginning", "now"]
    after_cursor: str
    after_seq: int
    filter: LedgerFilter
    view: RecordView
    stop_when_caught_up: bool
    stop_when_terminal: bool
    checkpoint_interval: Span


_WATCH_HEARTBEAT_S = 15.0
_AFTER_AN_END = (RecordKind.LATE_RESULT, RecordKind.REOPENED)


class Subscription:
    """Records of a scope, in position order, each exactly once, for as long as it is read.

    Use it as `async with client.subscribe(scope) as subscription:`; entering returns when the server has
    confirmed the subscription, so that what happens from then on is seen. Iterate over it for entries, or over
    `batches()`. The iteration ends when the server says that nothing more will come (`stop_when_...`), and
    otherwise never: a broken stream is opened again after the last cursor.

    Attributes:
        cursor: covers every entry that was taken from here, and everything before. Store it with what the
            entries caused; `after_cursor` goes on from it. While a batch is taken entry by entry, it stays at
            the batch before.
        is_caught_up: what existed has been sent; False again while the server reads its store.

    Raises (while iterating):
        DataLoss: within a run the records did not follow each other.
        OutOfRange: CURSOR_EXPIRED, CURSOR_FROM_OTHER_STORE.
    """

    def __init__(self, connection: Connection, request: pb.SubscribeLedgerRequest) -> None:
        self._connection = connection
        self._request = request
        self._stream = ReopeningStream(connection, self._call)
        self._pending: deque[LedgerEntry] = deque()
        self._pending_cursor = request.after_cursor
        self._density = None if request.HasField("filter") else Density(request)
        self._is_complete = False
        self.cursor = request.after_cursor
        self.is_caught_up = False
        self.store_epoch = ""

    async def __aenter__(self) -> Self:
        """Opens the stream and waits for the server's confirmation."""
        try:
            await self._hear(await self._stream.open())
        except BaseException:
            await self._stream.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the stream."""
        await self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LedgerEntry:
        """The next entry."""
        while not self._pending:
            await self._advance()
        return self._pending.popleft()

    async def batches(self) -> AsyncIterator[LedgerBatch]:
        """Entries as they come together, with the cursor that covers them."""
        while True:
            try:
                while not self._pending:
                    await self._advance()
            except StopAsyncIteration:
                return
            batch = LedgerBatch(tuple(self._pending), self._pending_cursor)
            self._pending.clear()
            yield batch

    async def _advance(self) -> None:
        """All entries are taken: moves the cursor up and reads one message."""
        self.cursor = self._pending_cursor
        if self._is_complete:
            raise StopAsyncIteration
        await self._hear(await self._stream.read())

    async def _hear(self, message: pb.SubscribeLedgerResponse) -> None:
        event = message.WhichOneof("event")
        if event == "batch":
            entries = [LedgerEntry.from_wire(entry) for entry in message.batch.entries]
            if self._density is not None:
                self._density.check(entries)
            self._pending.extend(entries)
        elif event == "subscribed":
            interval = duration_seconds(message.subscribed.checkpoint_interval)
            self._stream.silence = SILENT_INTERVALS * interval if interval else self._stream.silence
            self.store_epoch = message.subscribed.store_epoch
        elif event == "caught_up":
            self.is_caught_up = True
        elif event == "fell_behind":
            self.is_caught_up = False
        self._pending_cursor = message.cursor or self._pending_cursor
        if event == "goodbye":
            self._is_complete = message.goodbye.reason == pb.Goodbye.REASON_COMPLETE
            if not self._is_complete:
                self.is_caught_up = False
                await self._stream.again(duration_seconds(message.goodbye.reconnect_delay))

    def _call(
        self, channel: grpc.aio.Channel
    ) -> grpc.aio.UnaryStreamCall[pb.SubscribeLedgerRequest, pb.SubscribeLedgerResponse]:
        request = self._request
        if self._pending_cursor:
            request = pb.SubscribeLedgerRequest()
            request.CopyFrom(self._request)
            request.after_cursor = self._pending_cursor
        return LedgerServiceStub(channel).SubscribeLedger(request, metadata=tuple(self._connection.metadata))


class Density:
    """Checks that the records of each run follow each other: seq is 1, 2, 3 ... without gap or repeat.

    Runs that have ended are forgotten, so that following everything for days stays small; late results and
    retries may still come for them.
    """

    def __init__(self, request: pb.SubscribeLedgerRequest) -> None:
        self._last: dict[str, int] = {}
        self._from_beginning = request.WhichOneof("start") == "beginning"
        self._known_start = request.scope.run_id if request.WhichOneof("start") == "after_seq" else ""
        if self._known_start:
            self._last[self._known_start] = request.after_seq

    def check(self, entries: list[LedgerEntry]) -> None:
        """Looks at entries in the order they came.

        Raises:
            DataLoss: one does not follow the one before it.
        """
        for entry in entries:
            run_id, seq = entry.run_id, entry.seq
            last = self._last.get(run_id)
            if last is None and self._from_beginning and entry.kind not in _AFTER_AN_END:
                last = 0
            if last is not None and seq != last + 1:
                raise DataLoss(
                    f"run {run_id}: record {seq} came after record {last}",
                    metadata={"run_id": run_id, "seq": str(seq), "last_seq": str(last)},
                )
            if entry.kind.is_terminal:
                self._last.pop(run_id, None)
            else:
                self._last[run_id] = seq


class RunWatch:
    """A run as it stands, then again after changes; ends when the run has ended.

    Use it as `async with client.watch(run_id) as watch: async for run in watch: ...`.
    """

    def __init__(self, connection: Connection, run_id: str, view: View) -> None:
        self._connection = connection
        self._request = run_service_pb2.WatchRunRequest(namespace=connection.namespace, run_id=run_id, view=VIEWS[view])
        self._stream = ReopeningStream(connection, self._call)
        self._stream.silence = SILENT_INTERVALS * _WATCH_HEARTBEAT_S
        self._next: RunState | None = None
        self._seen_seq = 0
        self._is_complete = False

    async def __aenter__(self) -> Self:
        """Opens the watch.

        Raises:
            NotFound: RUN_NOT_FOUND.
        """
        try:
            await self._hear(await self._stream.open())
        except BaseException:
            await self._stream.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the stream."""
        await self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunState:
        """The run after its next change."""
        while self._next is None:
            if self._is_complete:
                raise StopAsyncIteration
            await self._hear(await self._stream.read())
        run, self._next = self._next, None
        return run

    async def _hear(self, message: run_service_pb2.WatchRunResponse) -> None:
        event = message.WhichOneof("event")
        if event == "run":
            # A new stream starts with the run as it stands, which may have been seen.
            if message.run.seq > self._seen_seq:
                self._seen_seq = message.run.seq
                self._next = RunState.from_wire(message.run)
        elif event == "goodbye":
            self._is_complete = message.goodbye.reason == pb.Goodbye.REASON_COMPLETE
            if not self._is_complete:
                await self._stream.again(duration_seconds(message.goodbye.reconnect_delay))

    def _call(
        self, channel: grpc.aio.Channel
    ) -> grpc.aio.UnaryStreamCall[run_service_pb2.WatchRunRequest, run_service_pb2.WatchRunResponse]:
        return RunServiceStub(channel).WatchRun(self._request, metadata=tuple(self._connection.metadata))


def subscribe_request(namespace: str, scope: LedgerScope | str, options: SubscribeOptions) -> pb.SubscribeLedgerRequest:
    """The request of a subscription.

    Raises:
        ValueError: more than one place to start at.
    """
    places = [name for name in ("start", "after_cursor", "after_seq") if name in options]
    if len(places) > 1:
        raise ValueError(f"a subscription starts at one place, not at {' and '.join(places)}")
    request = pb.SubscribeLedgerRequest(
        namespace=namespace,
        scope=LedgerScope.of(scope).message,
        view=RECORD_VIEWS[options.get("view", "record")],
        stop_when_caught_up=options.get("stop_when_caught_up", False),
        stop_when_terminal=options.get("stop_when_terminal", False),
    )
    kept = options.get("filter")
    if kept is not None and not kept.keeps_all:
        request.filter.CopyFrom(kept.to_wire())
    if "checkpoint_interval" in options:
        request.checkpoint_interval.CopyFrom(to_duration(options["checkpoint_interval"]))
    if "after_cursor" in options:
        request.after_cursor = options["after_cursor"]
    elif "after_seq" in options:
        request.after_seq = options["after_seq"]
    elif options.get("start") == "now":
        request.now = True
    else:
        request.beginning = True
    return request
