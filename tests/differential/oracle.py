"""The oracle: one stream of operations through several stores, whose replies and contents must be the same.

After each operation: the replies; the clocks; which runs changed, in which order; each of these runs as its server
tells it and as its store holds it, down to hashes and rows. Every 500 operations and at the end: everything.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflows
from perdure_server.kernel.records import RecordKind
from perdure_server.storage.port import RunChange, RunKey
from tests.differential.grounds import Ground, Wrap
from tests.differential.knowledge import Knowledge
from tests.differential.operations import Act, Call, Crash, Operation, Pass, act_of
from tests.differential.snapshots import contents
from tests.differential.still_loop import StillLoop
from tests.differential.world import DefectError, Reply, World

SNAPSHOT_EVERY: Final = 500
TICK_US: Final = 7_000
"""Between two operations."""

MakeGround = Callable[[Path], Ground]
IN_MEMORY: Final = Path("/dev/shm")
"""Where temporary files cost no flush, on Linux."""
ROOM_BYTES: Final = 1 << 30


class DifferenceError(AssertionError):
    """Two stores do not agree, or one is not what its ledgers say.

    Args:
        step: number of the operation, from 0; its length, for what a snapshot found at the end.
    """

    def __init__(self, step: int, operation: Operation | None, problem: str) -> None:
        super().__init__(f"step {step} {operation}: {problem}")
        self.step = step
        self.problem = problem


OracleError: TypeAlias = DifferenceError | DefectError


@dataclass
class Tally:
    """What happened, counted, in the model."""

    succeeded: Counter[str] = field(default_factory=Counter[str])
    """Operation kinds and methods with an answer that was no error."""
    errors: Counter[str] = field(default_factory=Counter[str])
    acks: Counter[str] = field(default_factory=Counter[str])
    records: Counter[str] = field(default_factory=Counter[str])


class Oracle:
    """Asks all worlds the same.

    Args:
        worlds: the first one is the model.
    """

    def __init__(self, worlds: Sequence[World]) -> None:
        self.tally = Tally()
        self._worlds = worlds
        self._model = worlds[0]
        self._known = Knowledge()
        self._step = 0
        self._operation: Operation | None = None
        self._horizon = 0

    async def begin(self) -> None:
        """Starts all servers, with the first version of each workflow."""
        for world in self._worlds:
            await world.begin()
        for versions in self._known.specs.values():
            request = workflows.RegisterWorkflowRequest(namespace="default", spec=versions[0], set_default=True)
            await self._act(Call("RegisterWorkflow", request))

    async def run(self, operations: Sequence[Operation]) -> None:
        """Raises: DifferenceError, DefectError."""
        for number, operation in enumerate(operations):
            self._step, self._operation = number, operation
            act = act_of(operation, self._known, self._model.clock.now())
            succeeded = await self._act(act)
            self.tally.succeeded[operation.kind] += succeeded
            if (number + 1) % SNAPSHOT_EVERY == 0:
                self._compare_contents(ended_too=False)
        self._step, self._operation = len(operations), None
        self._compare_contents(ended_too=True)
        await self._audit()

    async def _act(self, act: Act) -> bool:
        asked = self._known.sends(act.method, act.request) if isinstance(act, Call) else None
        replies = [await _do(world, act) for world in self._worlds]
        self._same("the reply", list(map(_comparable, replies)))
        self._learn(act, replies[0])
        for world in self._worlds:
            await world.advance(TICK_US)
        await self._compare_touched(act)
        if asked is not None:
            self._same("the kept reply", [world.store.find_request(*asked) for world in self._worlds])
        if replies[0].method:
            self.tally.succeeded[replies[0].method] += replies[0].succeeded
            if replies[0].error is not None:
                self.tally.errors[replies[0].error.reason] += 1
        return replies[0].succeeded or not isinstance(act, Call) or act.passes >= 0

    # --- comparing ---------------------------------------------------------------------------------

    def _same(self, what: str, values: Sequence[Any]) -> None:
        for world, value in zip(self._worlds[1:], values[1:], strict=True):
            if value != values[0]:
                raise self._difference(f"{what} differs\n{self._model.name}: {values[0]}\n{world.name}: {value}")

    def _difference(self, problem: str) -> DifferenceError:
        return DifferenceError(self._step, self._operation, problem)

    async def _compare_touched(self, act: Act) -> None:
        self._same("the time", [world.clock.now() for world in self._worlds])
        self._same("the horizon", [world.store.horizon() for world in self._worlds])
        self._same("what the server counts", [world.runtime.engine.counters for world in self._worlds])
        changes: list[list[RunChange]] = [
            world.store.read_changes(self._horizon, world.store.horizon(), 10_000) for world in self._worlds
        ]
        self._same("the order of records", changes)
        self._horizon = self._model.store.horizon()
        touched = dict.fromkeys(RunKey(change.namespace, change.run_id) for change in changes[0])
        for change in changes[0]:
            self.tally.records[RecordKind(change.kind).name] += 1
        for key in touched:
            await self._compare_run(key)
        for key in self._without_record(act):
            self._same(f"rows of run {key.run_id}", [world.store.read_obligations(key) for world in self._worlds])
        self._check_health()

    def _without_record(self, act: Act) -> list[RunKey]:
        """Runs whose rows a call may change, or should not, without a record that tells of it."""
        if not isinstance(act, Call):
            return []
        if act.method == "HeartbeatTasks":
            return list(dict.fromkeys(RunKey(task.run.namespace, task.run.run_id) for _, task in self._known.tasks))
        run_id = getattr(act.request, "run_id", "")
        return [RunKey("default", run_id)] if run_id else []

    async def _compare_run(self, key: RunKey) -> None:
        request = runs.GetRunRequest(namespace=key.namespace, run_id=key.run_id, view=runs.RUN_VIEW_FULL)
        replies = [await world.ask("GetRun", request) for world in self._worlds]
        self._same(f"run {key.run_id}", list(map(_comparable, replies)))
        self._same(f"run {key.run_id} as stored", [world.store.load_run(key) for world in self._worlds])
        self._same(f"rows of run {key.run_id}", [world.store.read_obligations(key) for world in self._worlds])
        if isinstance(found := replies[0].message, runs.GetRunResponse):
            self._known.saw_run(found.run)

    def _compare_contents(self, *, ended_too: bool) -> None:
        now = self._model.clock.now()
        parts = [contents(world.store, self._known, now, ended_too=ended_too) for world in self._worlds]
        for group in zip(*parts, strict=True):
            names = [name for name, _ in group]
            self._same("what there is", names)
            self._same(names[0], [value for _, value in group])

    def _check_health(self) -> None:
        """What no run of a good store shows: rows that had to be put right, loops and chores that failed."""
        for world in self._worlds:
            runtime = world.runtime
            if runtime.engine.counters["repairs"]:
                raise self._difference(f"{world.name}: rows had to be repaired")
            scheduler = runtime.scheduler
            loops = (*scheduler.loops, *runtime.dispatcher.loops, *runtime.ledger.loops)
            chores = (scheduler.due.chores, scheduler.matching.chores, scheduler.slots.chores)
            failed = [each for each in (*loops, *chores) if each.failures]
            if failed:
                raise self._difference(f"{world.name}: {failed} failed")

    async def _audit(self) -> None:
        """Each run is what its ledger says (P3, P7): in the model, and so in all that hold the same."""
        for namespace in self._model.store.list_namespaces():
            token = None
            while token != "":
                request = admin.AuditRunsRequest(namespace=namespace, page_size=50, page_token=token or "")
                reply = await self._model.ask("AuditRuns", request)
                audit = reply.message
                if not isinstance(audit, admin.AuditRunsResponse) or audit.findings:
                    raise self._difference(f"the audit found {reply}")
                token = audit.next_page_token

    # --- learning ----------------------------------------------------------------------------------

    def _learn(self, act: Act, reply: Reply) -> None:
        known, answer = self._known, reply.message
        match answer:
            case worker.PollTasksResponse():
                asked: Any = act.request if isinstance(act, Call) else None
                known.tasks.extend((asked.worker.worker_id, task) for task in answer.tasks)
                self.tally.acks["TASK"] += len(answer.tasks)
            case worker.ReportTasksResponse():
                for kind, acks in (("BEGIN", answer.begin_acks), ("REPORT", answer.acks)):
                    self.tally.acks.update(f"{kind} {worker.AckStatus.Name(ack.status)[11:]}" for ack in acks)
            case worker.HeartbeatTasksResponse():
                states = (worker.LeaseState.Name(update.state)[12:] for update in answer.lease_updates)
                self.tally.acks.update(f"LEASE {state}" for state in states)
            case workflows.RegisterWorkflowResponse():
                asked = act.request if isinstance(act, Call) else None
                versions = known.versions.setdefault(answer.workflow_id, [])
                if asked.namespace == "default" and answer.version not in versions:
                    versions.append(answer.version)
            case admin.CreateNamespaceResponse():
                if answer.namespace not in known.namespaces:
                    known.namespaces.append(answer.namespace)
            case _:
                pass
        if isinstance(act, Call) and (token := _next_token(answer)):
            known.got_page(act.method, act.request, token)


def _next_token(answer: Message | bytes | None) -> str:
    """The token of a page's next one; a page of records is bytes already."""
    page: Any = ledger.ListRecordsResponse.FromString(answer) if isinstance(answer, bytes) else answer
    if page is None or "next_page_token" not in page.DESCRIPTOR.fields_by_name:
        return ""
    return page.next_page_token


async def _do(world: World, act: Act) -> Reply:
    match act:
        case Call(method, request, -1):
            return await world.ask(method, request)
        case Call(method, request, passes):
            return await world.die(method, request, passes)
        case Crash():
            return await world.die()
        case Pass(delta_us):
            await world.advance(delta_us)
            return Reply("")


def _comparable(reply: Reply) -> Reply:
    """Without what is of a process and not of its store: `replica_id`, which is random."""
    if isinstance(reply.message, admin.ListWorkersResponse):
        reply.message.ClearField("replica_id")
    return reply


@contextmanager
def _quiet() -> Generator[None]:
    """Crashes make servers complain; their failures are looked at by `_check_health`."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def consult(
    operations: Sequence[Operation], grounds: Iterable[MakeGround], *, seed: int = 0, wrap: Wrap | None = None
) -> Tally:
    """Gives the operations to a store of each kind; the first is the model.

    Args:
        seed: of ids and salts.
        wrap: put around the last store, for tests of the oracle itself.

    Raises: DifferenceError, DefectError.
    """
    quick = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="perdure-oracle-", dir=IN_MEMORY if quick else None))
    worlds = [World(ground(folder), seed) for ground in grounds]
    if wrap is not None:
        worlds[-1].wrap = wrap
    oracle = Oracle(worlds)

    async def live() -> None:
        try:
            await oracle.begin()
            await oracle.run(operations)
        finally:
            for world in worlds:
                await world.end()

    try:
        with _quiet(), asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(live())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return oracle.tally


def problem_of(consultation: Callable[[], object]) -> OracleError | None:
    """What it finds wrong."""
    try:
        consultation()
    except (DifferenceError, DefectError) as found:
        return found
    return None
