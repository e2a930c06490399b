"""One stream of commands through every store: all replies and all that can be read must be the same.

The stream is random but seeded, and made from what the memory store holds at each moment, so that most commands
mean something. A stream in which some reply never came, or some read never gave anything, fails: it would prove
too little.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from perdure_server.storage.port import (
    CatalogChange,
    Commit,
    IdentityChange,
    LeaseRenewal,
    MailRow,
    ObligationChange,
    ObligationRows,
    RecordQuery,
    RunHead,
    RunKey,
    RunQuery,
    RunSnapshot,
    RunSummary,
    ScheduleRow,
    ScheduleWrite,
    Store,
    StoredEvent,
    StoredRecord,
    TaskQuery,
    TaskRow,
    TimerRow,
    Verdict,
    WaitQuery,
)
from tests.contract.bindings import MEMORY, NOW, POSTGRES, STORES, Binding, as_params
from tests.contract.builders import (
    create,
    ended_head,
    event,
    event_wait,
    head,
    key,
    leased_task,
    payload,
    record,
    request,
    task,
    wait,
    waiting_head,
    workflow,
)

NAMESPACES = ("default", "other")
NAMES = ("a", "A", "b", "a:b", "ß")
ROUNDS = 250
ROUNDS_WITH_ROUND_TRIPS = 100
"""Each of the nine calls of a round is up to ten messages to the database and back: 250 rounds took a minute on a busy
machine."""
SEEDS = (1, 6, 7)
"""Of streams that have had all that is expected after the shorter number of rounds."""


class Stream:
    """Makes commands and questions, with the memory store as the model of what there is.

    Args:
        model: the store whose state the commands fit.
        seed: of the stream.
    """

    def __init__(self, model: Store, seed: int) -> None:
        self._model = model
        self._random = random.Random(seed)
        self._made = 0

    def _some(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _chance(self, one_in: int) -> bool:
        return self._random.randrange(one_in) == 0

    def _instant(self) -> int:
        return NOW + self._random.randrange(40)

    def _runs(self, namespace: str) -> list[RunSummary]:
        return self._model.list_runs(RunQuery(namespace), None, 1_000)

    def _task(self) -> TaskRow | None:
        if self._chance(4):
            return None
        row = self._some(task, leased_task)(1 + self._random.randrange(3))
        row = replace(row, queue=self._some("default", "q2"), priority=self._some(-1, 0, 3), queued_at=self._instant())
        if row.leased:
            heartbeat = self._some(0, self._instant())
            return replace(row, lease_expires_at=self._instant(), heartbeat_due_at=heartbeat)
        return replace(row, held=self._chance(4), effect_type=self._some("", "llm_call", "charge"))

    def _change(self) -> ObligationChange:
        return ObligationChange(
            task_set=(task_set := self._chance(2)),
            task=self._task() if task_set else None,
            turn_set=(turn_set := self._chance(3)),
            turn=self._some(None, True, False) if turn_set else None,
            timers_put=tuple(TimerRow(kind, self._instant()) for kind in self._kinds()),
            timers_dropped=self._kinds(),
        )

    def _kinds(self) -> tuple[int, ...]:
        return tuple(kind for kind in range(1, 5) if self._chance(4))

    def _head(self, seq: int) -> RunHead:
        wait_row = wait(
            1 + self._random.randrange(3),
            reason=self._some(2, 3, 4),
            wait_key=self._some("", *NAMES),
            assignee=self._some("", "ann", "bob"),
            since_at=self._instant(),
            detail=self._random.randbytes(3),
        )
        heard = event_wait(self._some("*", *NAMES), scope_id=self._some("", *NAMES), since_at=self._instant())
        given = self._some(
            head(seq),
            head(seq, activity=5, paused=self._chance(2)),
            waiting_head(seq, wait_row, paused=self._chance(2)),
            waiting_head(seq, heard),
            ended_head(seq, status=self._some(3, 4, 5), ended_at=self._instant()),
        )
        return replace(given, current_node=self._some(*NAMES))

    def _records(self, first: int, count: int) -> tuple[Any, ...]:
        return tuple(
            record(
                seq,
                kind=self._some(1, 2, 3),
                node_id=self._some(*NAMES),
                record=self._random.randbytes(self._random.randrange(40)),
                payloads=tuple(payload(slot, self._random.randbytes(slot * 9)) for slot in self._kinds()),
            )
            for seq in range(first, first + count)
        )

    def _new_run(self, namespace: str) -> Any:
        run_id = self._some(f"r{self._made}", f"r{self._random.randrange(self._made + 1)}")
        parent = self._some("", *(run.identity.run_id for run in self._runs(namespace)[:5]))
        count = 1 + self._random.randrange(2)
        new = create(
            run_id,
            namespace=namespace,
            root_run_id=parent or run_id,
            parent_run_id=parent,
            session_id=self._some(run_id, parent or run_id, *NAMES),
            workflow_id=self._some(*NAMES),
            workflow_version=self._some("v1", "v2"),
            labels={self._some(*NAMES): self._some(*NAMES)},
            created_at=self._instant(),
        )
        return replace(new, head=self._head(count), records=self._records(1, count), change=self._change())

    def commit(self) -> Commit:
        """A Commit that mostly fits: to a run, or for new runs and events only."""
        self._made += 1
        namespace = self._some("default", "default", "other")
        runs = self._runs(namespace)
        commit = Commit(namespace)
        if runs and not self._chance(4):
            run = self._random.choice(runs)
            expected = run.head.seq - self._chance(6)
            count = self._random.randrange(4)
            commit = replace(
                commit,
                key=key(run.identity.run_id, namespace),
                expected_seq=expected,
                head=self._head(expected + count),
                identity=self._identity_change(),
                records=self._records(expected + 1, count),
                keyframe=self._random.randbytes(20) if self._chance(4) else None,
                change=self._change(),
                mail_consumed=tuple((due.kind, due.from_run_id) for due in self._mail() if self._chance(2)),
            )
            if self._chance(25):
                commit = replace(commit, head=replace(self._head(expected + count), status=9))
        new_runs = tuple(self._new_run(namespace) for _ in range(self._some(0, 0, 1, 2)))
        events = tuple(
            event(f"e{self._random.randrange(5)}", name=self._some(*NAMES), scope_id=self._some("", *NAMES))
            for _ in range(self._some(0, 0, 1, 3))
        )
        mail = tuple(
            MailRow(run.identity.run_id, self._some("cancel", "child_ended"), f"r{self._random.randrange(4)}")
            for run in runs[:3]
            if self._chance(3)
        )
        asked = request(f"q{self._random.randrange(40)}", at=self._instant()) if self._chance(3) else None
        schedule = self._schedule(namespace) if self._chance(4) else None
        return replace(commit, new_runs=new_runs, events=events, mail=mail, request=asked, schedule=schedule)

    def _schedule(self, namespace: str) -> ScheduleWrite:
        schedule_id = self._some(*NAMES)
        found = self._model.find_schedule(namespace, schedule_id)
        version = (found.version if found else 0) + self._chance(6)
        due_at = self._some(0, self._instant())
        row = ScheduleRow(schedule_id, version + 1, due_at, self._instant(), self._random.randbytes(9))
        return ScheduleWrite(schedule_id, version, None if self._chance(5) else row)

    def _identity_change(self) -> IdentityChange | None:
        if not self._chance(4):
            return None
        return IdentityChange(self._some("v1", "v2", "v3", "v3", ""), self._some(0, self._instant()))

    def _mail(self) -> Any:
        return self._model.due_work(NOW, NOW, 20).mail

    def command(self) -> tuple[str, Callable[[Store], Any]]:
        """The next command: its name, and how a store is given it."""
        kind = self._random.randrange(12)
        if kind <= 6:
            batch = [self.commit() for _ in range(self._some(1, 1, 2, 6))]
            return "commit", lambda store: store.commit(batch)
        if kind == 7:
            renewals = [self._renewal() for _ in range(4)]
            return "renew", lambda store: store.renew_leases(renewals)
        if kind == 8:
            until = self._instant()
            return "reset", lambda store: store.reset_leases(until)
        if kind == 9:
            keep = self._some(100, 0, 1, 2)
            bounds = (self._instant() - 20, NOW - self._some(0, 0, 20) + 1, keep, self._random.randrange(5))
            return "trim", lambda store: store.trim(*bounds)
        if kind == 10:
            change = self._catalog_change()
            return "catalog", lambda store: store.change_catalog(change)
        return "install", self._install()

    def _renewal(self) -> LeaseRenewal:
        runs = [run for run in self._runs("default") if run.task] or self._runs("default")
        run_id = self._random.choice(runs).identity.run_id if runs else "nobody"
        heartbeat = self._some(None, 0, self._instant())
        return LeaseRenewal(key(run_id), 1 + self._random.randrange(3), 1, self._instant(), heartbeat)

    def _catalog_change(self) -> CatalogChange:
        asked = request(f"q{self._random.randrange(40)}", at=self._instant()) if self._chance(2) else None
        change = CatalogChange(self._some(*NAMESPACES), request=asked)
        row = workflow(self._some("a", "A"), f"v{self._random.randrange(6)}", registered_at=self._instant())
        return self._some(
            replace(change, put_workflow=row, make_default=self._chance(2)),
            replace(change, set_default=(row.workflow_id, row.version)),
            replace(change, create_namespace=(self._some(*NAMES), "", NOW)),
        )

    def _install(self) -> Callable[[Store], Any]:
        runs = [run for run in self._runs("default") if not run.head.wait]
        timers = tuple(TimerRow(kind, self._instant()) for kind in self._kinds())
        rows = ObligationRows(self._task(), self._some(None, True, False), timers)
        if not runs:
            return lambda store: store.install(key("nobody"), 1, rows, None)
        run = self._random.choice(runs)
        seq = run.head.seq - self._chance(4)
        return lambda store: store.install(key(run.identity.run_id), seq, rows, None)

    def question(self) -> tuple[str, Callable[[Store], Any]]:
        """A read, with arguments that often find something."""
        namespace = self._some("default", "default", "other")
        name, other = self._some(*NAMES), self._some(*NAMES)
        runs = self._runs(namespace)
        run_id = self._random.choice(runs).identity.run_id if runs else "nobody"
        instant, limit, after = self._instant(), self._some(0, 1, 3, 50), self._some(None, (self._instant(), "m"))
        run_fields = self._some(
            {},
            {"statuses": (1, 3)},
            {"activities": (0, 4)},
            {"workflow_id": name},
            {"session_id": name, "paused_only": True},
            {"root_run_id": run_id},
            {"parent_run_id": run_id},
            {"labels": {name: other}},
            {"wait_key": name},
            {"ended_from": instant},
            {"roots_only": True, "created_before": instant},
            {"workflow_version": "v1", "statuses": (2,)},
            {"workflow_version": "v3"},
        )
        scope = self._some({}, {"run_id": run_id}, {"root_run_id": run_id}, {"session_id": name}, {"workflow_id": name})
        horizon = self._model.horizon()
        records = RecordQuery(
            namespace,
            after_position=self._random.randrange(horizon + 1),
            until_position=self._some(0, self._random.randrange(horizon + 1)),
            limit=self._some(1, 10, 500),
            byte_limit=self._some(1, 200, 1 << 20),
        )
        query = replace(RunQuery(namespace), **run_fields)
        waits = replace(
            WaitQuery(namespace), **self._some({}, {"reasons": (3, 1)}, {"assignee": "ann"}, {"wait_key": name})
        )
        asked = TaskQuery(namespace, ("default", "q2"), self._some((), ("*",), ("charge",)), ("order",), limit)
        questions: list[tuple[str, Callable[[Store], Any]]] = [
            ("load", lambda store: store.load_run(key(run_id, namespace))),
            ("obligations", lambda store: store.read_obligations(key(run_id, namespace))),
            ("records", lambda store: store.read_records(replace(records, **scope))),
            ("runs", lambda store: store.list_runs(query, after, limit)),
            ("count", lambda store: store.count_runs(query, limit)),
            ("waits", lambda store: store.list_waits(waits, after, limit)),
            ("due", lambda store: store.due_work(instant, instant, limit)),
            ("ready", lambda store: store.ready_tasks(asked)),
            ("listeners", lambda store: store.waits_for_event(namespace, 1, other, name, "", limit)),
            ("events", lambda store: store.read_events(namespace, 1, other, self._name_or_any(name), 0, 0, 50)),
            ("request", lambda store: store.find_request(namespace, "StartRun", f"q{instant - NOW}")),
            ("workflow", lambda store: store.find_workflow(namespace, self._upper_or(name), "")),
            ("workflows", lambda store: store.list_workflows(namespace, "", False, None, 50)),
            ("schedule", lambda store: store.find_schedule(namespace, name)),
            ("schedules", lambda store: store.list_schedules(namespace, self._after_or_all(other), limit)),
            ("due_schedules", lambda store: store.due_schedules(instant, limit)),
            ("namespaces", lambda store: store.list_namespaces()),
            ("horizon", lambda store: store.horizon()),
        ]
        return self._random.choice(questions)

    @staticmethod
    def _name_or_any(name: str) -> str:
        return "*" if name == "ß" else name

    @staticmethod
    def _after_or_all(name: str) -> str:
        return "" if name == "ß" else name

    @staticmethod
    def _upper_or(name: str) -> str:
        return "A" if name == "b" else "a"


def outcomes(name: str, reply: Any) -> list[str]:
    """What happened, in words that the test counts."""
    if name == "commit":
        known = ["event known" for verdict in reply if any(verdict.events_known)]
        return [*(verdict.kind.value for verdict in reply), *known]
    if name == "renew":
        return [f"renew {renewed}" for renewed in reply]
    if name == "catalog":
        return [f"catalog {'known' if reply.request else 'changed' if reply.changed else 'unchanged'}"]
    if name == "due_schedules":
        return [f"schedules due {bool(reply.rows)}, to come {bool(reply.next_at)}"]
    return [f"{name} {'something' if reply else 'nothing'}"]


EXPECTED = {
    "committed",
    "conflict",
    "run_exists",
    "request_known",
    "schedule_changed",
    "failed",
    "event known",
    "renew True",
    "renew False",
    "reset something",
    "trim something",
    "install something",
    "install nothing",
    "catalog changed",
    "catalog unchanged",
    "catalog known",
    "schedules due True, to come True",
    "schedules due False, to come True",
    *(
        f"{read} something"
        for read in (
            *("load", "obligations", "records", "runs", "count", "waits", "due", "ready", "listeners", "events"),
            *("request", "workflow", "workflows", "schedule", "schedules", "namespaces", "horizon"),
        )
    ),
}


def same(name: str, reply: Any) -> Any:
    """A reply without the words for people."""
    return [replace(verdict, error="") for verdict in reply] if name == "commit" else reply


class Counted:
    """A store whose positions are counted without holes, as the model's are: rolled-back ones stay holes elsewhere.

    Args:
        store: whose commits all come through here.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places = [0]
        """The store's position of each one that the model knows."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See Store."""
        verdicts = self._store.commit(batch)
        given = [position for verdict in verdicts for position in (*verdict.positions, *verdict.event_positions)]
        self._places += sorted(set(given).difference(self._places))
        return [
            replace(
                verdict,
                positions=tuple(map(self._places.index, verdict.positions)),
                event_positions=tuple(map(self._places.index, verdict.event_positions)),
            )
            for verdict in verdicts
        ]

    def horizon(self) -> int:
        """See Store."""
        return bisect_right(self._places, self._store.horizon()) - 1

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """See Store."""
        after, until = self._places[query.after_position], self._places[query.until_position]
        return self._counted(self._store.read_records(replace(query, after_position=after, until_position=until)))

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """See Store."""
        found = self._store.load_run(key)
        return found and replace(found, records=tuple(self._counted(found.records)))

    def _counted(self, records: Iterable[StoredRecord]) -> list[StoredRecord]:
        return [replace(stored, position=self._places.index(stored.position)) for stored in records]

    def read_events(self, *arguments: Any) -> list[StoredEvent]:
        """See Store. Asked without bounds only."""
        found = self._store.read_events(*arguments)
        return [replace(kept, position=self._places.index(kept.position)) for kept in found]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("binding", as_params(store for store in STORES if store is not MEMORY))
def test_every_store_answers_like_the_model(tmp_path: Path, binding: Binding, seed: int) -> None:
    with closing(MEMORY.open(tmp_path)) as model, closing(binding.open(tmp_path)) as opened:
        store = cast(Store, Counted(opened)) if "dense" in binding.excluded else opened
        stream = Stream(model, seed)
        happened: Counter[str] = Counter()
        for turn in range(ROUNDS_WITH_ROUND_TRIPS if binding is POSTGRES else ROUNDS):
            asked = [stream.command(), *(stream.question() for _ in range(8))]
            for name, ask in asked:
                reply = ask(model)
                happened.update(outcomes(name, reply))
                assert same(name, ask(store)) == same(name, reply), (seed, turn, name)
        assert EXPECTED - happened.keys() == set()
