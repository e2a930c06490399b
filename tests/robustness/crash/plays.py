"""Plays of the script under a plan of deaths, and what each leaves behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import Export, take_export
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.normal_form import normal_form
from tests.robustness.checker.testimony import Testimony
from tests.robustness.crash.host import Host
from tests.robustness.crash.lives import Lives
from tests.robustness.crash.script import ROOTS, SCOPES, play
from tests.robustness.crash.worker import WitnessWorker
from tests.robustness.crash.workflows import PLANS
from tests.robustness.server_process import Servers

LEASE_S = 5.0

DeathPlan = Callable[[int], dict[str, str]]
"""Environment of the n-th server of a play (from 1): when it dies."""


def never(_life: int) -> dict[str, str]:
    """Nobody dies."""
    return {}


def once(point: str, number: int) -> DeathPlan:
    """The first server dies at a commit, the second one lives."""
    variable = f"PERDURE_FAULT_KILL_{point}_COMMIT"
    return lambda life: {variable: str(number)} if life == 1 else {}


def again_and_again(point: str, first: int, stride: int) -> DeathPlan:
    """The first server dies at its `first`-th commit, every later one at its `stride`-th."""
    variable = f"PERDURE_FAULT_KILL_{point}_COMMIT"
    return lambda life: {variable: str(first if life == 1 else stride)}


@dataclass(frozen=True, slots=True)
class Commit:
    """A line of the commit log. `dies`: "before", "after" or ""; `what`: tells it from others, without ids."""

    number: int
    dies: str
    what: str


@dataclass(frozen=True, slots=True)
class Play:
    """What a play left behind.

    Args:
        commits: of each server, in order.
        lines: the normal form of its ledgers.
        findings: of the checker.
    """

    commits: list[list[Commit]]
    lines: list[str]
    findings: list[Finding]
    export: Export
    testimony: Testimony

    @property
    def deaths(self) -> list[Commit]:
        """The commits at which servers died."""
        return [commit for life in self.commits for commit in life if commit.dies]


async def perform(servers: Servers, name: str, plan: DeathPlan) -> Play:
    """Plays the script on a new store while servers die as planned, then examines what is left."""
    testimony = Testimony()
    log_path = servers.directory / f"{name}.commits"

    def environment(life: int) -> dict[str, str]:
        return {**plan(life), "PERDURE_FAULT_COMMIT_LOG": f"{log_path}-{life}"}

    config = {"lease_seconds": LEASE_S}
    async with Lives(servers, f"{name}.db", config, environment) as lives:
        host = Host(lives, testimony)
        worker = WitnessWorker(lives, testimony, PLANS)
        background = [asyncio.create_task(work) for work in (host.follow(), worker.work())]
        try:
            playing = asyncio.create_task(play(host))
            await asyncio.wait({playing, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in background:
                if task.done():
                    task.result()
            await playing
            export = await _export(lives)
            await host.heard(max(entry.position for entries in export.entries.values() for entry in entries))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        count = lives.count
    commits = [_read_log(f"{log_path}-{life}") for life in range(1, count + 1)]
    return Play(commits, normal_form(export, ROOTS), examine(export, testimony), export, testimony)


async def _export(lives: Lives) -> Export:
    """From whichever server answers to the end."""
    while True:
        life = await lives.current()
        try:
            return await take_export(life.channel, "default", SCOPES, time.time_ns() // 1_000)
        except Exception as failure:
            if life.server.is_alive:
                await life.has_ended(failure)  # type: ignore[arg-type]


def _read_log(path: str) -> list[Commit]:
    try:
        with open(path, encoding="utf-8") as lines:
            return [_commit(json.loads(line)) for line in lines]
    except FileNotFoundError:
        return []


def _commit(line: dict[str, Any]) -> Commit:
    roots = set(ROOTS)

    def name(run_id: str) -> str:
        return run_id if run_id in roots else "child" if run_id else ""

    for commit in line["commits"]:
        if "run" in commit:
            commit["run"] = name(commit["run"])
            commit["new_runs"] = [[name(run_id), records] for run_id, records in commit["new_runs"]]
    return Commit(line["number"], line["dies"], json.dumps(line["commits"], sort_keys=True))
