"""Schedules of one database, changed by several processes at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from perdure_server.storage.port import Commit, ScheduleRow, ScheduleWrite, Store, Verdict, VerdictKind
from tests.contract.bindings import NOW, POSTGRES
from tests.contract.builders import DEFAULT, start

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

WRITERS = 4
ROUNDS = 25


def fire(store: Store, meet: threading.Barrier, version: int, writer: int) -> Verdict:
    """Starts a run of the writer's own with the schedule's next version; the first one makes the schedule."""
    row = ScheduleRow("s", version + 1, NOW + version, NOW, f"of {writer}".encode())
    commit: Commit = replace(start(f"r{version}-{writer}"), schedule=ScheduleWrite("s", version, row))
    meet.wait(60)
    (verdict,) = store.commit([commit])
    return verdict


@pytest.mark.promise("P5")
def test_of_several_processes_one_fires_an_instant(tmp_path: Path) -> None:
    stores = [POSTGRES.open(tmp_path) for _ in range(WRITERS)]
    meet = threading.Barrier(WRITERS)
    with ThreadPoolExecutor(WRITERS) as threads:
        for version in range(ROUNDS):
            firing = [threads.submit(fire, store, meet, version, writer) for writer, store in enumerate(stores)]
            kinds = [each.result(120).kind for each in firing]
            assert sorted(kind.value for kind in kinds) == ["committed"] + ["schedule_changed"] * (WRITERS - 1)
            found = stores[0].find_schedule(DEFAULT, "s")
            winner = kinds.index(VerdictKind.COMMITTED)
            assert found is not None
            assert (found.version, found.detail) == (version + 1, f"of {winner}".encode())
    for store in stores:
        store.close()
