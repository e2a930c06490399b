"""The observers of the load: `python -m tests.robustness.kill_loop.observer TARGET NAMESPACE FILE SEED`.

One process with a cursor chain for each breadth of scope. Each chain is broken off again and again, sometimes with
its connection, and goes on after its cursor. The process also settles what is parked. On a line of standard input
each chain reads on to the end of what exists; then the process ends.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

from perdure import Client, LedgerScope, RunFilter
from perdure.client import Connecting
from perdure.errors import FailedPrecondition, NotFound
from perdure.subscription import SubscribeOptions
from perdure.v1 import run_service_pb2 as runs
from tests.faults.link import pause
from tests.robustness.checker.testimony import StreamedRecord
from tests.robustness.kill_loop import workflows as w
from tests.robustness.kill_loop.calls import Calls
from tests.robustness.kill_loop.host import KINDS, run_name
from tests.robustness.kill_loop.witness import Witness

FIRST_HOST = "host-0"
LONGEST_READ_S = 4.0
CHECKPOINT_S = 2.0
PARKED_S = 1.0

SCOPES: dict[str, LedgerScope] = {
    "all": LedgerScope.all(),
    "workflow": LedgerScope.workflow(w.ORDER),
    "session": LedgerScope.session("session-3"),
    "tree": LedgerScope.tree(run_name(FIRST_HOST, KINDS.index("family"))),
    "run": LedgerScope.run(run_name(FIRST_HOST, KINDS.index("order"))),
}
"""What each chain follows."""


class Chain:
    """One subscriber.

    Args:
        name: of SCOPES.
        witness: gets each record.
        finish: once set, the chain reads to the end and stops.
    """

    def __init__(self, name: str, target: str, namespace: str, witness: Witness, dice: Random) -> None:
        self._name = name
        self._target = target
        self._namespace = namespace
        self._witness = witness
        self._dice = dice
        self._cursor = ""

    async def follow(self, finish: asyncio.Event) -> None:
        """Over many streams and some connections."""
        while not finish.is_set():
            async with self._connected() as client:
                for _ in range(self._dice.randint(1, 5)):
                    await self._read_for_a_while(client, finish)
        async with self._connected() as client:
            while not await self._read(client, to_the_end=True):
                await pause(0.1)

    async def _read_for_a_while(self, client: Client, finish: asyncio.Event) -> None:
        reading = asyncio.create_task(self._read(client, to_the_end=False))
        finishing = asyncio.create_task(finish.wait())
        timeout = self._dice.uniform(0.1, LONGEST_READ_S)
        await asyncio.wait({reading, finishing}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        for task in (reading, finishing):
            task.cancel()
        await asyncio.gather(reading, finishing, return_exceptions=True)

    async def _read(self, client: Client, *, to_the_end: bool) -> bool:
        """Reads one subscription; False if there is nothing to subscribe to yet."""
        options = SubscribeOptions(
            checkpoint_interval=CHECKPOINT_S, view="record_bytes", stop_when_caught_up=to_the_end
        )
        if self._cursor:
            options["after_cursor"] = self._cursor
        with suppress(NotFound):
            async with client.subscribe(SCOPES[self._name], **options) as subscription:
                async for batch in subscription.batches():
                    for entry in batch.entries:
                        record = StreamedRecord(self._name, entry.run_id, entry.seq, entry.position, entry.record_hash)
                        self._witness.streamed(record)
                    self._cursor = batch.cursor
            return True
        await pause(0.2)
        return False

    def _connected(self) -> Connecting:
        return Client.connect(self._target, namespace=self._namespace, connect_timeout=None)


async def settle_parked(calls: Calls, client: Client, dice: Random, finish: asyncio.Event) -> None:
    """Decides about parked steps as a person would: an effect in doubt is looked into, all else is done again."""
    while not finish.is_set():
        async for run in client.list_runs(RunFilter(activities=["parked"])):
            step = (await client.get_run(run.run_id)).step
            if step is None or not step.park_reason:
                continue
            request = runs.ResolveStepRequest(
                run_id=run.run_id,
                request_id=f"resolve-{run.run_id}-{step.step_id}-{step.attempt}",
                step_id=step.step_id,
                resolved_by="operator",
            )
            if step.park_reason == "IN_DOUBT" and dice.random() < 0.5:
                request.completed.result_json = '{"paid":"looked up"}'
            else:
                request.rerun.SetInParent()
            with suppress(FailedPrecondition):
                await calls.change(request)
        await pause(PARKED_S)


async def main(target: str, namespace: str, path: str, seed: str) -> None:
    """Observes until a line comes."""
    witness, finish = Witness(Path(path)), asyncio.Event()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with (
        Client.connect(target, namespace=namespace, connect_timeout=None) as client,
        asyncio.TaskGroup() as group,
    ):
        for name in SCOPES:
            dice = Random(f"{seed}/{name}")
            group.create_task(Chain(name, target, namespace, witness, dice).follow(finish))
        group.create_task(settle_parked(Calls(client, witness), client, Random(f"{seed}/operator"), finish))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await reader.readline()
        finish.set()
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
