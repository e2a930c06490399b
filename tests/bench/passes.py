"""Interleaved passes: every cell is measured on every subject before the next cell starts."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import SyncTrace, memory_mib
from tests.bench.subject import BenchError, Subject
from tests.bench.workloads import CELLS, Cell, LoadDriver, Sample

TRACED_CELLS = ((Cell("W1", 1), 30), (Cell("W1", 64), 320))
"""Cells whose sync calls are counted, and the runs each takes."""


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    passes: int
    warm_up_s: float
    seconds: float


FULL = Plan(passes=3, warm_up_s=0.5, seconds=2.5)
SMOKE = Plan(passes=1, warm_up_s=0.2, seconds=0.6)


@dataclass(frozen=True)
class Results:
    """All samples in the order they were taken, and figures that belong to a process."""

    samples: list[Sample]
    peak_rss_mib: dict[str, float]
    """Per subject, the highest of its passes."""
    sync_calls_per_step: dict[tuple[str, str], float]
    """Per (subject, cell label)."""
    sync_note: str
    """Why sync calls are missing; empty when they are not."""

    def best(self, subject: str, cell: Cell) -> Sample:
        """The sample with the highest rate; all its figures come from the same seconds."""
        return max(self.of(subject, cell), key=lambda sample: sample.steps_per_s)

    def of(self, subject: str, cell: Cell) -> list[Sample]:
        """One sample per pass."""
        return [one for one in self.samples if one.subject == subject and one.cell == cell]


async def measure(
    factories: Sequence[Callable[[], Subject]], plan: Plan, base: Path, say: Callable[[str], None]
) -> Results:
    """Run all passes with fresh processes and stores below `base`, then the sync-call trace.

    Raises:
        BenchError: a subject did not start, lost a run, or did not stop.
    """
    samples: list[Sample] = []
    peaks: dict[str, float] = {}
    for number in range(plan.passes):
        order = factories if number % 2 == 0 else tuple(reversed(factories))
        async with AsyncExitStack() as stack:
            subjects = [await _started(stack, factory, base) for factory in order]
            drivers = [LoadDriver(subject) for subject in subjects]
            for cell in CELLS:
                for driver in drivers:
                    samples.append(await driver.sample(cell, plan.warm_up_s, plan.seconds))
                    say(f"pass {number + 1}  {_progress(samples[-1])}")
            for subject in subjects:
                peak = memory_mib(subject.server_pid(), "VmHWM")
                peaks[subject.name] = max(peak, peaks.get(subject.name, 0.0))
    syncs, note = await _sync_calls(factories, base)
    return Results(samples, peaks, syncs, note)


async def _started(stack: AsyncExitStack, factory: Callable[[], Subject], base: Path) -> Subject:
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    stack.callback(shutil.rmtree, directory)
    subject = factory()
    stack.push_async_callback(subject.stop)
    await subject.start(directory)
    return subject


async def _sync_calls(
    factories: Sequence[Callable[[], Subject]], base: Path
) -> tuple[dict[tuple[str, str], float], str]:
    found: dict[tuple[str, str], float] = {}
    for factory in factories:
        async with AsyncExitStack() as stack:
            subject = await _started(stack, factory, base)
            driver = LoadDriver(subject)
            await driver.exactly(Cell("W1", 4), 8)
            for cell, runs in TRACED_CELLS:
                directory = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
                stack.callback(shutil.rmtree, directory)
                try:
                    trace = await SyncTrace.attach(subject.server_pid(), directory)
                except FileNotFoundError:
                    return {}, "strace is not installed"
                except BenchError as error:
                    return {}, f"strace cannot attach: {error}"
                steps = await driver.exactly(cell, runs)
                found[subject.name, cell.label] = await trace.detach() / steps
    return found, ""


def _progress(sample: Sample) -> str:
    return (
        f"{sample.subject:<9} {sample.cell.label:<7} {sample.steps_per_s:>9,.0f} steps/s "
        f"{sample.cpu_ms_per_step:.3f} CPU-ms/step  load {sample.load_average:.2f}"
    )
