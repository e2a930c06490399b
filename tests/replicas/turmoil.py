"""A database in which transactions take their time after they took positions, and some do not come to their end.

A trigger behind each insert into the ledger and the event log decides by the first new position, so a seed decides
about a position and never about a Commit: the next try takes others. Sequences count what it did, since they forget
nothing that is rolled back.
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Final

from tests.postgres import Cluster

DEEDS: Final = ("delayed", "serialization_failure", "deadlock_detected", "refused", "cut_off")
"""What may happen to a transaction; the last four roll it back."""

LONGEST_S: Final = 0.08
"""A transaction is held for up to so long."""

_TURMOIL: Final = """
CREATE FUNCTION turmoil() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chance float := (hashint8extended((SELECT min(position) FROM fresh), {seed}) & 1048575) / 1048576.0;
BEGIN
    IF chance < 0.55 THEN
        PERFORM nextval('delayed'), pg_sleep({longest} * chance / 0.55);
    ELSIF chance < 0.59 THEN
        PERFORM nextval('serialization_failure');
        RAISE 'turmoil' USING ERRCODE = 'serialization_failure';
    ELSIF chance < 0.62 THEN
        PERFORM nextval('deadlock_detected');
        RAISE 'turmoil' USING ERRCODE = 'deadlock_detected';
    ELSIF chance < 0.66 THEN
        PERFORM nextval('refused');
        RAISE 'turmoil' USING ERRCODE = 'query_canceled';
    ELSIF chance < 0.70 THEN
        PERFORM nextval('cut_off'), pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGER: Final = """
CREATE TRIGGER turmoil AFTER INSERT ON {table} REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION turmoil()
"""
_COMMITS: Final = """
SELECT max(position) FROM (SELECT position, xmin FROM records UNION ALL SELECT position, xmin FROM events) AS written
GROUP BY xmin::text ORDER BY pg_xact_commit_timestamp(min(xmin::text)::xid)
"""
"""Of each transaction its last position, in the order of their commits."""


def stir(database: Cluster, name: str, seed: int) -> None:
    """Begins the turmoil in a database that has a store."""
    for deed in DEEDS:
        database.execute(f"CREATE SEQUENCE {deed}", name)
    database.execute(_TURMOIL.format(seed=seed, longest=LONGEST_S), name)
    for table in ("records", "events"):
        database.execute(_TRIGGER.format(table=table), name)


def deeds(database: Cluster, name: str) -> Counter[str]:
    """What it has done so far."""
    told = database.execute("SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences", name)
    return Counter({str(deed): int(str(count)) for deed, count in told if deed in DEEDS})


def commits(database: Cluster, name: str) -> tuple[int, int]:
    """Transactions that were committed, and how many of them after one with later positions. Needs
    `track_commit_timestamp`."""
    places = [int(str(position)) for (position,) in database.execute(_COMMITS, name)]
    return len(places), sum(place < highest for place, highest in zip(places, accumulate(places, max), strict=True))
