"""A host of the load: `python -m tests.robustness.kill_loop.host TARGET NAMESPACE NAME FILE RUNS RUNS_PER_S SEED`.

It starts runs at a rate, not faster and not later than it can, does what each of them needs, and ends when all of
them have ended. Its last line is a JSON object: how many, and in how many seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from perdure import Client
from perdure.v1 import run_service_pb2 as runs
from tests.faults.link import pause
from tests.robustness.kill_loop import workflows as w
from tests.robustness.kill_loop.calls import Calls
from tests.robustness.kill_loop.witness import Witness

SESSIONS = 8
AT_ONCE = 150
"""Runs of one host that have not ended."""

CHOIR = 3
"""Runs that hear the same event."""

KINDS = ("order", "early", "nap", "family", "late", "order", "paused", "nap", "choir", "cancelled")
"""What becomes of the n-th run is the n-th of these, over and over."""


def run_name(host: str, number: int) -> str:
    """Id of a host's n-th run."""
    return f"{host}-{number}"


def session_of(number: int) -> str:
    """The session of a n-th run."""
    return f"session-{number % SESSIONS}"


class Host:
    """One host.

    Args:
        name: the first part of its runs' ids.
    """

    def __init__(self, calls: Calls, name: str, dice: Random) -> None:
        self._calls = calls
        self._name = name
        self._dice = dice
        self._lives: dict[str, Callable[[int, str], Awaitable[None]]] = {
            "order": self._order,
            "early": self._early,
            "late": self._late,
            "paused": self._paused,
            "nap": self._nap,
            "family": self._family,
            "choir": self._choir,
            "cancelled": self._cancelled,
        }

    async def work(self, number: int, rate: float) -> None:
        """Starts so many runs, so many a second, and returns when all have ended."""
        room = asyncio.Semaphore(AT_ONCE)
        now = asyncio.get_running_loop().time
        began = now()
        async with asyncio.TaskGroup() as group:
            for index in range(number):
                due = began + index / rate
                if due > now():
                    await pause(due - now())
                await room.acquire()
                living = group.create_task(self._live(index))
                living.add_done_callback(lambda _: room.release())

    async def _live(self, number: int) -> None:
        await self._lives[KINDS[number % len(KINDS)]](number, run_name(self._name, number))

    # --- lives of runs -------------------------------------------------------------------------

    async def _order(self, number: int, run_id: str) -> None:
        await self._start(w.ORDER, run_id, number)
        run = await self._calls.until_waiting(run_id, "ask")
        if not run.HasField("ended_at"):
            await self._resume(run)
        await self._calls.until_ended(run_id)

    async def _early(self, number: int, run_id: str) -> None:
        """The event comes before the wait."""
        await self._start(w.EAR, run_id, number, event=run_id)
        await self._emit(run_id, number)
        await self._calls.until_ended(run_id)

    async def _late(self, number: int, run_id: str) -> None:
        await self._start(w.EAR, run_id, number, event=run_id)
        await self._calls.until_waiting(run_id, "hear")
        await self._emit(run_id, number)
        await self._calls.until_ended(run_id)

    async def _paused(self, number: int, run_id: str) -> None:
        """The event comes while the run is paused."""
        await self._start(w.EAR, run_id, number, event=run_id)
        await self._calls.change(runs.PauseRunRequest(run_id=run_id, request_id=f"pause-{run_id}"))
        await self._emit(run_id, number)
        await self._calls.change(runs.UnpauseRunRequest(run_id=run_id, request_id=f"unpause-{run_id}"))
        await self._calls.until_ended(run_id)

    async def _nap(self, number: int, run_id: str) -> None:
        await self._start(w.NAP, run_id, number, delay_seconds=round(self._dice.uniform(0.1, 2.0), 3))
        await self._calls.until_ended(run_id)

    async def _family(self, number: int, run_id: str) -> None:
        await self._start(w.FAMILY, run_id, number)
        await self._calls.until_ended(run_id)

    async def _choir(self, number: int, run_id: str) -> None:
        """Several runs hear one event."""
        singers = [f"{run_id}-{voice}" for voice in range(CHOIR)]
        for singer in singers:
            await self._start(w.EAR, singer, number, event=run_id)
        await self._emit(run_id, number)
        for singer in singers:
            await self._calls.until_ended(singer)

    async def _cancelled(self, number: int, run_id: str) -> None:
        await self._start(w.ORDER, run_id, number)
        await self._calls.change(
            runs.CancelRunRequest(run_id=run_id, request_id=f"cancel-{run_id}", reason="changed my mind")
        )
        await self._calls.until_ended(run_id)

    # --- calls -----------------------------------------------------------------------------------

    async def _start(self, workflow_id: str, run_id: str, number: int, **vars_: Any) -> None:
        await self._calls.change(
            runs.StartRunRequest(
                run_id=run_id,
                request_id=f"start-{run_id}",
                workflow_id=workflow_id,
                session_id=session_of(number),
                vars_json=json.dumps({"of": number, **vars_}),
            )
        )

    async def _emit(self, name: str, number: int) -> None:
        await self._calls.change(
            runs.EmitEventRequest(
                request_id=f"emit-{name}", scope_id=session_of(number), name=name, payload_json=json.dumps(number)
            )
        )

    async def _resume(self, run: Any) -> None:
        await self._calls.change(
            runs.ResumeRunRequest(
                run_id=run.run_id,
                request_id=f"resume-{run.run_id}",
                wait_id=run.waiting.wait_id,
                payload_json='"yes"',
                resumed_by=self._name,
            )
        )


async def main(target: str, namespace: str, name: str, path: str, number: str, rate: str, seed: str) -> None:
    """Works once."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Client.connect(target, namespace=namespace, connect_timeout=None) as client:
        calls = Calls(client, Witness(Path(path)))
        await Host(calls, name, Random(f"{seed}/{name}")).work(int(number), float(rate))
    sys.stdout.write(json.dumps({"runs": int(number), "seconds": round(loop.time() - began, 1)}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
