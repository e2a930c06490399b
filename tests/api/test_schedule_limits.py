"""The limits of a namespace's schedules, and repeats that meet them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure import Client, NotFound, ResourceExhausted, ScheduleSpec, Workflow
from perdure_server.kernel.limits import DEFAULT_LIMITS
from tests.api.served import serve

HOURLY = ScheduleSpec("quick", every=[3_600])


@pytest.mark.promise("P10")
async def test_a_repeat_is_answered_as_the_first_call_was_whatever_has_changed_since() -> None:
    limits = replace(DEFAULT_LIMITS, schedules=1)
    async with serve(limits=limits) as served, Client.connect(served.address) as client:
        quick = Workflow("quick")
        quick.complete_node("done", {"ok": True})
        await client.register_workflow(quick)
        made = await client.create_schedule("a", HOURLY, request_id="first")
        with pytest.raises(ResourceExhausted) as full:
            await client.create_schedule("b", HOURLY)
        assert full.value.reason == "LIMIT_REACHED"
        again = await client.create_schedule("a", HOURLY, request_id="first")
        assert (again.schedule_id, again.revision) == ("a", made.revision)
        with pytest.raises(NotFound):
            await client.get_schedule("b")
