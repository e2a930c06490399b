"""Commit order over gRPC: eight clients write to two servers on one PostgreSQL, whose transactions are held open after
they took their positions, and in part rolled back. Every observer at either server is told every acknowledged record
once, in one order (P8)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import Random

import pytest

from perdure import Client, LedgerScope
from perdure.errors import PerdureError
from perdure.v1 import common_pb2
from tests.postgres import Cluster
from tests.replicas.order_load import SESSIONS, SHARED, Writer, cancel, prepare, session_of
from tests.replicas.processes import Servers
from tests.replicas.turmoil import DEEDS, commits, deeds, stir
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import Export, take_export
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.testimony import Testimony
from tests.robustness.kill_loop.calls import Calls
from tests.robustness.kill_loop.chain import Chain
from tests.robustness.kill_loop.witness import Witness, read_testimony

pytestmark = [pytest.mark.postgres, pytest.mark.promise("P8"), pytest.mark.timeout(300)]

WRITERS = 8
SOUND_S = 20.0
DEFECTIVE_S = 10.0
LONGEST_READ_S = 1.0
"""Of the observers that go on at the other server now and then."""

SCOPES = {
    "all": LedgerScope.all(),
    "workflow": LedgerScope.workflow("asking"),
    "session": LedgerScope.session(session_of(0)),
    "run": LedgerScope.run(SHARED[0]),
}
EVENT_SCOPES = [(common_pb2.EVENT_SCOPE_SESSION, session_of(number)) for number in range(SESSIONS)]


@pytest.fixture(scope="module")
def database() -> Generator[Cluster]:
    """A PostgreSQL that remembers when transactions were committed."""
    cluster = Cluster(track_commit_timestamp="on")
    yield cluster
    cluster.remove()


@dataclass(frozen=True, slots=True)
class Played:
    """What a load left behind.

    Args:
        refusals: of observers whose client would read no further.
        streams: how often an observer subscribed.
        transactions: that were committed.
        overtaken: of these, after one with later positions.
        deeds: of the turmoil.
        findings: of the checker.
        audit: findings of the servers' own audit.
    """

    seed: int
    export: Export
    testimony: Testimony
    refusals: list[str]
    streams: int
    transactions: int
    overtaken: int
    deeds: Counter[str]
    findings: list[Finding]
    audit: list[str]

    @property
    def chains(self) -> dict[str, list[tuple[str, int, int]]]:
        """What each observer was told, in order: run, seq, position."""
        told = sorted(self.testimony.streamed, key=attrgetter("chain"))
        return {
            name: [(each.run_id, each.seq, each.position) for each in chain]
            for name, chain in groupby(told, attrgetter("chain"))
        }

    def __str__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        missed = kinds["STREAM_SKIPPED"] + kinds["STREAM_SHORT"]
        return (
            f"seed {self.seed}, {WRITERS} writers at two servers: {len(self.testimony.answered)} calls"
            f" acknowledged, {len(self.export.entries)} runs,"
            f" {sum(map(len, self.export.entries.values()))} records;"
            f" {len(self.testimony.streamed)} streamed to {len(self.chains)} observers over {self.streams} streams;"
            f" {self.transactions} transactions, {self.overtaken} overtaken, {dict(self.deeds)};"
            f" {missed} missed, {kinds['STREAM_DISORDER'] + kinds['STREAM_GAP']} out of order"
        )


def scope_of(observer: str) -> str:
    """What an observer of this name follows."""
    return observer.partition(" ")[0]


async def play(database: Cluster, folder: Path, seconds: float, defect: str = "") -> Played:
    """Writes for so long, and reads to the end."""
    seed = random.randrange(1 << 32)
    store = database.new_database()
    servers = Servers(database.url(store), defect)
    try:
        addresses = servers.start_together(2)
        return await Load(addresses, folder, seed).run(database, store, seconds)
    finally:
        servers.close()


class Load:
    """Writers and observers of two servers.

    Args:
        addresses: of the servers.
        folder: for the witnesses' files.
        seed: of everything that is left to chance.
    """

    def __init__(self, addresses: list[str], folder: Path, seed: int) -> None:
        self._addresses = addresses
        self._folder = folder
        self._seed = seed
        self._refusals: list[str] = []

    async def run(self, database: Cluster, store: str, seconds: float) -> Played:
        """All of it, on a database that nobody has written to."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client.connect(address)) for address in self._addresses]
            calls = Calls(clients[0], self._witness("operator"))
            await prepare(clients[0], calls)
            stir(database, store, self._seed)
            finish = asyncio.Event()
            chains = {name: chain for scope in SCOPES for name, chain in self._chains(scope).items()}
            async with asyncio.TaskGroup() as observing:
                for chain in chains.values():
                    observing.create_task(self._follow(chain, finish))
                await self._write(stack, seconds)
                for run_id in SHARED:
                    await cancel(calls, run_id)
                finish.set()
            export = await take_export(clients[1].connection.channel, "default", EVENT_SCOPES, 0)
            audit = [str(finding) for finding in (await clients[0].audit_all_runs()).findings]
        testimony = read_testimony(sorted(self._folder.iterdir()))
        testimony.scopes = {name: SCOPES[scope_of(name)].message for name in chains}
        testimony.is_final = True
        transactions, overtaken = commits(database, store)
        return Played(
            seed=self._seed,
            export=export,
            testimony=testimony,
            refusals=self._refusals,
            streams=sum(chain.streams for chain in chains.values()),
            transactions=transactions,
            overtaken=overtaken,
            deeds=deeds(database, store),
            findings=examine(export, testimony),
            audit=audit,
        )

    async def _write(self, stack: AsyncExitStack, seconds: float) -> None:
        writers: list[Writer] = []
        for number in range(WRITERS):
            client = await stack.enter_async_context(Client.connect(self._addresses[number % 2]))
            name = f"w{number}"
            writers.append(Writer(Calls(client, self._witness(name)), name, Random(f"{self._seed}/{name}")))
        await asyncio.gather(*(writer.write(seconds) for writer in writers))
        await asyncio.gather(*(writer.end() for writer in writers))

    def _chains(self, scope: str) -> dict[str, Chain]:
        """Observers of a scope: one that stays at each server, and two that do not."""
        ways = {f"at {number}": ([address], None) for number, address in enumerate(self._addresses)}
        ways |= {f"roaming {number}": (self._addresses, LONGEST_READ_S) for number in range(2)}
        chains: dict[str, Chain] = {}
        for way, (targets, longest_s) in ways.items():
            name = f"{scope} {way}"
            dice = Random(f"{self._seed}/{name}")
            chains[name] = Chain(name, SCOPES[scope], targets, "default", self._witness(name), dice, longest_s)
        return chains

    async def _follow(self, chain: Chain, finish: asyncio.Event) -> None:
        try:
            await chain.follow(finish)
        except PerdureError as error:
            self._refusals.append(repr(error))

    def _witness(self, name: str) -> Witness:
        return Witness(self._folder / name)


async def test_eight_writers_at_two_servers_and_every_observer_sees_one_order(
    database: Cluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    played = await play(database, tmp_path, SOUND_S)
    record_property("counted", f"commit order: {played}")
    assert played.findings == []
    assert played.refusals == []
    assert played.audit == []
    everything = sorted(
        (entry.position, run_id, number)
        for run_id, entries in played.export.entries.items()
        for number, entry in enumerate(entries, 1)
    )
    for name, told in played.chains.items():
        runs = {run_id for run_id, _, _ in told}
        assert told == played.chains[f"{scope_of(name)} at 0"], name
        assert told == [(run_id, seq, position) for position, run_id, seq in everything if run_id in runs], name
    assert len(played.chains["all at 0"]) == len(everything)
    assert min(played.deeds[deed] for deed in DEEDS) > 0, "something that should disturb the writers did not happen"
    assert played.overtaken > 0, "the writers were too orderly to show anything"


async def test_a_horizon_that_is_the_highest_committed_position_is_found(
    database: Cluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What the test above shows would not hold by itself."""
    played = await play(database, tmp_path, DEFECTIVE_S, "eager_horizon")
    record_property("counted", f"commit order without its horizon: {played}")
    kinds = Counter(finding.kind for finding in played.findings)
    assert kinds["STREAM_SKIPPED"] > 0
    assert len({tuple(told) for name, told in played.chains.items() if scope_of(name) == "all"}) > 1
