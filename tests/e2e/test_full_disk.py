"""A disk that is full: every write is refused with a reason, probes are told, and nothing that was acknowledged is
lost; with room again the server goes on by itself. A PostgreSQL whose log has no room left ends itself, and has to be
started again by somebody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perdure import CallRetryPolicy, Client, PerdureError, Workflow
from perdure.errors import Unavailable
from tests.e2e.processes import Server, running
from tests.e2e.small_disk import MIB, SmallDisk
from tests.postgres import Cluster

pytestmark = pytest.mark.promise("P2")

ROOM = 2 * MIB
PADDING = {"padding": Random(1).randbytes(25_000).hex()}
"""Which no store makes smaller."""

WITHIN_S = 90.0
_HEALTH: Any = health_pb2_grpc  # its stubs have no types


@pytest.fixture
def disk() -> Generator[SmallDisk]:
    """Where the store is."""
    with SmallDisk.mounted() as mounted:
        yield mounted


@contextmanager
def cluster_on(data: Path | None = None, wal: Path | None = None) -> Generator[Cluster]:
    """A PostgreSQL with its data or its log on a disk. It writes its log when somebody waits for it, not before."""
    cluster = Cluster(data=data, wal=wal, wal_writer_delay="10s")
    try:
        yield cluster
    finally:
        cluster.remove()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a full disk made of a server.

    Args:
        acknowledged: runs whose start was.
        kept: runs that the store has, once there is room again.
        error: what the first caller was told who got no more room.
        said: lines of the server.
    """

    acknowledged: set[str]
    kept: set[str]
    error: PerdureError
    said: list[str]


async def fill(disk: SmallDisk, store: str, repair: Callable[[], object] = lambda: None, defect: str = "") -> Outcome:
    """Fills the disk until a start is refused, makes room, and sends the same start again.

    Args:
        repair: what else somebody has to do.
        defect: see Server.serve.
    """
    server = await Server.serve(store, defect=defect)
    at_once = CallRetryPolicy(max_attempts=1)
    async with (
        asyncio.timeout(WITHIN_S),
        running(server),
        Client.connect(server.address, retry=at_once) as client,
        Client.connect(server.address) as patient,
    ):
        asking = Workflow("asking")
        asking.effect_node("ask", "ask_user", {"prompt": "Go on?"})
        await client.register_workflow(asking)
        disk.leave(ROOM)
        started, error = await _start_until_refused(client)
        await _readiness(server.address, health_pb2.HealthCheckResponse.NOT_SERVING)
        disk.make_room()
        await asyncio.to_thread(repair)
        await _start(patient, len(started))
        await _readiness(server.address, health_pb2.HealthCheckResponse.SERVING)
        kept = {run.run_id for run in await patient.list_runs().all()}
        assert list((await patient.audit_all_runs()).findings) == []
        assert await server.stop() == 0
    return Outcome({*started, f"run-{len(started)}"}, kept, error, server.lines)


async def _start(client: Client, number: int) -> str:
    """Starts a run and returns its id; the same call each time."""
    run_id = f"run-{number}"
    await client.start("asking", PADDING, run_id=run_id, request_id=f"start-{run_id}")
    return run_id


async def _start_until_refused(client: Client) -> tuple[list[str], PerdureError]:
    """Ids of the runs that were started, and what the next one was told."""
    started: list[str] = []
    for number in range(400):
        try:
            started.append(await _start(client, number))
        except PerdureError as error:
            return started, error
    raise AssertionError("the disk never came to its end")


async def _readiness(address: str, wanted: int) -> None:
    """Returns when a probe that watches is told so."""
    async with grpc.aio.insecure_channel(address) as channel:
        watch = _HEALTH.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        async for told in watch:
            if told.status == wanted:
                watch.cancel()
                return


def expect_sound(outcome: Outcome) -> None:
    """Callers were told what to do, and what was acknowledged is there, no more and no less."""
    assert len(outcome.acknowledged) > 5
    assert isinstance(outcome.error, Unavailable)
    assert (outcome.error.reason, outcome.error.retry_after) == ("STORE_UNAVAILABLE", 1.0)
    assert "\n" not in outcome.error.message
    assert outcome.kept == outcome.acknowledged


def expect_quiet(outcome: Outcome) -> None:
    """It was said once that writes are refused, and once that they are taken again."""
    assert len([line for line in outcome.said if "the store refuses writes" in line]) == 1
    assert len([line for line in outcome.said if "the store takes writes again" in line]) == 1
    assert not [line for line in outcome.said if "Traceback" in line]


@pytest.mark.parametrize("store", ["sqlite:///{}/perdure.db", "file:{}/journal"])
async def test_a_full_disk_is_told_to_callers_and_probes_and_loses_nothing(disk: SmallDisk, store: str) -> None:
    outcome = await fill(disk, store.format(disk.folder))
    expect_sound(outcome)
    expect_quiet(outcome)


@pytest.mark.postgres
async def test_a_database_without_room_for_data_is_the_same(disk: SmallDisk) -> None:
    with cluster_on(data=disk.folder / "data") as cluster:
        outcome = await fill(disk, cluster.url(cluster.new_database()))
        assert "No space left on device" in cluster.log
        assert "PANIC" not in cluster.log
    expect_sound(outcome)
    expect_quiet(outcome)


@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_a_database_without_room_for_its_log_ends_itself_and_loses_nothing(disk: SmallDisk) -> None:
    with cluster_on(wal=disk.folder / "wal") as cluster:
        outcome = await fill(disk, cluster.url(cluster.new_database()), lambda: start_again(cluster))
    expect_sound(outcome)


@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_what_was_acknowledged_before_it_was_in_the_log_is_lost(disk: SmallDisk) -> None:
    """What the test above shows would not hold by itself."""
    with cluster_on(wal=disk.folder / "wal") as cluster:
        store = cluster.url(cluster.new_database())
        outcome = await fill(disk, store, lambda: start_again(cluster), defect="unsynced")
    assert outcome.acknowledged > outcome.kept


def start_again(cluster: Cluster) -> None:
    """As its operator would."""
    assert "PANIC" in cluster.log
    cluster.restart("immediate")
