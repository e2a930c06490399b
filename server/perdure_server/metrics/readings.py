"""What the metrics are right now: read from the parts of a process, on its event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from perdure_server.api.edge import Edge
from perdure_server.dispatch.load import Load
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.records import RecordKind
from perdure_server.measures import Distribution
from perdure_server.metrics import families as f
from perdure_server.metrics.store_counts import RunCounts
from perdure_server.runtime import Runtime

MOST_QUEUES: Final = 50
OTHER: Final = "(other)"


class Reading(NamedTuple):
    """A value of a family, under its labels; a distribution is in the unit's millionths if `scale` says so."""

    family: f.Family
    value: float | Distribution
    labels: tuple[str, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Observed:
    """The parts of a process.

    Args:
        runtime, edge: as they serve.
        version: of the server.
        loop_lag_us: how late the event loop wakes.
        started_at: monotonic microseconds.
    """

    runtime: Runtime
    edge: Edge
    version: str
    loop_lag_us: Distribution
    started_at: int

    def readings(self, counts: RunCounts | None) -> list[Reading]:
        """All readings; those of the store only if there are counts."""
        engine = self.runtime.engine
        uptime = (engine.clock.monotonic() - self.started_at) / SECOND_US
        load = self.runtime.dispatcher.load()
        return [
            Reading(f.INFO, 1, (self.version, engine.info.kind)),
            Reading(f.READY, int(self.edge.server.health.ready)),
            Reading(f.DRAINING, int(self.edge.guard.draining)),
            Reading(f.UPTIME, uptime),
            Reading(f.LOOP_LAG, self.loop_lag_us, scale=SECOND_US),
            *(self._runs(counts) if counts is not None else ()),
            *self._commits(),
            *self._loops(),
            *self._ledger(),
            *_work(load),
            *_queues(load, engine.clock.now()),
            *self._calls(),
        ]

    def _runs(self, counts: RunCounts) -> Iterator[Reading]:
        for activity, number in counts.by_activity.items():
            yield Reading(f.RUNS, number, (activity.name.lower(),))
        yield Reading(f.PAUSED, counts.paused)
        yield Reading(f.RUNS_CUT, int(counts.is_partial))

    def _commits(self) -> Iterator[Reading]:
        engine = self.runtime.engine
        counters, measures = engine.counters, engine.measures
        yield Reading(f.RUNS_CACHED, engine.cached_runs)
        for kind in RecordKind:
            yield Reading(f.RECORDS, measures.record_kinds[kind], (kind.name.lower(),))
        yield Reading(f.COMMITS, counters["commits"])
        yield Reading(f.COMMIT_BATCH, measures.commit_batch)
        yield Reading(f.COMMIT_SECONDS, measures.commit_us, scale=SECOND_US)
        yield Reading(f.CONFLICTS, counters["conflicts"])
        yield Reading(f.STORE_ERRORS, counters["store_errors"])
        yield Reading(f.REPAIRS, counters["repairs"])
        yield Reading(f.TRIMMED, counters["rows_trimmed"])
        yield Reading(f.LAPSES, counters["lapses"])
        yield Reading(f.TASKS_SENT, counters["tasks_sent"])
        yield Reading(f.TIMER_LATENESS, measures.timer_lateness_us, scale=SECOND_US)

    def _loops(self) -> Iterator[Reading]:
        runtime = self.runtime
        for loop in (*runtime.scheduler.loops, *runtime.dispatcher.loops, *runtime.ledger.loops):
            yield Reading(f.LOOP_FAILURES, loop.failures, (loop.name,))

    def _ledger(self) -> Iterator[Reading]:
        engine, ledger = self.runtime.engine, self.runtime.ledger
        # A shared store's horizon costs a query; what the tailer has followed is at most one poll behind it.
        horizon = ledger.tailer.position if engine.info.shared else engine.horizon
        yield Reading(f.HORIZON, horizon)
        yield Reading(f.HORIZON_LAG, max(engine.last_position - horizon, 0))
        yield Reading(f.TAILER_LAG, ledger.tailer.lag(horizon))
        yield Reading(f.RING_RECORDS, ledger.tailer.ring_records)
        yield Reading(f.RING_BYTES, ledger.tailer.ring_bytes)
        yield Reading(f.SUBSCRIBERS, ledger.open_streams)

    def _calls(self) -> Iterator[Reading]:
        guard = self.edge.guard
        for method, calls in guard.calls.items():
            for code, number in calls.codes.items():
                yield Reading(f.CALLS, number, (method, code))
            if calls.timed and calls.codes:
                yield Reading(f.CALL_SECONDS, calls.duration_us, (method,), SECOND_US)
        yield Reading(f.CALLS_OPEN, guard.calls_under_way)
        yield Reading(f.CALLS_REFUSED, guard.refused_calls)
        yield Reading(f.DEFECTS, guard.defects)


def _work(load: Load) -> Iterable[Reading]:
    return (
        Reading(f.STREAMS, load.streams),
        Reading(f.POLLS, load.polls),
        Reading(f.CREDIT, load.credit),
        Reading(f.LEASES, load.leases),
        Reading(f.BLOCKED, load.blocked),
    )


def _queues(load: Load, now: int) -> Iterator[Reading]:
    """The oldest queues by name, the rest as one: names of queues come from workflows, without bound."""
    oldest_first = sorted(load.queues.items(), key=lambda item: item[1].oldest_at)
    for (namespace, queue), found in oldest_first[:MOST_QUEUES]:
        yield Reading(f.QUEUE_TASKS, found.tasks, (namespace, queue))
        yield Reading(f.QUEUE_AGE, max(now - found.oldest_at, 0) / SECOND_US, (namespace, queue))
    rest = [found for _, found in oldest_first[MOST_QUEUES:]]
    if rest:
        yield Reading(f.QUEUE_TASKS, sum(found.tasks for found in rest), (OTHER, OTHER))
        yield Reading(f.QUEUE_AGE, max(now - rest[0].oldest_at, 0) / SECOND_US, (OTHER, OTHER))
