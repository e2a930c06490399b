"""A worker of the load: `python -m tests.robustness.kill_loop.worker TARGET NAMESPACE ID FILE`.

It is the SDK's, and a witness of its stream.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from perdure import Client, EffectContext, JsonObject, Worker
from perdure.connection import Connection, open_channel
from tests.faults.link import pause
from tests.robustness.kill_loop.wiretap import Notes, TappedChannel
from tests.robustness.kill_loop.witness import Witness
from tests.robustness.kill_loop.workflows import ACT, PAYMENT, WORKFLOWS

LONGEST_S = 0.05
"""An effect takes up to so long."""


def tapped_client(target: str, namespace: str, witness: Witness) -> Client:
    """A client whose worker streams are noted."""
    notes = Notes(witness)

    def reopen() -> Any:
        return TappedChannel(open_channel(target), notes)

    return Client(Connection(reopen(), namespace=namespace, reopen=reopen))


def load_worker(client: Client, name: str, witness: Witness) -> Worker:
    """Serves everything that the load asks for."""
    worker = Worker(client, worker_id=name, drain_timeout=5.0)
    dice = Random(name)
    for make in WORKFLOWS:
        worker.serve(make())

    @worker.effect(ACT)
    async def act(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        await pause(dice.uniform(0, LONGEST_S))
        return payload

    @worker.effect(PAYMENT)
    async def pay(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        witness.executed(ctx.idempotency_key)
        await pause(dice.uniform(0, LONGEST_S))
        return {"paid": payload["of"]}

    return worker


async def main(target: str, namespace: str, name: str, path: str) -> None:
    """Works until SIGTERM."""
    witness = Witness(Path(path))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with tapped_client(target, namespace, witness) as client, load_worker(client, name, witness):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
