"""PgBouncer in transaction mode between a store and its database: each transaction has another connection."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perdure_server.storage.port import CatalogChange, LeaseRenewal, RecordQuery, Store, StoreError
from perdure_server.storage.sql.postgres import open_postgres
from tests.contract.bindings import EPOCH, NOW, genesis, postgres_url
from tests.contract.builders import (
    DEFAULT,
    LEASED,
    committed,
    head,
    key,
    leased_task,
    put_task,
    request,
    start,
    step,
    workflow,
)
from tests.pgbouncer import missing, pgbouncer
from tests.postgres import cluster

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]

STEPS = 20


@pytest.fixture(scope="module")
def bouncer() -> Iterator[int]:
    """The port of a PgBouncer."""
    with pgbouncer() as port:
        yield port


@pytest.fixture
def url(bouncer: int, tmp_path: Path) -> str:
    """A database with an empty store, through PgBouncer."""
    return cluster().url(postgres_url(tmp_path).rpartition("/")[2], port=bouncer)


def open_url(url: str) -> Store:
    """A store as the tests make them."""
    return open_postgres(url, genesis=genesis, epoch=EPOCH)


def test_without_the_parameter_the_start_is_refused_with_what_to_do(url: str) -> None:
    with pytest.raises(StoreError, match=r"pooler=transaction"):
        open_url(url)


def test_several_stores_share_fewer_connections_than_they_have(url: str) -> None:
    stores = [open_url(f"{url}?pooler=transaction") for _ in range(3)]

    def write(number: int) -> list[int]:
        store, run_id = stores[number], f"r{number}"
        committed(store, start(run_id, run_head=head(1, activity=LEASED), change=put_task(leased_task())))
        for seq in range(1, STEPS):
            asked = request(f"{number}-{seq}")
            committed(store, step(run_id, seq, run_head=head(seq + 1, activity=LEASED), request=asked))
            assert store.renew_leases([LeaseRenewal(key(run_id), 1, 1, NOW + seq, None)]) == [True]
            assert store.load_run(key(run_id)) is not None
        return [stored.seq for stored in store.read_records(RecordQuery(DEFAULT, run_id=run_id))]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(write, range(3))) == [list(range(1, STEPS + 1))] * 3
    pages = [[stored.position for stored in store.read_records(RecordQuery(DEFAULT))] for store in stores]
    assert pages == [pages[0]] * 3
    assert len(pages[0]) == 3 * STEPS
    assert stores[0].change_catalog(CatalogChange(DEFAULT, put_workflow=workflow(), make_default=True)).changed
    assert [row.workflow_id for row in stores[1].list_workflows(DEFAULT, "", False, None, 10)] == ["order"]
    assert not stores[0].info().features["hints"].available
    assert not stores[1].wait_for_change(1_000)
    for store in stores:
        store.close()


@pytest.mark.promise("P2")
def test_the_settings_that_commits_rely_on_reach_the_server(url: str, bouncer: int) -> None:
    database = url.rpartition("/")[2]
    cluster().execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    cluster().execute("CREATE TABLE seen AS SELECT current_setting('synchronous_commit') AS mode WHERE false", database)
    cluster().execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO seen SELECT current_setting('synchronous_commit'); RETURN NEW; END $$",
        database,
    )
    cluster().execute("CREATE TRIGGER note BEFORE INSERT ON records FOR EACH ROW EXECUTE FUNCTION note()", database)
    store = open_url(f"{url}?pooler=transaction")
    committed(store, start("r1"), start("r2"))
    assert cluster().execute("SELECT DISTINCT mode FROM seen", database) == [("on",)]
    store.close()
