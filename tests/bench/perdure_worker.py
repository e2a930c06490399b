"""The worker of Perdure's side of the benchmark: `python -m tests.bench.perdure_worker HOST:PORT`.

Serves the effect "bench.step", whose result is a string of 64 characters. Prints "ready" once it serves,
ends on SIGTERM.
"""

import asyncio
import signal
import sys

import uvloop

from perdure import Client, EffectContext, Worker
from perdure.json_text import JsonObject

_RESULT = "x" * 64


async def _serve(address: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Client.connect(address) as client:
        worker = Worker(client, max_tasks=1_024)

        @worker.effect("bench.step")
        async def step(_context: EffectContext, _payload: JsonObject) -> str:
            return _RESULT

        async with worker:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await stopping.wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
