"""A PostgreSQL that is not fit, that goes away, or that does not say what became of a commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from perdure_server.storage.port import RecordQuery, StoreError
from perdure_server.storage.sql.postgres import PostgresStore, open_postgres
from perdure_server.storage.sql.postgres_link import Link
from perdure_server.storage.sql.postgres_numbers import ADVISORY_KEY, LOCK_POSITIONS, TAKE_POSITIONS
from perdure_server.storage.sql.postgres_start import change_epoch
from perdure_server.storage.sql.postgres_url import parse_postgres_url
from tests.contract.bindings import EPOCH, genesis, postgres_url
from tests.contract.builders import DEFAULT, committed, key, start, step
from tests.contract.test_postgres_order import first
from tests.postgres import PASSWORD, Cluster, cluster

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


def open_url(url: str) -> PostgresStore:
    """A store as the tests make them."""
    return open_postgres(url, genesis=genesis, epoch=EPOCH)


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster that may be stopped."""
    made = Cluster()
    yield made
    made.remove()


def secret_url(**changes: object) -> str:
    """A URL of the session's cluster, with a part that is wrong."""
    parts = {"user": "perdure", "password": "hunter2secret", "host": "127.0.0.1", "port": cluster().port, "db": "x"}
    return "postgresql://{user}:{password}@{host}:{port}/{db}".format(**{**parts, **changes})


BAD_URLS = {
    "wrong password": (lambda: secret_url(db="postgres"), "password authentication failed.*check"),
    "no such host": (lambda: secret_url(host="nowhere.invalid"), "nowhere.invalid.*check host"),
    "nobody listens": (lambda: secret_url(port=1), "refused.*check host, port"),
    "a word for a port": (lambda: secret_url(port="http"), "check host, port"),
    "an unescaped @": (lambda: secret_url(password="hunter2secret@x"), "%40"),
    "an unescaped slash": (lambda: secret_url(password="hunter2secret/x"), "%2F"),
    "an unknown parameter": (lambda: secret_url() + "?reader=3", "no parameter 'reader'"),
    "no readers": (lambda: secret_url() + "?readers=0", "readers must be from 1"),
    "another pooler": (lambda: secret_url() + "?pooler=session", "pooler takes transaction"),
}


@pytest.mark.parametrize(("url", "said"), BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_url_that_cannot_work_is_refused_with_what_to_do_and_without_the_password(url: object, said: str) -> None:
    assert callable(url)
    with pytest.raises(StoreError, match=said) as caught:
        open_url(str(url()))
    assert "hunter2" not in str(caught.value)


def test_a_database_that_does_not_exist_is_named() -> None:
    with pytest.raises(StoreError, match='"nothing" does not exist'):
        open_url(cluster().url("nothing"))


def test_a_user_without_rights_is_told_which_to_ask_for(tmp_path: Path) -> None:
    empty = cluster().new_database()
    made = postgres_url(tmp_path).rpartition("/")[2]
    cluster().execute("DROP ROLE IF EXISTS guest")
    cluster().execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    for database, said in ((empty, "GRANT CREATE"), (made, "permission denied|GRANT")):
        with pytest.raises(StoreError, match=said):
            open_url(cluster().url(database, "guest", "guest"))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "schema 9999, made by a newer Perdure"),
        ("DROP TABLE timers", "lacks the table 'timers'"),
        ("DROP SEQUENCE ledger_positions", "lacks the sequence"),
        ("DROP TABLE alembic_version", "tables of another application"),
    ],
)
def test_a_newer_or_half_made_schema_is_refused(tmp_path: Path, statement: str, said: str) -> None:
    url = postgres_url(tmp_path)
    cluster().execute(statement, url.rpartition("/")[2])
    with pytest.raises(StoreError, match=said):
        open_url(url)


@pytest.mark.parametrize("how", ["fast", "kill"])
def test_a_store_goes_on_after_the_database_was_restarted(own_cluster: Cluster, how: str) -> None:
    store = open_url(own_cluster.url(own_cluster.new_database()))
    committed(store, start("r1"))

    def is_down() -> None:
        with pytest.raises(StoreError):
            store.commit([step("r1", 1)])
        with pytest.raises(StoreError):
            store.horizon()

    own_cluster.restart("kill" if how == "kill" else "fast", is_down)
    while True:
        # The writer's pauses between two tries end within two seconds.
        store.wait_for_change(100_000)
        try:
            committed(store, step("r1", 1))
            break
        except StoreError:
            continue
    assert [record.seq for record in store.read_records(RecordQuery(DEFAULT))] == [1, 2]
    store.close()


def cut_off(url: str) -> None:
    """Ends all connections to a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.promise("P5")
def test_a_server_that_ran_through_a_restore_changes_nothing(tmp_path: Path) -> None:
    url = postgres_url(tmp_path)
    store = open_url(url)
    committed(store, start("r1"))
    with pytest.raises(StoreError, match="in use"):
        change_epoch(url, "f" * 32)
    cluster().execute(f"UPDATE store_meta SET value = '{'f' * 32}' WHERE name = 'epoch'", url.rpartition("/")[2])
    cut_off(url)
    with pytest.raises(StoreError):
        store.commit([step("r1", 1)])
    for _ in range(2):
        with pytest.raises(StoreError, match="start this server again"):
            store.commit([step("r1", 1)])
    store.close()
    again = open_url(url)
    assert again.info().epoch == "f" * 32
    committed(again, step("r1", 1))
    again.close()


@pytest.mark.promise("P2")
def test_a_commit_whose_connection_ends_before_it_is_not_kept(tmp_path: Path) -> None:
    store, other = open_url(postgres_url(tmp_path)), postgres_url(tmp_path)
    committed(store, start("r1"))
    cut_off(other)
    with pytest.raises(StoreError):
        store.commit([step("r1", 1)])
    committed(store, step("r1", 1))
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert snapshot.head.seq == 2
    store.close()


@pytest.fixture
def lazy_cluster() -> Iterator[Cluster]:
    """A cluster that brings to the disk only what a commit waits for: most is lost in a crash."""
    made = Cluster(wal_writer_delay="10s", bgwriter_delay="10s")
    yield made
    made.remove()


def restarted(cluster: Cluster, store: PostgresStore) -> None:
    """Crashes the database; returns when the store writes again."""
    cluster.restart("immediate")
    while True:
        try:
            committed(store, start(f"after-{cluster.port}"))
            return
        except StoreError:
            # The writer's pauses between two tries end within two seconds.
            store.wait_for_change(100_000)


@pytest.mark.promise("P8")
def test_positions_that_a_crash_has_lost_are_not_given_below_the_horizon(lazy_cluster: Cluster) -> None:
    """Somebody took positions and rolled back, everybody's cursor passed them, and the crash forgot that they were
    ever taken: what comes next must come behind the cursors."""
    url = lazy_cluster.url(lazy_cluster.new_database())
    store = open_url(url)
    committed(store, start("r1"))
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        key = first(connection, ADVISORY_KEY)
        connection.execute("BEGIN")
        connection.execute(LOCK_POSITIONS, (key,))
        connection.execute(TAKE_POSITIONS, (500,))
        connection.execute("ROLLBACK")
    horizon = store.horizon()
    assert horizon > 500
    restarted(lazy_cluster, store)
    (verdict,) = committed(store, step("r1", 1))
    assert min(verdict.positions) > horizon
    store.close()


@pytest.mark.promise("P2")
def test_a_transaction_id_that_is_given_again_after_a_crash_proves_nothing(lazy_cluster: Cluster) -> None:
    """The crash takes an uncommitted transaction with it; its id becomes that of another one, which is committed."""
    url = lazy_cluster.url(lazy_cluster.new_database())
    store = open_url(url)
    committed(store, start("r1"))
    lost = psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor)
    key = first(lost, ADVISORY_KEY)
    lost.execute("BEGIN")
    lost_id, _, started = lost.execute(LOCK_POSITIONS, (key,)).fetchone() or ("", 0, 0)
    (position, _, _) = lost.execute(TAKE_POSITIONS, (1,)).fetchone() or (0, 0, 0)
    lazy_cluster.restart("immediate")
    lost.close()
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as other:
        given = first(other, "SELECT pg_current_xact_id()::text")
        assert int(given) <= int(lost_id), "this crash has lost nothing"
        while int(given) < int(lost_id):
            given = first(other, "SELECT pg_current_xact_id()::text")
        assert other.execute("SELECT pg_xact_status($1::xid8)", (lost_id,)).fetchone() == ("committed",)
    link = Link(parse_postgres_url(url))
    assert link.outcome(lost_id, started, position) == "aborted"
    assert link.outcome(lost_id, started, 0) == "unknown"
    link.drop()
    store.close()


def test_the_password_is_in_no_representation(tmp_path: Path) -> None:
    store = open_url(postgres_url(tmp_path))
    assert PASSWORD not in repr(vars(store))
    store.close()
