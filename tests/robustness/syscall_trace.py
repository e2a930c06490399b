"""System calls of a server, by strace, and what they say about what was sent before it was on disk (P2)."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.robustness.server_process import ServerError, ServerProcess

TRACED = "pwrite64,write,writev,pwritev,sendmsg,sendto,fdatasync,fsync"
SENDS = ("write", "writev", "sendmsg", "sendto")
SYNCS = ("fdatasync", "fsync")
ATTACH_TIMEOUT_S = 30.0
LOGS = ("-wal", ".jsonl")
FRAME_HEADER = 24
"""A frame of SQLite's write-ahead log is a header of 24 bytes and a page, written one after the other. Bytes 4 to 8
of the header are zero but in the last frame of a transaction."""

_CALL = re.compile(r"^(\d+) +[\d.]+ (?:(\w+)\(|<\.\.\. (\w+) resumed>)(.*)$")
_DESCRIPTOR = re.compile(r"^(\d+)<([^>]*(?:>[^,)]*)?)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_RESULT = re.compile(r"\)\s+= (-?\d+)")


async def why_untraceable() -> str:
    """Why a process cannot be traced here; empty if it can."""
    if not shutil.which("strace"):
        return "strace is not installed (Debian and Ubuntu: apt-get install strace)"
    idle = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    try:
        strace = await _attach(idle.pid, "-o", os.devnull)
    except ServerError as error:
        return str(error)
    finally:
        await idle.communicate(b"\n")
    await strace.wait()
    return ""


async def _attach(pid: int, *options: str) -> asyncio.subprocess.Process:
    """An strace that follows a process from now on.

    Raises: ServerError if the system does not allow it.
    """
    strace = await asyncio.create_subprocess_exec("strace", *options, "-p", str(pid), stderr=asyncio.subprocess.PIPE)
    if strace.stderr is None:
        raise ServerError("strace has no standard error")
    line = await asyncio.wait_for(strace.stderr.readline(), ATTACH_TIMEOUT_S)
    if b"attached" not in line:
        await strace.wait()
        raise ServerError(f"strace cannot attach: {line.decode().strip()}")
    return strace


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One call. `start` and `end` are line numbers of the trace: what ends before another starts, happened before."""

    name: str
    target: str
    data: bytes
    result: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A page in the write-ahead log, or a write to a journal; `ends_transaction`: the transaction is complete with
    it.
    """

    page: bytes
    ends_transaction: bool
    end: int


class Tracer:
    """Traces a server while the context lasts."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        self._server = server
        self._file = directory / f"{server.pid}.trace"
        self._strace: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        options = ["-f", "-y", "-xx", "-s", "65536", "-ttt", "-e", f"trace={TRACED}", "-o", str(self._file)]
        self._strace = await _attach(self._server.pid, *options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._strace is not None:
            self._strace.send_signal(signal.SIGINT)
            await self._strace.wait()

    def calls(self) -> list[SystemCall]:
        """Every traced call that has ended."""
        with self._file.open(encoding="ascii", errors="replace") as lines:
            return list(parse(lines))


def parse(lines: Iterator[str] | Sequence[str]) -> Iterator[SystemCall]:
    """The calls of a trace, in the order in which they ended."""
    unfinished: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines):
        found = _CALL.match(line)
        if found is None:
            continue
        thread, name, resumed, rest = found.groups()
        if rest.rstrip().endswith("<unfinished ...>"):
            unfinished[thread] = (rest.removesuffix("<unfinished ...>"), number)
            continue
        start = number
        if resumed:
            before, start = unfinished.pop(thread, ("", number))
            name, rest = resumed, before + rest
        descriptor, result = _DESCRIPTOR.match(_plain(rest)), _RESULT.search(rest)
        data = b"".join(bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(rest))
        target = descriptor[2] if descriptor else ""
        yield SystemCall(name, target, data, int(result[1]) if result else -1, start, number)


def _plain(rest: str) -> str:
    """The first argument, with the name of its file readable (strace -xx writes that in hex as well)."""
    head = rest[: rest.find(",") if "," in rest else rest.find(")")]
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), head)


def frames(calls: Sequence[SystemCall]) -> list[Frame]:
    """Pages written to a write-ahead log, and batches written to a journal (one write each), in order."""
    found: list[Frame] = []
    header: SystemCall | None = None
    for call in calls:
        if call.name == "write" and call.target.endswith(".jsonl"):
            found.append(Frame(call.data, True, call.end))
        if call.name != "pwrite64" or not call.target.endswith("-wal"):
            continue
        if len(call.data) == FRAME_HEADER:
            header = call
        elif header is not None:
            found.append(Frame(call.data, header.data[4:8] != bytes(4), call.end))
            header = None
    return found


def sent_too_early(calls: Sequence[SystemCall], written: bytes, sent: bytes) -> str:
    """Why something left the server before the transaction that it tells of was on disk; empty if it did not.

    Args:
        written: bytes that the transaction writes, and none before it.
        sent: bytes of what may leave once it is on disk.
    """
    pages = frames(calls)
    forms = (written, base64.b64encode(written))
    first = next((index for index, frame in enumerate(pages) if any(form in frame.page for form in forms)), None)
    if first is None:
        return "it was never written"
    done = next((frame.end for frame in pages[first:] if frame.ends_transaction), None)
    if done is None:
        return "its transaction did not end"
    sends = [
        call.start for call in calls if call.name in SENDS and call.target.startswith("socket:") and sent in call.data
    ]
    if not sends:
        return "it was never sent"
    synced = any(
        call.name in SYNCS
        and call.target.endswith(LOGS)
        and call.result == 0
        and done < call.start
        and call.end < min(sends)
        for call in calls
    )
    if synced:
        return ""
    return (
        f"it was sent at line {min(sends)}, its transaction was written by line {done}, and no fdatasync came between"
    )
