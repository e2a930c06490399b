"""Schedules through the client for scripts, against a real server."""

from __future__ import annotations

import asyncio

from perdure import ScheduleSpec, Workflow
from perdure.sync import Client
from perdure.testing import server


def _through_its_life(address: str) -> None:
    with Client.connect(address) as client:
        made = client.create_schedule("s", ScheduleSpec("quick", crons=["0 12 * * *"]), note="noon")
        assert (made.schedule_id, made.note) == ("s", "noon")
        assert client.pause_schedule("s", "holidays").paused
        done = client.trigger_schedule("s")
        assert (done.outcome, client.wait_run(done.run_id, until="ended").status) == ("started", "completed")
        assert not client.unpause_schedule("s").paused
        assert client.update_schedule("s", ScheduleSpec("quick", every=[3_600])).spec.crons == []
        first, second = client.preview_schedule(ScheduleSpec("", every=[3_600]), count=2)
        assert (second - first).total_seconds() == 3_600
        assert client.backfill_schedule("s", first.replace(year=2020), first.replace(year=2020)) == 1
        assert [each.schedule_id for each in client.list_schedules()] == ["s"]
        assert client.get_schedule("s").started >= 1
        client.delete_schedule("s")
        assert list(client.list_schedules()) == []


async def test_schedules() -> None:
    async with server() as env:
        quick = Workflow("quick")
        quick.complete_node("done", {"ok": True})
        await env.client.register_workflow(quick)
        await asyncio.to_thread(_through_its_life, env.address)
