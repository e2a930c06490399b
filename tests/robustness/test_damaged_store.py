"""A file that cannot be read or written: refused with what to do, or contained in the runs that it concerns."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from perdure import CallRetryPolicy, Client, PerdureError, Workflow
from tests.e2e.processes import run_perdure
from tests.postgres import cluster
from tests.robustness.server_process import Servers
from tests.robustness.sqlite_damage import damage_page

RUNS = 60
PADDING = "x" * 300
MS_RDONLY = 1
MS_REMOUNT = 32
MNT_DETACH = 2

_LIBC = ctypes.CDLL(None, use_errno=True)


def asking() -> Workflow:
    """A run that waits for a person."""
    workflow = Workflow("asking")
    workflow.effect_node("ask", "ask_user", {"prompt": "?"}, next="done", result_key="answer")
    workflow.complete_node("done", {"answer": "${vars.answer}"})
    return workflow


async def answer_all(client: Client) -> Counter[str]:
    """Answers every run; how often each reason was given, "" for those that completed."""
    told: Counter[str] = Counter()
    messages: list[str] = []
    for number in range(RUNS):
        try:
            await client.resume_run(f"run-{number}", "yes", any_wait=True)
            told[""] += 1
        except PerdureError as error:
            told[error.reason] += 1
            messages.append(str(error))
    assert not [text for text in messages if "SELECT" in text or "perdure.db" in text], "clients are told of the inside"
    return told


async def prepare(servers: Servers) -> Path:
    """A store in which runs wait, and nobody who has it open."""
    server = await servers.start()
    async with Client.connect(server.address) as client:
        await client.register_workflow(asking())
        for number in range(RUNS):
            await client.start("asking", {"padding": PADDING}, run_id=f"run-{number}")
    await server.stop()
    return servers.directory / "perdure.db"


@pytest.mark.promise("P7")
@pytest.mark.parametrize("filling", [0, 255])
async def test_a_damaged_page_concerns_its_runs_only(servers: Servers, filling: int) -> None:
    """They say so, for good; the others go on, new ones start, and the audit and `perdure doctor` name them."""
    damage_page(await prepare(servers), "records", filling)
    server = await servers.start()
    assert server.is_alive, server.tail()
    async with Client.connect(server.address, retry=CallRetryPolicy(max_attempts=1)) as client:
        told = await answer_all(client)
        assert set(told) == {"", "STORE_DAMAGED"}, told
        assert told[""] >= 1
        assert (await client.start("asking", run_id="later")).run_id == "later"
        found = {finding.run_id for finding in (await client.audit_all_runs()).findings if finding.kind == "UNREADABLE"}
        assert len(found) >= told["STORE_DAMAGED"]
        assert (await client.get_server_info()).server_version
    doctor = await run_perdure("doctor", address=server.address)
    assert await doctor.ended() == 1
    assert [line for line in doctor.lines if "UNREADABLE" in line]
    assert server.is_alive


@pytest.mark.parametrize("table", ["keyframes", "tasks", "timers", "mail", "events", "requests"])
async def test_a_table_that_cannot_be_read_at_all_is_told_or_refused(servers: Servers, table: str) -> None:
    """Whatever needs it says so; the server does not end, or does not begin, and nothing is done by halves."""
    damage_page(await prepare(servers), table, 255)
    server = await servers.start()
    if not server.is_alive:
        assert "malformed" in server.tail()
        assert "Traceback" not in server.tail()
        return
    async with Client.connect(server.address, retry=CallRetryPolicy(max_attempts=1)) as client:
        told = await answer_all(client)
        assert set(told) <= {"", "STORE_DAMAGED"}, told
        assert (await client.get_server_info()).server_version
    assert server.is_alive


_DAMAGED_FOR_ONE = """
    CREATE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'invalid page in block 7' USING ERRCODE = 'index_corrupted'; END $$;
    CREATE TRIGGER damaged BEFORE INSERT ON runs FOR EACH ROW WHEN (NEW.run_id = 'run-7') EXECUTE FUNCTION damaged()
"""


@pytest.mark.postgres
@pytest.mark.promise("P7")
async def test_damage_that_a_commit_meets_on_postgresql_is_nobody_elses(servers: Servers) -> None:
    """Starts share transactions; the one that cannot be written says so, and no other one hears of it."""
    database = cluster().new_database()
    server = await servers.start({"store": cluster().url(database)})
    async with Client.connect(server.address, retry=CallRetryPolicy(max_attempts=1)) as client:
        await client.register_workflow(asking())
        with psycopg.connect(cluster().url(database)) as connection:
            connection.execute(_DAMAGED_FOR_ONE)
        starts = (client.start("asking", run_id=f"run-{number}") for number in range(RUNS))
        told = await asyncio.gather(*starts, return_exceptions=True)
        refused = {number: error for number, error in enumerate(told) if isinstance(error, BaseException)}
        assert refused.keys() == {7}
        assert isinstance(refused[7], PerdureError)
        assert refused[7].reason == "STORE_DAMAGED"
        assert await answer_all(client) == Counter({"": RUNS - 1, "RUN_NOT_FOUND": 1})


@pytest.fixture
def read_only(tmp_path: Path) -> Generator[Path]:
    """A folder on a file system that takes no writes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if _LIBC.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")
    assert _LIBC.mount(b"tmpfs", bytes(folder), b"tmpfs", MS_REMOUNT | MS_RDONLY, b"") == 0
    yield folder
    _LIBC.umount2(bytes(folder), MNT_DETACH)


async def test_a_file_that_cannot_be_written_is_refused_with_what_to_do(servers: Servers, read_only: Path) -> None:
    server = await servers.start({"store": f"sqlite:///{read_only}/perdure.db"})
    assert await asyncio.shield(server.exited) != 0
    assert "Read-only file system" in server.tail()
    assert "must be there, and be writable" in server.tail()
    assert "Traceback" not in server.tail()
