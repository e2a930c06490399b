"""Workers that come, go, forget, repeat themselves and fall silent, at random: nothing is lost or merged twice."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from perdure_server.dispatch.messages import AckStatus, FromWorker, Release, Task
from perdure_server.kernel.model import RunStatus
from perdure_server.kernel.records import RecordKind
from tests.dispatch.rig import Rig, chain, open_rig
from tests.dispatch.stream_worker import StreamWorker, profile, report, result

pytestmark = pytest.mark.promise("P5", "P6")

RUNS = 12
STEPS = 3
WORKERS = 3


class Crowd:
    """Some workers, their streams and the tasks that they believe to hold."""

    def __init__(self, rig: Rig, chance: random.Random) -> None:
        self.rig = rig
        self.chance = chance
        self.streams: dict[str, StreamWorker] = {}
        self.epochs = Counter[str]()
        self.held: dict[str, list[Task]] = {f"w{number}": [] for number in range(WORKERS)}
        self.reported: list[Task] = []

    async def act(self) -> None:
        """Something happens."""
        worker_id = self.chance.choice(list(self.held))
        if worker_id not in self.streams:
            await self.connect(worker_id)
            return
        stream = self.streams[worker_id]
        action = self.chance.choices(
            [self.grant, self.finish, self.give_back, self.repeat, self.beat, self.die, self.forget, self.wait],
            [4, 8, 1, 2, 2, 1, 1, 2],
        )[0]
        await action(worker_id, stream)
        await self.rig.settle()
        await self.hear()

    async def connect(self, worker_id: str) -> None:
        """A stream; what the worker holds is named."""
        self.epochs[worker_id] += 1
        tokens = [task.token for task in self.held[worker_id]]
        stream = await self.rig.connect(profile(worker_id), epoch=self.epochs[worker_id], held=tokens)
        self.streams[worker_id] = stream
        await stream.grant(self.chance.randrange(3))

    async def grant(self, _worker_id: str, stream: StreamWorker) -> None:
        """More credit."""
        await stream.grant(self.chance.randrange(1, 3))

    async def finish(self, worker_id: str, stream: StreamWorker) -> None:
        """A result, perhaps twice."""
        if self.held[worker_id]:
            task = self.held[worker_id].pop(self.chance.randrange(len(self.held[worker_id])))
            self.reported.append(task)
            copies = self.chance.choice([1, 1, 2])
            await stream.report(*[result(task.token, f"{worker_id}:{task.token.attempt}")] * copies)

    async def give_back(self, worker_id: str, stream: StreamWorker) -> None:
        """A task is released."""
        if self.held[worker_id]:
            task = self.held[worker_id].pop()
            await stream.report(report(task.token, Release()))

    async def repeat(self, _worker_id: str, stream: StreamWorker) -> None:
        """An old report again, perhaps somebody else's."""
        if self.reported:
            task = self.chance.choice(self.reported)
            await stream.report(result(task.token, "again"))

    async def beat(self, worker_id: str, stream: StreamWorker) -> None:
        """Leases are renewed."""
        await stream.heartbeat(*[task.token for task in self.held[worker_id]])

    async def die(self, worker_id: str, stream: StreamWorker) -> None:
        """The stream breaks; the worker remembers."""
        del self.streams[worker_id]
        await stream.leave()

    async def forget(self, worker_id: str, stream: StreamWorker) -> None:
        """The worker starts anew and remembers nothing."""
        self.held[worker_id].clear()
        await self.die(worker_id, stream)

    async def wait(self, _worker_id: str, _stream: StreamWorker) -> None:
        """Time goes by."""
        self.rig.clock.advance(self.chance.choice([1_000, 5_000_000, 20_000_000]))

    async def hear(self) -> None:
        """Everybody listens; credit is never exceeded."""
        for name, stream in list(self.streams.items()):
            seat = stream.session.seat
            assert seat.sent + seat.reserved <= max(seat.limit, 0) or seat.draining
            while (message := await stream.hear_now()) is not None:
                self.held[name] += message.tasks
                for ack in message.acks:
                    assert ack.status is not AckStatus.REFUSED


async def rest(rig: Rig, worker: StreamWorker) -> None:
    """A good worker does what is left."""
    for _ in range(200):
        await worker.session.receive(FromWorker(credit=10_000))
        await rig.advance(31)
        while (message := await worker.hear_now()) is not None:
            for task in message.tasks:
                await worker.report(result(task.token, "rest"))
        runs = [await rig.run(f"r{number}") for number in range(RUNS)]
        if all(run.ended for run in runs):
            return
    raise AssertionError("some run never ended")


@pytest.mark.parametrize("seed", range(25))
async def test_every_run_ends_with_each_step_merged_once(seed: int) -> None:
    async with open_rig() as rig:
        await rig.register(chain(steps=STEPS))
        crowd = Crowd(rig, random.Random(seed))
        for number in range(RUNS):
            await rig.start("chain", f"r{number}")
            for _ in range(10):
                await crowd.act()
        for worker_id, stream in list(crowd.streams.items()):
            await crowd.die(worker_id, stream)
        await rest(rig, await rig.connect(profile("good")))
        for number in range(RUNS):
            run = await rig.run(f"r{number}")
            assert run.status is RunStatus.COMPLETED, run.error
            merged = Counter(
                record.step_id
                for record in await rig.ledger(f"r{number}")
                if record.kind is RecordKind.STEP_COMPLETED and record.attempt
            )
            assert set(merged.values()) == {1}
            assert len(merged) == STEPS
