"""`perdure backup` under load and `perdure restore`, with real servers: nothing acknowledged is missing, and nobody
takes the restored data for the lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, EffectContext, Worker, Workflow
from perdure.errors import PerdureError
from perdure.json_text import JsonObject
from perdure.ledger import LedgerScope
from tests.e2e.processes import PERDURE, Program, Server, running

pytestmark = pytest.mark.promise("P2", "P8")

ASKING = Workflow("asking")
ASKING.effect_node("ask", "ask_user", {"prompt": "Go on?"}, result_key="answer", next="tell")
ASKING.effect_node("tell", "answer_user", {"message": "${vars.answer}"}, next="done")
ASKING.complete_node("done", {"answer": "${vars.answer}"})

WORKING = Workflow("working")
WORKING.effect_node("work", "work", {}, next="done")
WORKING.complete_node("done")


class Load:
    """Starts and resumes runs until it is cancelled, and knows what it was told is done."""

    def __init__(self, client: Client) -> None:
        self.acknowledged: dict[str, int] = {}
        self._client = client
        self._numbers = itertools.count()
        self._enough = asyncio.Condition()

    async def loop(self) -> None:
        while True:
            run_id = f"run-{next(self._numbers):06}"
            started = await self._client.start_run("asking", {"note": "x" * 2_000}, run_id=run_id)
            await self._note(run_id, started.seq)
            resumed = await self._client.resume_run(run_id, "yes", any_wait=True)
            await self._note(run_id, resumed.seq)

    async def reached(self, runs: int) -> None:
        """Returns when so many runs are known to have started."""
        async with self._enough:
            await self._enough.wait_for(lambda: len(self.acknowledged) >= runs)

    async def _note(self, run_id: str, seq: int) -> None:
        async with self._enough:
            self.acknowledged[run_id] = seq
            self._enough.notify_all()


@asynccontextmanager
async def under_load(client: Client, loops: int = 8) -> AsyncGenerator[Load]:
    load = Load(client)
    tasks = [asyncio.create_task(load.loop()) for _ in range(loops)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def perdure(*arguments: str) -> tuple[int, Any, str]:
    """Runs a command under --json; its code, the object it printed, and all it said."""
    program = await Program.start("perdure", *PERDURE, *arguments, "--json")
    code = await program.ended()
    said = "\n".join(program.lines)
    return code, json.loads(program.lines[-1]) if program.lines else None, said


async def test_a_copy_taken_under_load_holds_what_was_acknowledged_before(tmp_path: Path) -> None:
    original, copy, restored = (tmp_path / name for name in ("live.db", "copy.db", "restored.db"))
    async with running(await Server.serve(f"sqlite:///{original}")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            await client.register_workflow(ASKING)
            async with under_load(client) as load:
                await load.reached(120)
                before = dict(load.acknowledged)
                code, taken, said = await perdure("backup", "--store", f"sqlite:///{original}", "--to", str(copy))
                assert code == 0, said
                await load.reached(len(load.acknowledged) + 50)
            async with client.subscribe(LedgerScope.all(), start="beginning", stop_when_caught_up=True) as seen:
                async for _ in seen:
                    pass
                cursor = seen.cursor
        assert await server.stop() == 0
    assert taken["runs"] >= len(before)
    assert files_of(copy) == ["copy.db"]
    code, put, said = await perdure("restore", "--from", str(copy), "--store", f"sqlite:///{restored}")
    assert code == 0, said
    assert put["epoch"] != taken["epoch"]
    assert (put["records"], put["position"]) == (taken["records"], taken["position"])
    async with running(await Server.serve(f"sqlite:///{restored}")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            assert (await client.get_server_info()).store_epoch == put["epoch"]
            audit = await client.audit_all_runs()
            assert (list(audit.findings), audit.runs_checked) == ([], taken["runs"])
            for run_id, seq in before.items():
                found = await client.verify_run(run_id)
                assert found.intact
                assert found.seq >= seq
            with pytest.raises(PerdureError) as refused:
                async with client.subscribe(LedgerScope.all(), after_cursor=cursor) as subscription:
                    await anext(aiter(subscription))
            assert refused.value.reason == "CURSOR_FROM_OTHER_STORE"
            # It goes on: a new run gets positions that the lost time had given to others.
            await client.start_run("asking", {}, run_id="after")
            await client.resume_run("after", "yes", any_wait=True)
        assert await server.stop() == 0


async def test_the_same_data_without_another_epoch_would_be_taken_for_the_lost(tmp_path: Path) -> None:
    """What the new epoch is for: a cursor from before the copy is accepted by data that is only moved."""
    original, copy = tmp_path / "live.db", tmp_path / "copy.db"
    async with running(await Server.serve(f"sqlite:///{original}")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            await client.register_workflow(ASKING)
            await client.start_run("asking", {}, run_id="one")
            async with client.subscribe(LedgerScope.all(), start="beginning", stop_when_caught_up=True) as seen:
                async for _ in seen:
                    pass
                cursor = seen.cursor
        await server.stop()
    assert (await perdure("backup", "--store", f"sqlite:///{original}", "--to", str(copy)))[0] == 0
    options = {"after_cursor": cursor, "stop_when_caught_up": True}
    for change_epoch, reason in ((False, ""), (True, "CURSOR_FROM_OTHER_STORE")):
        if change_epoch:
            code, _, said = await perdure("restore", "--epoch-only", "--store", f"sqlite:///{copy}")
            assert code == 0, said
        async with running(await Server.serve(f"sqlite:///{copy}")) as server:
            assert isinstance(server, Server)
            async with Client.connect(server.address) as client:
                assert await reason_of(client, options) == reason
            await server.stop()


async def reason_of(client: Client, options: Any) -> str:
    """Why a subscription is refused; "" if it is not."""
    try:
        async with client.subscribe(LedgerScope.all(), **options) as subscription:
            async for _ in subscription:
                pass
    except PerdureError as error:
        return error.reason
    return ""


async def test_a_task_that_was_leased_in_the_copy_is_done_after_the_restore(tmp_path: Path) -> None:
    original, copy, restored = (tmp_path / name for name in ("live.db", "copy.db", "restored.db"))
    taken = asyncio.Event()

    async def never(context: EffectContext, payload: JsonObject) -> None:
        taken.set()
        await asyncio.get_running_loop().create_future()

    async with running(await Server.serve(f"sqlite:///{original}")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            await client.register_workflow(WORKING)
            worker = Worker(client, worker_id="gone")
            worker.effect("work")(never)
            async with worker:
                await client.start_run("working", {}, run_id="held")
                await taken.wait()
                assert (await perdure("backup", "--store", f"sqlite:///{original}", "--to", str(copy)))[0] == 0
                await server.kill()
    assert (await perdure("restore", "--from", str(copy), "--store", f"sqlite:///{restored}"))[0] == 0
    async with running(await Server.serve(f"sqlite:///{restored}", "--lease-seconds", "1")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            worker = Worker(client)

            @worker.effect("work")
            async def work(context: EffectContext, payload: JsonObject) -> str:
                return "done"

            async with worker:
                assert str((await client.wait_run("held")).status) == "completed"
        await server.stop()


async def test_a_store_in_use_is_not_replaced(tmp_path: Path) -> None:
    original, copy = tmp_path / "live.db", tmp_path / "copy.db"
    async with running(await Server.serve(f"sqlite:///{original}")) as server:
        assert isinstance(server, Server)
        assert (await perdure("backup", "--store", f"sqlite:///{original}", "--to", str(copy)))[0] == 0
        for how in (("--from", str(copy), "--replace"), ("--epoch-only",)):
            code, answer, _ = await perdure("restore", *how, "--store", f"sqlite:///{original}")
            assert code == 1
            assert f"in use by process {server.pid}" in answer["error"]["message"]
        async with Client.connect(server.address) as client:
            await client.register_workflow(ASKING)
        assert await server.stop() == 0


async def test_a_store_that_is_there_is_replaced_only_when_asked_and_kept(tmp_path: Path) -> None:
    live, copy = tmp_path / "live.db", tmp_path / "copy.db"
    async with running(await Server.serve(f"sqlite:///{live}")) as server:
        assert isinstance(server, Server)
        async with Client.connect(server.address) as client:
            await client.register_workflow(ASKING)
            await client.start_run("asking", {}, run_id="early")
            assert (await perdure("backup", "--store", f"sqlite:///{live}", "--to", str(copy)))[0] == 0
            await client.start_run("asking", {}, run_id="late")
        await server.kill()  # its log stays beside the file
    assert "live.db-wal" in files_of(live)
    restore = ("restore", "--from", str(copy), "--store", f"sqlite:///{live}")
    code, answer, _ = await perdure(*restore)
    assert (code, "--replace" in answer["error"]["message"]) == (1, True)
    assert (await perdure(*restore, "--replace"))[0] == 0
    assert runs_in(live) == {"early"}
    assert runs_in(tmp_path / "live.db.replaced") == {"early", "late"}
    code, answer, _ = await perdure(*restore, "--replace")
    assert (code, "move it away" in answer["error"]["message"]) == (1, True)
    assert runs_in(live) == {"early"}


def files_of(path: Path) -> list[str]:
    """Names in the folder that begin with the file's."""
    return sorted(each.name for each in path.parent.glob(f"{path.name}*"))


def runs_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT run_id FROM runs")}
