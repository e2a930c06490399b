"""A server killed at any of its commits loses nothing and does nothing twice (P1, P2, P5, P6).

The script in `crash/` makes over 100 commits with every kind of effect. Its servers kill themselves with SIGKILL
right after a commit has returned, before anything is answered, or in place of a commit; host and worker go on with
the next server, or with another replica, under the same request ids and task tokens. What the ledgers then hold must
be what an undisturbed play leaves, and must bear out everything that clients were told.
"""

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.finding import kinds
from tests.robustness.checker.tampering import TAMPERINGS, unseen_tamperings
from tests.robustness.crash import script
from tests.robustness.crash.lost_commit import cut_last_commit
from tests.robustness.crash.plays import (
    AFTER,
    BEFORE,
    POSTGRES,
    STORES,
    CommitLine,
    Play,
    again_and_again,
    at_commit,
    at_every_commit,
    at_random,
    never,
    once,
    perform,
)
from tests.robustness.defects import DIE_IN_TEAR
from tests.robustness.server_process import Servers

MIN_COMMITS = 40
PATIENCE_S = 7.0
"""For plays that are meant to hang: longer than a lease."""

PLAYS_AT_ONCE = 4
ATTEMPTS = 3
GROUPED = 3
"""How many commits that only hand out or take useless mail may be missing: it is chance whether there are any."""

pytestmark = [pytest.mark.promise("P1", "P5", "P6"), pytest.mark.timeout(900)]

POINTS = pytest.mark.parametrize("point", [AFTER, BEFORE], ids=["after", "before"])
ON_POSTGRES = pytest.param(POSTGRES, marks=[pytest.mark.postgres, pytest.mark.long])
STORED = pytest.mark.parametrize("store", [ON_POSTGRES if store == POSTGRES else store for store in STORES])
REPLICAS = 3
SAMPLE = 20
"""Commits of a play that somebody dies at, one play for each, where not all of them are tried."""


def done_by(commit: dict[str, Any]) -> dict[str, Any]:
    """Facts of a commit but for its hand-outs; empty if it did nothing else than take mail that its run had no use for.

    Whether a hand-out shares the commit that makes its step due depends on which workers are connected just then;
    whether mail is found once more, while it is delivered, on when the server looks.
    """
    facts = {key: value for key, value in commit.items() if key != "handed_out"}
    return facts if any(value for key, value in facts.items() if key not in ("run", "mail_consumed")) else {}


def what_was_done(lines: Iterable[CommitLine]) -> set[str]:
    """What each commit of a log did, but for hand-outs and useless mail."""
    facts = [done_by(commit) for line in lines for commit in line.commits]
    return {json.dumps(each, sort_keys=True) for each in facts if each}


def assert_each_was_hit(undisturbed: Play, deaths: Iterable[CommitLine]) -> None:
    """Somebody died at each thing that a commit of the undisturbed play did."""
    missed = what_was_done(undisturbed.log) - what_was_done(deaths)
    assert missed == set(), f"{len(missed)} commits at which nobody died"


def assert_same(play: Play, undisturbed: Play) -> None:
    """Nothing was lost, nothing done twice, and the ledgers are those of the undisturbed play."""
    assert play.failure == undisturbed.failure == ""
    assert play.findings == []
    assert play.audit == []
    assert play.lines == undisturbed.lines


async def test_an_undisturbed_play_is_long_enough_and_clean(servers: Servers) -> None:
    play = await perform(servers, "undisturbed", never)
    assert_same(play, play)
    assert play.lives == 1
    assert len(play.log) >= MIN_COMMITS


async def test_the_script_has_every_kind_of_effect_and_record(servers: Servers) -> None:
    play = await perform(servers, "undisturbed", never)
    ledgers, _ = play.export.opened()
    records = [sealed.record for ledger in ledgers.values() for sealed in ledger]
    effects = {record.step_completed.effect.type for record in records}
    built_in = {field.name for field in model_pb2.Effect.DESCRIPTOR.oneofs_by_name["kind"].fields} - {"custom"}
    assert effects - {""} == built_in | {"errand", "parallel", "foreach"}
    assert {record.kind for record in records} == set(pb.RecordKind.values()) - {pb.RECORD_KIND_UNSPECIFIED}
    assert {record.waiting.reason for record in records} == set(common_pb2.WaitReason.values())
    failures = {record.step_completed.failure.type for record in records}
    assert failures >= {"CHILD_FAILED", "CHILD_CANCELLED", "TIMEOUT", "REFUSED"}
    assert any(record.step_completed.HasField("retry_at") for record in records)
    children = [record.waiting.child for record in records if record.waiting.HasField("child")]
    left = [record.step_completed.child for record in records if record.step_completed.HasField("child")]
    assert all(child.awaited for child in children)
    assert not any(child.awaited for child in left)
    assert children
    assert left


@STORED
@POINTS
async def test_a_server_that_dies_at_every_commit_changes_nothing(servers: Servers, point: str, store: str) -> None:
    """One play; each server dies at the first commit at which none before it did."""
    undisturbed = await perform(servers, "undisturbed", never, store=store)
    play = await perform(servers, "dying", at_every_commit(point), store=store)
    assert_same(play, undisturbed)
    assert len(play.deaths) == play.lives - 1
    assert_each_was_hit(undisturbed, play.deaths)


async def test_a_commit_at_which_nobody_died_is_noticed(servers: Servers) -> None:
    undisturbed = await perform(servers, "undisturbed", never)
    with pytest.raises(AssertionError, match="1 commits at which nobody died"):
        assert_each_was_hit(undisturbed, [line for line in undisturbed.log if "start-words" not in str(line)])


def test_only_useless_mail_may_be_taken_without_a_death() -> None:
    useless = {"run": "fan", "records": [], "mail_consumed": ["child_ended"], "handed_out": []}
    useful = {**useless, "records": [[9, "both", 0]]}
    assert [what_was_done([CommitLine(1, 1, "", (each,))]) == set() for each in (useless, useful)] == [True, False]


BEFORE_SOON = at_commit(BEFORE, {"request": "StartRun/start-soon"}, 1)


async def test_a_start_is_ahead_when_the_server_that_died_at_it_is_back(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow that is here: it comes in a commit of its own, at which somebody can die."""
    monkeypatch.setattr(script, "START_MS", 0)
    play = await perform(servers, "dying", BEFORE_SOON)
    assert (play.failure, len(play.deaths)) == ("", 1)
    assert any(commit.get("run") == "soon" and not commit["request"] for line in play.log for commit in line.commits)


async def test_a_start_that_has_passed_when_it_is_taken_is_told(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares the commit of StartRun then, and nobody would die at its own."""
    monkeypatch.setattr(script, "START_MS", 0)
    monkeypatch.setattr(script, "STARTS_AHEAD", 0)
    play = await perform(servers, "dying", BEFORE_SOON)
    assert play.failure.startswith("the start of run soon had passed")


@dataclass(frozen=True, slots=True)
class Target:
    """A commit of the undisturbed play: the `nth` with these facts."""

    number: int
    facts: dict[str, Any]
    nth: int


def targets(play: Play) -> list[Target]:
    """Every commit of a play, by what it did; those that only hand out, by that."""
    found: list[Target] = []
    for number, commit in enumerate((commit for line in play.log for commit in line.commits), start=1):
        facts = done_by(commit) or commit
        found.append(Target(number, facts, sum(target.facts == facts for target in found) + 1))
    return found


async def is_hit(
    servers: Servers, point: str, target: Target, undisturbed: Play, store: str, replicas: int = 1
) -> bool:
    """Plays until a server has died at a commit, a few times at most; each play must end as the undisturbed one."""
    for attempt in range(ATTEMPTS):
        name = f"dying-{target.number}-{attempt}"
        plan = at_commit(point, target.facts, target.nth)
        play = await perform(servers, name, plan, store=store, replicas=replicas)
        assert_same(play, undisturbed)
        assert len(play.deaths) == play.lives - replicas
        if play.deaths:
            return True
    return False


async def die_at_each(servers: Servers, point: str, store: str = "sqlite", sample: int = 0) -> None:
    """One play for each commit of an undisturbed one: the first server dies at it, the second one lives on.

    Args:
        sample: only so many of the commits; 0: all.
    """
    undisturbed = await perform(servers, "undisturbed", never, store=store)
    chosen = targets(undisturbed)
    if sample:
        chosen = random.sample(chosen, sample)
    places = asyncio.Semaphore(PLAYS_AT_ONCE)
    missed: list[Target] = []

    async def die_at(target: Target) -> None:
        async with places:
            if not await is_hit(servers, point, target, undisturbed, store):
                missed.append(target)

    async with asyncio.TaskGroup() as group:
        for target in chosen:
            group.create_task(die_at(target))
    assert [target for target in missed if "handed_out" not in target.facts] == []
    assert len(missed) <= GROUPED


async def test_one_death_after_each_single_commit_changes_nothing(servers: Servers) -> None:
    await die_at_each(servers, AFTER)


@pytest.mark.long
async def test_one_death_in_place_of_each_single_commit_changes_nothing(servers: Servers) -> None:
    await die_at_each(servers, BEFORE)


@POINTS
async def test_one_death_at_some_commits_of_a_journal_changes_nothing(servers: Servers, point: str) -> None:
    await die_at_each(servers, point, "journal", SAMPLE)


@pytest.mark.long
@POINTS
async def test_one_death_at_each_single_commit_of_a_journal_changes_nothing(servers: Servers, point: str) -> None:
    await die_at_each(servers, point, "journal")


@pytest.mark.postgres
@POINTS
@pytest.mark.parametrize("sample", [SAMPLE // 2, pytest.param(0, marks=pytest.mark.long)], ids=["some", "all"])
async def test_one_death_at_commits_on_postgresql_changes_nothing(servers: Servers, point: str, sample: int) -> None:
    await die_at_each(servers, point, POSTGRES, sample)


# Three servers on one database: host, worker and observer come to each of them in turn, and one of them dies.


@pytest.mark.postgres
async def test_a_play_on_replicas_ends_as_on_one_server(servers: Servers) -> None:
    undisturbed = await perform(servers, "undisturbed", never)
    play = await perform(servers, "three", never, store=POSTGRES, replicas=REPLICAS)
    assert_same(play, undisturbed)
    assert play.lives == REPLICAS
    assert len({line.process for line in play.log}) == REPLICAS, "each of them commits"


@pytest.mark.postgres
@POINTS
@pytest.mark.parametrize("sample", [SAMPLE // 6, pytest.param(0, marks=pytest.mark.long)], ids=["some", "all"])
async def test_a_replica_that_dies_at_a_commit_changes_nothing(servers: Servers, point: str, sample: int) -> None:
    """Whichever of them makes it; the others go on, and the next one takes its place."""
    undisturbed = await perform(servers, "undisturbed", never)
    chosen = [target for target in targets(undisturbed) if done_by(target.facts)]
    if sample:
        chosen = random.sample(chosen, sample)
    places = asyncio.Semaphore(PLAYS_AT_ONCE)

    async def die_at(target: Target) -> None:
        async with places:
            assert await is_hit(servers, point, target, undisturbed, POSTGRES, REPLICAS), target

    async with asyncio.TaskGroup() as group:
        for target in chosen:
            group.create_task(die_at(target))


@pytest.mark.postgres
@pytest.mark.long
@POINTS
async def test_replicas_that_die_at_every_commit_change_nothing(servers: Servers, point: str) -> None:
    """One play; at each commit at which none before it did, whoever makes it dies: now this one, now that one."""
    undisturbed = await perform(servers, "undisturbed", never)
    play = await perform(servers, "dying", at_every_commit(point), store=POSTGRES, replicas=REPLICAS)
    assert_same(play, undisturbed)
    assert len(play.deaths) == play.lives - REPLICAS
    assert play.places_of_death == set(range(REPLICAS))
    assert_each_was_hit(undisturbed, play.deaths)


@pytest.mark.postgres
@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
async def test_replicas_that_die_at_random_change_nothing(servers: Servers, seed: int) -> None:
    """Now and then all of them at once."""
    undisturbed = await perform(servers, "undisturbed", never)
    play = await perform(servers, "dying", at_random(seed), store=POSTGRES, replicas=REPLICAS)
    assert_same(play, undisturbed)
    assert play.deaths


@STORED
@pytest.mark.parametrize("stride", [7, 23])
async def test_servers_that_die_now_and_then_change_nothing(servers: Servers, stride: int, store: str) -> None:
    """Unlike the servers that die at every commit, these have lived for a while."""
    undisturbed = await perform(servers, "undisturbed", never, store=store)
    play = await perform(servers, "dying", again_and_again(AFTER, stride, stride), store=store)
    assert_same(play, undisturbed)
    assert len(play.deaths) >= len(undisturbed.log) // stride


@pytest.mark.long
@STORED
@pytest.mark.parametrize("seed", range(50))
async def test_servers_that_die_at_random_change_nothing(servers: Servers, seed: int, store: str) -> None:
    undisturbed = await perform(servers, "undisturbed", never, store=store)
    play = await perform(servers, "dying", at_random(seed), store=store)
    assert_same(play, undisturbed)
    assert play.deaths


# What the suite finds once a defence is gone.


async def test_the_suite_finds_a_server_that_forgets_requests(servers: Servers) -> None:
    """Without the defence of request ids, a StartRun that is sent again meets its own run."""
    play = await perform(servers, "defective", at_every_commit(AFTER), defect="forget_requests")
    assert "ALREADY_EXISTS" in play.failure


@pytest.mark.postgres
async def test_the_suite_finds_replicas_that_forget_requests(servers: Servers) -> None:
    """The call is sent again to another one than the one that died of it."""
    plan = at_commit(AFTER, {"request": "StartRun/start-ears"}, 1)
    play = await perform(servers, "defective", plan, "forget_requests", store=POSTGRES, replicas=REPLICAS)
    assert len(play.deaths) == 1
    assert "ALREADY_EXISTS" in play.failure


async def test_the_suite_finds_a_transition_that_is_torn_in_two(servers: Servers) -> None:
    """Without atomic commits, a death leaves events and ends of children that nobody hears of."""
    play = await perform(servers, "defective", once(DIE_IN_TEAR, 1), defect="torn", patience_s=PATIENCE_S)
    assert play.lives == 2
    assert play.failure == "the script hangs"
    assert kinds(play.findings) & {"EVENT_LOST", "CHILD_END_LOST"}


async def test_a_server_torn_in_two_is_right_while_nobody_dies(servers: Servers) -> None:
    """It is the deaths that show it."""
    play = await perform(servers, "defective", never, defect="torn")
    assert_same(play, await perform(servers, "undisturbed", never))


async def test_the_suite_finds_an_answer_before_the_commit_is_on_disk(servers: Servers) -> None:
    """The store loses the last commit that it answered: the state after `synchronous=OFF` and a power cut."""
    play = await perform(servers, "defective", once(BEFORE, 60), after_death=cut_last_commit, patience_s=PATIENCE_S)
    assert kinds(play.findings) & {"REPLY_LOST", "REPORT_LOST", "STREAMED_LOST", "STREAMED_DIFFERS"}


async def test_the_checker_finds_each_record_that_is_tampered_with(servers: Servers) -> None:
    """Each record of a real ledger is lost, doubled, swapped or edited, one way after the other."""
    play = await perform(servers, "undisturbed", never)
    ways = list(TAMPERINGS)
    assert play.findings == []
    assert unseen_tamperings(play.export, play.testimony, lambda number: [ways[number % len(ways)]]) == []


@pytest.mark.long
async def test_the_checker_finds_each_way_of_tampering_with_each_record(servers: Servers) -> None:
    play = await perform(servers, "undisturbed", never)
    assert unseen_tamperings(play.export, play.testimony, lambda _number: TAMPERINGS) == []
