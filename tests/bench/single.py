"""Cells that are measured once: `python -m tests.bench.single [CELL ...]`.

W3        timers due at one instant, then `complete`: how late their runs end, as an observer hears of it
W4        one run of many steps: processor time a step of the first and the last block, also with 1 MiB of vars
W5        one session with 64 runs in flight, observed by 1, 10 and 100 subscribers
restart   a start with many waiting runs: time until it serves, memory
idle      memory with idle worker streams and idle observers

The store is chosen by URL: --store 'sqlite:///{directory}/perdure.db' (the default), 'file:{directory}/journal', or
a postgresql:// one whose database is empty. Exit code 3 with --gate when a bound is missed.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from perdure.v1 import ledger_service_pb2, model_pb2, records_pb2, run_service_pb2, worker_service_pb2
from tests.bench.figures import Figure, quantile
from tests.bench.measured_server import MANY_STREAMS, WORKER_STEP, bench_worker, effect_node, serving
from tests.bench.perdure_subject import SQLITE
from tests.bench.processes import memory_mib
from tests.bench.subject import BenchError


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    timers: int = 2_000
    timers_ahead_s: float = 20.0
    steps: int = 2_000
    blocks: int = 5
    subscribers: tuple[int, ...] = (1, 10, 100)
    in_flight: int = 64
    seconds: float = 5.0
    waiting: int = 100_000
    idle: int = 1_000


SMOKE = Sizes(
    timers=20,
    timers_ahead_s=8.0,
    steps=40,
    blocks=2,
    subscribers=(1, 2),
    in_flight=4,
    seconds=0.5,
    waiting=200,
    idle=10,
)

DONE = model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json="{}")
_LIMIT_S = 900.0


async def timers(directory: Path, store: str, sizes: Sizes) -> list[Figure]:
    """W3. A run that ends before its instant is an error."""
    async with serving(directory, store) as server:
        wait = effect_node('{"type": "wait_until", "payload": {"until": "${vars.until}"}}', "done")
        await server.register("sleeping", {"wait": wait, "done": DONE}, "wait")
        due = datetime.now(UTC) + timedelta(seconds=sizes.timers_ahead_s)
        vars_json = json.dumps({"until": due.isoformat()})
        late_s: list[float] = []
        early = 0
        everything = ledger_service_pb2.LedgerScope(all=True)
        async with aclosing(server.records(everything, records_pb2.RECORD_KIND_COMPLETED)) as records:
            await anext(records)
            await server.start_all(
                run_service_pb2.StartRunRequest(workflow_id="sleeping", run_id=f"w3-{n}", vars_json=vars_json)
                for n in range(sizes.timers)
            )
            if datetime.now(UTC) >= due:
                raise BenchError(f"{sizes.timers} starts took longer than {sizes.timers_ahead_s:g} s")
            before = server.cpu_seconds()
            async for record in records:
                late_s.append(time.time() - due.timestamp())
                early += record.at.ToMicroseconds() < due.timestamp() * 1e6
                if len(late_s) == sizes.timers:
                    break
            cpu_s = server.cpu_seconds() - before
    return [
        Figure("W3 ended early", early, "runs", at_most=0),
        Figure("W3 server CPU a run, from the last start to the last end", cpu_s * 1000 / sizes.timers, "ms"),
        Figure("W3 lateness p50", quantile(late_s, 0.5) * 1000, "ms"),
        Figure("W3 lateness p99", quantile(late_s, 0.99) * 1000, "ms", at_most=500),
    ]


async def long_run(directory: Path, store: str, sizes: Sizes) -> list[Figure]:
    """W4."""
    plain = await _blocks(directory, store, sizes, 0, "plain")
    laden = await _blocks(directory, store, sizes, 1_040_000, "laden")
    figures = [
        Figure("W4 CPU a step, first block", plain[0], "ms"),
        Figure("W4 CPU a step, last block", plain[-1], "ms"),
        Figure("W4 last block / first block", plain[-1] / plain[0], "", at_most=1.15),
        Figure("W4 with 1 MiB of vars: CPU a step, first block", laden[0], "ms"),
        Figure("W4 with 1 MiB of vars: CPU a step, last block", laden[-1], "ms"),
    ]
    ratio = sum(laden) / sum(plain)
    return [*figures, Figure("W4 with 1 MiB of vars / without", ratio, "", at_most=3.0)]


async def _blocks(directory: Path, store: str, sizes: Sizes, ballast: int, name: str) -> list[float]:
    """Milliseconds of the server's processor time a step, block by block, of one run."""
    folder = directory / name
    folder.mkdir()
    async with serving(folder, store) as server, bench_worker(folder, server.address):
        nodes = {
            f"n{n}": effect_node(WORKER_STEP, "" if n == sizes.steps - 1 else f"n{n + 1}", f"r{n % 8}")
            for n in range(sizes.steps)
        }
        await server.register("long", nodes, "n0")
        scope = ledger_service_pb2.LedgerScope(all=True)
        block, seen, spent = sizes.steps // sizes.blocks, 0, list[float]()
        async with aclosing(server.records(scope, records_pb2.RECORD_KIND_STEP_COMPLETED)) as records:
            await anext(records)
            vars_json = json.dumps({"ballast": "x" * ballast})
            request = run_service_pb2.StartRunRequest(workflow_id="long", run_id="long", vars_json=vars_json)
            await server.runs.StartRun(request)
            before = server.cpu_seconds()
            async for _ in records:
                seen += 1
                if seen % block == 0:
                    now = server.cpu_seconds()
                    spent.append((now - before) * 1000 / block)
                    before = now
                if len(spent) == sizes.blocks:
                    return spent
    raise BenchError("the run ended too early")


async def fan_out(directory: Path, store: str, sizes: Sizes) -> list[Figure]:
    """W5. Subscribers count bytes and do not read them: the driver is not to be the bound."""
    figures: list[Figure] = []
    for subscribers in sizes.subscribers:
        folder = directory / f"w5-{subscribers}"
        folder.mkdir()
        figures += await _observed(folder, store, sizes, subscribers)
    return figures


async def _observed(folder: Path, store: str, sizes: Sizes, subscribers: int) -> list[Figure]:
    async with serving(folder, store, *MANY_STREAMS) as server, bench_worker(folder, server.address):
        nodes = {f"n{n}": effect_node(WORKER_STEP, "" if n == 9 else f"n{n + 1}", "r") for n in range(10)}
        await server.register("chain", nodes, "n0")
        received = [0] * subscribers
        scope = ledger_service_pb2.LedgerScope(session_id="session")
        request = ledger_service_pb2.SubscribeLedgerRequest(scope=scope, now=True).SerializeToString()
        async with grpc.aio.insecure_channel(server.address) as channel:
            calls = [_raw(channel, request) for _ in range(subscribers)]
            for call in calls:
                await anext(call)
            readers = [asyncio.create_task(_count(call, received, n)) for n, call in enumerate(calls)]
            before, begun = server.cpu_seconds(), time.perf_counter()
            ended = await _closed_loop(server.runs, sizes)
            seconds, cpu = time.perf_counter() - begun, server.cpu_seconds() - before
            for reader in readers:
                reader.cancel()
            await asyncio.wait(readers)
        steps = ended * 10
        name = f"W5 {subscribers} subscribers"
        return [
            Figure(f"{name}: steps", steps / seconds, "/s"),
            Figure(f"{name}: server CPU a step", cpu * 1000 / steps, "ms"),
            Figure(f"{name}: received", sum(received) / seconds / 2**20, "MiB/s"),
        ]


async def _closed_loop(runs: Any, sizes: Sizes) -> int:
    """Keeps runs of one session in flight for some seconds; how many ended."""
    end, ended = time.perf_counter() + sizes.seconds, 0

    async def loop(number: int) -> None:
        nonlocal ended
        turn = 0
        while time.perf_counter() < end:
            run_id, turn = f"w5-{number}-{turn}", turn + 1
            start = run_service_pb2.StartRunRequest(workflow_id="chain", run_id=run_id, session_id="session")
            await runs.StartRun(start)
            until = run_service_pb2.WAIT_RUN_UNTIL_ENDED
            await runs.WaitRun(run_service_pb2.WaitRunRequest(run_id=run_id, until=until))
            ended += 1

    async with asyncio.TaskGroup() as group:
        for number in range(sizes.in_flight):
            group.create_task(loop(number))
    return ended


def _raw(channel: Any, request: bytes) -> AsyncIterator[bytes]:
    method = channel.unary_stream("/perdure.v1.LedgerService/SubscribeLedger")
    return aiter(method(request))


async def _count(call: AsyncIterator[bytes], received: list[int], number: int) -> None:
    async for data in call:
        received[number] += len(data)


async def restart(directory: Path, store: str, sizes: Sizes) -> list[Figure]:
    """A start on a store with many waiting runs. It serves when it answers a call about one of them."""
    async with serving(directory, store) as server:
        ask = effect_node('{"type": "ask_user", "payload": {"prompt": "Go on?"}}', "done", "answer")
        await server.register("asking", {"ask": ask, "done": DONE}, "ask")
        await server.start_all(
            run_service_pb2.StartRunRequest(workflow_id="asking", run_id=f"run-{n}") for n in range(sizes.waiting)
        )
    begun = time.perf_counter()
    async with serving(directory, store) as server:
        await server.runs.ResumeRun(run_service_pb2.ResumeRunRequest(run_id="run-0", any_wait=True, request_id="r"))
        seconds = time.perf_counter() - begun
        memory = server.memory_mib()
    name = f"restart with {sizes.waiting:,} waiting runs"
    at_most = 15.0 if store.startswith("file:") else 5.0
    return [Figure(f"{name}: serving after", seconds, "s", at_most), Figure(f"{name}: RSS", memory, "MiB")]


async def idle(directory: Path, store: str, sizes: Sizes) -> list[Figure]:
    """Memory of a server whose streams are silent."""
    figures: list[Figure] = []
    async with serving(directory, store, *MANY_STREAMS) as server:
        figures.append(Figure("idle server: RSS", memory_mib(server.child.pid, "VmRSS"), "MiB"))
        async with (
            grpc.aio.insecure_channel(server.address) as workers,
            grpc.aio.insecure_channel(server.address) as observers,
        ):
            calls: list[Any] = [await _idle_worker(workers, number) for number in range(sizes.idle)]
            figures.append(Figure(f"and {sizes.idle:,} idle worker streams: RSS", server.memory_mib(), "MiB"))
            request = ledger_service_pb2.SubscribeLedgerRequest(
                scope=ledger_service_pb2.LedgerScope(all=True), now=True
            ).SerializeToString()
            for _ in range(sizes.idle):
                calls.append(_raw(observers, request))
                await anext(calls[-1])
            figures.append(Figure(f"and {sizes.idle:,} idle observers: RSS", server.memory_mib(), "MiB"))
    return figures


async def _idle_worker(channel: Any, number: int) -> Any:
    call = channel.stream_stream("/perdure.v1.WorkerService/Work")()
    hello = worker_service_pb2.Hello(worker_id=f"idle-{number}", stream_epoch=1, effect_types=["never"])
    credit = worker_service_pb2.Credit(limit=1)
    await call.write(worker_service_pb2.WorkRequest(hello=hello, credit=credit).SerializeToString())
    await call.read()
    return call


Cell = Callable[[Path, str, Sizes], Awaitable[list[Figure]]]
CELLS: dict[str, Cell] = {"W3": timers, "W4": long_run, "W5": fan_out, "restart": restart, "idle": idle}


async def measure(names: Sequence[str], store: str, sizes: Sizes, base: Path) -> list[Figure]:
    """The figures of the cells, each with a new server and store below `base`. Raises: BenchError."""
    figures: list[Figure] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as folder:
            try:
                async with asyncio.timeout(_LIMIT_S):
                    found = await CELLS[name](Path(folder), store, sizes)
            except TimeoutError:
                raise BenchError(f"{name}: not done in {_LIMIT_S:g} s") from None
        for figure in found:
            sys.stdout.write(figure.line() + "\n")
        sys.stdout.flush()
        figures += found
    return figures


def main(arguments: Sequence[str]) -> int:
    """Parses, measures, prints; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.single", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", nargs="*", metavar="CELL", help="default: all")
    parser.add_argument("--store", default=SQLITE, help="URL of the store")
    parser.add_argument("--smoke", action="store_true", help="small sizes")
    parser.add_argument("--gate", action="store_true", help="exit with 3 when a bound is missed")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="on a real disk")
    options = parser.parse_args(arguments)
    names = options.cells or list(CELLS)
    unknown = [name for name in names if name not in CELLS]
    if unknown:
        parser.error(f"there is no cell {unknown[0]!r}; there are {', '.join(CELLS)}")
    try:
        sizes = SMOKE if options.smoke else Sizes()
        figures = uvloop.run(measure(names, options.store, sizes, options.directory))
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    return 3 if options.gate and not all(figure.held for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
