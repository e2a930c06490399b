"""Lists of runs and waits: every filter, their combinations, order, ties, paging, counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from perdure_server.storage.port import Commit, RunHead, RunQuery, RunSummary, Store, WaitQuery
from tests.contract.bindings import NOW
from tests.contract.builders import (
    DEFAULT,
    committed,
    create,
    ended_head,
    head,
    leased_task,
    put_task,
    start,
    step,
    wait,
    waiting_head,
)

# Runs that differ in everything a filter asks for; several share each value.
HEADS = (
    head(1),
    head(1, paused=True),
    head(1, activity=5),
    waiting_head(1, wait(1, reason=3, wait_key="k1", assignee="ann", since_at=NOW + 5)),
    waiting_head(1, wait(1, reason=1, wait_key="k2", assignee="bob", since_at=NOW + 3), paused=True),
    waiting_head(1, wait(1, reason=3, wait_key="", assignee="", since_at=NOW + 5)),
    ended_head(1, status=3, ended_at=NOW + 10),
    ended_head(1, status=4, ended_at=NOW + 20),
    ended_head(1, status=5, ended_at=NOW + 30),
)


def populated(store: Store) -> list[RunSummary]:
    """Commits the runs and gives them as a list shows them."""
    commits: list[Commit] = []
    for number, run_head in enumerate(HEADS * 3):
        root = number // 4 * 4
        commits.append(
            start(
                f"r{number:02}",
                run_head=run_head,
                root_run_id=f"r{root:02}",
                parent_run_id="" if number == root else f"r{number - 1:02}",
                session_id=f"s{number % 3}",
                workflow_id=f"w{number % 2}",
                workflow_version=f"v{number % 5}",
                labels={"tier": f"t{number % 2}", "zone": f"z{number % 3}"} if number % 4 else {},
                created_at=NOW + number // 2,
                change=put_task(leased_task(1)) if run_head is HEADS[0] else put_task(None),
            )
        )
    committed(store, *commits, start("elsewhere", namespace="other", session_id="s0"))
    return store.list_runs(RunQuery(DEFAULT), None, 1_000)


@dataclass(frozen=True)
class Filter:
    """A filter by name: its fields in RunQuery, and what it means."""

    fields: Mapping[str, Any]
    meaning: Callable[[RunSummary], bool]


def wait_of(run: RunSummary, name: str) -> object:
    """A field of a run's wait, None without one."""
    return getattr(run.head.wait, name) if run.head.wait else None


FILTERS = {
    "status": Filter({"statuses": (3,)}, lambda run: run.head.status == 3),
    "statuses": Filter({"statuses": (4, 2, 2)}, lambda run: run.head.status in {2, 4}),
    "activity": Filter({"activities": (1,)}, lambda run: run.head.activity == 1),
    "activities": Filter({"activities": (5, 4, 4)}, lambda run: run.head.activity in {4, 5}),
    "activity none": Filter({"activities": (0, 5)}, lambda run: run.head.activity in {0, 5}),
    "workflow": Filter({"workflow_id": "w1"}, lambda run: run.identity.workflow_id == "w1"),
    "version": Filter({"workflow_version": "v2"}, lambda run: run.identity.workflow_version == "v2"),
    "session": Filter({"session_id": "s2"}, lambda run: run.identity.session_id == "s2"),
    "root": Filter({"root_run_id": "r08"}, lambda run: run.identity.root_run_id == "r08"),
    "parent": Filter({"parent_run_id": "r04"}, lambda run: run.identity.parent_run_id == "r04"),
    "roots": Filter({"roots_only": True}, lambda run: not run.identity.parent_run_id),
    "paused": Filter({"paused_only": True}, lambda run: run.head.paused),
    "label": Filter({"labels": {"tier": "t1"}}, lambda run: run.identity.labels.get("tier") == "t1"),
    "labels": Filter(
        {"labels": {"zone": "z2", "tier": "t0"}},
        lambda run: {"zone": "z2", "tier": "t0"}.items() <= dict(run.identity.labels).items(),
    ),
    "reason": Filter({"wait_reason": 3}, lambda run: wait_of(run, "reason") == 3),
    "wait key": Filter({"wait_key": "k2"}, lambda run: wait_of(run, "wait_key") == "k2"),
    "assignee": Filter({"assignee": "ann"}, lambda run: wait_of(run, "assignee") == "ann"),
    "created from": Filter({"created_from": NOW + 4}, lambda run: run.identity.created_at >= NOW + 4),
    "created before": Filter({"created_before": NOW + 4}, lambda run: run.identity.created_at < NOW + 4),
    "ended from": Filter({"ended_from": NOW + 20}, lambda run: run.head.ended_at >= NOW + 20),
    "ended before": Filter({"ended_before": NOW + 20}, lambda run: 0 < run.head.ended_at < NOW + 20),
}

COMBINATIONS = [*((name,) for name in FILTERS), *itertools.combinations(FILTERS, 2)]


def combined(names: tuple[str, ...]) -> RunQuery | None:
    """The query of these filters, None where two of them set the same field."""
    fields: dict[str, Any] = {}
    for name in names:
        if fields.keys() & FILTERS[name].fields.keys():
            return None
        fields |= FILTERS[name].fields
    return RunQuery(DEFAULT, **fields)


def test_every_filter_and_pair_of_filters_gives_what_it_means_in_order(store: Store) -> None:
    runs = populated(store)
    assert len(runs) == 27
    matched = 0
    for names in COMBINATIONS:
        query = combined(names)
        if query is None:
            continue
        expected = [run for run in runs if all(FILTERS[name].meaning(run) for name in names)]
        assert store.list_runs(query, None, 1_000) == expected, names
        assert store.count_runs(query, 1_000) == len(expected), names
        paged = pages(lambda after, query=query: store.list_runs(query, after, 2), by_creation)
        assert paged == expected, names
        matched += bool(expected)
    assert matched > len(FILTERS) * 5


def by_creation(run: RunSummary) -> tuple[int, str]:
    """Where a run stands in a list of runs."""
    return (run.identity.created_at, run.identity.run_id)


def by_waiting(run: RunSummary) -> tuple[int, str]:
    """Where a run stands in a list of waits."""
    assert run.head.wait is not None
    return (run.head.wait.since_at, run.identity.run_id)


def pages(
    read: Callable[[tuple[int, str] | None], list[RunSummary]], place: Callable[[RunSummary], tuple[int, str]]
) -> list[RunSummary]:
    """All pages of a list, one after the other."""
    found: list[RunSummary] = []
    while page := read(place(found[-1]) if found else None):
        found += page
    return found


def test_runs_are_listed_newest_first_and_ties_by_id(store: Store) -> None:
    runs = populated(store)
    assert [by_creation(run) for run in runs] == sorted(map(by_creation, runs), reverse=True)
    assert len({run.identity.created_at for run in runs}) < len(runs)


def test_a_list_shows_task_wait_and_labels(store: Store) -> None:
    runs = {run.identity.run_id: run for run in populated(store)}
    assert runs["r00"].task == leased_task(1)
    assert runs["r01"].task is None
    assert runs["r03"].head.wait == wait(1, reason=3, wait_key="k1", assignee="ann", since_at=NOW + 5)
    assert dict(runs["r05"].identity.labels) == {"tier": "t1", "zone": "z2"}


def test_counting_stops_at_the_limit(store: Store) -> None:
    populated(store)
    assert store.count_runs(RunQuery(DEFAULT), 10) == 10
    assert store.count_runs(RunQuery(DEFAULT, workflow_id="w1"), 5) == 5
    assert store.count_runs(RunQuery(DEFAULT), 0) == 0


@pytest.mark.parametrize(
    "query",
    [
        RunQuery("nowhere"),
        RunQuery(DEFAULT, session_id="nobody"),
        RunQuery(DEFAULT, workflow_id="nothing", session_id="s0"),
        RunQuery(DEFAULT, labels={"tier": "T1"}),
        RunQuery(DEFAULT, labels={"absent": ""}),
        RunQuery("other", root_run_id="r00"),
    ],
)
def test_a_filter_for_nothing_finds_nothing(store: Store, query: RunQuery) -> None:
    populated(store)
    assert store.list_runs(query, None, 10) == []
    assert store.count_runs(query, 10) == 0


WAIT_FILTERS: dict[str, tuple[dict[str, Any], Callable[[RunSummary], bool]]] = {
    "none": ({}, lambda _run: True),
    "reason": ({"reasons": (3,)}, lambda run: wait_of(run, "reason") == 3),
    "reasons": ({"reasons": (1, 3, 1)}, lambda run: wait_of(run, "reason") in {1, 3}),
    "no such reason": ({"reasons": (6,)}, lambda _run: False),
    "key": ({"wait_key": "k1"}, lambda run: wait_of(run, "wait_key") == "k1"),
    "assignee": ({"assignee": "bob"}, lambda run: wait_of(run, "assignee") == "bob"),
    "workflow": ({"workflow_id": "w0"}, lambda run: run.identity.workflow_id == "w0"),
    "session": ({"session_id": "s1"}, lambda run: run.identity.session_id == "s1"),
    "unknown session": ({"session_id": "s9"}, lambda _run: False),
}


def test_every_filter_and_pair_of_filters_of_waits_gives_what_it_means(store: Store) -> None:
    waiting = [run for run in populated(store) if run.head.wait]
    waiting.sort(key=by_waiting)
    for first, second in itertools.product(WAIT_FILTERS, repeat=2):
        if first != second and WAIT_FILTERS[first][0].keys() & WAIT_FILTERS[second][0].keys():
            continue
        query = WaitQuery(DEFAULT, **(WAIT_FILTERS[first][0] | WAIT_FILTERS[second][0]))
        expected = [run for run in waiting if WAIT_FILTERS[first][1](run) and WAIT_FILTERS[second][1](run)]
        assert store.list_waits(query, None, 100) == expected, query
        assert pages(lambda after, query=query: store.list_waits(query, after, 2), by_waiting) == expected, query
    assert store.list_waits(WaitQuery("other"), None, 10) == []


def test_lists_follow_the_head(store: Store) -> None:
    """Every index moves with the run: from queued over waiting and paused to its end."""
    committed(store, start("r1"))
    stages: list[tuple[RunHead, dict[str, Any]]] = [
        (waiting_head(2, wait(2, since_at=NOW)), {"statuses": (2,), "activities": (4,), "wait_reason": 3}),
        (waiting_head(3, wait(2, assignee="zoe"), paused=True), {"paused_only": True, "assignee": "zoe"}),
        (head(4, activity=5), {"statuses": (1,), "activities": (5,)}),
        (ended_head(5, status=4, ended_at=NOW + 9), {"statuses": (4,), "ended_from": NOW + 9}),
        (head(6), {"statuses": (1,), "activities": (1,)}),
    ]
    everything = [RunQuery(DEFAULT, activities=(activity,)) for activity in range(7)]
    for expected_seq, (given, fields) in enumerate(stages, start=1):
        committed(store, step("r1", expected_seq, run_head=given))
        for name, value in fields.items():
            (found,) = store.list_runs(replace(RunQuery(DEFAULT), **{name: value}), None, 10)
            assert found.head == given
        in_lists = [len(store.list_runs(one, None, 10)) for one in everything]
        assert sum(in_lists) == 1
        waits = store.list_waits(WaitQuery(DEFAULT), None, 10)
        assert [run.head.wait for run in waits] == ([given.wait] if given.wait else [])


def test_ten_thousand_runs_page_without_gap_or_repeat_while_others_start(store: Store) -> None:
    """Half of them tie in their instant. What starts meanwhile is newer than every page."""
    total = 10_000
    for first in range(0, total, 1_000):
        starts = [
            create(f"r{number:05}", created_at=NOW + (number if number % 2 else 0))
            for number in range(first, first + 1_000)
        ]
        committed(store, *(Commit(DEFAULT, new_runs=(new,)) for new in starts))
    found: list[RunSummary] = []
    while True:
        after = by_creation(found[-1]) if found else None
        page = store.list_runs(RunQuery(DEFAULT), after, 1_000)
        if not page:
            break
        found += page
        committed(store, start(f"late{len(found)}", created_at=NOW + 2 * total))
    ids = [run.identity.run_id for run in found]
    assert len(ids) == len(set(ids)) == total
    assert [by_creation(run) for run in found] == sorted(map(by_creation, found), reverse=True)
