"""What the harness needs of a thing it measures: start, three kinds of run, its own counters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STEPS_PER_RUN = 10


class BenchError(Exception):
    """The measurement cannot be made, or what was measured did not do its work."""


@dataclass(frozen=True)
class Counters:
    """Totals since the server started."""

    commits: int
    """Atomic changes of one run: a start, a step's end, a resume."""
    transactions: int
    """Store transactions that carried them."""


@dataclass(frozen=True)
class Legs:
    """A run that waits: seconds from the start call to WAITING, and from the resume call to the end."""

    start_s: float
    resume_s: float


class Subject(Protocol):
    """A server process and a worker process, driven over loopback gRPC.

    A run id is used once in the life of a subject.
    """

    name: str

    async def start(self, directory: Path) -> None:
        """Start both processes with a new store in `directory`; returns when calls are answered.

        Raises:
            BenchError: a process ended or did not answer in time; the message holds its output.
        """
        ...

    async def stop(self) -> None:
        """End both processes; idempotent."""
        ...

    def server_pid(self) -> int:
        """The process whose CPU, memory and sync calls are the server's."""
        ...

    def worker_pid(self) -> int:
        """The process that executes steps."""
        ...

    async def counters(self) -> Counters:
        """Read the server's own counters."""
        ...

    async def worker_run(self, run_id: str) -> None:
        """W1: `STEPS_PER_RUN` steps in the worker, each result durable before the next step starts.

        Raises:
            BenchError: the run did not complete.
        """
        ...

    async def server_run(self, run_id: str) -> None:
        """W1s: the same with steps that the server executes itself."""
        ...

    async def waiting_run(self, run_id: str) -> Legs:
        """W2: a run that waits at once, is resumed at once, and ends."""
        ...
