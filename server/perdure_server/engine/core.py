"""The engine: load -> decide -> commit -> wake (P1, P2).

Inputs of one run are taken one at a time in this process, and each is one Commit guarded by the run's
seq; between processes that guard decides. Nothing leaves before its commit is on disk: replies, tasks,
streamed records and wake-ups all follow the verdict. Losing a wake-up is harmless, loops poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from perdure_server.clock import Clock
from perdure_server.engine import transition as t
from perdure_server.engine.catalog import Catalog, UnknownWorkflowError
from perdure_server.engine.commands import RequestId
from perdure_server.engine.committer import Committer
from perdure_server.engine.errors import (
    ConflictError,
    DrainingError,
    EngineError,
    RequestIdReusedError,
    RunNotFoundError,
    StoreUnavailableError,
)
from perdure_server.engine.ports import Codec, Placement, Wakeups
from perdure_server.engine.run_slot import Call, InputSource, Outcome, RunCache, RunSlot
from perdure_server.engine.turns import turn_input
from perdure_server.engine.watchers import Watchers
from perdure_server.ids import new_id
from perdure_server.kernel.decision import Ack, Env, Reason, Rejection
from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.inputs import Input, StartRun
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import RunState, WorkflowSpec
from perdure_server.kernel.obligations import obligations
from perdure_server.storage.port import (
    Commit,
    LeaseRenewal,
    RequestRow,
    RunKey,
    RunSnapshot,
    Store,
    StoreError,
    Verdict,
    VerdictKind,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_TRIES = 8
READERS = 4
RETRY_STORE_US = 1_000_000


class Engine:
    """Moves runs. Lives on one event loop.

    Args:
        store: the backend; its writing side is used from one thread, its reading side from others.
        codec: gives records and states their bytes.
        clock: time.
        placement: finds workers for tasks at their birth.
        wakeups: told after each commit.
        limits: limits in force.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        clock: Clock,
        placement: Placement,
        wakeups: Wakeups,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.limits = limits
        self.placement = placement
        self.wakeups = wakeups
        self.counters: Counter[str] = Counter()
        self.watchers = Watchers()
        self.info = store.info()
        self.committer = Committer(store, self.counters)
        self.catalog = Catalog(store, codec, self.read, shared=self.info.shared)
        self.horizon = store.horizon()
        self._cache = RunCache()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="perdure-reader")
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    # --- for the layers above ---------------------------------------------------------------

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
        call = Call(event, self._loop.create_future(), request, make_reply, mail)
        self._give(key, call)
        return call.future

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
    ) -> Outcome:
        """Creates a run. Raises: Rejection (RUN_EXISTS, NODE_NOT_FOUND), EngineError."""
        self._check_open()
        key = RunKey(event.namespace, event.run_id)
        call = Call(event, self._loop.create_future(), request, make_reply)
        slot = RunSlot(key)
        slot.spec = spec
        slot.busy = True
        self._take(slot, call)
        return await asyncio.shield(call.future)

    async def load(self, key: RunKey) -> RunState:
        """The run as last committed. Raises: RunNotFoundError, StoreUnavailableError."""
        slot = self._cache.get(key)
        if slot is not None and slot.run is not None:
            return slot.run
        call = Call(None, self._loop.create_future())
        self._give(key, call)
        return (await asyncio.shield(call.future)).run

    async def read(self, query: Callable[..., T], *args: Any) -> T:
        """Runs a reading method of the store off the event loop. Raises: StoreUnavailableError."""
        try:
            return await self._loop.run_in_executor(self._readers, partial(query, *args))
        except StoreError as error:
            raise self._unavailable(error) from error

    async def write(self, change: Callable[..., T], *args: Any) -> T:
        """Runs a writing method of the store on the writing thread. Raises: StoreUnavailableError."""
        self._check_open()
        try:
            return await self.committer.call(change, *args)
        except StoreError as error:
            raise self._unavailable(error) from error

    async def commit(self, commit: Commit) -> Verdict:
        """Puts a Commit without a run (a client's event) into the group. Raises: StoreUnavailableError."""
        self._check_open()
        future: asyncio.Future[Verdict | StoreError] = self._loop.create_future()
        self.committer.enqueue(commit, lambda result: future.done() or future.set_result(result))
        result = await asyncio.shield(future)
        if isinstance(result, StoreError):
            raise self._unavailable(result) from result
        self._note_positions(result)
        return result

    async def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """Renews leases; False where the attempt no longer holds one."""
        return await self.write(self.store.renew_leases, list(renewals)) if renewals else []

    def run_turns(self, key: RunKey) -> asyncio.Future[Outcome]:
        """Takes the due turn of a run; rejected NOT_DUE if there is none."""
        return self.submit_nowait(key, partial(self._turn_of, key))

    def lease_now(self) -> int:
        """Now in the store's lease clock: monotonic where one process owns the store."""
        return self.clock.monotonic()

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
        )

    def new_id(self) -> str:
        """A new UUIDv7."""
        return new_id(self.clock.now())

    @property
    def cached_runs(self) -> int:
        """Runs held in memory."""
        return len(self._cache)

    async def stop(self) -> None:
        """Answers what is under way, then ends the writing thread. Idempotent."""
        self._closing = True
        await self.committer.stop()
        for task in list(self._tasks):
            task.cancel()
        self._readers.shutdown(wait=True)

    # --- one input at a time ---------------------------------------------------------------

    def _give(self, key: RunKey, call: Call) -> None:
        if self._closing:
            call.future.set_exception(DrainingError("the server is stopping", retry_after_us=RETRY_STORE_US))
            return
        slot = self._cache.get(key)
        if slot is None:
            slot = RunSlot(key)
            slot.busy = True
            slot.pending.append(call)
            self._cache.put(slot)
            self._spawn(self._load(slot))
            return
        slot.pending.append(call)
        self._advance(slot)

    def _advance(self, slot: RunSlot) -> None:
        while slot.pending and not slot.busy:
            self._take(slot, slot.pending.popleft())

    def _take(self, slot: RunSlot, call: Call) -> None:
        """Decides one input and queues its commit, or answers it."""
        slot.busy = True
        try:
            event = self._input_of(slot, call)
            if event is None:
                self._resolve(slot, call, t.plain_outcome(slot))
                return
            work = t.decide_input(self, slot, call, event)
        except UnknownWorkflowError as missing:
            self._spawn(self._decide_again(slot, call, missing))
            return
        except Rejection as rejection:
            self._refuse(slot, call, rejection)
            return
        except Exception as error:  # the boundary of a decision: one run's defect stops no other
            log.exception("deciding failed", extra={"run_id": slot.key.run_id, "namespace": slot.key.namespace})
            self._fail(slot, call, error)
            return
        if work.commit is None:
            self._resolve(slot, call, Outcome(work.run, work.ack))
            return
        self.committer.enqueue(work.commit, partial(self._answered, slot, call, work))

    def _input_of(self, slot: RunSlot, call: Call) -> Input | None:
        event = call.event
        if callable(event):
            if slot.run is None:
                raise RunNotFoundError(f"no run {slot.key.run_id!r} in namespace {slot.key.namespace!r}")
            return event(slot.run)
        return event

    def _answered(self, slot: RunSlot, call: Call, work: t.Transition, result: Verdict | StoreError) -> None:
        """The verdict of an input's commit, on the event loop."""
        if isinstance(result, StoreError):
            self._give_back(work, slot)
            self._cache.drop(slot.key)
            self._fail_all(slot, call, self._unavailable(result))
            return
        if result.kind is VerdictKind.COMMITTED:
            self._note_positions(result)
            t.apply_committed(self, slot, work, result, self._cache.put)
            self._resolve(slot, call, Outcome(work.run, work.ack, work.reply))
            return
        self._give_back(work, slot)
        if result.kind is VerdictKind.REQUEST_KNOWN:
            self._replay(slot, call, result.request)
        elif result.kind is VerdictKind.RUN_EXISTS and result.taken_run_id == slot.key.run_id and slot.run is None:
            self._refuse(slot, call, t.run_exists(slot.key))
        elif result.kind is VerdictKind.RUN_EXISTS:
            call.taken |= {result.taken_run_id}
            self._again(slot, call)
        else:
            self.counters["conflicts"] += 1
            self._again(slot, call, reload=True)

    def _again(self, slot: RunSlot, call: Call, *, reload: bool = False) -> None:
        call.tries += 1
        if call.tries >= MAX_TRIES:
            message = "others changed the run at the same time, repeatedly; try again"
            self._fail(slot, call, ConflictError(message, retry_after_us=RETRY_STORE_US // 10))
            return
        slot.pending.appendleft(call)
        if reload:
            self._spawn(self._load(slot))
        else:
            slot.busy = False
            self._advance(slot)

    def _refuse(self, slot: RunSlot, call: Call, rejection: Rejection) -> None:
        """A rejection: mail is consumed all the same, and a repeated request gets its first reply."""
        if call.mail and slot.run is not None:
            commit = t.consume_mail(slot, call)
            self.committer.enqueue(commit, lambda result: self._after_mail(slot, call, rejection, result))
        elif call.request is not None:
            self._spawn(self._refuse_unless_replayed(slot, call, rejection))
        else:
            self._fail(slot, call, rejection)

    def _after_mail(self, slot: RunSlot, call: Call, rejection: Rejection, result: Verdict | StoreError) -> None:
        if isinstance(result, StoreError):
            self._fail(slot, call, self._unavailable(result))
        elif result.kind is VerdictKind.CONFLICT:
            self._again(slot, call, reload=True)
        else:
            self._fail(slot, call, rejection)

    async def _refuse_unless_replayed(self, slot: RunSlot, call: Call, rejection: Rejection) -> None:
        if call.request is None:
            raise ValueError("the call has no request id")
        try:
            reply = await self.find_request(slot.key.namespace, call.request)
        except EngineError as error:
            self._fail(slot, call, error)
            return
        if reply is None or slot.run is None and rejection.reason is not Reason.RUN_EXISTS:
            self._fail(slot, call, rejection)
        else:
            self._resolve(slot, call, Outcome(slot.run or t.no_run(slot.key), Ack.ACCEPTED, reply, replayed=True))

    def _replay(self, slot: RunSlot, call: Call, row: RequestRow | None) -> None:
        if row is None or call.request is None:
            self._fail(slot, call, ValueError("a known request without its row"))
            return
        try:
            reply = check_request(row, call.request)
        except RequestIdReusedError as error:
            self._fail(slot, call, error)
            return
        self._resolve(slot, call, Outcome(slot.run or t.no_run(slot.key), Ack.ACCEPTED, reply, replayed=True))

    def _resolve(self, slot: RunSlot, call: Call, outcome: Outcome) -> None:
        if not call.future.done():
            call.future.set_result(outcome)
        slot.busy = False
        self._advance(slot)

    def _fail(self, slot: RunSlot, call: Call, error: Exception) -> None:
        if not call.future.done():
            call.future.set_exception(error)
            call.future.exception()  # marked as seen: signals of the server's own have no reader
        slot.busy = False
        self._advance(slot)

    def _fail_all(self, slot: RunSlot, call: Call, error: Exception) -> None:
        calls = [call, *slot.pending]
        slot.pending.clear()
        for waiting in calls:
            if not waiting.future.done():
                waiting.future.set_exception(error)
                waiting.future.exception()

    def _give_back(self, work: t.Transition, slot: RunSlot) -> None:
        if work.placed_worker:
            self.placement.unplace(slot.key.namespace, work.placed_worker)

    # --- loading ---------------------------------------------------------------------------

    async def _load(self, slot: RunSlot) -> None:
        try:
            snapshot = await self.read(self.store.load_run, slot.key)
            if snapshot is None:
                raise RunNotFoundError(
                    f"no run {slot.key.run_id!r} in namespace {slot.key.namespace!r}",
                    field="run_id",
                )
            await self._fill(slot, snapshot)
        except Exception as error:  # the boundary of a load: its callers get it
            if not isinstance(error, EngineError):
                log.exception("loading failed", extra={"run_id": slot.key.run_id})
            if self._moved(slot):
                return
            self._cache.drop(slot.key)
            if slot.pending:
                self._fail_all(slot, slot.pending.popleft(), error)
            return
        if self._moved(slot):
            return
        slot.busy = False
        self._cache.put(slot)
        self._advance(slot)

    def _moved(self, slot: RunSlot) -> bool:
        """Whether the run came into memory by another way meanwhile; its inputs then wait there."""
        current = self._cache.get(slot.key)
        if current is None or current is slot:
            return False
        current.pending.extend(slot.pending)
        slot.pending.clear()
        self._advance(current)
        return True

    async def _fill(self, slot: RunSlot, snapshot: RunSnapshot) -> None:
        run = self.codec.decode_state(snapshot.keyframe) if snapshot.keyframe is not None else None
        for row in snapshot.records:
            run = evolve(run, self.codec.decode_record(row.record, row.payloads))
        if run is None or run.seq != snapshot.head.seq:
            raise StoreUnavailableError(
                f"the ledger of run {slot.key.run_id!r} does not reach its head; run an audit"
            )
        spec = await self.catalog.find(run.namespace, run.workflow_id, run.workflow_version)
        if spec is None:
            raise StoreUnavailableError(
                f"workflow {run.workflow_id!r} {run.workflow_version!r} of run {run.run_id!r} is missing"
            )
        slot.run = run
        slot.spec = spec
        slot.head_hash = snapshot.head.head_hash
        slot.due = obligations(run)
        slot.wait_row = snapshot.head.wait
        slot.since_records = run.seq - snapshot.keyframe_seq
        slot.since_bytes = sum(len(row.record) for row in snapshot.records)

    async def _decide_again(self, slot: RunSlot, call: Call, missing: UnknownWorkflowError) -> None:
        try:
            spec = await self.catalog.find(slot.key.namespace, missing.workflow_id, missing.version)
        except EngineError as error:
            self._fail(slot, call, error)
            return
        if spec is None:
            call.known_missing |= {(missing.workflow_id, missing.version)}
        self._again(slot, call)

    # --- small things ------------------------------------------------------------------------

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

    def _note_positions(self, verdict: Verdict) -> None:
        if not self.info.shared:
            self.horizon = max(self.horizon, *verdict.positions, *verdict.event_positions, 0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_open(self) -> None:
        if self._closing:
            raise DrainingError("the server is stopping", retry_after_us=RETRY_STORE_US)

    def _unavailable(self, error: StoreError) -> StoreUnavailableError:
        return StoreUnavailableError(f"the store does not answer: {error}", retry_after_us=RETRY_STORE_US)


def check_request(row: RequestRow, request: RequestId) -> bytes:
    """The kept reply. Raises: RequestIdReusedError if the request differs from the first one."""
    if row.body_hash != request.body_hash:
        raise RequestIdReusedError(
            f"request id {request.request_id!r} was used for another {request.method}; use a new one",
            field="request_id",
        )
    return row.reply
