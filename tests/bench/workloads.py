"""The load: closed loops of N runs in flight, and the sample one of them yields."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from tests.bench.processes import cpu_seconds
from tests.bench.subject import STEPS_PER_RUN, BenchError, Subject

_CELL_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Cell:
    """One line of the table: a workload at a number of runs in flight."""

    workload: str
    in_flight: int

    @property
    def label(self) -> str:
        """For example `W1@64`."""
        return f"{self.workload}@{self.in_flight}"


CELLS = (
    Cell("W1", 1),
    Cell("W1", 16),
    Cell("W1", 64),
    Cell("W1s", 1),
    Cell("W1s", 64),
    Cell("W2", 1),
    Cell("W2", 64),
)


@dataclass(frozen=True)
class Sample:
    """One subject in one cell of one pass. A step of W2 is a leg: start or resume."""

    subject: str
    cell: Cell
    seconds: float
    runs: int
    steps: int
    server_cpu_s: float
    worker_cpu_s: float
    driver_cpu_s: float
    commits: int
    transactions: int
    load_average: float
    latencies_s: dict[str, list[float]] = field(repr=False)
    """Per leg (`run`; `start` and `resume` for W2), one figure per run, sorted."""

    @property
    def steps_per_s(self) -> float:
        """Steps per second."""
        return self.steps / self.seconds

    @property
    def runs_per_s(self) -> float:
        """Runs per second."""
        return self.runs / self.seconds

    @property
    def cpu_ms_per_step(self) -> float:
        """CPU of server and worker together, in milliseconds per step."""
        return (self.server_cpu_s + self.worker_cpu_s) * 1000 / self.steps

    def quantile_ms(self, leg: str, quantile: float) -> float:
        """Nearest-rank quantile of a leg, in milliseconds."""
        ordered = self.latencies_s[leg]
        rank = max(1, -(-int(quantile * 1000) * len(ordered) // 1000))
        return ordered[rank - 1] * 1000


class LoadDriver:
    """Drives one subject; hands out run ids that were never used before."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._numbers = itertools.count(1)

    async def sample(self, cell: Cell, warm_up_s: float, seconds: float) -> Sample:
        """Load `cell` for `warm_up_s` unmeasured, then for `seconds`; both are drained to the end.

        Raises:
            BenchError: a run failed, or the cell did not end in time.
        """
        async with self._bounded(cell):
            await self._closed_loop(cell, warm_up_s)
            return await self._measured(cell, seconds)

    async def exactly(self, cell: Cell, runs: int) -> int:
        """Load `cell` with `runs` runs; returns the steps done. Raises as `sample`."""
        left = iter(range(runs))
        async with self._bounded(cell):
            await self._loops(cell, lambda: next(left, None) is not None)
        return runs * steps_per_run(cell)

    @asynccontextmanager
    async def _bounded(self, cell: Cell) -> AsyncGenerator[None, None]:
        try:
            async with asyncio.timeout(_CELL_TIMEOUT_S):
                yield
        except TimeoutError:
            late = f"{self._subject.name} {cell.label}: not done in {_CELL_TIMEOUT_S:.0f} s"
            raise BenchError(late) from None

    async def _measured(self, cell: Cell, seconds: float) -> Sample:
        subject = self._subject
        server, worker = subject.server_pid(), subject.worker_pid()
        counters = await subject.counters()
        cpu = (cpu_seconds(server), cpu_seconds(worker), time.process_time())
        begun = time.perf_counter()
        latencies = await self._closed_loop(cell, seconds)
        elapsed = time.perf_counter() - begun
        spent = (cpu_seconds(server), cpu_seconds(worker), time.process_time())
        counted = await subject.counters()
        runs = len(next(iter(latencies.values())))
        return Sample(
            subject=subject.name,
            cell=cell,
            seconds=elapsed,
            runs=runs,
            steps=runs * steps_per_run(cell),
            server_cpu_s=spent[0] - cpu[0],
            worker_cpu_s=spent[1] - cpu[1],
            driver_cpu_s=spent[2] - cpu[2],
            commits=counted.commits - counters.commits,
            transactions=counted.transactions - counters.transactions,
            load_average=os.getloadavg()[0],
            latencies_s=latencies,
        )

    async def _closed_loop(self, cell: Cell, seconds: float) -> dict[str, list[float]]:
        end = time.perf_counter() + seconds
        return await self._loops(cell, lambda: time.perf_counter() < end)

    async def _loops(self, cell: Cell, goes_on: Callable[[], bool]) -> dict[str, list[float]]:
        latencies: dict[str, list[float]] = {}

        async def loop() -> None:
            while goes_on():
                for leg, seconds in (await self._run(cell)).items():
                    latencies.setdefault(leg, []).append(seconds)

        async with asyncio.TaskGroup() as group:
            for _ in range(cell.in_flight):
                group.create_task(loop())
        return {leg: sorted(values) for leg, values in latencies.items()}

    async def _run(self, cell: Cell) -> dict[str, float]:
        run_id = f"bench-{next(self._numbers):030d}"
        try:
            return await self._legs(cell, run_id)
        except grpc.aio.AioRpcError as error:
            refused = f"{self._subject.name} {cell.label}: {error.code()}: {error.details()}"
            raise BenchError(refused) from error

    async def _legs(self, cell: Cell, run_id: str) -> dict[str, float]:
        if cell.workload == "W2":
            legs = await self._subject.waiting_run(run_id)
            return {"start": legs.start_s, "resume": legs.resume_s}
        execute: Callable[[str], Awaitable[None]] = (
            self._subject.worker_run if cell.workload == "W1" else self._subject.server_run
        )
        begun = time.perf_counter()
        await execute(run_id)
        return {"run": time.perf_counter() - begun}


def steps_per_run(cell: Cell) -> int:
    """Ten steps in a chain; the two legs of a run that waits."""
    return 2 if cell.workload == "W2" else STEPS_PER_RUN
