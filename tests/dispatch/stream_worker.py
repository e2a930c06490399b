"""A worker's end of a session, moved by hand: it says and hears what the test wants, when it wants."""

from __future__ import annotations

import asyncio

from perdure_server.dispatch.dispatcher import Dispatcher
from perdure_server.dispatch.messages import (
    Acked,
    AckStatus,
    Begin,
    EffectReport,
    FromWorker,
    GoodbyeReason,
    Heartbeat,
    LeaseUpdate,
    NodeReport,
    Profile,
    Refusal,
    Release,
    Report,
    ServedWorkflow,
    Task,
    TaskToken,
    ToWorker,
    Welcome,
)
from perdure_server.dispatch.session import Session
from perdure_server.kernel.model import EffectOutcome, EffectResult, StepFailure, StepPlan
from perdure_server.kernel.values import Json, Leaf

ReportOutcome = NodeReport | EffectReport | StepFailure | Release | Refusal


class StreamWorker:
    """Keeps what it has heard.

    Args:
        dispatcher: to leave by.
        session: its stream.
    """

    def __init__(self, dispatcher: Dispatcher, session: Session) -> None:
        self.session = session
        self.welcome: Welcome | None = None
        self.tasks: list[Task] = []
        self.acks: list[Acked] = []
        self.begin_acks: list[Acked] = []
        self.updates: list[LeaseUpdate] = []
        self.messages = 0
        self.drain_us: int | None = None
        self.goodbye: GoodbyeReason | None = None
        self._dispatcher = dispatcher
        self._limit = 0

    async def hear(self) -> ToWorker:
        """The next message, which must come."""
        message = await self.session.next()
        assert message is not None, "the stream ended"
        self.messages += 1
        self.tasks += message.tasks
        self.acks += message.acks
        self.begin_acks += message.begin_acks
        self.updates += message.lease_updates
        self.goodbye = message.goodbye or self.goodbye
        self.drain_us = self.drain_us if message.drain_us is None else message.drain_us
        return message

    async def hears_nothing(self) -> bool:
        """Whether there is nothing to hear now."""
        return await self.hear_now() is None

    async def hear_now(self) -> ToWorker | None:
        """The next message if there is one already; its parts are not kept."""
        hearing = asyncio.ensure_future(self.session.next())
        for _ in range(5):
            await asyncio.sleep(0)
        if hearing.done():
            return hearing.result()
        hearing.cancel()
        await asyncio.wait([hearing])
        return None

    async def task(self) -> Task:
        """The next task."""
        while not self.tasks:
            await self.hear()
        return self.tasks.pop(0)

    async def ack(self) -> Acked:
        """The next answer to a report."""
        while not self.acks:
            await self.hear()
        return self.acks.pop(0)

    async def begin_ack(self) -> Acked:
        """The next answer to a begin."""
        while not self.begin_acks:
            await self.hear()
        return self.begin_acks.pop(0)

    async def update(self) -> LeaseUpdate:
        """The next news of a lease."""
        while not self.updates:
            await self.hear()
        return self.updates.pop(0)

    async def ended(self) -> GoodbyeReason | None:
        """Hears to the end; the goodbye, if there was one."""
        while (message := await self.session.next()) is not None:
            self.goodbye = message.goodbye or self.goodbye
        return self.goodbye

    async def grant(self, more: int) -> None:
        """Credit for so many more tasks."""
        self._limit += more
        await self.session.receive(FromWorker(credit=self._limit))

    async def begin(self, task: Task) -> None:
        """Asks to execute an irreversible effect."""
        await self.session.receive(FromWorker(begins=(Begin(task.token),)))

    async def report(self, *reports: Report) -> None:
        """Reports, in one message."""
        await self.session.receive(FromWorker(reports=reports))

    async def finish(self, task: Task, value: Json = None) -> Acked:
        """Reports an effect's result, and hears the answer."""
        await self.report(result(task.token, value))
        return await self.ack()

    async def finish_and_grant(self, task: Task) -> Acked:
        """As `finish`, with credit for one more task in the same message."""
        self._limit += 1
        await self.session.receive(FromWorker(reports=(result(task.token),), credit=self._limit))
        return await self.ack()

    async def heartbeat(self, *tokens: TaskToken, progress: bool = False) -> None:
        """Renews leases."""
        await self.session.receive(FromWorker(heartbeats=tuple(Heartbeat(token, progress) for token in tokens)))

    async def ping(self) -> None:
        """Says nothing, as a sign of life."""
        await self.session.receive(FromWorker())

    async def leave(self) -> None:
        """Ends the stream without a word, as a dead worker does."""
        await self._dispatcher.disconnect(self.session)


def profile(worker_id: str = "w1", *effect_types: str, queues: tuple[str, ...] = ("default",)) -> Profile:
    """A worker that serves these effect types ("echo" if none)."""
    return Profile("default", worker_id, queues=queues, effect_types=effect_types or ("echo",))


def node_profile(worker_id: str, workflow_id: str, *node_ids: str) -> Profile:
    """A worker that serves nodes of a workflow (all if none are named)."""
    return Profile("default", worker_id, workflows=(ServedWorkflow(workflow_id, (), node_ids),))


def report(token: TaskToken | bytes, outcome: ReportOutcome, data: bytes = b"as sent") -> Report:
    """A report; `data` is what it was sent as."""
    return Report(token, outcome, lambda: data)


def result(token: TaskToken, value: Json = None) -> Report:
    """An effect completed."""
    return outcome(token, EffectResult(Leaf.of(value)))


def outcome(token: TaskToken, what: EffectOutcome) -> Report:
    """An effect's outcome."""
    return report(token, EffectReport(what))


def plan(token: TaskToken, what: StepPlan) -> Report:
    """A node's plan."""
    return report(token, NodeReport(what))


def statuses(acks: list[Acked]) -> list[AckStatus]:
    """Their statuses."""
    return [ack.status for ack in acks]
