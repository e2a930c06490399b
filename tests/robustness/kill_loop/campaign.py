"""A campaign: rounds of load under a nemesis on one store, each in a namespace of its own and judged at its end.

What is kept in memory and in files is what one round makes, however long the campaign.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from perdure import Client
from perdure.v1 import common_pb2
from tests.e2e.processes import Program, ProgramError, running
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import EventScopeKey, Export, take_export
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.testimony import Testimony
from tests.robustness.kill_loop.fleet import Fleet
from tests.robustness.kill_loop.host import SESSIONS, session_of
from tests.robustness.kill_loop.nemesis import Nemesis
from tests.robustness.kill_loop.observer import SCOPES
from tests.robustness.kill_loop.witness import read_testimony

CONFIG: dict[str, Any] = {"lease_seconds": 3.0, "drain_seconds": 3.0}
HOSTS = 2
WORKERS = 3
SLOWNESS = 6
"""A busy machine may need so many times the time that the rate asks for."""

EVENT_SCOPES: tuple[EventScopeKey, ...] = tuple(
    (common_pb2.EVENT_SCOPE_SESSION, session_of(number)) for number in range(SESSIONS)
)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round left behind.

    Args:
        runs: how many the hosts were to start; those that start several at once count once.
        seconds: how long the hosts took.
        deeds: of the nemesis.
        failure: why the clients did not come to their end, if they did not.
        findings: of the checker.
        audit: findings of the servers' own audit.
    """

    number: int
    runs: int
    seconds: float
    deeds: Counter[str]
    failure: str
    findings: list[Finding]
    audit: list[str]
    export: Export
    testimony: Testimony

    @property
    def is_clean(self) -> bool:
        """Nothing was stranded, lost, doubled or out of order."""
        return not (self.failure or self.findings or self.audit)

    def __str__(self) -> str:
        records = sum(map(len, self.export.entries.values()))
        lines = [
            f"round {self.number}: {len(self.export.entries)} runs, {records} records,"
            f" {len(self.testimony.streamed)} streamed, {len(self.testimony.reports)} reports in {self.seconds:.0f} s"
            f" ({len(self.export.entries) / max(self.seconds, 0.1):.0f} runs/s); {dict(self.deeds)}"
        ]
        if self.failure:
            lines.append(self.failure)
        lines += list(map(str, self.findings[:20])) + self.audit[:20]
        return "\n".join(lines)


@dataclass
class Campaign:
    """Rounds on one store.

    Args:
        fleet: the servers, not yet started.
        directory: for the witnesses' files.
        seed: of everything that is left to chance.
        runs_per_s: what all hosts together start.
        round_s: how long the load of a round would last at that rate.
        actions: of the nemesis; see there.
        is_calm: there is no nemesis.
        patience_s: what a round may last beyond the time that its load needs.
    """

    fleet: Fleet
    directory: Path
    seed: int
    runs_per_s: float = 60.0
    round_s: float = 45.0
    actions: Sequence[str] = ()
    is_calm: bool = False
    patience_s: float = 120.0
    _number: int = field(default=0, init=False)

    async def play(self) -> Round:
        """One round. The fleet runs before and after it."""
        self._number += 1
        dice = Random(f"{self.seed}/{self._number}")
        namespace = f"round-{self._number}"
        folder = self.directory / namespace
        folder.mkdir()
        async with AsyncExitStack() as stack:
            async with Client.connect(self.fleet.target) as client:
                await client.create_namespace(namespace)
            crew = _Crew(self.fleet, namespace, folder, stack)
            await crew.start_workers()
            observer = await crew.observer(dice.randrange(1 << 32))
            nemesis = Nemesis(self.fleet, crew.workers, crew.replace_worker, dice, self.actions)
            raging = asyncio.create_task(nemesis.rage())
            if self.is_calm:
                nemesis.stop()
            began = asyncio.get_running_loop().time()
            try:
                failure = await self._load(crew, dice)
            finally:
                nemesis.stop()
                seconds = asyncio.get_running_loop().time() - began
                await raging
            unread = await _finish(observer)
            export, audit = await self._look(namespace)
        testimony = read_testimony(sorted(folder.iterdir()))
        for path in folder.iterdir():
            path.unlink()
        testimony.scopes = {name: scope.message for name, scope in SCOPES.items()}
        testimony.is_final = not unread
        findings = examine(export, testimony)
        runs = round(self.runs_per_s * self.round_s)
        return Round(self._number, runs, seconds, nemesis.deeds, failure or unread, findings, audit, export, testimony)

    async def _load(self, crew: _Crew, dice: Random) -> str:
        """The hosts' work; returns why it did not come to its end."""
        rate, number = self.runs_per_s / HOSTS, round(self.runs_per_s * self.round_s / HOSTS)
        hosts = [await crew.host(index, number, rate, dice.randrange(1 << 32)) for index in range(HOSTS)]
        try:
            async with asyncio.timeout(SLOWNESS * self.round_s + self.patience_s):
                codes = [await host.ended() for host in hosts]
        except TimeoutError:
            return "the hosts wait for ever"
        for host, code in zip(hosts, codes, strict=True):
            if code or json.loads(host.lines[-1])["runs"] != number:
                return str(host.error(f"ended with {code}"))
        return ""

    async def _look(self, namespace: str) -> tuple[Export, list[str]]:
        async with Client.connect(self.fleet.target, namespace=namespace) as client:
            channel = client.connection.channel
            export = await take_export(channel, namespace, EVENT_SCOPES, time.time_ns() // 1_000)
            audit = [str(finding) for finding in (await client.audit_all_runs()).findings]
        return export, audit


@dataclass
class _Crew:
    """The client processes of a round."""

    fleet: Fleet
    namespace: str
    folder: Path
    stack: AsyncExitStack
    workers: list[Program] = field(default_factory=list[Program])
    started: int = 0

    async def start_workers(self) -> None:
        for index in range(WORKERS):
            self.workers.append(await self.replace_worker(index))

    async def replace_worker(self, index: int) -> Program:
        """A worker process that has been welcomed. It has a name of its own, as a new process should."""
        self.started += 1
        name = f"worker-{self.started}"
        worker = await self._start("worker", index, name, str(self.folder / name))
        await worker.line(lambda line: line == "ready", "line that it is ready")
        return worker

    async def observer(self, seed: int) -> Program:
        observer = await self._start("observer", 1, str(self.folder / "observer"), str(seed))
        await observer.line(lambda line: line == "ready", "line that it is ready")
        return observer

    async def host(self, index: int, runs: int, rate: float, seed: int) -> Program:
        name = f"host-{index}"
        return await self._start("host", index, name, str(self.folder / name), str(runs), str(rate), str(seed))

    async def _start(self, module: str, first: int, *arguments: str) -> Program:
        target = self.fleet.target_from(first)
        program = await Program.module(
            module, f"tests.robustness.kill_loop.{module}", target, self.namespace, *arguments
        )
        return await self.stack.enter_async_context(running(program))


async def _finish(observer: Program) -> str:
    """Lets the observer read to the end; returns why it did not."""
    try:
        await observer.tell("finish")
        await observer.line(lambda line: line == "finished", "line that it has finished")
    except (ProgramError, OSError) as error:
        return str(error)
    return ""
