"""The answer to a COMMIT gets lost, or the COMMIT itself: what was committed is answered as committed, once; what was
not is a StoreError, and nothing of it is kept (P2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure_server.storage.port import Commit, LeaseRenewal, RecordQuery, Store, StoreError, VerdictKind
from perdure_server.storage.sql.postgres import open_postgres
from tests.contract.bindings import EPOCH, genesis, postgres_url
from tests.contract.builders import (
    DEFAULT,
    LEASED,
    committed,
    head,
    key,
    kinds,
    leased_task,
    put_task,
    request,
    start,
    step,
)
from tests.contract.losing_proxy import LosingProxy, Loss, losing_proxy
from tests.postgres import cluster

pytestmark = [pytest.mark.postgres, pytest.mark.promise("P2"), pytest.mark.timeout(300)]


@pytest.fixture
def proxy() -> Iterator[LosingProxy]:
    """A proxy before the session's cluster."""
    with losing_proxy(cluster().port) as made:
        yield made


@pytest.fixture
def store(proxy: LosingProxy, tmp_path: Path) -> Iterator[Store]:
    """A store behind the proxy, with run r1 of one record."""
    database = postgres_url(tmp_path).rpartition("/")[2]
    opened = open_postgres(cluster().url(database, port=proxy.port), genesis=genesis, epoch=EPOCH)
    committed(opened, start("r1"))
    yield opened
    opened.close()


BATCHES = {
    "written-together": [step("r1", 1, count=2, request=request("q1")), start("r2")],
    "one-by-one": [step("r1", 1, request=request("q1")), step("r1", 2), start("r2")],
}
"""The same records, the other way with a sequel in the batch."""


def kept(store: Store) -> list[tuple[str, int]]:
    """(run, seq) of all records in their order."""
    return [(stored.run_id, stored.seq) for stored in store.read_records(RecordQuery(DEFAULT))]


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_what_was_committed_is_answered_as_committed_once(
    store: Store, proxy: LosingProxy, batch: list[Commit]
) -> None:
    proxy.next = Loss.ANSWER
    verdicts = committed(store, *batch)
    assert proxy.lost == 1
    assert kept(store) == [("r1", 1), ("r1", 2), ("r1", 3), ("r2", 1)]
    told = [position for verdict in verdicts for position in verdict.positions]
    assert told == [stored.position for stored in store.read_records(RecordQuery(DEFAULT))][1:]
    assert kinds(store.commit([step("r1", 1, request=request("q1"))])) == [VerdictKind.REQUEST_KNOWN]
    committed(store, step("r1", 3), step("r2", 1))
    assert len(kept(store)) == 6


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("loss", [Loss.COMMAND, Loss.COMMAND_SILENTLY])
def test_what_was_not_committed_fails_and_nothing_of_it_is_kept(
    store: Store, proxy: LosingProxy, batch: list[Commit], loss: Loss
) -> None:
    proxy.next = loss
    with pytest.raises(StoreError, match=r"aborted|went away"):
        store.commit(batch)
    assert proxy.lost == 1
    assert kept(store) == [("r1", 1)]
    # No transaction is left over that would hold the horizon back or a run's lock.
    committed(store, *batch)
    assert kept(store) == [("r1", 1), ("r1", 2), ("r1", 3), ("r2", 1)]


def test_an_outcome_that_cannot_be_learned_is_said_to_be_unknown(store: Store, proxy: LosingProxy) -> None:
    proxy.next, proxy.refuses_after = Loss.ANSWER, True
    failures: list[StoreError] = []

    def commit() -> None:
        with pytest.raises(StoreError) as caught:
            store.commit([step("r1", 1)])
        failures.append(caught.value)

    writer = threading.Thread(target=commit)
    writer.start()
    # It asks until the database is back; a store that closes waits no longer.
    proxy.happened.wait(60)
    store.close()
    writer.join(60)
    assert "unknown" in str(failures[0])


def test_a_renewal_of_leases_whose_answer_is_lost_can_be_repeated(store: Store, proxy: LosingProxy) -> None:
    committed(store, step("r1", 1, run_head=head(2, activity=LEASED), change=put_task(leased_task())))
    renewal = LeaseRenewal(key("r1"), 1, 1, 2**50, None)
    proxy.next = Loss.ANSWER
    with pytest.raises(StoreError):
        store.renew_leases([renewal])
    assert store.renew_leases([renewal]) == [True]
