"""What a journal's state answers, as the memory store would, by its indexes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice

from perdure_server.storage.journal.ordered import first
from perdure_server.storage.journal.state import State
from perdure_server.storage.memory.matching import (
    may_move,
    record_matches,
    run_matches,
    slot_line,
    task_matches,
    wait_matches,
)
from perdure_server.storage.memory.tables import Run
from perdure_server.storage.port import (
    DueLease,
    DueMail,
    DueSchedules,
    DueTimer,
    DueWork,
    ReadyTask,
    RecordQuery,
    RunChange,
    RunKey,
    RunQuery,
    RunSummary,
    ScheduleRow,
    SlotLine,
    SlotPlace,
    StoredEvent,
    StoredRecord,
    TaskQuery,
    WaitQuery,
)

_ENDED = frozenset({3, 4, 5})


def record_page(state: State, query: RecordQuery, horizon: int) -> list[StoredRecord]:
    """See `StoreReader.read_records`. The ledger only grows, so this needs no lock."""
    until = query.until_position or horizon
    page: list[StoredRecord] = []
    size = 0
    for record in _candidates(state, query):
        if record.position > until or len(page) >= query.limit:
            break
        if not record_matches(record, query):
            continue
        size += len(record.record) + sum(len(payload.data or b"") for payload in record.payloads)
        if page and size > query.byte_limit:
            break
        page.append(record)
    return page


def _candidates(state: State, query: RecordQuery) -> Iterator[StoredRecord]:
    """Records after a position, in order: of the runs of the scope if they are known, else all."""
    if query.run_id:
        runs = [RunKey(query.namespace, query.run_id)]
    elif query.root_run_id:
        runs = state.relatives("root_run", query.namespace, query.root_run_id)
    elif query.session_id:
        runs = state.relatives("session", query.namespace, query.session_id)
    else:
        return _after(state.ledger, query.after_position)
    ledgers = [run.records for key in runs if (run := state.runs.get(key))]
    return merge(*(_after(records, query.after_position) for records in ledgers), key=_position)


def _after(records: list[StoredRecord], position: int) -> Iterator[StoredRecord]:
    start = bisect_right(records, position, key=_position)
    return (records[at] for at in range(start, len(records)))


def _position(record: StoredRecord) -> int:
    return record.position


def changes(state: State, after: int, until: int, limit: int) -> list[RunChange]:
    """See `StoreReader.read_changes`. Needs no lock either."""
    found: list[RunChange] = []
    for record in islice(_after(state.ledger, after), limit):
        if record.position > until:
            break
        found.append(RunChange(record.position, record.namespace, record.run_id, record.seq, record.kind))
    return found


def run_page(state: State, query: RunQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
    """See `StoreReader.list_runs`."""
    return [_summary(state, run) for run in islice(_runs(state, query, after), limit)]


def run_count(state: State, query: RunQuery, limit: int) -> int:
    """See `StoreReader.count_runs`."""
    return sum(1 for _ in islice(_runs(state, query, None), limit))


def _runs(state: State, query: RunQuery, after: tuple[int, str] | None) -> Iterator[Run]:
    namespace = query.namespace
    for what, name in (
        ("parent", query.parent_run_id),
        ("session", query.session_id),
        ("root_run", query.root_run_id),
    ):
        if name:
            keys = state.relatives(what, namespace, name)
            places = sorted(((state.runs[key].identity.created_at, key.run_id) for key in keys), reverse=True)
            places = [place for place in places if after is None or place < after]
            break
    else:
        only_open = bool(query.statuses) and _ENDED.isdisjoint(query.statuses)
        places = (state.open if only_open else state.created).before(namespace, after)
    runs = (state.runs[RunKey(namespace, run_id)] for _, run_id in places)
    return (run for run in runs if run_matches(run, query))


def wait_page(state: State, query: WaitQuery, after: tuple[int, str] | None, limit: int) -> list[RunSummary]:
    """See `StoreReader.list_waits`."""
    runs = (state.runs[RunKey(query.namespace, run_id)] for _, run_id in state.waiting.after(query.namespace, after))
    return [_summary(state, run) for run in first(runs, limit, lambda run: wait_matches(run, query))]


def _summary(state: State, run: Run) -> RunSummary:
    identity = run.identity
    key = RunKey(identity.namespace, identity.run_id)
    slot, _ = state.slots.get(key, (None, 0))
    return RunSummary(identity, run.head, state.tasks.get(key), slot)


def slots(state: State, namespace: str, key: str, limit: int) -> SlotLine:
    """See `StoreReader.slot_line`."""
    places = [SlotPlace(owner.run_id, rank, row) for owner, row, rank in state.slots_of(namespace, key)]
    return slot_line(places, limit)


def due_slots(state: State, limit: int) -> list[tuple[str, str]]:
    """See `StoreReader.due_slots`."""
    keys: list[tuple[str, str]] = sorted(state.lines)
    return [key for key in keys if may_move(slots(state, *key, len(state.slots)))][:limit]


def schedule_page(state: State, namespace: str, after: str, limit: int) -> list[ScheduleRow]:
    """See `StoreReader.list_schedules`."""
    ids = islice(state.schedule_ids.after(namespace, after), limit)
    return [state.schedules[namespace, schedule_id] for schedule_id in ids]


def due_schedules(state: State, now: int, limit: int) -> DueSchedules:
    """See `StoreReader.due_schedules`."""
    places = list(islice(state.scheduled.after(None), limit + 1))
    due = [(place[1], state.schedules[place[1:]]) for place in places[:limit] if place[0] <= now]
    return DueSchedules(tuple(due), places[len(due)][0] if len(due) < len(places) else 0)


def due_work(state: State, now: int, lease_now: int, limit: int) -> DueWork:
    """See `StoreReader.due_work`."""
    timers = list(islice(state.due.after(None), limit + 1))
    due = [row for row in timers if row[0] <= now][:limit]
    turns = sorted((turn.position, key.namespace, key.run_id) for key, turn in state.turns.items() if not turn.held)
    mail = sorted((position, *key) for key, position in state.mail.items())
    leases = sorted(_lease_ends(state), key=lambda lease: (lease.due_at, lease.key.namespace, lease.key.run_id))
    lapsed = [lease for lease in leases if lease.due_at <= lease_now][:limit]
    return DueWork(
        timers=tuple(DueTimer(RunKey(row[1], row[2]), row[3], row[0]) for row in due),
        turns=tuple(RunKey(namespace, run_id) for _, namespace, run_id in turns[:limit]),
        mail=tuple(DueMail(RunKey(row[1], row[2]), row[3], row[4]) for row in mail[:limit]),
        leases=tuple(lapsed),
        next_timer_at=timers[len(due)][0] if len(due) < len(timers) else 0,
        next_lease_at=leases[len(lapsed)].due_at if len(lapsed) < len(leases) else 0,
    )


def _lease_ends(state: State) -> Iterator[DueLease]:
    for key in state.leased:
        task = state.tasks[key]
        silent = 0 < task.heartbeat_due_at < task.lease_expires_at
        due_at = task.heartbeat_due_at if silent else task.lease_expires_at
        yield DueLease(key, task.step_id, task.attempt, due_at, silent)


def ready_tasks(state: State, query: TaskQuery) -> list[ReadyTask]:
    """See `StoreReader.ready_tasks`."""
    lines: Iterable[Iterator[tuple[int, int, str]]] = [
        state.ready.after((query.namespace, queue), None) for queue in dict.fromkeys(query.queues)
    ]
    keys = (RunKey(query.namespace, run_id) for _, _, run_id in merge(*lines))
    tasks = (ReadyTask(key, state.tasks[key]) for key in keys)
    return first(tasks, query.limit, lambda ready: task_matches(ready.task, query))


def listeners(
    state: State, namespace: str, scope: tuple[int, str], name: str, after_run_id: str, limit: int
) -> list[RunKey]:
    """See `StoreReader.waits_for_event`."""
    names = dict.fromkeys((name, "*"))
    lines = [state.listeners.after((namespace, *scope, each), after_run_id or None) for each in names]
    return [RunKey(namespace, run_id) for run_id in islice(merge(*lines), limit)]


def event_page(
    state: State, namespace: str, scope: tuple[int, str], name: str, positions: tuple[int, int], limit: int
) -> list[StoredEvent]:
    """See `StoreReader.read_events`; `positions`: after the first, up to the second."""
    after, until = positions
    found: list[StoredEvent] = []
    for position, key in state.logs.after((namespace, *scope), (after + 1,)):
        if position > until or len(found) >= limit:
            break
        if name in {"", "*", key[3]}:
            found.append(state.events[key])
    return found
