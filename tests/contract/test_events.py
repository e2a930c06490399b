"""The event log, its readers, and who waits for an event."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure_server.storage.port import Commit, EventRow, Store
from tests.contract.bindings import NOW
from tests.contract.builders import (
    DEFAULT,
    GLOBAL_SCOPE,
    SESSION_SCOPE,
    committed,
    event,
    event_wait,
    head,
    key,
    request,
    start,
    step,
    wait,
    waiting_head,
)


def emit(*events: EventRow, namespace: str = DEFAULT) -> Commit:
    """A client's events."""
    return Commit(namespace, events=events)


def ids(store: Store, name: str = "paid", after: int = 0, until: int = 0, limit: int = 100) -> list[str]:
    """Event ids of session s1."""
    return [kept.event.event_id for kept in store.read_events(DEFAULT, 1, "s1", name, after, until, limit)]


def test_an_event_comes_back_as_it_was_given(store: Store) -> None:
    given = EventRow(4, "", "ø:*", "e:1", b"\0\xff", NOW + 7, "r", "w", "n", "s", "me")
    committed(store, emit(given))
    (kept,) = store.read_events(DEFAULT, 4, "", "ø:*", 0, 0, 10)
    assert (kept.event, kept.position) == (given, 1)


@pytest.mark.promise("P5")
def test_a_known_event_keeps_its_place_and_its_payload(store: Store) -> None:
    committed(store, emit(event("e1")))
    (verdict,) = committed(store, emit(event("e1", payload=b"other", at=NOW + 5), event("e2")))
    assert (verdict.event_positions, verdict.events_known) == ((1, 2), (True, False))
    assert [kept.event for kept in store.read_events(DEFAULT, 1, "s1", "paid", 0, 0, 9)] == [event("e1"), event("e2")]


def test_an_event_is_known_within_its_batch_and_its_commit(store: Store) -> None:
    first, second = committed(store, emit(event("e1"), event("e2"), event("e1")), emit(event("e2"), event("e3")))
    assert (first.event_positions, first.events_known) == ((1, 2, 1), (False, False, True))
    assert (second.event_positions, second.events_known) == ((2, 3), (True, False))
    assert ids(store) == ["e1", "e2", "e3"]


def test_the_event_of_a_refused_commit_is_not_known(store: Store) -> None:
    refused, kept = store.commit([step("nobody", 1, events=(event("e1"),)), emit(event("e1"))])
    assert refused.event_positions == ()
    assert (kept.event_positions, kept.events_known) == ((1,), (False,))


@pytest.mark.parametrize(
    "other",
    [
        event("E1"),
        event("e1", name="Paid"),
        event("e1", scope_id="S1"),
        event("e1", scope=3),
        event("1", name="paid:e"),
        event("e1", scope_id="s1:paid", name=":"),
    ],
    ids=str,
)
def test_an_event_id_belongs_to_its_scope_and_name(store: Store, other: EventRow) -> None:
    """Also where ids hold what others take for separators (D9)."""
    _, verdict = committed(store, emit(event("e1")), emit(other))
    assert verdict.events_known == (False,)
    _, verdict = committed(store, emit(event("x")), emit(event("e1"), namespace="other"))
    assert verdict.events_known == (False,)


def test_reading_a_name_or_all_of_a_scope(store: Store) -> None:
    committed(
        store,
        emit(event("a"), event("b", name="sent"), event("c")),
        emit(event("d", scope_id="s2"), event("e", scope=GLOBAL_SCOPE, scope_id="")),
        emit(event("f"), namespace="other"),
        emit(event("g")),
    )
    assert ids(store) == ["a", "c", "g"]
    assert ids(store, name="") == ids(store, name="*") == ["a", "b", "c", "g"]
    assert ids(store, name="PAID") == []
    assert ids(store, name="*", after=1) == ["b", "c", "g"]
    assert ids(store, name="*", after=1, until=3) == ["b", "c"]
    assert ids(store, after=1, until=6) == ["c"]
    assert ids(store, limit=2) == ["a", "c"]
    assert [kept.position for kept in store.read_events(DEFAULT, 1, "s1", "*", 0, 0, 100)] == [1, 2, 3, 7]
    assert [kept.event.event_id for kept in store.read_events(DEFAULT, 4, "", "paid", 0, 0, 10)] == ["e"]


def waiters(store: Store, name: str, scope_id: str = "s1", after: str = "", limit: int = 100) -> list[str]:
    """Ids of the runs that wait for an event of a session."""
    found = store.waits_for_event(DEFAULT, SESSION_SCOPE, scope_id, name, after, limit)
    assert all(one.namespace == DEFAULT for one in found)
    return [one.run_id for one in found]


@pytest.mark.promise("P6")
def test_who_waits_for_an_event(store: Store) -> None:
    waits = {
        "c": event_wait("paid"),
        "a": event_wait("*"),
        "b": event_wait("sent"),
        "e": event_wait("paid"),
        "d": event_wait("Paid"),
        "f": event_wait("paid", scope_id="s2"),
        "g": event_wait("paid", scope=GLOBAL_SCOPE, scope_id=""),
        "h": wait(1, reason=3),
        "i": event_wait("paid", assignee="someone"),
    }
    committed(store, *(start(run_id, run_head=waiting_head(1, row)) for run_id, row in waits.items()))
    committed(store, start("z", namespace="other", run_head=waiting_head(1, event_wait("paid"))))
    assert waiters(store, "paid") == ["a", "c", "e", "i"]
    assert waiters(store, "sent") == ["a", "b"]
    assert waiters(store, "unheard") == ["a"]
    assert waiters(store, "*") == ["a"]
    assert waiters(store, "paid", scope_id="s2") == ["f"]
    assert waiters(store, "paid", scope_id="S1") == []
    assert waiters(store, "paid", after="c") == ["e", "i"]
    assert waiters(store, "paid", after="a", limit=2) == ["c", "e"]
    assert store.waits_for_event(DEFAULT, GLOBAL_SCOPE, "", "paid", "", 9) == [key("g")]
    assert store.waits_for_event("other", SESSION_SCOPE, "s1", "paid", "", 9) == [key("z", "other")]
    assert store.waits_for_event("nowhere", SESSION_SCOPE, "s1", "paid", "", 9) == []


@pytest.mark.promise("P6")
def test_a_paused_run_still_waits_for_its_event_and_an_ended_wait_does_not(store: Store) -> None:
    committed(store, start("a", run_head=waiting_head(1, event_wait("paid"))))
    committed(store, step("a", 1, run_head=waiting_head(2, event_wait("paid"), paused=True)))
    assert waiters(store, "paid") == ["a"]
    committed(store, step("a", 2, run_head=waiting_head(3, event_wait("sent", wait_id=3))))
    assert (waiters(store, "paid"), waiters(store, "sent")) == ([], ["a"])
    committed(store, step("a", 3, run_head=head(4)))
    assert waiters(store, "sent") == []


def test_all_waiters_are_reached_page_by_page(store: Store) -> None:
    """However many there are, none is cut off (D27)."""
    names = [f"r{number:04}" for number in range(1_050)]
    committed(
        store,
        *(start(name, run_head=waiting_head(1, event_wait("paid" if n % 2 else "*"))) for n, name in enumerate(names)),
    )
    found: list[str] = []
    while page := waiters(store, "paid", after=found[-1] if found else "", limit=100):
        assert len(page) <= 100
        found += page
    assert found == names


def test_trimming_takes_the_oldest_requests_then_the_oldest_events(store: Store) -> None:
    for number in range(4):
        committed(
            store,
            Commit(
                DEFAULT,
                events=(event(f"e{number}", at=NOW + number),),
                request=request(f"q{number}", at=NOW + number),
            ),
        )

    def left() -> tuple[list[str], list[str]]:
        found = [store.find_request(DEFAULT, "StartRun", f"q{number}") for number in range(4)]
        return [row.request_id for row in found if row], ids(store)

    assert store.trim(0, 0, 100, 100) == 0
    assert store.trim(NOW, NOW, 100, 100) == 0
    assert store.trim(NOW + 2, NOW + 3, 100, 1) == 1
    assert left() == (["q1", "q2", "q3"], ["e0", "e1", "e2", "e3"])
    assert store.trim(NOW + 2, NOW + 3, 100, 3) == 3
    assert left() == (["q2", "q3"], ["e2", "e3"])
    assert store.trim(NOW + 100, NOW + 3, 100, 100) == 3
    assert left() == ([], ["e3"])


def test_a_trimmed_request_and_event_are_new_again(store: Store) -> None:
    committed(store, Commit(DEFAULT, events=(event("e1"),), request=request("q1")))
    assert store.trim(NOW + 1, NOW + 1, 100, 10) == 2
    (verdict,) = committed(store, Commit(DEFAULT, events=(event("e1"),), request=request("q1")))
    assert (verdict.event_positions, verdict.events_known) == ((2,), (False,))


def test_trimming_leaves_records_and_positions_alone(store: Store, reopen: Callable[[], Store]) -> None:
    committed(store, start("r1"), emit(event("e1")))
    store.trim(NOW + 1, NOW + 1, 100, 10)
    assert store.horizon() == 2
    assert reopen().horizon() == 2


def test_events_beyond_the_newest_of_their_key_are_trimmed(store: Store) -> None:
    """Each key by itself, the oldest of all first, also those of a key that got none since the last time."""
    for number in range(4):
        committed(store, emit(event(f"a{number}", name="a")), emit(event(f"b{number}", name="b")))
    assert store.trim(0, 0, 4, 100) == 0
    assert store.trim(0, 0, 2, 3) == 3
    assert ids(store, "*") == ["b1", "a2", "b2", "a3", "b3"]
    assert store.trim(0, 0, 2, 100) == 1
    assert store.trim(0, 0, 2, 100) == 0
    committed(store, emit(event("b4", name="b")))
    assert store.trim(0, 0, 2, 100) == 1
    assert ids(store, "*") == ["a2", "a3", "b3", "b4"]


def test_a_store_that_was_reopened_counts_all_keys(store: Store, reopen: Callable[[], Store]) -> None:
    committed(store, *(emit(event(f"e{number}")) for number in range(3)))
    again = reopen()
    assert again.trim(0, 0, 1, 100) == 2
    assert ids(again) == ["e2"]
    assert again.horizon() == 3
