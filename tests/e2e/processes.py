"""Child processes whose output is read line by line, and the server among them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent
PERDURE = (sys.executable, "-m", "perdure_server.cli")
_LISTENING = re.compile(r"listening on ([^\s,]+)")
_PATIENCE_S = 90.0


def defective(name: str) -> tuple[str, ...]:
    """The command as PERDURE, with one of tests.robustness.defects in it."""
    return (sys.executable, "-m", "tests.robustness.defects", name)


class ProgramError(Exception):
    """A child process did not do what it was started for; the text holds its output."""


class Program:
    """A child process; standard output and standard error are read together, as lines."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self.name = name
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Self:
        """Starts a command in the repository's root."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, cwd=ROOT, env={**os.environ, **(environment or {})}
        )
        return cls(process, name)

    @classmethod
    async def module(cls, name: str, module: str, *arguments: str) -> Self:
        """Starts `python -m module` with this interpreter."""
        return await cls.start(name, sys.executable, "-m", module, *arguments)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """It has not ended."""
        return self._process.returncode is None

    async def line(self, wanted: Callable[[str], bool], what: str) -> str:
        """The first line, of those that came and those that come, for which `wanted` holds.

        Raises:
            ProgramError: the program ended without it, or nothing like it came in 90 s.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S), self._news:
                while True:
                    for line in self.lines:
                        if wanted(line):
                            return line
                    if self._reader.done():
                        raise self.error(f"ended without {what}")
                    await self._news.wait()
        except TimeoutError:
            raise self.error(f"no {what} in {_PATIENCE_S:g} s") from None

    def error(self, problem: str) -> ProgramError:
        """A problem with this program, and all it said."""
        said = "\n".join(self.lines)
        return ProgramError(f"{self.name} (pid {self.pid}): {problem}; it said:\n{said}")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    async def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """Ends it with SIGKILL, without any chance to clean up."""
        if self.is_running:
            self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """Asks it to end with SIGTERM and returns its exit code; kills it if it does not.

        Raises:
            ProgramError: it had to be killed.
        """
        if self.is_running:
            self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self.ended()
        except TimeoutError:
            await self.kill()
            raise self.error("ignored SIGTERM") from None

    async def ended(self) -> int:
        """Returns its exit code once it has ended and all its output has been read."""
        code = await self._process.wait()
        await self._reader
        return code

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


class Server(Program):
    """`perdure serve` as a process of its own."""

    address: str = ""

    @classmethod
    async def serve(
        cls,
        store: str,
        *flags: str,
        listen: str = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
        defect: str = "",
    ) -> Self:
        """Starts a server, with a defect of `defective` if one is named, and returns when it listens."""
        command = (*(defective(defect) if defect else PERDURE), "serve", "--store", store, "--listen", listen, *flags)
        server = await cls.start("server", *command, environment=environment)
        try:
            line = await server.line(lambda text: _LISTENING.search(text) is not None, "line that it listens")
        except BaseException:
            await server.kill()
            raise
        found = _LISTENING.search(line)
        assert found is not None
        server.address = found.group(1)
        return server


@asynccontextmanager
async def running(program: Program) -> AsyncGenerator[Program]:
    """The program for the length of a block; killed at its end if it still runs, even if it is stopped."""
    try:
        yield program
    finally:
        await program.kill()


async def run_perdure(*arguments: str, address: str, environment: Mapping[str, str] | None = None) -> Program:
    """Runs the `perdure` command against a server to its end."""
    program = await Program.start(
        "perdure", *PERDURE, *arguments, environment={"PERDURE_ADDRESS": address, **(environment or {})}
    )
    await program.ended()
    return program
