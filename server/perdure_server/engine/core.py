"""The engine: load -> decide -> commit -> wake (P1, P2).

Inputs of one run are taken one at a time in this process, and each is one Commit guarded by the run's
seq; between processes that guard decides. Nothing leaves before its commit is on disk: replies, tasks,
streamed records and wake-ups all follow the verdict. Losing a wake-up is harmless, loops poll.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from perdure_server.clock import Clock
from perdure_server.engine.catalog import Catalog, UnknownWorkflowError
from perdure_server.engine.commands import RequestId
from perdure_server.engine.committer import Committer
from perdure_server.engine.errors import DrainingError, StoreUnavailableError
from perdure_server.engine.intake import RETRY_STORE_US, Intake, not_older, unavailable
from perdure_server.engine.ports import Codec, Placement, Wakeups
from perdure_server.engine.requests import check_request
from perdure_server.engine.run_slot import Call, InputSource, Outcome, RunCache, RunSlot, Settle
from perdure_server.engine.turns import turn_input
from perdure_server.engine.watchers import Watchers
from perdure_server.ids import new_epoch, new_id
from perdure_server.kernel.decision import Env, Reason, Rejection
from perdure_server.kernel.inputs import Input, StartRun
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US, Limits
from perdure_server.kernel.model import RunState, WorkflowSpec
from perdure_server.measures import Measures
from perdure_server.storage.port import Commit, LeaseRenewal, RunKey, ScheduleWrite, Store, StoreError, Verdict

T = TypeVar("T")

READERS = 4
HORIZON_POLL_US = 10_000
"""Pause between two looks at a horizon that somebody waits for."""

NEWEST = 2**63 - 1
"""A seq that no run has: whoever asks for it gets the run as the store has it."""

HOLD_US = 30 * SECOND_US
"""How long a refused write keeps the server from being ready, if no other one follows."""


class Engine:
    """Moves runs. Lives on one event loop.

    Args:
        store: the backend; its writing side is used from one thread, its reading side from others.
        codec: gives records and states their bytes.
        clock: time.
        placement: finds workers for tasks at their birth.
        wakeups: told after each commit.
        limits: limits in force.
        inline: write on the event loop, see `Committer`.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        clock: Clock,
        placement: Placement,
        wakeups: Wakeups,
        limits: Limits = DEFAULT_LIMITS,
        *,
        inline: bool = False,
    ) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.limits = limits
        self.placement = placement
        self.wakeups = wakeups
        self.counters: Counter[str] = Counter()
        self.measures = Measures()
        self.watchers = Watchers()
        self.replica_id = new_epoch()
        """Names this process among those that share its store."""
        self.info = store.info()
        self.shared = self.info.shared
        self.committer = Committer(store, self.counters, self.measures, clock, inline=inline)
        self.catalog = Catalog(store, codec, self.read, clock if self.shared else None)
        self.horizon = store.horizon()
        self.last_position = self.horizon
        """The highest position that this process has committed; the horizon may be behind it."""
        self.lease_now: Callable[[], int] = self._store_lease_now if self.shared else clock.monotonic
        """Now in the store's lease clock: monotonic where one process owns the store."""
        self._horizon_lock = asyncio.Lock()
        self._horizon_look: asyncio.Task[None] | None = None
        self._cache = RunCache()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="perdure-reader")
        self._loop = asyncio.get_running_loop()
        self._intake = Intake(self, self._cache)
        self.closing = False
        self._refused = 0
        self._refused_at = 0

    def submit_nowait(
        self,
        key: RunKey,
        event: InputSource,
        *,
        request: RequestId | None = None,
        make_reply: Callable[[RunState], bytes] | None = None,
        mail: tuple[tuple[str, str], ...] = (),
    ) -> asyncio.Future[Outcome]:
        """Gives an input to a run; the future has the outcome once it is durable.

        Args:
            event: the input, or a function that makes it from the run's state when its turn comes.
            request: the caller's request id; a repeat gets the first reply.
            make_reply: the reply to keep under it, from the state after the commit.
            mail: (kind, sender) messages of the run's mailbox that this input consumes, also when the
                run does not take it.

        The future raises: Rejection, EngineError.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._intake.give(key, Call(event, partial(_answer, future), request, make_reply, mail))
        return future

    def give(self, key: RunKey, event: InputSource, settle: Settle) -> None:
        """As `submit_nowait`, for those who take many: `settle` is called with the outcome or the error instead,
        perhaps before this returns."""
        self._intake.give(key, Call(event, settle))

    async def submit(self, key: RunKey, event: InputSource, **options: Any) -> Outcome:
        """As `submit_nowait`, awaited. A caller that is cancelled leaves the input under way."""
        return await asyncio.shield(self.submit_nowait(key, event, **options))

    async def start(
        self,
        event: StartRun,
        spec: WorkflowSpec,
        *,
        request: RequestId | None = None,
        make_reply: Callable[[RunState], bytes] | None = None,
        schedule: ScheduleWrite | None = None,
        victims: tuple[str, ...] = (),
    ) -> Outcome:
        """Creates a run.

        Args:
            schedule: the schedule that starts it, as it is after that; both or neither.
            victims: runs that give way to it.

        Raises: Rejection (RUN_EXISTS, NODE_NOT_FOUND), ScheduleChangedError, other EngineErrors.
        """
        self._check_open()
        key = RunKey(event.namespace, event.run_id)
        future: asyncio.Future[Outcome] = self._loop.create_future()
        call = Call(event, partial(_answer, future), request, make_reply)
        if self.shared:
            await self.refresh_horizon()
            call.at_horizon = True
        call.schedule, call.victims = schedule, victims
        slot = RunSlot(key)
        slot.spec = spec
        slot.busy = True
        self._intake.take(slot, call)
        return await asyncio.shield(future)

    async def load(self, key: RunKey) -> RunState:
        """The run as last committed. Raises: RunNotFoundError, StoreUnavailableError."""
        slot = self._cache.get(key)
        if slot is not None and slot.run is not None:
            return slot.run
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._intake.give(key, Call(None, partial(_answer, future)))
        return (await asyncio.shield(future)).run

    async def read(self, query: Callable[..., T], *args: Any) -> T:
        """Runs a reading method of the store off the event loop. Raises: StoreUnavailableError."""
        try:
            return await self._loop.run_in_executor(self._readers, partial(query, *args))
        except StoreError as error:
            raise unavailable(error) from error

    async def write(self, change: Callable[..., T], *args: Any) -> T:
        """Runs a writing method of the store on the writing thread. Raises: StoreUnavailableError."""
        self._check_open()
        try:
            return await self.committer.call(change, *args)
        except StoreError as error:
            raise unavailable(error) from error

    async def probe(self) -> None:
        """Returns if the store reads, and did not refuse the last write within HOLD_US.

        After that time it may be tried again: whoever is told to stay away from a server brings it no write
        that could show that the store is well.

        Raises: StoreUnavailableError.
        """
        await self.read(self.store.horizon)
        now, refused = self.clock.monotonic(), self.committer.failures
        if refused != self._refused:
            self._refused, self._refused_at = refused, now
        if refused and now - self._refused_at < HOLD_US:
            raise StoreUnavailableError("the store refuses writes", retry_after_us=RETRY_STORE_US)

    async def commit(self, commit: Commit) -> Verdict:
        """Puts a Commit without a run (a client's event) into the group. Raises: StoreUnavailableError."""
        self._check_open()
        future: asyncio.Future[Verdict | StoreError] = self._loop.create_future()
        self.committer.enqueue(commit, partial(_settle, future))
        result = await asyncio.shield(future)
        if isinstance(result, StoreError):
            raise unavailable(result) from result
        self.note_positions(result)
        return result

    async def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """Renews leases; False where the attempt no longer holds one."""
        return await self.write(self.store.renew_leases, list(renewals)) if renewals else []

    def run_turns(self, key: RunKey) -> asyncio.Future[Outcome]:
        """Takes the due turn of a run; rejected NOT_DUE if there is none."""
        return self.submit_nowait(key, partial(self._turn_of, key))

    async def refresh_horizon(self) -> int:
        """The horizon, on a shared store as read after this call; those who ask at the same time share a read.

        It never goes back. Raises: StoreUnavailableError.
        """
        if self.shared:
            if self._horizon_look is None:
                self._horizon_look = self._loop.create_task(self._look_at_horizon())
                self._horizon_look.add_done_callback(_mark_seen)
            await asyncio.shield(self._horizon_look)
        return self.horizon

    async def horizon_reaches(self, position: int, within_us: int) -> bool:
        """Whether the horizon is at this position or above, after a while if need be. Raises: StoreUnavailableError."""
        give_up_at = self.clock.monotonic() + within_us
        while await self.refresh_horizon() < position:
            if self.clock.monotonic() >= give_up_at:
                return False
            await self.clock.sleep(HORIZON_POLL_US)
        return True

    async def refresh(self, key: RunKey, seq: int) -> RunState:
        """The run, read from the store again if it is older in memory than this seq. Raises: RunNotFoundError,
        StoreUnavailableError."""
        return (await self.submit(key, partial(not_older, seq))).run

    def outdate(self, key: RunKey, seq: int) -> None:
        """Another process has brought the run to this seq: an older state in memory is used no longer."""
        self._intake.outdate(key, seq)

    def outdate_all(self) -> None:
        """Other processes may have changed any run."""
        for key in self._cache.all_keys():
            self._intake.outdate(key, NEWEST)

    def knows(self, key: RunKey) -> bool:
        """Whether the run is in memory: most likely this process moved it last."""
        slot = self._cache.peek(key)
        return slot is not None and slot.run is not None

    async def find_request(self, namespace: str, request: RequestId) -> bytes | None:
        """The reply kept under a request id. Raises: RequestIdReusedError for another body."""
        row = await self.read(self.store.find_request, namespace, request.method, request.request_id)
        return None if row is None else check_request(row, request)

    def event_env(self, spec: WorkflowSpec, namespace: str, call: Call | None = None) -> Env:
        """The environment of a decision about a run of `spec`."""
        return Env(
            now=self.clock.now(),
            spec=spec,
            horizon=self.horizon,
            new_id=self.new_id,
            workflows=partial(self._workflow_of, namespace, call.known_missing if call else frozenset()),
            taken_run_ids=call.taken if call else frozenset(),
            limits=self.limits,
            line=call.line if call else None,
        )

    def new_id(self) -> str:
        """A new UUIDv7."""
        return new_id(self.clock.now())

    @property
    def cached_runs(self) -> int:
        """Runs held in memory."""
        return len(self._cache)

    def head_hash(self, run: RunState) -> bytes | None:
        """Hash of the run's last record, while this is its state in memory; else None."""
        slot = self._cache.get(RunKey(run.namespace, run.run_id))
        return slot.head_hash if slot is not None and slot.run is run else None

    async def stop(self) -> None:
        """Answers what is under way, then ends the writing thread. Idempotent."""
        self.closing = True
        await self.committer.stop()
        self._intake.stop()
        self._readers.shutdown(wait=True)

    def _store_lease_now(self) -> int:
        return self.clock.monotonic() + self.store.lease_offset()

    async def _look_at_horizon(self) -> None:
        async with self._horizon_lock:  # a read that is under way began too early for whoever asks now
            self._horizon_look = None
            self.horizon = max(self.horizon, await self.read(self.store.horizon))

    def _turn_of(self, key: RunKey, run: RunState) -> Input:
        slot = self._cache.get(key)
        event = turn_input(run, self.event_env(slot.spec, key.namespace)) if slot and slot.spec else None
        if event is None:
            raise Rejection(Reason.NOT_DUE, "no turn is due")
        return event

    def _workflow_of(
        self, namespace: str, missing: frozenset[tuple[str, str]], workflow_id: str, version: str
    ) -> WorkflowSpec | None:
        spec = self.catalog.peek(namespace, workflow_id, version)
        if spec is None and (workflow_id, version) not in missing:
            raise UnknownWorkflowError(workflow_id, version)
        return spec

    def note_positions(self, verdict: Verdict) -> None:
        """Records and events up to here are committed."""
        self.last_position = max(self.last_position, *verdict.positions, *verdict.event_positions, 0)
        if not self.shared:
            self.horizon = self.last_position

    def _check_open(self) -> None:
        if self.closing:
            raise DrainingError("the server is stopping", retry_after_us=RETRY_STORE_US)


def _mark_seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits gets it; perhaps nobody does any more


def _answer(future: asyncio.Future[Outcome], result: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Outcome):
        future.set_result(result)
    else:
        future.set_exception(result)
        future.exception()  # marked as seen: signals of the server's own have no reader


def _settle(future: asyncio.Future[Verdict | StoreError], result: Verdict | StoreError) -> None:
    if not future.done():
        future.set_result(result)
