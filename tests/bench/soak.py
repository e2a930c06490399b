"""Memory of a server under a modest steady load, minute after minute."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import memory_mib
from tests.bench.subject import BenchError, Subject

SETTLED_AFTER_S = 120.0
"""Growth counts from here: caches and pools are full by then."""
_SAMPLE_EVERY_S = 10.0
_RUNS_PER_S = 20
_MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class MemorySample:
    """Resident memory of the server at an age."""

    age_s: float
    rss_mib: float
    runs: int


def growth_mib(samples: Sequence[MemorySample]) -> float:
    """Last sample minus the first one at or after `SETTLED_AFTER_S`.

    Raises:
        BenchError: fewer than two samples lie there.
    """
    settled = [sample for sample in samples if sample.age_s >= SETTLED_AFTER_S]
    if len(settled) < 2:
        raise BenchError("a soak needs more than two minutes")
    return settled[-1].rss_mib - settled[0].rss_mib


async def soak(
    factory: Callable[[], Subject], minutes: float, base: Path, say: Callable[[str], None]
) -> list[MemorySample]:
    """Start W1 runs at a fixed pace for `minutes`; sample the server's RSS every 10 s.

    Raises:
        BenchError: a run failed, or the server cannot keep the pace.
    """
    async with AsyncExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
        stack.callback(shutil.rmtree, directory)
        subject = factory()
        stack.push_async_callback(subject.stop)
        await subject.start(directory)
        pace = _Pace(subject)
        samples: list[MemorySample] = []
        async with asyncio.TaskGroup() as group:
            load = group.create_task(pace.keep(minutes * 60))
            while not load.done():
                samples.append(MemorySample(pace.age_s(), memory_mib(subject.server_pid(), "VmRSS"), pace.runs_done))
                say(f"{samples[-1].age_s:6.0f} s  {samples[-1].rss_mib:7.1f} MiB  {samples[-1].runs} runs")
                await asyncio.wait({load}, timeout=_SAMPLE_EVERY_S)
        samples.append(MemorySample(pace.age_s(), memory_mib(subject.server_pid(), "VmRSS"), pace.runs_done))
        return samples


class _Pace:
    """Starts runs at a fixed rate, whatever the server does."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self.runs_done = 0

    def age_s(self) -> float:
        """Seconds since the load began."""
        return self._loop.time() - self._begun

    async def keep(self, seconds: float) -> None:
        """Start runs until `seconds` have passed, then wait for the last one."""
        open_runs: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * _RUNS_PER_S)):
                await asyncio.sleep(max(0.0, number / _RUNS_PER_S - self.age_s()))
                if len(open_runs) >= _MOST_IN_FLIGHT:
                    raise BenchError(f"{_RUNS_PER_S} runs/s is more than {self._subject.name} can do")
                task = group.create_task(self._one(number))
                open_runs.add(task)
                task.add_done_callback(open_runs.discard)

    async def _one(self, number: int) -> None:
        await self._subject.worker_run(f"soak-{number:031d}")
        self.runs_done += 1
