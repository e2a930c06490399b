"""One server process without its edge: a real engine over a store in memory, dispatch, scheduler, a still clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from perdure.v1 import common_pb2, model_pb2
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.api.codec.workflows import spec_version
from perdure_server.clock import VirtualClock
from perdure_server.dispatch.dispatcher import Dispatcher
from perdure_server.dispatch.messages import AnyToken, Hello, Profile, TaskToken
from perdure_server.dispatch.registry import Registry
from perdure_server.engine.commands import EmitEventCommand, StartRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.emit_event import emit_event
from perdure_server.engine.sealing import genesis_hash
from perdure_server.engine.start_run import start_run
from perdure_server.ids import epoch_tag
from perdure_server.kernel.decision import EventAppend, Mail, TaskDue
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US, Limits
from perdure_server.kernel.model import EventScope, RunState
from perdure_server.kernel.records import Record
from perdure_server.kernel.values import Json, Leaf
from perdure_server.scheduler.scheduler import Scheduler
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import CatalogChange, RecordQuery, RunKey, StoredRecord, WorkflowRow
from tests.dispatch.stream_worker import StreamWorker

NAMESPACE = "default"


class FanOut:
    """Passes wake-ups on to dispatch and scheduler; while `muted` they are lost."""

    def __init__(self) -> None:
        self.dispatcher: Dispatcher | None = None
        self.scheduler: Scheduler | None = None
        self.muted = False

    def records_committed(self, records: Sequence[StoredRecord]) -> None:
        """Nobody here reads the ledger."""

    def run_changed(self, before: RunState | None, run: RunState) -> None:
        """See `Wakeups`."""
        if not self.muted and self.dispatcher and self.scheduler:
            self.dispatcher.run_changed(before, run)
            self.scheduler.run_changed(before, run)

    def task_ready(self, run: RunState, task: TaskDue) -> None:
        """See `Wakeups`."""
        if not self.muted and self.dispatcher:
            self.dispatcher.task_ready(run, task)

    def timer_armed(self, due_at: int) -> None:
        """See `Wakeups`."""
        if not self.muted and self.scheduler:
            self.scheduler.timer_armed(due_at)

    def schedule_armed(self, due_at: int) -> None:
        """See `Wakeups`."""
        if not self.muted and self.scheduler:
            self.scheduler.schedule_armed(due_at)

    def wait_registered(self, run: RunState) -> None:
        """See `Wakeups`."""
        if not self.muted and self.scheduler:
            self.scheduler.wait_registered(run)

    def events_appended(self, namespace: str, events: Sequence[EventAppend]) -> None:
        """See `Wakeups`."""
        if not self.muted and self.scheduler:
            self.scheduler.events_appended(namespace, events)

    def mail_sent(self, namespace: str, mail: Sequence[Mail]) -> None:
        """See `Wakeups`."""
        if not self.muted and self.scheduler:
            self.scheduler.mail_sent(namespace, mail)


@dataclass
class Rig:
    """Everything of one server process that moves runs."""

    clock: VirtualClock
    store: MemoryStore
    engine: Engine
    registry: Registry
    dispatcher: Dispatcher
    scheduler: Scheduler
    fan_out: FanOut

    async def settle(self) -> None:
        """Returns when nothing moves any more by itself without the clock."""
        moved = -1
        while moved != self.engine.counters.total():
            moved = self.engine.counters.total()
            await self.engine.committer.drain()
            await self.dispatcher.settle()
            if self.scheduler.due.loop.running:
                await self.scheduler.settle()
            await self.engine.committer.drain()
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Moves the clock on; returns when what that made due has been done."""
        self.clock.advance(round(seconds * SECOND_US))
        await self.settle()

    async def register(self, spec: model_pb2.WorkflowSpec) -> None:
        """Registers a workflow, as the default of its name."""
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
        change = CatalogChange(NAMESPACE, put_workflow=row, make_default=True)
        await self.engine.write(self.store.change_catalog, change)
        self.engine.catalog.forget_default(NAMESPACE, spec.workflow_id)

    async def start(self, workflow_id: str, run_id: str, run_vars: dict[str, Json] | None = None) -> RunState:
        """Starts a run."""
        command = StartRunCommand(NAMESPACE, workflow_id, Leaf.of(run_vars or {}), run_id=run_id)
        await start_run(self.engine, command)
        return await self.run(run_id)

    async def emit(self, scope: EventScope, scope_id: str, name: str, payload: Json) -> None:
        """A client's event."""
        command = EmitEventCommand(NAMESPACE, scope, scope_id, name, Leaf.of(payload))
        emitting = asyncio.ensure_future(emit_event(self.engine, command))
        while not emitting.done():
            await self.settle()
            self.clock.advance(10_000)
        await emitting

    async def run(self, run_id: str) -> RunState:
        """The run as it stands."""
        return await self.engine.load(RunKey(NAMESPACE, run_id))

    async def ledger(self, run_id: str) -> list[Record]:
        """The run's records."""
        query = RecordQuery(NAMESPACE, run_id=run_id, limit=1_000)
        rows = await self.engine.read(self.store.read_records, query)
        return [self.engine.codec.decode_record(row.record, row.payloads) for row in rows]

    async def kinds(self, run_id: str) -> list[str]:
        """The names of its records."""
        return [record.kind.name.lower() for record in await self.ledger(run_id)]

    def token(self, run_id: str, step_id: int, attempt: int) -> TaskToken:
        """One that this data might have given out."""
        return TaskToken(NAMESPACE, run_id, step_id, attempt, epoch_tag(self.engine.info.epoch))

    async def connect(
        self, profile: Profile, *, epoch: int = 1, held: Sequence[AnyToken] = (), credit: int = 0
    ) -> StreamWorker:
        """A worker on a stream, welcomed."""
        session = await self.dispatcher.connect(Hello(profile, epoch, tuple(held)))
        worker = StreamWorker(self.dispatcher, session)
        welcome = (await worker.hear()).welcome
        assert welcome is not None
        worker.welcome = welcome
        if credit:
            await worker.grant(credit)
            await self.settle()
        return worker


@asynccontextmanager
async def open_rig(
    limits: Limits = DEFAULT_LIMITS,
    *,
    store: MemoryStore | None = None,
    clock: VirtualClock | None = None,
    codec: EngineCodec | None = None,
    scheduler: bool = True,
    dispatch: bool = True,
) -> AsyncGenerator[Rig]:
    """A started process; stopped on leaving.

    Args:
        store: an older process's store, to start from it again.
        scheduler, dispatch: started, or made only.
    """
    clock = clock or VirtualClock()
    store = store or MemoryStore(genesis=genesis_hash, epoch="0" * 32)
    registry, fan_out = Registry(clock, epoch_tag(store.info().epoch), limits), FanOut()
    engine = Engine(store, codec or EngineCodec(), clock, registry, fan_out, limits)
    rig = Rig(clock, store, engine, registry, Dispatcher(engine, registry), Scheduler(engine), fan_out)
    fan_out.dispatcher, fan_out.scheduler = rig.dispatcher, rig.scheduler
    try:
        if scheduler:
            await rig.scheduler.start()
        if dispatch:
            await rig.dispatcher.start()
        yield rig
    finally:
        await rig.dispatcher.stop()
        await rig.scheduler.stop()
        await engine.stop()


def chain(workflow_id: str = "chain", steps: int = 2) -> model_pb2.WorkflowSpec:
    """Nodes step-0 .. step-n, each a worker's effect "echo"; the last one ends the run."""
    spec = model_pb2.WorkflowSpec(workflow_id=workflow_id, entry_node="step-0")
    for number in range(steps):
        template = f'{{"type":"echo","payload":{{"step":{number}}}}}'
        following = f"step-{number + 1}" if number + 1 < steps else ""
        one = model_pb2.NodeSpec(
            kind=model_pb2.NODE_KIND_EFFECT, template_json=template, next=following, result_key=f"results.s{number}"
        )
        spec.nodes[f"step-{number}"].CopyFrom(one)
    return spec


def one_effect(effect: str = '{"type":"echo","payload":{}}', workflow_id: str = "one") -> model_pb2.WorkflowSpec:
    """A workflow of one effect node, "only"; `effect` is its template. Its result ends the run."""
    spec = model_pb2.WorkflowSpec(workflow_id=workflow_id, entry_node="only")
    node = spec.nodes["only"]
    node.kind = model_pb2.NODE_KIND_EFFECT
    node.template_json = effect
    node.result_key = "result"
    return spec


def irreversible() -> model_pb2.WorkflowSpec:
    """`one_effect`, to be begun before it is executed."""
    spec = one_effect()
    spec.nodes["only"].risk = common_pb2.EFFECT_RISK_IRREVERSIBLE
    return spec


async def until(holds: Callable[[], bool]) -> None:
    """Lets others run until something holds."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def nodes(workflow_id: str, *names: str) -> model_pb2.WorkflowSpec:
    """A workflow of worker nodes, one after the other."""
    spec = model_pb2.WorkflowSpec(workflow_id=workflow_id, entry_node=names[0])
    for name, following in zip(names, (*names[1:], ""), strict=True):
        spec.nodes[name].kind = model_pb2.NODE_KIND_WORKER
        spec.nodes[name].next = following
    return spec
