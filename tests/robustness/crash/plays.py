"""Plays of the script under a plan of deaths, and what each leaves behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import grpc.aio

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.postgres import cluster
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import Export, take_export
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.normal_form import normal_form
from tests.robustness.checker.testimony import Testimony
from tests.robustness.crash.host import AstrayError, Host
from tests.robustness.crash.lives import Lives
from tests.robustness.crash.script import ROOTS, SCOPES, Script
from tests.robustness.crash.worker import WitnessWorker
from tests.robustness.crash.workflows import PLANS
from tests.robustness.server_process import Servers

LEASE_S = 5.0
PATIENCE_S = 60.0

LONGEST_LIFE = 30
"""Commits of a server that dies at random."""

T = TypeVar("T")

DeathPlan = Callable[[int], dict[str, str]]
"""Environment of the n-th server of a play (from 1): when it dies."""

AFTER = "PERDURE_FAULT_KILL_AFTER_COMMIT"
"""The earliest moment after a commit: it is on disk, and nobody has been told."""

BEFORE = "PERDURE_FAULT_KILL_BEFORE_COMMIT"
"""In place of a commit, which is the latest moment after the one before it: all that it allowed has left."""

COMMIT_LOG = "PERDURE_FAULT_COMMIT_LOG"
POSTGRES = "postgres"

STORES: Mapping[str, Callable[[Path], str]] = {
    "sqlite": lambda place: f"sqlite:///{place}",
    "journal": lambda place: f"file:{place}",
    POSTGRES: lambda _place: cluster().url(cluster().new_database()),
}
"""URL of each durable store, new, by where it is kept."""


def never(_life: int) -> dict[str, str]:
    """Nobody dies."""
    return {}


def once(point: str, number: int) -> DeathPlan:
    """The first server dies at a commit, the second one lives."""
    return lambda life: {point: str(number)} if life == 1 else {}


def at_commit(point: str, facts: Mapping[str, object], nth: int) -> DeathPlan:
    """One server dies: whoever makes the `nth` commit that has these facts."""
    return lambda _life: {point: json.dumps([facts, nth])}


def again_and_again(point: str, first: int, stride: int) -> DeathPlan:
    """The first server dies at its `first`-th commit, every later one at its `stride`-th."""
    return lambda life: {point: str(first if life == 1 else stride)}


def at_random(seed: int) -> DeathPlan:
    """Each server dies at, or in place of, one of its first commits."""

    def environment(life: int) -> dict[str, str]:
        dice = Random(f"{seed}/{life}")
        return {dice.choice((AFTER, BEFORE)): str(dice.randint(1, LONGEST_LIFE))}

    return environment


def at_every_commit(point: str) -> DeathPlan:
    """Each server dies at the first commit that does what no server before it died at."""
    return lambda _life: {point: "new"}


@dataclass(frozen=True, slots=True)
class CommitLine:
    """A line of the commit log.

    Args:
        number: counted in its process.
        process: that process.
        dies: "before", "after" or "".
        commits: facts of the commits of the group, without generated ids.
    """

    number: int
    process: int
    dies: str
    commits: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Play:
    """What a play left behind.

    Args:
        lives: how many servers it took.
        places_of_death: which of the servers at a time have died, from 0.
        failure: why the script did not come to its end, if it did not; the rest is as it was then.
        log: the commit log.
        lines: the normal form of its ledgers.
        findings: of the checker.
        audit: findings of the last server's own audit.
    """

    lives: int
    places_of_death: frozenset[int]
    failure: str
    log: list[CommitLine]
    lines: list[str]
    findings: list[Finding]
    audit: list[str]
    export: Export
    testimony: Testimony

    @property
    def deaths(self) -> list[CommitLine]:
        """The commits at which servers died."""
        return [line for line in self.log if line.dies]


async def perform(
    servers: Servers,
    name: str,
    plan: DeathPlan,
    defect: str = "",
    after_death: Callable[[Path], None] | None = None,
    patience_s: float = PATIENCE_S,
    store: str = "sqlite",
    replicas: int = 1,
) -> Play:
    """Plays the script on a new store while servers die as planned, then examines what is left.

    Args:
        defect: planted in the servers.
        after_death: given the store's file or folder after each death.
        patience_s: a play that gets no new record for so long hangs.
        store: one of STORES.
        replicas: servers at a time; host and worker come to each of them in turn.
    """
    testimony = Testimony()
    log_path = servers.directory / f"{name}.commits"

    def environment(life: int) -> dict[str, str]:
        return {**plan(life), COMMIT_LOG: str(log_path)}

    config = {"lease_seconds": LEASE_S}
    place = servers.directory / name
    url = STORES[store](place)
    then = partial(after_death, place) if after_death is not None else None
    async with Lives(servers, url, config, environment, defect, then, replicas) as lives:
        host = Host(lives, testimony)
        worker = WitnessWorker(lives, testimony, PLANS)
        playing = asyncio.create_task(Script(host, worker).play())
        background = [asyncio.create_task(work) for work in (host.follow(), worker.work())]
        try:
            failure = await _failure(playing, background, testimony, patience_s)
            export = await _from_whoever_lives(lives, _export)
            audit = await _from_whoever_lives(lives, _audit)
            if not failure:
                await host.heard(max(entry.position for entries in export.entries.values() for entry in entries))
        finally:
            for task in (playing, *background):
                task.cancel()
            await asyncio.gather(playing, *background, return_exceptions=True)
        count = lives.count
        log = read_log(log_path)
        places = frozenset(lives.place_of[line.process] for line in log if line.dies)
    if store == POSTGRES:
        cluster().drop_database(url.rpartition("/")[2])
    lines = normal_form(export, ROOTS)
    findings = examine(export, testimony)
    return Play(count, places, failure, log, lines, findings, audit, export, testimony)


async def _failure(
    playing: asyncio.Task[None], background: Sequence[asyncio.Task[None]], testimony: Testimony, patience_s: float
) -> str:
    """Waits for the end of the script; returns why it did not come to its end, empty if it did."""
    heard = -1
    while len(testimony.streamed) > heard:
        heard = len(testimony.streamed)
        done, _ = await asyncio.wait({playing, *background}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            try:
                task.result()
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
            except AstrayError as error:
                return str(error)
        if playing in done:
            return ""
    return "the script hangs"


async def _from_whoever_lives(lives: Lives, read: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
    """What is read from the first server that answers to the end."""
    while True:
        life = await lives.current()
        try:
            return await read(life.channel)
        except grpc.aio.AioRpcError as failure:
            await life.has_ended(failure)


async def _export(channel: grpc.aio.Channel) -> Export:
    return await take_export(channel, "default", SCOPES, time.time_ns() // 1_000)


async def _audit(channel: grpc.aio.Channel) -> list[str]:
    request, found = admin.AuditRunsRequest(page_size=1_000), list[str]()
    while True:
        reply: admin.AuditRunsResponse = await AdminServiceStub(channel).AuditRuns(request)
        found += map(str, reply.findings)
        if not reply.next_page_token:
            return found
        request.page_token = reply.next_page_token


def read_log(path: Path) -> list[CommitLine]:
    """The commit log that the servers of a play wrote."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [CommitLine(line["number"], line["process"], line["dies"], tuple(line["commits"])) for line in lines]
