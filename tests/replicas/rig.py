"""Several replicas in this process over one shared store, on one still clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from perdure.v1 import model_pb2
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.api.codec.workflows import spec_version
from perdure_server.api.sealed_header import inspect_record
from perdure_server.clock import VirtualClock
from perdure_server.dispatch.messages import AnyToken, Hello, Profile
from perdure_server.engine.commands import EmitEventCommand, StartRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.emit_event import emit_event
from perdure_server.engine.start_run import start_run
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import EventScope, RunState, Wait
from perdure_server.kernel.records import Record
from perdure_server.kernel.values import Json, Leaf
from perdure_server.runtime import Runtime
from perdure_server.storage.port import CatalogChange, ObligationRows, RecordQuery, RunKey, Store, TaskRow, WorkflowRow
from tests.dispatch.stream_worker import StreamWorker
from tests.replicas.shared_store import ReplicaStore, SharedData

NAMESPACE = "default"
STEP_US = 50_000


class Replica:
    """One server without its edge.

    Args:
        store: its view of the shared data.
    """

    def __init__(self, store: ReplicaStore, clock: VirtualClock, limits: Limits) -> None:
        self.store = store
        self.clock = clock
        self.runtime = Runtime(cast(Store, store), EngineCodec(), inspect_record, clock, limits)

    @property
    def engine(self) -> Engine:
        """Its engine."""
        return self.runtime.engine

    async def run(self, run_id: str) -> RunState:
        """The run as this replica knows it."""
        return await self.engine.load(RunKey(NAMESPACE, run_id))

    async def start(self, workflow_id: str, run_id: str, run_vars: dict[str, Json] | None = None) -> RunState:
        """Starts a run here."""
        await start_run(self.engine, StartRunCommand(NAMESPACE, workflow_id, Leaf.of(run_vars or {}), run_id=run_id))
        return await self.run(run_id)

    async def emit(self, name: str, payload: Json, *, session_id: str) -> None:
        """A client's event, here; does not wait to see what comes of it."""
        command = EmitEventCommand(NAMESPACE, EventScope.SESSION, session_id, name, Leaf.of(payload))
        emitting = asyncio.ensure_future(emit_event(self.engine, command))
        while not emitting.done():
            self.clock.advance(STEP_US)
            await asyncio.sleep(0)
        await emitting

    async def connect(
        self, profile: Profile, *, epoch: int = 1, held: Sequence[AnyToken] = (), credit: int = 0
    ) -> StreamWorker:
        """A worker on a stream here, welcomed."""
        dispatcher = self.runtime.dispatcher
        session = await dispatcher.connect(Hello(profile, epoch, tuple(held)))
        worker = StreamWorker(dispatcher, session)
        worker.welcome = (await worker.hear()).welcome
        if credit:
            await worker.grant(credit)
        return worker

    async def pass_on(self) -> None:
        """One pass of each loop that looks at what others do."""
        runtime = self.runtime
        await runtime.engine.committer.drain()
        if runtime.follower is not None:
            await runtime.follower.loop.next_pass()
        await runtime.dispatcher.settle()
        await runtime.scheduler.due.loop.next_pass()
        await runtime.scheduler.matching.loop.next_pass()
        await runtime.engine.committer.drain()


class Replicas:
    """All of them; `clock` is theirs."""

    def __init__(self, data: SharedData, clock: VirtualClock, replicas: list[Replica]) -> None:
        self.data = data
        self.clock = clock
        self.all = replicas

    async def pump(self, passes: int = 1) -> None:
        """Some time goes by; every running replica looks at what the others did."""
        for _ in range(passes):
            self.clock.advance(STEP_US)
            for replica in self.all:
                if not replica.engine.closing and not replica.store.failing:
                    await replica.pass_on()

    async def until(self, holds: Callable[[], bool | Awaitable[bool]], passes: int = 400) -> None:
        """Lets time go by until something holds."""
        for _ in range(passes):
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await self.pump()
        raise AssertionError("it never came to that")

    async def register(self, spec: model_pb2.WorkflowSpec, at: Replica | None = None) -> None:
        """Registers a workflow at one of the replicas, as the default of its name."""
        stored = model_pb2.WorkflowSpec()
        stored.CopyFrom(spec)
        stored.version = spec_version(spec)
        row = WorkflowRow(
            workflow_id=spec.workflow_id,
            version=stored.version,
            spec=stored.SerializeToString(),
            entry_node=spec.entry_node,
            node_count=len(spec.nodes),
            registered_at=self.clock.now(),
            is_default=True,
        )
        replica = at or self.all[0]
        change = CatalogChange(NAMESPACE, put_workflow=row, make_default=True)
        await replica.engine.write(replica.store.change_catalog, change)

    def ledger(self, run_id: str) -> list[Record]:
        """The run's records as stored."""
        rows = self.data.store.read_records(RecordQuery(NAMESPACE, run_id=run_id, limit=1_000))
        return [EngineCodec().decode_record(row.record, row.payloads) for row in rows]

    def rows(self, run_id: str) -> ObligationRows:
        """What the store holds for the run."""
        rows = self.data.store.read_obligations(RunKey(NAMESPACE, run_id))
        assert rows is not None
        return rows

    def task(self, run_id: str) -> TaskRow:
        """The run's task."""
        task = self.rows(run_id).task
        assert task is not None
        return task

    def kinds(self, run_id: str) -> list[str]:
        """Their names."""
        return [record.kind.name.lower() for record in self.ledger(run_id)]


@asynccontextmanager
async def open_replicas(
    count: int = 2, limits: Limits = DEFAULT_LIMITS, data: SharedData | None = None
) -> AsyncGenerator[Replicas]:
    """Started replicas; stopped on leaving."""
    data, clock = data or SharedData(), VirtualClock()
    async with AsyncExitStack() as stack:
        replicas: list[Replica] = []
        for _ in range(count):
            replica = Replica(data.view(), clock, limits)
            stack.push_async_callback(replica.runtime.stop)
            await replica.runtime.start()
            replicas.append(replica)
        yield Replicas(data, clock, replicas)


def wait_of(run: RunState) -> Wait:
    """What the run waits for."""
    assert run.waiting is not None
    return run.waiting


async def work(worker: StreamWorker) -> None:
    """Finishes what the worker has been given by now, and asks for as much again."""
    message = await worker.hear_now()
    tasks = [*worker.tasks, *(message.tasks if message else ())]
    worker.tasks = []
    for task in tasks:
        await worker.finish_and_grant(task)


def ignored(*_args: object) -> None:
    """In place of something that shall not happen."""


async def set_by(event: threading.Event) -> None:
    """Returns once another thread has set it."""
    assert await asyncio.to_thread(event.wait, 30)
