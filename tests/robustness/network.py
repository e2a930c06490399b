"""A server, a worker and observers with a fault proxy before each, and what must be true once the network is well
again: every run has ended, the audit finds nothing (P7), each observer has each record once (P8), each effect was
merged once (P5)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from perdure import Client, EffectContext, JsonObject, LedgerScope, NodeContext, Worker, Workflow
from tests.faults.proxy import FaultProxy
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import take_export
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.testimony import StreamedRecord, Testimony
from tests.robustness.server_process import ServerProcess, Servers

CONFIG: dict[str, Any] = {"lease_seconds": 2.0, "limits": {"ping_us": 500_000}}
"""A worker pings every half second and is silent after one and a half."""

SESSION = "faulty"
PATIENCE_S = 60.0


def errand_workflow() -> Workflow:
    """A node of the worker's, an effect, and the end."""
    errand = Workflow("errand")

    @errand.node(next="act")
    def think(ctx: NodeContext) -> None:
        ctx.vars["thought"] = True

    errand.effect_node("act", "act", {"of": "${vars.of}"}, next="done", result_key="result")
    errand.complete_node("done", {"result": "${vars.result}"})
    return errand


@dataclass
class Observer:
    """Follows a scope for ever; what it was told."""

    name: str
    told: list[StreamedRecord] = field(default_factory=list[StreamedRecord])
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, client: Client, scope: LedgerScope, ready: asyncio.Event) -> None:
        """Ends by cancellation."""
        async with client.subscribe(scope, checkpoint_interval=1.0) as subscription:
            ready.set()
            async for entry in subscription:
                record = StreamedRecord(self.name, entry.run_id, entry.seq, entry.position, entry.record_hash)
                self.told.append(record)
                self.news.set()

    async def reaches(self, position: int) -> None:
        """Returns once it has been told of this position."""
        while not self.told or self.told[-1].position < position:
            self.news.clear()
            await self.news.wait()


@dataclass
class Network:
    """All of it, while it runs.

    Args:
        server: the server.
        client: has a line of its own, without a proxy.
        worker_line, observer_line: the proxies.
        executed: how often each effect was executed, by idempotency key.
        gate: effects wait for it.
        busy: set once an effect waits for the gate.
    """

    server: ServerProcess
    client: Client
    worker_line: FaultProxy
    observer_line: FaultProxy
    stack: AsyncExitStack
    executed: Counter[str] = field(default_factory=Counter[str])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    busy: asyncio.Event = field(default_factory=asyncio.Event)
    observers: list[Observer] = field(default_factory=list[Observer])

    async def start_worker(self, name: str = "w") -> None:
        """A worker behind its proxy, once it is welcomed."""
        client = await self.stack.enter_async_context(Client.connect(self.worker_line.address))
        worker = Worker(client, worker_id=name, drain_timeout=1.0)
        worker.serve(errand_workflow())

        @worker.effect("act")
        async def act(ctx: EffectContext, payload: JsonObject) -> JsonObject:
            self.executed[ctx.idempotency_key] += 1
            self.busy.set()
            await self.gate.wait()
            return payload

        running = asyncio.create_task(worker.run())
        self.stack.push_async_callback(_cancelled, running)
        await worker.ready()

    async def observe(self, name: str, scope: LedgerScope) -> Observer:
        """An observer behind the proxy, once its subscription stands."""
        client = await self.stack.enter_async_context(Client.connect(self.observer_line.address))
        observer, ready = Observer(name), asyncio.Event()
        following = asyncio.create_task(observer.follow(client, scope, ready))
        self.stack.push_async_callback(_cancelled, following)
        await ready.wait()
        self.observers.append(observer)
        return observer

    async def start_runs(self, numbers: Iterable[int]) -> None:
        """Starts runs of the one session."""
        for number in numbers:
            name = f"run-{number}"
            await self.client.start(
                "errand", {"of": number}, run_id=name, session_id=SESSION, request_id=f"start-{name}"
            )

    async def ends(self, numbers: Iterable[int]) -> None:
        """Returns once these runs have completed."""
        for number in numbers:
            run = await self.client.wait_run(f"run-{number}", until="ended", timeout=PATIENCE_S)
            assert (run.status, run.output) == ("completed", {"result": {"of": number}})

    async def findings(self) -> list[Finding]:
        """What the checker has against the ledger and what the observers were told."""
        export = await take_export(self.client.connection.channel, "default", (), time.time_ns() // 1_000)
        last = max(entry.position for entries in export.entries.values() for entry in entries)
        async with asyncio.timeout(PATIENCE_S):
            for observer in self.observers:
                await observer.reaches(last)
        return examine(export, Testimony(streamed=[told for observer in self.observers for told in observer.told]))

    async def expect_sound(self, numbers: Iterable[int]) -> None:
        """These runs end, and nothing is wrong anywhere."""
        async with asyncio.timeout(2 * PATIENCE_S):
            await self.ends(numbers)
            assert list((await self.client.audit_all_runs()).findings) == []
            assert await self.findings() == []
        merged: Counter[str] = Counter()
        for number in numbers:
            entries = await self.client.list_records(f"run-{number}").all()
            merged.update(e.record.idempotency_key for e in entries if e.record.step_completed.effect_type)
        assert merged == dict.fromkeys(self.executed, 1)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def network(servers: Servers, idle_close_s: float = 0.0, **config: Any) -> AsyncGenerator[Network]:
    """A server and its proxies; neither worker nor observers yet.

    Args:
        idle_close_s: when the proxies close an idle connection; 0: never.
        config: of the server, over CONFIG.
    """
    server = await servers.start({**CONFIG, **config})
    async with (
        AsyncExitStack() as stack,
        FaultProxy.open(server.address, idle_close_s=idle_close_s) as worker_line,
        FaultProxy.open(server.address, idle_close_s=idle_close_s) as observer_line,
        Client.connect(server.address) as client,
    ):
        await client.register_workflow(errand_workflow())
        async with stack:
            yield Network(server, client, worker_line, observer_line, stack)
