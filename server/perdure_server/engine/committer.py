"""Group commit: one thread writes; what arrives while it writes goes into its next transaction together.

The store's writing side is used from this thread only. Callbacks run on the event loop, in commit order.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias

from perdure_server.clock import Clock
from perdure_server.measures import Measures
from perdure_server.storage.port import Commit, Store, StoreDamagedError, StoreError, Verdict

log = logging.getLogger(__name__)

Done: TypeAlias = Callable[[Verdict | StoreError], None]

MAX_COMMITS = 512
MAX_BYTES = 8 * 1024 * 1024


class Committer:
    """Queues commits for the store's one writing thread.

    Args:
        store: where they go.
        counters: `commits`, `commit_batches`, `records` and `store_errors` are counted here.
        measures: sizes and times of transactions.
        clock: measures them.
        inline: write on the event loop and not on a thread, for tests that need one order of all that happens.
    """

    def __init__(
        self, store: Store, counters: dict[str, int], measures: Measures, clock: Clock, *, inline: bool = False
    ) -> None:
        self._store = store
        self._counters = counters
        self._measures = measures
        self._clock = clock
        self._pending: deque[tuple[Commit, Done]] = deque()
        self._busy = False
        self._scheduled = False
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = SimpleQueue()
        self._thread = None if inline else threading.Thread(target=self._work, name="perdure-writer", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failures = 0
        self._watchers: list[asyncio.Future[None]] = []
        if self._thread is not None:
            self._thread.start()

    @property
    def failures(self) -> int:
        """Writes that the store refused since the last one that it took."""
        return self._failures

    def enqueue(self, commit: Commit, done: Done) -> None:
        """Puts a commit into the next transaction; `done` gets its verdict, or the store's failure."""
        self._pending.append((commit, done))
        self._idle.clear()
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    async def call(self, write: Callable[..., Any], *args: Any) -> Any:
        """Runs another of the store's writing methods between transactions, and returns its result."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def settle(result: Any) -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._give(lambda: write(*args), settle)
        return await future

    async def answered(self) -> None:
        """Returns once the transaction that is being written now has been answered; at once if there is none."""
        if self._busy:
            future: asyncio.Future[None] = self._loop.create_future()
            self._watchers.append(future)
            await future

    async def drain(self) -> None:
        """Returns once everything that was queued has been answered."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Writes what is queued, then ends the thread. Idempotent."""
        await self.drain()
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy or not self._pending:
            return
        batch: list[tuple[Commit, Done]] = []
        size = 0
        while self._pending and len(batch) < MAX_COMMITS and size < MAX_BYTES:
            entry = self._pending.popleft()
            batch.append(entry)
            size += _size(entry[0])
        self._busy = True
        commits = [commit for commit, _ in batch]
        self._give(partial(self._commit, commits), lambda result: self._answer(batch, result))

    def _give(self, run: Callable[[], Any], settle: Callable[[Any], None]) -> None:
        """To the writing thread; `settle` gets the result on the event loop."""
        if self._thread is not None:
            self._jobs.put((run, settle))
        else:
            self._loop.call_soon(lambda: settle(self._result_of(run)))

    def _commit(self, commits: list[Commit]) -> list[Verdict | StoreError]:
        """One transaction, on the writing thread. What cannot be written for damage, is damaged for some of them only
        as a rule: then each has a transaction of its own, so that the others are not held up by those.
        """
        begun = self._clock.monotonic()
        try:
            return [*self._store.commit(commits)]
        except StoreDamagedError:
            if len(commits) == 1:
                raise
            return [self._alone(commit) for commit in commits]
        finally:
            self._measures.commit_us.add(self._clock.monotonic() - begun)

    def _alone(self, commit: Commit) -> Verdict | StoreError:
        try:
            return self._store.commit([commit])[0]
        except StoreError as error:
            log.error("the store cannot take a commit: %s", error)
            return error

    def _answer(self, batch: list[tuple[Commit, Done]], result: list[Verdict | StoreError] | Exception) -> None:
        self._busy = False
        if isinstance(result, Exception):
            self._counters["store_errors"] += 1
            error = result if isinstance(result, StoreError) else StoreError(str(result))
            for _, done in batch:
                _tell(done, error)
        else:
            self._counters["commit_batches"] += 1
            self._counters["commits"] += len(batch)
            self._measures.commit_batch.add(len(batch))
            for (_, done), verdict in zip(batch, result, strict=True):
                _tell(done, verdict)
        if self._watchers:
            for future in self._watchers:
                if not future.done():
                    future.set_result(None)
            self._watchers.clear()
        if self._pending:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        else:
            self._idle.set()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            run, settle = job
            result = self._result_of(run)
            try:
                self._loop.call_soon_threadsafe(settle, result)
            except RuntimeError:
                log.warning("the event loop ended before a write was answered")
                return

    def _result_of(self, run: Callable[[], Any]) -> Any:
        """What a write returned or raised."""
        try:
            result: Any = run()
            self._note_success()
        except StoreError as error:
            self._note_failure(error)
            return error
        except Exception as error:  # the boundary of the writing thread: the caller gets it
            log.exception("the store met a defect")
            return error
        return result

    def _note_success(self) -> None:
        if self._failures:
            log.warning("the store takes writes again, after %d that it refused", self._failures)
            self._failures = 0

    def _note_failure(self, error: StoreError) -> None:
        """Said once: a full disk gets no fuller by what is logged about it."""
        if not self._failures:
            log.error("the store refuses writes: %s", error)
        self._failures += 1


def _tell(done: Done, result: Verdict | StoreError) -> None:
    try:
        done(result)
    except Exception:  # the boundary of an answer: the others of the transaction, and a stop, still get theirs
        log.exception("answering a commit failed")


def _size(commit: Commit) -> int:
    return sum(len(record.record) + sum(len(p.data or b"") for p in record.payloads) for record in commit.records)
