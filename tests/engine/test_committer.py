"""The writing thread: whatever one caller does with its answer, the others get theirs."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from perdure_server.clock import SystemClock
from perdure_server.engine.committer import Committer
from perdure_server.engine.sealing import genesis_hash
from perdure_server.ids import new_epoch
from perdure_server.measures import Measures
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import Commit, StoreDamagedError, StoreError, Verdict, VerdictKind

WITHIN_S = 10.0


class DamagedInPart(MemoryStore):
    """A store that can write for every namespace but `damaged`."""

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See Store."""
        if any(commit.namespace == "damaged" for commit in batch):
            raise StoreDamagedError("a page is malformed")
        return super().commit(batch)


@pytest.fixture
async def committer() -> AsyncGenerator[Committer]:
    """A committer that has to stop at the end."""
    counters: dict[str, int] = {"commits": 0, "commit_batches": 0, "records": 0, "store_errors": 0}
    committer = Committer(DamagedInPart(genesis=genesis_hash, epoch=new_epoch()), counters, Measures(), SystemClock())
    yield committer
    async with asyncio.timeout(WITHIN_S):
        await committer.stop()


async def test_an_answer_that_cannot_be_taken_leaves_the_others_and_the_stop_alone(
    committer: Committer, caplog: pytest.LogCaptureFixture
) -> None:
    answered: asyncio.Future[VerdictKind] = asyncio.get_running_loop().create_future()

    def broken(result: Verdict | StoreError) -> None:
        raise ValueError("a defect in one answer")

    def good(result: Verdict | StoreError) -> None:
        assert isinstance(result, Verdict)
        answered.set_result(result.kind)

    committer.enqueue(Commit("default"), broken)
    committer.enqueue(Commit("default"), good)
    async with asyncio.timeout(WITHIN_S):
        assert await answered is VerdictKind.COMMITTED
    assert [record.message for record in caplog.records] == ["answering a commit failed"]


async def test_what_cannot_be_written_for_damage_holds_up_nothing_else(committer: Committer) -> None:
    told: dict[str, Verdict | StoreError] = {}
    for namespace in ("one", "damaged", "other"):
        committer.enqueue(Commit(namespace), lambda result, namespace=namespace: told.update({namespace: result}))
    async with asyncio.timeout(WITHIN_S):
        await committer.drain()
    assert isinstance(told["damaged"], StoreDamagedError)
    for namespace in ("one", "other"):
        verdict = told[namespace]
        assert isinstance(verdict, Verdict), namespace
        assert verdict.kind is VerdictKind.COMMITTED
