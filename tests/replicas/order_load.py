"""Writers that do to runs what clients do, at random moments, and the observers of what they cause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

from perdure import Client, Workflow
from perdure.errors import FailedPrecondition
from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as runs
from tests.acceptance.scene import asking, listening
from tests.faults.link import pause
from tests.robustness.kill_loop.calls import Calls

LONGEST_PAUSE_S = 0.03
SESSIONS = 3
SHARED = ("shared-0", "shared-1")
"""Runs that all writers talk to; they ask again whenever they are answered."""

OPEN = (common_pb2.RUN_STATUS_RUNNING, common_pb2.RUN_STATUS_WAITING)


def session_of(number: int) -> str:
    """The session of a writer's n-th run."""
    return f"session-{number % SESSIONS}"


def talking() -> Workflow:
    """Asks for ever."""
    workflow = Workflow("talking")
    workflow.effect_node("ask", "ask_user", {"prompt": "And then?"}, result_key="answer", next="ask")
    return workflow


def hearing() -> Workflow:
    """Waits for an event of its own name, in its session."""
    return listening("hearing", name="${vars.event}")


class Writer:
    """A client that starts runs, answers them, sends them events, pauses and cancels them.

    Args:
        calls: makes its calls, each until it is answered.
        name: the first part of its runs' ids.
        dice: its chance.
    """

    def __init__(self, calls: Calls, name: str, dice: Random) -> None:
        self._calls = calls
        self._name = name
        self._dice = dice
        self._asked = 0
        self._started = 0
        self._open: dict[str, str] = {}
        """Its runs that may not have ended, with their sessions."""
        self._deeds: dict[Callable[[], Awaitable[None]], int] = {
            self._start: 4,
            self._move: 4,
            self._talk: 3,
            self._pause: 1,
            self._cancel: 1,
        }
        """How often it does what."""

    async def write(self, seconds: float) -> None:
        """Writes for so long."""
        now = asyncio.get_running_loop().time
        until = now() + seconds
        while now() < until:
            (deed,) = self._dice.choices(list(self._deeds), list(self._deeds.values()))
            with suppress(FailedPrecondition):  # the run has ended, or another writer was quicker
                await deed()
            await pause(self._dice.uniform(0, LONGEST_PAUSE_S))

    async def end(self) -> None:
        """Cancels what is left."""
        for run_id in self._open:
            await cancel(self._calls, run_id)

    async def _start(self) -> None:
        number, self._started = self._started, self._started + 1
        run_id, session = f"{self._name}-{number}", session_of(number)
        workflow_id, vars_json = self._dice.choice(["asking", "hearing"]), json.dumps({"event": run_id})
        await self._change(
            runs.StartRunRequest(run_id=run_id, workflow_id=workflow_id, session_id=session, vars_json=vars_json)
        )
        self._open[run_id] = session

    async def _move(self) -> None:
        """Gives a run what it waits for: an answer, or an event."""
        run_id = self._one_of_mine()
        run = (await self._calls.ask(runs.GetRunRequest(run_id=run_id))).run if run_id else None
        if run is None:
            return
        if run.workflow_id == "hearing":
            await self._change(runs.EmitEventRequest(scope_id=self._open[run_id], name=run_id, payload_json="1"))
        elif run.HasField("waiting"):
            await self._answer(run)

    async def _talk(self) -> None:
        """To a run that others talk to at the same time."""
        run = (await self._calls.ask(runs.GetRunRequest(run_id=self._dice.choice(SHARED)))).run
        if run.HasField("waiting"):
            await self._answer(run)

    async def _answer(self, run: Any) -> None:
        reply = await self._change(
            runs.ResumeRunRequest(
                run_id=run.run_id, wait_id=run.waiting.wait_id, payload_json='"y"', resumed_by=self._name
            )
        )
        if reply.status not in OPEN:
            self._open.pop(run.run_id, None)

    async def _pause(self) -> None:
        if run_id := self._one_of_mine():
            await self._change(runs.PauseRunRequest(run_id=run_id))
            await pause(self._dice.uniform(0, LONGEST_PAUSE_S))
            await self._change(runs.UnpauseRunRequest(run_id=run_id))

    async def _cancel(self) -> None:
        if run_id := self._one_of_mine():
            await self._change(runs.CancelRunRequest(run_id=run_id))

    def _one_of_mine(self) -> str:
        """One of the newest, of which most have not ended; "" if there is none."""
        return self._dice.choice(list(self._open)[-10:]) if self._open else ""

    async def _change(self, request: Any) -> Any:
        self._asked += 1
        request.request_id = f"{self._name}-{self._asked}"
        return await self._calls.change(request)


async def cancel(calls: Calls, run_id: str) -> None:
    """Ends a run, if it has not ended."""
    with suppress(FailedPrecondition):
        await calls.change(runs.CancelRunRequest(run_id=run_id, request_id=f"end-{run_id}"))
    await calls.until_ended(run_id)


async def prepare(client: Client, calls: Calls) -> None:
    """Registers the workflows, and starts what the writers share."""
    for workflow in (asking(), hearing(), talking()):
        await client.register_workflow(workflow, set_default=True)
    for run_id in SHARED:
        await calls.change(
            runs.StartRunRequest(
                run_id=run_id, workflow_id="talking", session_id=session_of(0), request_id=f"start-{run_id}"
            )
        )
