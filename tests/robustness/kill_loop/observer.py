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
from perdure.errors import FailedPrecondition
from perdure.v1 import run_service_pb2 as runs
from tests.faults.link import pause
from tests.robustness.kill_loop import workflows as w
from tests.robustness.kill_loop.calls import Calls
from tests.robustness.kill_loop.chain import Chain
from tests.robustness.kill_loop.host import KINDS, run_name
from tests.robustness.kill_loop.witness import Witness

FIRST_HOST = "host-0"
PARKED_S = 1.0

SCOPES: dict[str, LedgerScope] = {
    "all": LedgerScope.all(),
    "workflow": LedgerScope.workflow(w.ORDER),
    "session": LedgerScope.session("session-3"),
    "tree": LedgerScope.tree(run_name(FIRST_HOST, KINDS.index("family"))),
    "run": LedgerScope.run(run_name(FIRST_HOST, KINDS.index("order"))),
}
"""What each chain follows."""


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
        for name, scope in SCOPES.items():
            dice = Random(f"{seed}/{name}")
            group.create_task(Chain(name, scope, [target], namespace, witness, dice).follow(finish))
        group.create_task(settle_parked(Calls(client, witness), client, Random(f"{seed}/operator"), finish))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await reader.readline()
        finish.set()
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
