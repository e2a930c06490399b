"""A namespace of a server as a test uses it: workflows, workers, runs, and what their ledgers say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Unpack

from perdure import (
    Client,
    EffectContext,
    Json,
    JsonObject,
    LedgerEntry,
    RecordKind,
    RunHandle,
    RunState,
    WaitState,
    Worker,
    Workflow,
)
from perdure.runs import StartOptions
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from tests.acceptance.rows import rows

if TYPE_CHECKING:
    from perdure.v1.run_service_pb2_grpc import RunServiceAsyncStub

WITHIN_S = 30.0
"""How long anything may take that must happen."""

NO_WORKER_US = 500_000
"""After this the shared server shows a task that nobody serves as NO_WORKER."""

Handler: TypeAlias = Callable[[EffectContext, JsonObject], Awaitable[Any]]


class Scene:
    """One namespace of one server.

    Attributes:
        client: a client of it.
        runs: the stubs of RunService, where the message itself matters.
    """

    def __init__(self, client: Client, stack: AsyncExitStack) -> None:
        self.client = client
        self.namespace = client.connection.namespace
        self.runs: RunServiceAsyncStub = RunServiceStub(client.connection.channel)
        self._stack = stack

    @classmethod
    @asynccontextmanager
    async def of(cls, client: Client) -> AsyncGenerator[Self]:
        """The scene of a client; its workers leave at the end."""
        async with AsyncExitStack() as stack:
            yield cls(client, stack)

    async def register(self, *workflows: Workflow) -> None:
        """Registers workflows whose nodes no worker runs."""
        for workflow in workflows:
            await self.client.register_workflow(workflow, set_default=True)

    async def work(self, *workflows: Workflow, worker_id: str = "", **effects: Handler) -> Worker:
        """A worker of these workflows and effects, welcomed; it leaves when the test ends."""
        worker = Worker(self.client, worker_id=worker_id, drain_timeout=0)
        for workflow in workflows:
            worker.serve(workflow)
        for kind, handler in effects.items():
            worker.effect(kind)(handler)
        await self._stack.enter_async_context(worker)
        return worker

    async def start(
        self, workflow: Workflow | str, vars: JsonObject | None = None, **options: Unpack[StartOptions]
    ) -> RunHandle:
        """Starts a run."""
        return await self.client.start(workflow, vars, **options)

    async def waiting(self, run: RunHandle, *, min_seq: int = 0) -> WaitState:
        """The wait at which the run is settled."""
        state = await run.wait(timeout=WITHIN_S, min_seq=min_seq)
        assert state.waiting is not None, state
        assert (state.status, state.activity) == ("waiting", "waiting")
        return state.waiting

    async def ended(self, run: RunHandle) -> RunState:
        """The run, once it has ended."""
        return await run.wait(until="ended", timeout=WITHIN_S)

    async def rows(self, run: RunHandle | str) -> list[str]:
        """The run's effect, resume and terminal records; see tests.acceptance.rows."""
        return rows(await self.records(run))

    async def records(self, run: RunHandle | str) -> list[LedgerEntry]:
        """All records of the run."""
        return await self.client.list_records(run if isinstance(run, str) else run.run_id).all()

    async def record(self, run: RunHandle, kind: RecordKind | str, *, nth: int = 1) -> LedgerEntry:
        """The nth record of this kind, as soon as it is committed."""
        seen = 0
        async with asyncio.timeout(WITHIN_S), self.client.subscribe(run.run_id) as subscription:
            async for entry in subscription:
                seen += entry.kind == kind
                if seen == nth:
                    return entry
        raise AssertionError(f"the ledger of {run.run_id} ended without {kind}")


class Echo:
    """An effect handler that counts: its result is {"n": <call count>}; it fails the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.contexts: list[EffectContext] = []

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.contexts)

    async def __call__(self, ctx: EffectContext, payload: JsonObject) -> Json:
        """One call."""
        self.contexts.append(ctx)
        if self.calls <= self.failures:
            raise ConnectionError(f"no answer {self.calls}")
        return {"n": self.calls}


class Gate:
    """An effect handler that tells that it has started and waits to be let through."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        self.contexts: list[EffectContext] = []

    async def __call__(self, ctx: EffectContext, payload: JsonObject) -> Json:
        """One call."""
        self.contexts.append(ctx)
        self.started.set()
        await self.open.wait()
        return {"n": len(self.contexts)}


async def soon(event: asyncio.Event) -> None:
    """Waits for what must happen."""
    async with asyncio.timeout(WITHIN_S):
        await event.wait()


def asking(workflow_id: str = "asking", *, next: str = "done", **terms: Any) -> Workflow:
    """Asks a person at `ask`, then completes at `done` with the answer; no worker is needed."""
    workflow = Workflow(workflow_id)
    payload = {"prompt": "Continue?", "choices": ["y", "n"], **terms}
    workflow.effect_node("ask", "ask_user", payload, result_key="answer", next=next)
    if next:
        workflow.complete_node(next, {"answer": "${vars.answer}"})
    return workflow


def listening(workflow_id: str = "listening", *, name: str = "go", scope: str = "session", **more: Any) -> Workflow:
    """Waits for an event at `listen`, then completes with its envelope; no worker is needed."""
    workflow = Workflow(workflow_id)
    payload = {"name": name, "scope": scope, **more}
    workflow.effect_node("listen", "wait_event", payload, result_key="heard", next="done")
    workflow.complete_node("done", {"heard": "${vars.heard}"})
    return workflow


def calling(workflow_id: str = "calling", *, type: str = "llm_call", next: str = "done", **options: Any) -> Workflow:
    """Executes one worker's effect at `call`, then completes at `done` with its result."""
    workflow = Workflow(workflow_id)
    workflow.effect_node("call", type, {"prompt": "hi"}, result_key="result", next=next, **options)
    if next:
        workflow.complete_node(next, {"result": "${vars.result}"})
    return workflow
