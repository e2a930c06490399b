"""Failures that users of other engines have reported in public, each as a test that fails without the defence.

The streams among them are in test_dead_streams.py. Each test here is one function, played as the server is and again
with its defence taken out.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest

from perdure.v1 import model_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from perdure_server.clock import VirtualClock
from perdure_server.dispatch.claims import Claims
from perdure_server.dispatch.messages import Task
from perdure_server.engine.commands import PauseRunCommand, UnpauseRunCommand
from perdure_server.engine.errors import StoreUnavailableError
from perdure_server.engine.pause_run import pause_run
from perdure_server.engine.unpause_run import unpause_run
from perdure_server.kernel.model import Activity, EventScope, RunState
from perdure_server.scheduler.matching import Matching
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import ObligationRows, RunKey, RunSnapshot, StoreError, WaitRow
from tests.dispatch.rig import Rig, chain, one_effect, open_rig
from tests.dispatch.stream_worker import StreamWorker, profile
from tests.robustness.crash.lost_commit import cut_last_commit
from tests.robustness.server_process import Servers

RUNS = 8
READS = ("load_run", "due_work", "ready_tasks", "list_runs", "list_namespaces", "read_obligations", "get_workflow")


class OutageStore:
    """A store whose reads from the first to the last of some numbers fail, as during a database restart."""

    def __init__(self, store: MemoryStore, first: int, last: int) -> None:
        self._store = store
        self._first = first
        self._last = last
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return partial(self._read, found) if name in READS else found

    def _read(self, method: Callable[..., Any], *args: Any) -> Any:
        self.reads += 1
        if self._first <= self.reads <= self._last:
            raise StoreError("the database is starting up")
        return method(*args)


async def work_off(rig: Rig, worker: StreamWorker) -> None:
    """The worker does what comes until nothing comes any more, while time goes on."""
    for _ in range(20):
        await rig.advance(10)
        while (message := await worker.hear_now()) is not None:
            for task in message.tasks:
                await worker.finish_and_grant(task)
        await worker.ping()


async def left_behind() -> tuple[MemoryStore, VirtualClock]:
    """What a killed process leaves: runs that are queued, and runs that sleep."""
    sleep = one_effect('{"type":"wait_until","payload":{"delay_seconds":5}}', "sleep")
    sleep.nodes["only"].next = "then"
    sleep.nodes["then"].kind = model_pb2.NODE_KIND_EFFECT
    sleep.nodes["then"].template_json = '{"type":"echo","payload":{}}'
    async with open_rig() as rig:
        await rig.register(chain(steps=1))
        await rig.register(sleep)
        for number in range(RUNS):
            await rig.start("sleep" if number % 2 else "chain", f"r{number}")
        return rig.store, rig.clock


async def recover_through(first: int, last: int) -> tuple[set[str], bool]:
    """A server starts while the store's reads of these numbers fail.

    Returns: the runs that have not ended in the end, and whether any read failed.
    """
    store, clock = await left_behind()
    outage = OutageStore(store, first, last)
    while True:
        try:
            async with open_rig(store=cast(MemoryStore, outage), clock=clock) as rig:
                worker = await rig.connect(profile(), credit=RUNS)
                await work_off(rig, worker)
                states = [await rig.run(f"r{number}") for number in range(RUNS)]
                return {run.run_id for run in states if not run.ended}, outage.reads >= first
        except StoreUnavailableError:
            # A start that the store refuses is one that ends the process; its supervisor starts the next.
            continue


@pytest.mark.promise("P7")
@pytest.mark.parametrize("length", [1, 4])
async def test_a_database_restart_during_recovery_strands_nobody(length: int) -> None:
    """Recovery asked the database once; what it could not read then was never picked up again.

    Each of the first reads of a start fails once, alone and with those that follow it.
    """
    first = 1
    while True:
        stranded, failed = await recover_through(first, first + length - 1)
        assert stranded == set(), f"with reads {first} to {first + length - 1} failing"
        first += 1
        if not failed or first > 12:
            break
    assert first > 4


async def test_recovery_that_asks_only_once_strands_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defence: a pass that fails is logged and repeated, and a poll finds what recovery has missed."""
    scan: Callable[..., Any] = vars(Claims)["_scan"]

    async def scan_once(self: Claims, activities: tuple[Activity, ...]) -> None:
        with suppress(StoreUnavailableError):
            await scan(self, activities)

    async def find_nothing(_self: Claims) -> bool:
        return False

    monkeypatch.setattr(Claims, "_scan", scan_once)
    monkeypatch.setattr(Claims, "_poll", find_nothing)
    stranded = [await recover_through(first, first) for first in range(1, 8)]
    assert any(left for left, _ in stranded)


async def hand_out_beside_a_broken_run(rig: Rig) -> set[str]:
    """Runs wait for a worker, and the first of them cannot be loaded; which of the others it gets."""
    await rig.register(chain(steps=1))
    for number in range(RUNS):
        await rig.start("chain", f"r{number}")
    load = rig.store.load_run

    def broken(key: RunKey) -> RunSnapshot | None:
        if key.run_id == "r0":
            raise StoreError("the row cannot be read")
        return load(key)

    rig.store.load_run = broken
    async with open_rig(store=rig.store, clock=rig.clock) as again:
        worker = await again.connect(profile(), credit=RUNS)
        for _ in range(5):
            await again.advance(1)
        message = await worker.hear_now()
        return {task.run.run_id for task in message.tasks} if message is not None else set()


@pytest.mark.promise("P7")
async def test_one_failing_dequeue_does_not_strand_the_rest() -> None:
    """A queue took its tasks in order, and one that could not be taken was tried for ever before the next."""
    async with open_rig(dispatch=False) as rig:
        assert await hand_out_beside_a_broken_run(rig) == {f"r{number}" for number in range(1, RUNS)}


async def test_a_queue_that_stops_at_its_first_failure_strands_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defence: claims are made side by side, and one that fails is none of the others' business."""
    monkeypatch.setattr("perdure_server.dispatch.claims.MAX_UNDER_WAY", 1)
    monkeypatch.setattr("perdure_server.dispatch.claims.RETRY_US", 3_600_000_000)
    async with open_rig(dispatch=False) as rig:
        assert await hand_out_beside_a_broken_run(rig) == set()


def listener(*, since_now: bool = False) -> model_pb2.WorkflowSpec:
    """A worker's effect, then the event "go" of the run's session."""
    spec = one_effect(workflow_id="listen")
    spec.nodes["only"].next = "hear"
    spec.nodes["hear"].kind = model_pb2.NODE_KIND_EFFECT
    live = ',"since_now":true' if since_now else ""
    spec.nodes["hear"].template_json = f'{{"type":"wait_event","payload":{{"name":"go"{live}}}}}'
    return spec


async def emit_just_before_the_wait(rig: Rig) -> RunState:
    """The event is committed, then the wait, and nothing else happens."""
    await rig.register(listener())
    worker = await rig.connect(profile(), credit=1)
    await rig.start("listen", "r1")
    task = await worker.task()
    await rig.emit(EventScope.SESSION, "r1", "go", {"n": 1})
    await worker.finish(task)
    await rig.settle()
    return await rig.run("r1")


@pytest.mark.promise("P6")
async def test_an_event_sent_just_before_the_wait_ends_it() -> None:
    """A signal that arrived while the workflow was on its way to wait for it was delivered to nobody."""
    async with open_rig() as rig:
        assert (await emit_just_before_the_wait(rig)).ended


async def test_matching_that_only_looks_when_an_event_comes_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defence: whoever of the two is committed second looks for the other. (The sweeper, which would make it good
    within half a minute, does not run here: the clock stands still.)"""

    def look_away(self: Matching, run: RunState) -> None:
        pass

    monkeypatch.setattr(Matching, "wait_registered", look_away)
    async with open_rig() as rig:
        assert (await emit_just_before_the_wait(rig)).activity is Activity.WAITING


@pytest.mark.promise("P6")
async def test_events_race_with_the_waits_they_are_for_and_none_is_lost(servers: Servers) -> None:
    """The same against a real server, a hundred times at once, in whatever order they meet."""
    server = await servers.start()
    async with server.channel() as channel:
        spec = one_effect('{"type":"wait_event","payload":{"name":"go"}}', "hear")
        await WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec))
        stub = RunServiceStub(channel)

        async def race(run_id: str) -> bool:
            await stub.StartRun(runs.StartRunRequest(workflow_id="hear", run_id=run_id))
            emit = runs.EmitEventRequest(scope_id=run_id, name="go")
            wait = runs.WaitRunRequest(run_id=run_id, until=runs.WAIT_RUN_UNTIL_ENDED)
            wait.wait.FromSeconds(30)
            _, reply = await asyncio.gather(stub.EmitEvent(emit), stub.WaitRun(wait))
            return reply.reached

        assert all(await asyncio.gather(*(race(f"r{number}") for number in range(100))))


async def emit_while_paused(rig: Rig, spec: model_pb2.WorkflowSpec) -> RunState:
    """The run is paused before it waits; the event comes; the run goes on."""
    await rig.register(spec)
    worker = await rig.connect(profile(), credit=1)
    await rig.start("listen", "r1")
    task = await worker.task()
    key = RunKey("default", "r1")
    await pause_run(rig.engine, PauseRunCommand(key))
    await rig.emit(EventScope.SESSION, "r1", "go", {"n": 1})
    await worker.finish(task)
    await rig.settle()
    assert (await rig.run("r1")).paused
    await unpause_run(rig.engine, UnpauseRunCommand(key))
    await rig.settle()
    return await rig.run("r1")


@pytest.mark.promise("P6")
async def test_events_that_come_while_a_run_is_paused_are_not_lost() -> None:
    """Signals to a paused workflow were accepted and dropped."""
    async with open_rig() as rig:
        assert (await emit_while_paused(rig, listener())).ended


async def test_a_wait_that_hears_only_what_comes_later_loses_them() -> None:
    """The defence: a run hears what was sent since it started. `since_now` gives it up, for those who ask for it."""
    async with open_rig() as rig:
        assert (await emit_while_paused(rig, listener(since_now=True))).activity is Activity.WAITING


async def start_and_kill(servers: Servers, after_death: Callable[[Path], None]) -> grpc.StatusCode:
    """A start is acknowledged, the server is killed at once; what the next one says about the run."""
    server = await servers.start()
    async with server.channel() as channel:
        spec = one_effect('{"type":"ask_user","payload":{"prompt":"?"}}', "ask")
        await WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec))
        await RunServiceStub(channel).StartRun(runs.StartRunRequest(workflow_id="ask", run_id="r1"))
        await server.stop(signal.SIGKILL)
    after_death(servers.directory / "perdure.db")
    async with (await servers.start()).channel() as channel:
        try:
            await RunServiceStub(channel).GetRun(runs.GetRunRequest(run_id="r1"))
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.promise("P2")
async def test_a_crash_before_the_first_checkpoint_keeps_an_accepted_start(servers: Servers) -> None:
    """A start was acknowledged when it was in memory, and written with the run's first checkpoint."""
    assert await start_and_kill(servers, lambda _store: None) is grpc.StatusCode.OK


async def test_a_start_that_was_not_on_disk_when_it_was_accepted_is_dropped(servers: Servers) -> None:
    """The defence: the start's own commit is on disk before the reply. Here the disk has lost it."""
    assert await start_and_kill(servers, cut_last_commit) is grpc.StatusCode.NOT_FOUND


def place(task: Task) -> str:
    """Step and attempt that a task is of."""
    return f"step {task.token.step_id}, attempt {task.token.attempt}"


async def sweep_with_a_stale_view(rig: Rig) -> tuple[ObligationRows | None, list[str]]:
    """The sweeper has seen a run whose rows seem wrong; before it writes, the run goes on.

    Returns: the run's rows afterwards, and the attempts that workers were handed.
    """
    await rig.register(chain(steps=3))
    worker = await rig.connect(profile(), credit=1)
    await rig.start("chain", "r1")
    task = await worker.task()
    key = RunKey("default", "r1")
    read, handed = rig.store.read_obligations, [place(task)]

    def damaged(key: RunKey) -> ObligationRows | None:
        return ObligationRows(None, None, ())

    rig.store.read_obligations = damaged
    writing = asyncio.Event()
    write = rig.engine.write

    async def late_write(change: Callable[..., Any], *args: Any) -> Any:
        rig.store.read_obligations = read
        await worker.finish_and_grant(task)
        handed.append(place(await worker.task()))
        writing.set()
        return await write(change, *args)

    rig.engine.write = late_write
    await rig.scheduler.sweeper.sweep_run(key)
    rig.engine.write = write
    assert writing.is_set()
    await rig.settle()
    other = await rig.connect(profile("w2"), credit=5)
    message = await other.hear_now()
    handed += [place(each) for each in message.tasks] if message is not None else []
    return rig.store.read_obligations(key), handed


@pytest.mark.promise("P5", "P7")
async def test_a_sweeper_with_a_stale_view_makes_no_second_task() -> None:
    """A sweeper put back the task of a step that was settled between its look and its write."""
    async with open_rig() as rig:
        rows, handed = await sweep_with_a_stale_view(rig)
        assert len(handed) == len(set(handed)) == 2
        assert rows is not None
        assert rows.task is not None
        assert (rows.task.node_id, rows.task.leased) == ("step-1", True)


async def test_a_repair_that_is_not_guarded_by_the_version_brings_an_old_task_back() -> None:
    """The defence: rows are installed for the version of the run that was looked at, or not at all."""
    async with open_rig() as rig:
        install = rig.store.install

        def unguarded(key: RunKey, expected_seq: int, rows: ObligationRows, wait: WaitRow | None) -> bool:
            snapshot = rig.store.load_run(key)
            assert snapshot is not None
            return install(key, snapshot.head.seq, rows, wait)

        rig.store.install = unguarded
        rows, _ = await sweep_with_a_stale_view(rig)
        assert rows is not None
        assert rows.task is not None
        assert rows.task.node_id == "step-0"
