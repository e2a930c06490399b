"""What a host and worker written for the last release do; run with that release's own SDK (`Release.run`).

Usage: old_client.py HOST:PORT README. Prints "well" at the end.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from perdure import Client, EffectContext, NodeContext, Worker, Workflow, effect, plan
from perdure.errors import PerdureError
from perdure.ledger import LedgerScope

trip = Workflow("trip")
trip.effect_node("wait", "wait_event", {"name": "weather", "scope": "global"}, result_key="weather", next="child")
trip.effect_node("child", "start_subworkflow", {"workflow_id": "booking"}, result_key="booked", next="rest")
trip.effect_node("rest", "wait_until", {"delay_seconds": 0.2}, next="end")
trip.complete_node("end", {"weather": "${vars.weather.payload}", "booked": "${vars.booked}"})

booking = Workflow("booking")


@booking.node("plan")
async def plan_booking(ctx: NodeContext) -> Any:
    ctx.vars["list"] = [1, 2]
    return effect.custom("pay", {"amount": 12}, risk="irreversible", result_key="receipt", next="end")


@booking.node("end")
async def end_booking(ctx: NodeContext) -> Any:
    return plan.complete({"receipt": ctx.vars["receipt"], "list": ctx.vars["list"]})


async def readme(address: str, text: str) -> None:
    """The snippet of the release's README."""
    (snippet,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    await names["main"](address)


async def drive(address: str) -> None:
    """Nodes, an irreversible effect that fails once, a child run, an event, a timer, the ledger."""
    tries: list[int] = []
    async with Client.connect(address) as client:
        worker = Worker(client)
        worker.serve(booking)

        @worker.effect("pay")
        async def pay(ctx: EffectContext, payload: Any) -> Any:
            tries.append(payload["amount"])
            return {"paid": payload["amount"]}

        async with worker:
            await client.register_workflow(trip)
            run = await client.start_run("trip", {}, run_id="old-trip")
            assert run.created
            await client.emit_event("weather", {"sun": True}, scope="global")
            state = await client.wait_run("old-trip", until="ended")
        assert str(state.status) == "completed", state
        assert tries == [12]
        kinds: list[str] = []
        async with client.subscribe(LedgerScope.run("old-trip"), stop_when_terminal=True) as entries:
            kinds.extend([str(entry.kind) async for entry in entries])
        assert kinds[0] == "run_started"
        assert kinds[-1] == "completed"
        assert (await client.verify_run("old-trip")).intact
        assert await refusal(client.resume_run("old-trip", "late", any_wait=True)) == "RUN_ENDED"


async def refusal(call: Awaitable[Any]) -> str:
    """Why a call is refused; "" if it is not."""
    try:
        await call
    except PerdureError as error:
        return error.reason
    return ""


async def main(address: str, text: str) -> None:
    """All of it."""
    await readme(address, text)
    await drive(address)
    sys.stdout.write("well\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8")))
