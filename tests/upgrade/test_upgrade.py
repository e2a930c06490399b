"""The last release's data goes on under this server, and its clients work against it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from perdure import Client
from perdure.ledger import LedgerScope
from perdure.subscription import SubscribeOptions
from perdure.v1 import worker_service_pb2 as pb
from perdure_server.api.codec.tokens import encode_token
from perdure_server.dispatch.messages import TaskToken
from perdure_server.storage.sql.migrate import REVISIONS
from tests.acceptance.hand import HandWorker
from tests.e2e.processes import Program, ProgramError, Server, running
from tests.e2e.test_backup import perdure
from tests.upgrade.live_data import ACTIVITIES, activities, audited, finish, make, workflows
from tests.upgrade.release import Release

pytestmark = [pytest.mark.promise("P2", "P6", "P7"), pytest.mark.timeout(300)]

HERE = Path(__file__).parent


def revision(store: Path) -> str:
    """The schema of a file that nobody has open."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


async def left_behind(release: Release, store: Path, how: str) -> str:
    """Live data in a file that the release's server wrote; returns a cursor that it gave for all of it."""
    async with running(await release.serve(store)) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            await make(client)
            assert await activities(client) == ACTIVITIES
            cursor = await read_all(client)
        if how == "kill":
            await server.kill()
        else:
            assert await server.stop() == 0
    return cursor


def reading(after: str) -> SubscribeOptions:
    """All that there is, or what came after a cursor."""
    if after:
        return {"after_cursor": after, "stop_when_caught_up": True}
    return {"start": "beginning", "stop_when_caught_up": True}


async def read_all(client: Client, after: str = "") -> str:
    """Reads the ledger to its end; returns the cursor."""
    async with client.subscribe(LedgerScope.all(), **reading(after)) as entries:
        async for _ in entries:
            pass
        return entries.cursor


async def test_the_release_is_what_runs_here(release: Release) -> None:
    for module in ("perdure", "perdure_server"):
        assert (await release.where(module)).is_relative_to(release.folder)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_every_run_goes_on_under_this_server(release: Release, tmp_path: Path, how: str) -> None:
    store = tmp_path / "perdure.db"
    cursor = await left_behind(release, store, how)
    assert revision(store) in REVISIONS
    async with running(await Server.serve(f"sqlite:///{store}", "--lease-seconds", "1")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            checked = await audited(client)
            assert checked == len(ACTIVITIES) + 1  # and a child
            await finish(client)
            assert await audited(client) >= checked
            assert await read_all(client, cursor) != cursor
        assert await server.stop() == 0
    assert revision(store) == REVISIONS[-1]


@pytest.mark.promise("P5")
@pytest.mark.parametrize("restored", [False, True], ids=["upgraded", "restored"])
async def test_a_worker_that_held_a_task_over_the_upgrade_reports_it_unless_the_store_was_restored(
    release: Release, tmp_path: Path, restored: bool
) -> None:
    store = tmp_path / "perdure.db"
    async with running(await release.serve(store)) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            for workflow in workflows():
                await client.register_workflow(workflow)
            await client.start_run("holding", {}, run_id="held")
            task = await HandWorker(client, "hold", worker_id="w").task()
        assert await server.stop() == 0
    if restored:
        code, _, said = await perdure("restore", "--epoch-only", "--store", f"sqlite:///{store}")
        assert code == 0, said
    for starts in (1, 2):  # the second start finds the schema up to date
        async with running(await Server.serve(f"sqlite:///{store}")) as server:
            assert isinstance(server, Server)
            async with Client.connect(server.address) as client:
                worker = HandWorker(client, "hold", worker_id="w")
                updates = [await worker.renew(task), *await worker.reconnect(task)]
                wanted = pb.LEASE_STATE_LOST if restored else pb.LEASE_STATE_HELD
                assert [update.state for update in updates] == [wanted, wanted]
                if starts == 2:
                    ack = await worker.report(task, '"done"')
                    assert ack.status == (pb.ACK_STATUS_STALE if restored else pb.ACK_STATUS_ACCEPTED)
            assert await server.stop() == 0


async def test_a_store_of_this_version_takes_no_token_without_an_epoch(tmp_path: Path) -> None:
    async with running(await Server.serve(f"sqlite:///{tmp_path / 'perdure.db'}")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            for workflow in workflows():
                await client.register_workflow(workflow)
            await client.start_run("holding", {}, run_id="held")
            worker = HandWorker(client, "hold", worker_id="w")
            task = await worker.task()
            old = pb.Task(task_token=encode_token(TaskToken("default", "held", task.step_id, task.attempt)))
            assert (await worker.report(old, '"done"')).status == pb.ACK_STATUS_STALE
            assert (await worker.report(task, '"done"')).status == pb.ACK_STATUS_ACCEPTED
        assert await server.stop() == 0


async def test_a_migration_that_is_killed_anywhere_is_made_whole_by_the_next_start(
    release: Release, tmp_path: Path
) -> None:
    store = tmp_path / "perdure.db"
    await left_behind(release, store, "stop")
    before = revision(store)
    for statement in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144):
        program = await Program.start(
            "migration", sys.executable, "-m", "tests.upgrade.killed_migration", str(store), str(statement)
        )
        code = await program.ended()
        if code == 0:
            break
        assert code == -signal.SIGKILL, program.lines
        assert revision(store) == before
    assert revision(store) == REVISIONS[-1]
    async with running(await Server.serve(f"sqlite:///{store}", "--lease-seconds", "1")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            await finish(client)
            await audited(client)
        assert await server.stop() == 0


async def test_a_newer_schema_is_refused_by_both_servers(release: Release, tmp_path: Path) -> None:
    store = tmp_path / "perdure.db"
    await left_behind(release, store, "stop")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(ProgramError, match="schema 9999, made by a newer Perdure"):
        await release.serve(store)
    with pytest.raises(ProgramError, match=r"made by a newer Perdure.*restore a copy"):
        await Server.serve(f"sqlite:///{store}")
    assert revision(store) == "9999"


async def test_this_schema_is_refused_by_the_older_server_or_is_its_own(release: Release, tmp_path: Path) -> None:
    store = tmp_path / "perdure.db"
    async with running(await Server.serve(f"sqlite:///{store}")) as server:
        assert await server.stop() == 0
    if revision(store) == "0001":
        async with running(await release.serve(store)) as server:
            assert await server.stop() == 0
    else:
        with pytest.raises(ProgramError, match="made by a newer Perdure"):
            await release.serve(store)


async def test_the_releases_sdk_works_against_this_server(release: Release, tmp_path: Path) -> None:
    async with running(await Server.serve(f"sqlite:///{tmp_path / 'perdure.db'}")) as server:
        assert isinstance(server, Server)
        program = await release.run(HERE / "old_client.py", server.address, str(release.folder / "README.md"))
        assert program.lines == ["{'approved': True}", "well"]
        assert await server.stop() == 0


async def test_the_releases_stubs_work_against_this_server(release: Release, tmp_path: Path) -> None:
    async with running(await Server.serve(f"sqlite:///{tmp_path / 'perdure.db'}")) as server:
        assert isinstance(server, Server)
        async with asyncio.timeout(60):
            program = await release.run(HERE / "old_stubs.py", server.address)
        assert program.lines == ["well"]
        assert await server.stop() == 0
