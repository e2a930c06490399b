"""What a fan-out costs: work that is counted, for each child the same however many there are (P10)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from perdure.v1 import model_pb2
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.engine.cancel_run import cancel_run
from perdure_server.engine.commands import CancelRunCommand
from perdure_server.engine.errors import StoreUnavailableError
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import ChildEndSeen
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import RunState, RunStatus
from perdure_server.kernel.records import RecordKind
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import Commit, DueWork, RunKey, StoreError, Verdict, VerdictKind
from tests.dispatch.rig import Rig, open_rig

pytestmark = pytest.mark.promise("P10")


def each(leaf: model_pb2.NodeSpec, at_once: int) -> model_pb2.WorkflowSpec:
    """A run per item, `at_once` of them at a time."""
    foreach = model_pb2.ForeachSpec(items="vars.items", entry_node="leaf", max_concurrency=at_once)
    node = model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_FOREACH, foreach=foreach, result_key="all", next="done")
    done = model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json='{"all":"${vars.all}"}')
    return model_pb2.WorkflowSpec(
        workflow_id="each", entry_node="each", nodes={"each": node, "leaf": leaf, "done": done}
    )


COMPLETE = model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json='{"n":"${vars.item}"}')
ASK = model_pb2.NodeSpec(
    kind=model_pb2.NODE_KIND_EFFECT, template_json='{"type":"ask_user","payload":{"prompt":"?"}}', result_key="a"
)


@dataclass
class Work:
    """What the parent's commits were, and what was read to find work."""

    commits: int = 0
    records: list[int] = field(default_factory=list[int])
    mail: list[int] = field(default_factory=list[int])
    ends: int = 0
    keyframes: int = 0
    mail_read: int = 0


def watch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts from here on."""
    work, commit, due_work = Work(), rig.store.commit, rig.store.due_work

    def counted(batch: list[Commit]) -> list[Verdict]:
        for each_commit in batch:
            if each_commit.key == RunKey("default", "p"):
                work.commits += 1
                work.records.append(len(each_commit.records))
                work.ends += sum(record.kind == RecordKind.CHILD_ENDED for record in each_commit.records)
                work.keyframes += each_commit.keyframe is not None
                work.mail.append(len(each_commit.mail))
        return commit(batch)

    def read(now: int, lease_now: int, limit: int) -> DueWork:
        found = due_work(now, lease_now, limit)
        work.mail_read += len(found.mail)
        return found

    monkeypatch.setattr(rig.store, "commit", counted)
    monkeypatch.setattr(rig.store, "due_work", read)
    return work


async def fan_out(
    count: int, at_once: int, monkeypatch: pytest.MonkeyPatch, limits: Limits = DEFAULT_LIMITS
) -> tuple[Work, RunState]:
    """All items of a foreach; the work and the run."""
    async with open_rig(limits) as rig:
        await rig.register(each(COMPLETE, at_once))
        work = watch(rig, monkeypatch)
        await rig.start("each", "p", {"items": list(range(count))})
        await rig.settle()
        return work, await rig.run("p")


@pytest.mark.parametrize(("count", "at_once"), [(200, 200), (600, 600), (600, 100)])
async def test_a_commit_takes_the_ends_of_many_items(count: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    work, run = await fan_out(count, at_once, monkeypatch)
    assert run.status is RunStatus.COMPLETED
    assert run.output is not None
    assert run.output.value == {"all": [{"n": number} for number in range(count)]}
    assert work.ends == count, "each is a record"
    assert work.commits <= count / 10 + 5, "a commit for each end would be as many as there are items"
    assert max(work.records) <= 64
    assert work.mail_read <= 3 * count, "each message is read a bounded number of times"
    assert work.keyframes <= 2 + count / 300


async def test_keyframes_count_what_a_join_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written after as many bytes as a state takes: for each item a part of one, however many items there are."""
    sizes: list[int] = []
    encode_state = EngineCodec.encode_state

    def counted(codec: EngineCodec, run: RunState) -> bytes:
        sizes.append(len(encode_state(codec, run)))
        return encode_state(codec, run)

    monkeypatch.setattr(EngineCodec, "encode_state", counted)
    spent: list[float] = []
    for count in (200, 800):
        sizes.clear()
        await fan_out(count, count, monkeypatch, Limits(keyframe_records=16))
        spent.append(sum(sizes) / count)
    assert min(spent) > 0, "there are some"
    assert spent[1] < 2 * spent[0], f"bytes of keyframes for an item grow with their number: {spent}"


async def test_a_cancel_of_a_wide_join_is_one_commit_and_its_messages_are_consumed_many_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_rig() as rig:
        await rig.register(each(ASK, 400))
        await rig.start("each", "p", {"items": list(range(400))})
        await rig.settle()
        children = list((await rig.run("p")).children)
        work = watch(rig, monkeypatch)
        await cancel_run(rig.engine, CancelRunCommand(RunKey("default", "p")))
        assert (work.commits, work.mail) == (1, [400])
        await rig.settle()
        assert {(await rig.run(child)).status for child in children} == {RunStatus.CANCELLED}
        assert work.commits <= 1 + 400 / 10, "ends that an ended run does not take cost no commit each"
        assert (await rig.engine.read(rig.store.due_work, rig.clock.now(), 0, 100)).mail == ()


def stumble(rig: Rig, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """What the parent's next commit but one meets."""
    commit, seen = rig.store.commit, 0

    def tried(batch: list[Commit]) -> list[Verdict]:
        nonlocal seen
        seen += 1
        if seen == 2 and trouble == "conflict":
            return [Verdict(VerdictKind.CONFLICT) for _ in batch]
        if seen == 2 and trouble == "failure":
            raise StoreError("no")
        return commit(batch)

    monkeypatch.setattr(rig.store, "commit", tried)


@pytest.mark.promise("P1", "P6")
@pytest.mark.parametrize("trouble", ["none", "conflict", "failure"])
async def test_of_ends_that_are_taken_together_each_has_its_own_answer(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig() as rig:
        await rig.register(each(ASK, 3))
        await rig.start("each", "p", {"items": ["x", "y", "z"]})
        await rig.settle()
        first, second, third = list((await rig.run("p")).children)
        stumble(rig, monkeypatch, trouble)
        key, output = RunKey("default", "p"), Leaf(b"1")
        told = [
            rig.engine.submit_nowait(key, ChildEndSeen(child, RunStatus.COMPLETED, output))
            for child in (first, second, second, "nobody", third)
        ]
        answers = await asyncio.gather(*told, return_exceptions=True)
        run = await rig.run("p")
        if trouble == "failure":
            assert isinstance(answers[0], Outcome)
            assert [type(answer) for answer in answers[1:]] == [StoreUnavailableError] * 4
            assert list(run.children) == [second, third]
            return
        assert [isinstance(answers[number], Outcome) for number in (0, 1, 4)] == [True] * 3
        refused = [answer.reason for answer in answers[2:4] if isinstance(answer, Rejection)]
        assert refused == [Reason.NOT_DUE] * 2
        assert run.output is not None
        assert run.output.value == {"all": [1, 1, 1]}
        assert rig.engine.counters["conflicts"] == (trouble == "conflict")
