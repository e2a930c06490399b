"""Nobody can make a run stranded, lost, doubled or disordered by killing things (P1, P2, P5, P6, P7, P8).

Client processes start runs that wait, sleep, hear events, have children and execute irreversible effects, while
servers and workers are killed, stopped for longer than a lease, and restarted one after the other. What the clients
were told and what the ledger exports must agree, and every subscriber must have every record of its scope once.
"""

import random
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.postgres import Cluster
from tests.robustness.checker.examine import examine
from tests.robustness.checker.finding import kinds
from tests.robustness.checker.tampering import TAMPERINGS, unseen_tamperings
from tests.robustness.checker.testimony import StreamedRecord, Testimony
from tests.robustness.crash.plays import STORES
from tests.robustness.kill_loop.campaign import CONFIG, Campaign, Round
from tests.robustness.kill_loop.fleet import Fleet
from tests.robustness.kill_loop.host import KINDS, run_name
from tests.robustness.kill_loop.observer import SCOPES
from tests.robustness.server_process import Nursery, Servers

pytestmark = pytest.mark.promise("P1", "P2", "P5", "P6", "P7", "P8")

HIGHEST_MIB = 512.0
"""Of any server; what it holds is bounded by caches and rings."""


def new_seed() -> int:
    """A seed that pytest-randomly's repeats."""
    return random.randrange(1 << 32)


async def fight(fleet: Fleet, folder: Path, seconds: float) -> None:
    """Rounds for so long; each must leave everything in order."""
    campaign = Campaign(fleet, folder, new_seed())
    sys.stderr.write(f"kill loop: seed {campaign.seed}, {fleet.replicas} servers\n")
    await fleet.start()
    for _ in range(max(round(seconds / campaign.round_s), 1)):
        played = await campaign.play()
        sys.stderr.write(f"{played}\n")
        assert played.is_clean, f"seed {campaign.seed}\n{played}"
        assert sum(played.deeds.values()) > 0
    await fleet.stop()
    assert fleet.highest_mib < HIGHEST_MIB


REPLICAS = 3


@pytest.fixture
def database() -> Generator[Cluster]:
    """A PostgreSQL that may be stopped."""
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.mark.timeout(3_000)
@pytest.mark.parametrize(("store", "seconds"), [("sqlite", 90), ("journal", 45)])
async def test_some_minutes_of_killing_change_nothing(
    servers: Servers, tmp_path: Path, store: str, seconds: float
) -> None:
    url = STORES[store](servers.directory / "store")
    await fight(Fleet(servers, {**CONFIG, "store": url}), tmp_path, seconds)


@pytest.mark.postgres
@pytest.mark.timeout(3_000)
async def test_replicas_and_their_database_are_killed_and_nothing_changes(
    servers: Servers, tmp_path: Path, database: Cluster
) -> None:
    await fight(replicas_on(servers, database), tmp_path, 90)


@pytest.mark.long
@pytest.mark.parametrize("store", ["sqlite", "journal"])
async def test_half_an_hour_of_killing_changes_nothing(servers: Servers, tmp_path: Path, store: str) -> None:
    url = STORES[store](servers.directory / "store")
    await fight(Fleet(servers, {**CONFIG, "store": url}), tmp_path, 1_800)


@pytest.mark.long
@pytest.mark.postgres
async def test_half_an_hour_of_killing_replicas_and_their_database_changes_nothing(
    servers: Servers, tmp_path: Path, database: Cluster
) -> None:
    await fight(replicas_on(servers, database), tmp_path, 1_800)


def replicas_on(servers: Servers, database: Cluster) -> Fleet:
    """Three servers on a new database."""
    url = database.url(database.new_database())
    return Fleet(servers, {**CONFIG, "store": url}, REPLICAS, database=database)


# What the campaign finds once something is wrong.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm_round(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Round:
    """A round in which nobody is killed."""
    async with Servers(nursery, tmp_path_factory.mktemp("servers")) as servers:
        fleet = Fleet(servers, CONFIG)
        await fleet.start()
        played = await Campaign(fleet, tmp_path_factory.mktemp("witnesses"), 1, 40.0, 3.0, is_calm=True).play()
        await fleet.stop()
    return played


def test_a_calm_round_is_clean_and_has_everything(calm_round: Round) -> None:
    assert calm_round.is_clean, str(calm_round)
    chains = {told.chain for told in calm_round.testimony.streamed}
    asked = {type(answered.request).__name__ for answered in calm_round.testimony.answered}
    assert chains == set(SCOPES)
    assert asked >= {"StartRunRequest", "ResumeRunRequest", "EmitEventRequest", "PauseRunRequest", "CancelRunRequest"}
    assert calm_round.testimony.reports
    assert calm_round.testimony.begins
    assert calm_round.testimony.executed
    assert all(calm_round.export.events.values())


def test_records_that_are_tampered_with_are_found(calm_round: Round) -> None:
    """Lost, doubled, swapped, edited: some records of the round, each in each way."""
    ways = list(TAMPERINGS)
    assert unseen_tamperings(calm_round.export, calm_round.testimony, lambda n: [] if n % 211 else ways) == []


def without_streams(testimony: Testimony) -> Testimony:
    """What everybody but the observers was told."""
    return replace(testimony, streamed=[], scopes={})


def test_a_run_that_is_stranded_is_found_without_any_observer(calm_round: Round) -> None:
    """Its last record, which says that it has ended, is missing, and nobody was streamed it."""
    export = calm_round.export
    run_id = next(iter(export.entries))
    stranded = replace(export, entries={**export.entries, run_id: export.entries[run_id][:-1]})
    assert "RUN_STRANDED" in kinds(examine(stranded, without_streams(calm_round.testimony)))


def test_an_acknowledged_event_that_is_lost_is_found(calm_round: Round) -> None:
    export = calm_round.export
    scope = next(iter(export.events))
    lost = replace(export, events={**export.events, scope: export.events[scope][1:]})
    assert "EVENT_LOST" in kinds(examine(lost, calm_round.testimony))


def test_an_acknowledged_start_that_is_lost_is_found(calm_round: Round) -> None:
    export = calm_round.export
    lost = dict(export.entries)
    del lost[run_name("host-0", KINDS.index("nap"))]
    assert kinds(examine(replace(export, entries=lost), without_streams(calm_round.testimony))) >= {"REPLY_LOST"}


def test_an_effect_that_is_executed_twice_is_found(calm_round: Round) -> None:
    testimony = calm_round.testimony
    repeated = replace(testimony, executed=[*testimony.executed, testimony.executed[0]])
    assert kinds(examine(calm_round.export, repeated)) == {"EFFECT_REPEATED"}


STREAMS: dict[str, tuple[Callable[[list[StreamedRecord]], list[StreamedRecord]], str]] = {
    "lost": (lambda told: [*told[:5], *told[6:]], "STREAM_GAP"),
    "lost at the end": (lambda told: told[:-1], "STREAM_SHORT"),
    "lost altogether": (lambda _told: [], "STREAM_SHORT"),
    "doubled": (lambda told: [*told[:6], *told[5:]], "STREAM_DISORDER"),
    "swapped": (lambda told: [*told[:5], told[6], told[5], *told[7:]], "STREAM_DISORDER"),
    "of another scope": (lambda told: [*told, replace(told[-1], run_id="host-1-2", seq=1)], "STREAM_STRAY"),
}


@pytest.mark.parametrize("chain", SCOPES)
@pytest.mark.parametrize("how", STREAMS)
def test_a_record_streamed_wrongly_is_found_in_every_chain(calm_round: Round, chain: str, how: str) -> None:
    if (chain, how) == ("all", "of another scope"):
        how = "doubled"
    testimony, (alter, kind) = calm_round.testimony, STREAMS[how]
    others = [told for told in testimony.streamed if told.chain != chain]
    told = [told for told in testimony.streamed if told.chain == chain]
    assert kind in kinds(examine(calm_round.export, replace(testimony, streamed=[*others, *alter(told)])))


@pytest.mark.timeout(300)
async def test_a_server_that_loses_acknowledged_events_is_found(servers: Servers, tmp_path: Path) -> None:
    """Its hosts wait for runs that nobody wakes; the ledger tells which, and which event they were owed."""
    fleet = Fleet(servers, CONFIG, defect="lose_events")
    await fleet.start()
    campaign = Campaign(fleet, tmp_path, 1, 40.0, 3.0, is_calm=True, patience_s=1.0)
    played = await campaign.play()
    await fleet.stop()
    assert played.failure == "the hosts wait for ever"
    assert kinds(played.findings) >= {"EVENT_LOST", "RUN_STRANDED"}
    assert "STREAM_SHORT" not in kinds(played.findings)
