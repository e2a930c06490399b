"""A worker that lived through a restore: what it was given in the lost time is not taken for what the restored server
gives out under the same run, step and attempt; with real servers, on every store that keeps data."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure import Client, Workflow
from perdure.v1 import worker_service_pb2 as pb
from tests.acceptance.hand import HandWorker
from tests.e2e.processes import ROOT, Server, running
from tests.e2e.test_backup import perdure
from tests.postgres import binaries, cluster

PAGE = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")

pytestmark = [pytest.mark.promise("P5"), pytest.mark.timeout(120)]

PAYING = Workflow("paying")
PAYING.effect_node("pay", "pay", {}, risk="irreversible", result_key="paid", next="done")
PAYING.complete_node("done", {"paid": "${vars.paid}"})

ACCEPTED, DUPLICATE, STALE = pb.ACK_STATUS_ACCEPTED, pb.ACK_STATUS_DUPLICATE, pb.ACK_STATUS_STALE
HELD, LOST = pb.LEASE_STATE_HELD, pb.LEASE_STATE_LOST


class Files:
    """A store, and how it is copied and brought back while no server runs.

    Args:
        folder: of the test.
        scheme: of the store's URL.
    """

    def __init__(self, folder: Path, scheme: str) -> None:
        self._original, self._copy, self._restored = folder / "original", folder / "copy", folder / "restored"
        self.original = f"{scheme}{self._original}"
        self.restored = f"{scheme}{self._restored}"

    def copy(self) -> None:
        """Copies the original."""
        self._move(self._original, self._copy)

    def bring_back(self) -> None:
        """Puts the copy in place, as it was."""
        self._move(self._copy, self._restored)

    def _move(self, source: Path, target: Path) -> None:
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


class Database(Files):
    """The same for PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "")
        self._names = cluster().new_database(), cluster().new_database()
        self.original, self.restored = (cluster().url(name) for name in self._names)

    def copy(self) -> None:
        """By pg_dump, as the page says."""
        self._run("pg_dump")

    def bring_back(self) -> None:
        """By pg_restore, as the page says."""
        self._run("pg_restore")

    def drop(self) -> None:
        """Removes both databases."""
        for name in self._names:
            cluster().drop_database(name)

    def _run(self, name: str) -> None:
        folder, line = binaries(), re.search(rf"^{name} .*$", PAGE, re.MULTILINE)
        assert folder is not None
        assert line is not None
        command = line[0]
        for shown, meant in (
            ("/backup/perdure.dump", str(self._copy)),
            ("postgresql://perdure@db.example/perdure", self.original),
            ("postgresql://perdure@db.example/restored", self.restored),
        ):
            command = command.replace(shown, meant)
        subprocess.run([str(folder / name), *command.split()[1:]], check=True)


@pytest.fixture(params=["sqlite", "journal", pytest.param("postgres", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    if request.param == "postgres":
        database = Database(tmp_path)
        yield database
        database.drop()
    else:
        yield Files(tmp_path, {"sqlite": "sqlite:///", "journal": "file:"}[request.param])


@asynccontextmanager
async def served(store: str, *, killed: bool = False) -> AsyncGenerator[Client]:
    """A client of a server of its own; `killed`: the server does not end by itself."""
    async with running(await Server.serve(store)) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            yield client
        if not killed:
            assert await server.stop() == 0


async def lost(kept: Files) -> pb.Task:
    """A run is started, the store copied, and the run's task given out; then the store is lost. Returns the task."""
    async with served(kept.original) as client:
        await client.register_workflow(PAYING)
        await client.start_run("paying", {}, run_id="order")
    kept.copy()
    async with served(kept.original, killed=True) as client:
        return await HandWorker(client, "pay", worker_id="early").task()


async def given_again(client: Client, early: pb.Task) -> tuple[HandWorker, HandWorker, pb.Task]:
    """The worker with the early task, another one, and the task that this one gets: the same attempt."""
    late_worker = HandWorker(client, "pay", worker_id="late")
    late = await late_worker.task()
    assert (late.run.run_id, late.step_id, late.attempt) == (early.run.run_id, early.step_id, early.attempt)
    return HandWorker(client, "pay", worker_id="early"), late_worker, late


async def test_what_a_worker_was_given_in_the_lost_time_is_stale(kept: Files) -> None:
    early = await lost(kept)
    kept.bring_back()
    code, told, said = await perdure("restore", "--epoch-only", "--store", kept.restored)
    assert code == 0, said
    async with served(kept.restored) as client:
        assert (await client.get_server_info()).store_epoch == told["epoch"]
        early_worker, late_worker, late = await given_again(client, early)
        assert (await late_worker.begin(late)).status == ACCEPTED
        for ack in (await early_worker.begin(early), await early_worker.report(early, '"twice"')):
            assert (ack.status, ack.reason) == (STALE, "STALE_ATTEMPT")
            assert "before the store was restored" in ack.message
        updates = [await early_worker.renew(early), *await early_worker.reconnect(early)]
        assert [update.state for update in updates] == [LOST, LOST]
        updates = [await late_worker.renew(late), *await late_worker.reconnect(late)]
        assert [update.state for update in updates] == [HELD, HELD]
        assert (await late_worker.report(late, '"once"')).status == ACCEPTED
        assert (await client.wait_run("order", until="ended")).output == {"paid": "once"}
        assert not (await client.audit_all_runs()).findings


async def test_without_another_epoch_it_would_be_executed_twice(kept: Files) -> None:
    """What the new epoch is for."""
    early = await lost(kept)
    kept.bring_back()
    async with served(kept.restored) as client:
        early_worker, late_worker, late = await given_again(client, early)
        assert (await late_worker.begin(late)).status == ACCEPTED
        assert (await early_worker.begin(early)).status == DUPLICATE  # which allows it to act
        assert (await early_worker.report(early, '"twice"')).status == ACCEPTED


async def test_a_copy_that_is_restored_has_another_epoch(tmp_path: Path) -> None:
    kept = Files(tmp_path, "sqlite:///")
    early = await lost(kept)
    code, _, said = await perdure("restore", "--from", str(tmp_path / "copy"), "--store", kept.restored)
    assert code == 0, said
    async with served(kept.restored) as client:
        early_worker, late_worker, late = await given_again(client, early)
        assert (await late_worker.begin(late)).status == ACCEPTED
        assert (await early_worker.begin(early)).status == STALE


async def test_a_store_that_a_server_uses_keeps_its_epoch(kept: Files) -> None:
    async with served(kept.original) as client:
        epoch = (await client.get_server_info()).store_epoch
        code, answer, _ = await perdure("restore", "--epoch-only", "--store", kept.original)
        assert (code, "in use" in answer["error"]["message"]) == (1, True), answer
    async with served(kept.original) as client:
        assert (await client.get_server_info()).store_epoch == epoch


async def test_where_there_is_no_store_none_is_made(kept: Files) -> None:
    for _ in range(2):
        code, answer, _ = await perdure("restore", "--epoch-only", "--store", kept.original)
        assert (code, "there is no" in answer["error"]["message"]) == (1, True), answer
