"""A server killed at any of its commits loses nothing and does nothing twice (P1, P2, P5, P6).

The script in `crash/` makes over 100 commits with every kind of effect. Its servers kill themselves with SIGKILL
right after a commit has returned, before anything is answered, or in place of a commit; host and worker go on with
the next server, under the same request ids and task tokens. What the ledgers then hold must be what an undisturbed
play leaves, and must bear out everything that clients were told.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from typing import Any

import grpc.aio
import pytest

from tests.robustness.checker.examine import examine
from tests.robustness.checker.tampering import TAMPERINGS
from tests.robustness.crash.lost_commit import cut_last_commit
from tests.robustness.crash.plays import (
    AFTER,
    BEFORE,
    CommitLine,
    Play,
    again_and_again,
    at_every_commit,
    never,
    once,
    perform,
)
from tests.robustness.server_process import Servers

MIN_COMMITS = 40
HANDED_OUT = (2, 5)
"""STEP_STARTED and REQUEUED: whether a hand-out shares the commit that makes its step due depends on which workers
are connected just then."""

pytestmark = [pytest.mark.promise("P1", "P5", "P6"), pytest.mark.timeout(900)]

POINTS = pytest.mark.parametrize("point", [AFTER, BEFORE], ids=["after", "before"])


def what_was_done(lines: Iterable[CommitLine]) -> set[str]:
    """What each commit of a log did, but for its hand-outs; commits that did nothing else are left out."""
    found: set[str] = set()
    for line in lines:
        for commit in map(json.loads, line.commits):
            if "records" in commit:
                commit["records"] = _without_hand_outs(commit["records"])
                commit["new_runs"] = [[run, _without_hand_outs(records)] for run, records in commit["new_runs"]]
            if any(value for key, value in commit.items() if key != "run"):
                found.add(json.dumps(commit, sort_keys=True))
    return found


def _without_hand_outs(records: list[list[object]]) -> list[list[object]]:
    return [record for record in records if record[0] not in HANDED_OUT]


def assert_same(play: Play, undisturbed: Play) -> None:
    """Nothing was lost, nothing done twice, and the ledgers are those of the undisturbed play."""
    assert play.findings == []
    assert play.audit == []
    assert play.lines == undisturbed.lines


async def test_an_undisturbed_play_is_long_enough_and_clean(servers: Servers) -> None:
    play = await perform(servers, "undisturbed", never)
    assert play.findings == []
    assert play.lives == 1
    assert len(play.log) >= MIN_COMMITS


@POINTS
async def test_a_server_that_dies_at_every_commit_changes_nothing(servers: Servers, point: str) -> None:
    undisturbed = await perform(servers, "undisturbed", never)
    play = await perform(servers, "dying", at_every_commit(point))
    assert_same(play, undisturbed)
    assert len(play.deaths) == play.lives - 1
    missed = what_was_done(undisturbed.log) - what_was_done(play.deaths)
    assert missed == set(), f"{len(missed)} commits at which nobody died"


@pytest.mark.parametrize("stride", [7, 23])
async def test_servers_that_die_now_and_then_change_nothing(servers: Servers, stride: int) -> None:
    """Unlike the servers that die at every commit, these have lived for a while."""
    undisturbed = await perform(servers, "undisturbed", never)
    play = await perform(servers, "dying", again_and_again(AFTER, stride, stride))
    assert_same(play, undisturbed)
    assert len(play.deaths) >= len(undisturbed.log) // stride


@pytest.mark.long
@POINTS
async def test_one_death_at_each_single_commit_changes_nothing(servers: Servers, point: str) -> None:
    undisturbed = await perform(servers, "undisturbed", never)
    deaths = 0
    for number in count(1):
        play = await perform(servers, f"dying-{number}", once(point, number))
        assert_same(play, undisturbed)
        if not play.deaths:
            break
        deaths += 1
        assert [line.number for line in play.deaths] == [number]
    assert deaths >= len(undisturbed.log) - 3, "a group more or less is the machine's doing; not many"


async def defence(servers: Servers, play: Play | None = None, **options: Any) -> str:
    """What a play with a defect meets: the word of whatever found it, or "" if nothing did."""
    undisturbed = play or await perform(servers, "undisturbed", never)
    try:
        play = await perform(servers, "defective", **options)
    except (grpc.aio.AioRpcError, AssertionError) as error:
        return error.code().name if isinstance(error, grpc.aio.AioRpcError) else "the script was led astray"
    if play.findings:
        return play.findings[0].kind
    return "other ledgers" if play.lines != undisturbed.lines else ""


async def test_the_suite_finds_a_server_that_forgets_requests(servers: Servers) -> None:
    """Without the defence of request ids, a StartRun that is sent again meets its own run."""
    found = await defence(servers, plan=at_every_commit(AFTER), defect="forget_requests")
    assert found == "ALREADY_EXISTS"


async def test_the_suite_finds_an_answer_before_the_commit_is_on_disk(servers: Servers) -> None:
    """The store loses the last commit that it answered: the state after `synchronous=OFF` and a power cut."""
    found = await defence(servers, plan=once(BEFORE, 60), after_death=cut_last_commit)
    assert found != ""


def unseen_tamperings(play: Play, ways: Callable[[int], Iterable[str]]) -> list[str]:
    """Falsified ledgers that the checker takes for good.

    Args:
        ways: tamperings to try on the n-th record of the export.
    """
    unseen: list[str] = []
    numbers = count()
    for run_id, entries in play.export.entries.items():
        for index in range(len(entries)):
            for how in ways(next(numbers)):
                altered = TAMPERINGS[how](entries, index)
                export = replace(play.export, entries={**play.export.entries, run_id: altered})
                if altered != entries and not examine(export, play.testimony):
                    unseen.append(f"{how} {run_id}#{index + 1}")
    return unseen


async def test_the_checker_finds_each_record_that_is_tampered_with(servers: Servers) -> None:
    """Each record of a real ledger is lost, doubled, swapped or edited, one way after the other."""
    play = await perform(servers, "undisturbed", never)
    ways = list(TAMPERINGS)
    assert play.findings == []
    assert unseen_tamperings(play, lambda number: [ways[number % len(ways)]]) == []


@pytest.mark.long
async def test_the_checker_finds_each_way_of_tampering_with_each_record(servers: Servers) -> None:
    play = await perform(servers, "undisturbed", never)
    assert unseen_tamperings(play, lambda _number: TAMPERINGS) == []
