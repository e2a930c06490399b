"""The cluster that the PostgreSQL tests run on is a real one: it keeps what was committed when it is killed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres import Cluster, Stop, cluster

pytestmark = pytest.mark.postgres


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster that may be stopped."""
    made = Cluster()
    yield made
    made.remove()


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_a_cluster_keeps_what_was_committed_whatever_stops_it(own_cluster: Cluster, how: Stop) -> None:
    database = own_cluster.new_database()
    own_cluster.execute("CREATE TABLE kept AS SELECT 1 AS one", database)

    def refuses() -> None:
        with pytest.raises(psycopg.OperationalError):
            own_cluster.execute("SELECT 1", database)

    own_cluster.restart(how, refuses)
    assert own_cluster.execute("SELECT one FROM kept", database) == [(1,)]


def test_it_writes_to_the_disk() -> None:
    assert cluster().execute("SHOW fsync") == [("on",)]
    assert cluster().execute("SHOW synchronous_commit") == [("on",)]


def test_databases_are_made_and_dropped() -> None:
    name = cluster().new_database()
    assert cluster().execute("SELECT current_database()", name) == [(name,)]
    cluster().drop_database(name)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        cluster().execute("SELECT 1", name)
