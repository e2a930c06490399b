"""The baseline does what its figures say: every step on disk, in order, by few transactions."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench.processes import SyncTrace
from tests.bench.skeleton_subject import SkeletonSubject
from tests.bench.subject import STEPS_PER_RUN
from tests.bench.workloads import Cell, LoadDriver


@pytest.fixture
async def skeleton(tmp_path: Path) -> AsyncIterator[SkeletonSubject]:
    subject = SkeletonSubject()
    await subject.start(tmp_path)
    try:
        yield subject
    finally:
        await subject.stop()


@pytest.mark.parametrize("workload", ["W1", "W1s"])
async def test_each_result_is_on_disk_in_order(skeleton: SkeletonSubject, tmp_path: Path, workload: str) -> None:
    runs = 24
    assert await LoadDriver(skeleton).exactly(Cell(workload, 8), runs) == runs * STEPS_PER_RUN
    counters = await skeleton.counters()
    assert counters.commits == runs * (STEPS_PER_RUN + 1)
    assert counters.transactions < counters.commits

    facts = read_facts(tmp_path / "skeleton.db")
    by_run: dict[str, list[tuple[str, str]]] = {}
    for run_id, node, body in facts:
        by_run.setdefault(run_id, []).append((node, body))
    assert len(by_run) == runs
    for rows in by_run.values():
        assert [node for node, _ in rows] == ["start", *(f"step-{n}" for n in range(STEPS_PER_RUN))]
        assert {len(body) for _, body in rows[1:]} == {64}


async def test_a_waiting_run_is_two_commits(skeleton: SkeletonSubject, tmp_path: Path) -> None:
    legs = await skeleton.waiting_run("run-1")
    assert legs.start_s > 0
    assert legs.resume_s > 0
    assert (await skeleton.counters()).commits == 2
    assert len(read_facts(tmp_path / "skeleton.db")) == 2


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace counts the sync calls")
async def test_every_transaction_is_flushed(skeleton: SkeletonSubject, tmp_path: Path) -> None:
    trace = await SyncTrace.attach(skeleton.server_pid(), tmp_path)
    before = await skeleton.counters()
    await LoadDriver(skeleton).exactly(Cell("W1", 4), 8)
    after = await skeleton.counters()
    assert await trace.detach() >= after.transactions - before.transactions > 0


async def test_a_sample_counts_whole_runs(skeleton: SkeletonSubject) -> None:
    sample = await LoadDriver(skeleton).sample(Cell("W1", 4), warm_up_s=0.0, seconds=0.05)
    assert sample.runs >= 4
    assert sample.steps == sample.runs * STEPS_PER_RUN
    assert sample.commits == sample.runs * (STEPS_PER_RUN + 1)
    assert len(sample.latencies_s["run"]) == sample.runs


def read_facts(path: Path) -> list[tuple[str, str, str]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute("SELECT run_id, node, body FROM facts ORDER BY position").fetchall()
    finally:
        database.close()
