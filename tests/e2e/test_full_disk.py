"""A disk that is full: every write is refused with a reason, probes are told, and nothing that was acknowledged is
lost; with room again the server goes on by itself."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perdure import CallRetryPolicy, Client, PerdureError, Workflow
from tests.e2e.processes import Server, running

MS_REMOUNT = 32
MNT_DETACH = 2
PADDING = "x" * 50_000
WITHIN_S = 60.0

_LIBC = ctypes.CDLL(None, use_errno=True)
_HEALTH: Any = health_pb2_grpc  # its stubs have no types


def _mount(folder: Path, options: str, flags: int = 0) -> bool:
    return _LIBC.mount(b"tmpfs", bytes(folder), b"tmpfs", flags, options.encode()) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A folder with room for three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not _mount(folder, "size=3m"):
        pytest.skip(f"a small disk cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    _LIBC.umount2(bytes(folder), MNT_DETACH)


async def _start_until_refused(client: Client) -> tuple[list[str], PerdureError]:
    """Ids of the runs that were started, and what the next one was told."""
    started: list[str] = []
    for number in range(200):
        try:
            await client.start("asking", {"padding": PADDING}, run_id=f"run-{number}")
        except PerdureError as error:
            return started, error
        started.append(f"run-{number}")
    raise AssertionError("the disk never came to its end")


async def _readiness(address: str, wanted: int) -> None:
    """Returns when a probe that watches is told so."""
    async with grpc.aio.insecure_channel(address) as channel:
        watch = _HEALTH.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        async for told in watch:
            if told.status == wanted:
                watch.cancel()
                return


@pytest.mark.promise("P2")
@pytest.mark.parametrize("store", ["sqlite:///{}/perdure.db", "file:{}/journal"])
async def test_a_full_disk_is_told_to_callers_and_probes_and_loses_nothing(small_disk: Path, store: str) -> None:
    server = await Server.serve(store.format(small_disk))
    at_once = CallRetryPolicy(max_attempts=1)
    async with asyncio.timeout(WITHIN_S), running(server), Client.connect(server.address, retry=at_once) as client:
        asking = Workflow("asking")
        asking.effect_node("ask", "ask_user", {"prompt": "Go on?"})
        await client.register_workflow(asking)
        started, error = await _start_until_refused(client)
        assert len(started) > 5
        assert error.reason == "STORE_UNAVAILABLE"
        await _readiness(server.address, health_pb2.HealthCheckResponse.NOT_SERVING)

        assert _mount(small_disk, "size=64m", MS_REMOUNT), "somebody makes room"
        await client.start("asking", {"padding": PADDING}, run_id="after")
        await _readiness(server.address, health_pb2.HealthCheckResponse.SERVING)
        found = {run.run_id for run in await client.list_runs().all()}
        assert found == {*started, "after"}
        assert list((await client.audit_all_runs()).findings) == []
        assert await server.stop() == 0
    assert len([line for line in server.lines if "the store refuses writes" in line]) == 1
    assert len([line for line in server.lines if "the store takes writes again" in line]) == 1
    assert not [line for line in server.lines if "Traceback" in line]
