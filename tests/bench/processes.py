"""Child processes of a subject, and what the kernel says about them."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.bench.subject import BenchError

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STOP_TIMEOUT_S = 20.0


class Child:
    """One process, its output kept in a log file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @classmethod
    async def start(cls, log: Path, *command: str, environment: dict[str, str] | None = None) -> "Child":
        """Start `command` with standard output and error in `log`."""
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
            )
        return cls(process, log)

    @classmethod
    async def start_module(cls, log: Path, module: str, *arguments: str) -> "Child":
        """Start `python -m module` with this interpreter."""
        return await cls.start(log, sys.executable, "-m", module, *arguments)

    async def line_starting(self, prefix: str, timeout_s: float) -> str:
        """The first output line that starts with `prefix`.

        Raises:
            BenchError: the process ended, or no such line came within `timeout_s` seconds.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            for line in self.output().splitlines():
                if line.startswith(prefix):
                    return line
            if self._process.returncode is not None or loop.time() > deadline:
                raise BenchError(f"no line {prefix!r} from process {self.pid}; it said:\n{self.output()}")
            await asyncio.sleep(0.02)

    async def wait(self) -> None:
        """Wait until the process is gone."""
        await self._process.wait()

    def output(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end and wait; kill it if it does not.

        Raises:
            BenchError: it had to be killed.
        """
        if self._process.returncode is None:
            self._process.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise BenchError(f"process {self.pid} ignored {number.name}:\n{self.output()}") from None


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of `pid`, in seconds (resolution 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def memory_mib(pid: int, field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) of `pid` in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"/proc/{pid}/status has no {field}")


class SyncTrace:
    """Counts fsync and fdatasync calls of a process with strace, which slows it down."""

    def __init__(self, child: Child, trace: Path) -> None:
        self._child = child
        self._trace = trace

    @classmethod
    async def attach(cls, pid: int, directory: Path) -> "SyncTrace":
        """Attach to all threads of `pid`.

        Raises:
            FileNotFoundError: strace is not installed.
            BenchError: it may not attach.
        """
        trace = directory / f"sync-{pid}.trace"
        child = await Child.start(
            directory / f"strace-{pid}.log",
            "strace",
            "-f",
            "-e",
            "trace=fsync,fdatasync",
            "-o",
            str(trace),
            "-p",
            str(pid),
        )
        await child.line_starting("strace: Process", timeout_s=10)
        return cls(child, trace)

    async def detach(self) -> int:
        """Stop tracing; returns the completed calls since `attach`."""
        await self._child.stop(signal.SIGINT)
        return sum(line.rstrip().endswith("= 0") for line in self._trace.read_text().splitlines())
