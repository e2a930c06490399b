"""Scenarios G, as far as they are here: run queries, the ledger's cursor, its hash chain."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing

import pytest

from perdure import Client, LedgerEntry, LedgerScope, RunFilter, RunHandle, Workflow
from tests.acceptance.differences import differs
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Scene, asking, listening

APPENDERS = 8


@differs("lists-by-creation")
async def test_scenario_66_runs_are_listed_by_what_they_are(scene: Scene) -> None:
    spawning = Workflow("spawning")
    spawning.effect_node("spawn", "start_subworkflow", {"workflow_id": "asking"}, next="end")
    spawning.complete_node("end")
    await scene.register(asking(), listening(), spawning)
    asked = await scene.start("asking", session_id="S")
    listens = await scene.start("listening", session_id="S")
    spawns = await scene.start("spawning", session_id="T")
    for run in (asked, listens, spawns):
        await scene.waiting(run)
    child = (await scene.waiting(spawns)).child_run_id
    await asked.resume("y", any_wait=True)
    await scene.ended(asked)

    async def listed(filter: RunFilter) -> list[str]:
        return [run.run_id for run in await scene.client.list_runs(filter).all()]

    newest_first = [child, spawns.run_id, listens.run_id, asked.run_id]
    assert sorted(await listed(RunFilter())) == sorted(newest_first)
    assert await listed(RunFilter(statuses=["completed"])) == [asked.run_id]
    assert set(await listed(RunFilter(statuses=["waiting"]))) == {child, spawns.run_id, listens.run_id}
    assert await listed(RunFilter(wait_reason="event")) == [listens.run_id]
    assert await listed(RunFilter(wait_reason="subworkflow")) == [spawns.run_id]
    assert await listed(RunFilter(workflow_id="asking")) == [child, asked.run_id]
    assert await listed(RunFilter(session_id="S")) == [listens.run_id, asked.run_id]
    assert await listed(RunFilter(session_id="T", roots_only=True)) == [spawns.run_id]
    assert await listed(RunFilter(roots_only=True)) == [spawns.run_id, listens.run_id, asked.run_id]
    page = await scene.client.list_runs(RunFilter(roots_only=True), page_size=2).page()
    assert [run.run_id for run in page.items] == [spawns.run_id, listens.run_id]
    assert page.next_page_token


@pytest.mark.promise("P8")
async def test_scenario_67_a_cursor_goes_on_where_it_stopped_also_in_another_process(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    first = await scene.records(run)
    for after in range(len(first) + 1):
        rest = await run.ledger(after_seq=after).all()
        assert [entry.seq for entry in rest] == list(range(after + 1, len(first) + 1))
    page = await scene.client.list_records(run.run_id, page_size=2).page()
    assert [entry.seq for entry in page.items] == [1, 2]
    async with scene.client.subscribe(LedgerScope.all(), stop_when_caught_up=True) as following:
        seen = [entry async for entry in following]
    assert [entry.seq for entry in seen] == [entry.seq for entry in first]
    assert len(seen) == (await run.state()).seq
    await lives.kill()
    after_kill = await lives.begin()
    again = after_kill.client.run(run.run_id)
    next_page = await after_kill.client.list_records(run.run_id, page_size=2).page(page.next_page_token)
    assert next_page.items[0].seq == 3
    await again.resume("y", any_wait=True)
    await after_kill.ended(again)
    async with after_kill.client.subscribe(
        LedgerScope.all(), after_cursor=following.cursor, stop_when_caught_up=True
    ) as going_on:
        rest = [entry async for entry in going_on]
    assert [entry.seq for entry in seen + rest] == list(range(1, (await again.state()).seq + 1))


@pytest.mark.promise("P1", "P8")
async def test_scenario_67_eight_appenders_of_one_run_leave_no_gap(scene: Scene, address: str) -> None:
    await scene.register(asking())
    run = await scene.start("asking")
    await scene.waiting(run)
    before = (await run.state()).seq
    replies: list[int] = []

    async def append() -> None:
        async with Client.connect(address, namespace=scene.namespace) as client:
            own = client.run(run.run_id)
            for _ in range(10):
                replies.append((await own.pause()).seq)
                replies.append((await own.unpause()).seq)

    await asyncio.gather(*(append() for _ in range(APPENDERS)))
    records = await scene.records(run)
    assert [entry.seq for entry in records] == list(range(1, len(records) + 1))
    kinds = [str(entry.kind) for entry in records[before:]]
    assert kinds == ["paused", "unpaused"] * (len(kinds) // 2)
    assert len(records) == (await run.state()).seq >= max(replies)
    assert [entry.position for entry in records] == sorted({entry.position for entry in records})


def genesis(namespace: str, run_id: str) -> bytes:
    """The hash before a run's first record."""
    digest = hashlib.sha256()
    for part in (b"perdure/run/v1", namespace.encode(), run_id.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def check_chain(namespace: str, entries: list[LedgerEntry]) -> bytes:
    """Recomputes the chain as the contract tells; returns the last hash."""
    last = genesis(namespace, entries[0].run_id)
    for entry in entries:
        assert entry.prev_hash == last
        last = hashlib.sha256(b"perdure/record/v1" + last + entry.record_bytes).digest()
        assert entry.record_hash == last
    return last


@pytest.mark.promise("P9")
@differs("chain-format")
async def test_scenario_69_the_chain_holds_over_the_stored_bytes(scene: Scene) -> None:
    run = await _ended(scene)
    entries = await run.ledger(view="record_bytes").all()
    state, verified = await run.state(), await scene.client.verify_run(run.run_id)
    assert check_chain(scene.namespace, entries) == state.head_hash == verified.head_hash
    assert (verified.intact, verified.seq, verified.first_bad_seq) == (True, len(entries), 0)


@pytest.mark.promise("P9")
@differs("chain-format")
async def test_scenario_69_an_altered_row_is_reported_by_its_number_the_first_too(lives: Lives) -> None:
    scene = await lives.begin()
    runs = [await _ended(scene)]
    length = (await runs[0].state()).seq
    runs += [await _ended(scene) for _ in range(length + 2)]
    await lives.kill()
    by_record, forged, dropped, intact = runs[:length], runs[length], runs[length + 1], runs[length + 2]
    with closing(sqlite3.connect(lives.store)) as store, store:
        for seq, run in enumerate(by_record, start=1):
            _edit(store, run, seq, "record = CAST(record || x'1a00' AS BLOB)")
        _edit(store, forged, 2, "record_hash = zeroblob(32)")
        with pytest.raises(sqlite3.IntegrityError):
            _edit(store, forged, 2, "record_hash = x''")
        store.execute(f"DELETE FROM records WHERE seq = 3 AND run_no = {_RUN_NO}", (dropped.run_id,))
    after = await lives.begin()
    expected = {run.run_id: seq for seq, run in enumerate(by_record, start=1)}
    expected |= {forged.run_id: 2, dropped.run_id: 3, intact.run_id: 0}
    found = {run.run_id: await after.client.verify_run(run.run_id) for run in runs}
    assert {run_id: each.first_bad_seq for run_id, each in found.items()} == expected
    assert {run_id for run_id, each in found.items() if each.intact} == {intact.run_id}
    assert all(bool(each.problem) != each.intact for each in found.values())


_RUN_NO = "(SELECT run_no FROM runs WHERE run_id = ?)"


def _edit(store: sqlite3.Connection, run: RunHandle, seq: int, change: str) -> None:
    done = store.execute(f"UPDATE records SET {change} WHERE seq = {seq} AND run_no = {_RUN_NO}", (run.run_id,))
    assert done.rowcount == 1


async def _ended(scene: Scene) -> RunHandle:
    """A run with an answer and an end."""
    await scene.register(asking())
    run = await scene.start("asking", {"order": 7})
    await run.resume("y", wait_id=(await scene.waiting(run)).wait_id)
    await scene.ended(run)
    return run
