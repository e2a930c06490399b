"""A host without any Perdure code drives a run to its end and tails its ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure import Client
from tests.conformance.node_programs import run_program
from tests.e2e.processes import Server, running

pytestmark = pytest.mark.node

# Every step of the workflow, as the contract says its records are.
KINDS = [
    "run_started",
    "step_completed",  # ask plans its question
    "waiting",
    "resumed",
    "step_completed",  # rest plans its timer
    "waiting",
    "resumed",
    "step_completed",  # tell plans its event
    "step_completed",  # and it is emitted
    "step_completed",  # hear plans its wait
    "waiting",
    "event_consumed",
    "step_completed",  # look plans its query
    "step_completed",  # and it is answered
    "step_completed",  # done plans the end
    "completed",
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    process = await Server.serve(f"sqlite:///{tmp_path}/perdure.sqlite")
    async with running(process):
        yield process


@pytest.mark.promise("P5", "P8", "P9")
async def test_a_node_host_drives_a_run_and_tails_its_ledger(server: Server) -> None:
    verdict = await run_program("drive.mjs", "--address", server.address)
    assert verdict["ok"], verdict["failures"]
    assert verdict["kinds"] == KINDS
    async with Client.connect(server.address) as client:
        listed = await client.list_records(verdict["run_id"]).all()
        found = await client.verify_run(verdict["run_id"])
    assert [entry.record_hash.hex() for entry in listed] == verdict["record_hashes"]
    assert found.intact


async def test_a_node_host_works_in_the_namespace_it_names(server: Server) -> None:
    async with Client.connect(server.address) as client:
        await client.create_namespace("other")
        verdict = await run_program("drive.mjs", "--address", server.address, "--namespace", "other")
        assert verdict["ok"], verdict["failures"]
        assert await client.list_records(verdict["run_id"]).all() == []
    refused = await run_program("drive.mjs", "--address", server.address, "--namespace", "nowhere")
    assert not refused["ok"]
    assert "[not_found]" in refused["failures"][0]


@pytest.mark.promise("P3", "P6")
async def test_a_node_host_drives_a_workflow_that_needs_no_worker(server: Server) -> None:
    verdict = await run_program("flow.mjs", "--address", server.address)
    assert verdict["ok"], verdict["failures"]
    assert {"branches_started", "joined", "child_ended"} <= set(verdict["kinds"])
    async with Client.connect(server.address) as client:
        assert not (await client.audit_runs()).findings
        runs = await client.list_runs().all()
    assert sorted(run.branch for run in runs) == ["", "checked/clock", "checked/person", "priced/0", "priced/1"]
    assert {run.status for run in runs} == {"completed"}
