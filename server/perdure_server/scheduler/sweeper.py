"""The sweeper: walks through all runs that have not ended, and puts right what a lost write or signal left (P6, P7).

Repairs are not expected. Each one is logged and counted; a store that needs them has a defect.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from perdure_server.engine.core import NEWEST, Engine
from perdure_server.engine.errors import EngineError, RunNotFoundError
from perdure_server.engine.rows import obligation_rows, rows_differ, wait_row
from perdure_server.kernel.decision import Mail, MailKind, Obligations
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import TERMINAL, RunState, RunStatus
from perdure_server.kernel.obligations import obligations
from perdure_server.loop import Loop
from perdure_server.storage.port import ObligationRows, RunKey, RunQuery, WaitRow

log = logging.getLogger(__name__)

INTERVAL_US: Final = 30 * SECOND_US
RUNS_A_PASS: Final = 500
PAGE: Final = 100
_OPEN: Final = (int(RunStatus.RUNNING), int(RunStatus.WAITING))


class Sweeper:
    """The loop that compares rows with obligations. A pass looks at some runs; the next goes on from there.

    Args:
        engine: runs, rows and wake-ups.
        runs_a_pass: how many runs a pass looks at; a store's whole walk takes as many passes as it needs.
    """

    def __init__(self, engine: Engine, runs_a_pass: int = RUNS_A_PASS) -> None:
        self.loop = Loop("sweeper", engine.clock, self._step)
        self._engine = engine
        self._runs_a_pass = runs_a_pass
        self._namespaces: list[str] = []
        self._after: tuple[int, str] | None = None

    async def _step(self) -> int:
        left = self._runs_a_pass
        if not self._namespaces:
            self._namespaces = await self._engine.read(self._engine.store.list_namespaces)
        while left > 0 and self._namespaces:
            left -= await self._sweep_page(self._namespaces[0], min(PAGE, left))
        return INTERVAL_US

    async def _sweep_page(self, namespace: str, limit: int) -> int:
        """Looks at the next runs of a namespace, and leaves it behind with the last of them."""
        engine = self._engine
        query = RunQuery(namespace, statuses=_OPEN)
        page = await engine.read(engine.store.list_runs, query, self._after, limit)
        keys = [RunKey(namespace, summary.identity.run_id) for summary in page]
        results = await asyncio.gather(*map(self.sweep_run, keys), return_exceptions=True)
        for key, result in zip(keys, results, strict=True):
            if isinstance(result, BaseException):
                extra = {"run_id": key.run_id, "namespace": namespace}
                cause = None if isinstance(result, EngineError) else result
                log.warning("the sweeper could not look at a run: %s", result, exc_info=cause, extra=extra)
        if len(page) < limit:
            self._namespaces.pop(0)
            self._after = None
        else:
            self._after = page[-1].identity.created_at, page[-1].identity.run_id
        return max(len(page), 1)

    async def sweep_run(self, key: RunKey) -> bool:
        """Compares one run's rows with its obligations and signals what it waits for; whether it repaired.

        The registered wait is not compared: it stands in the head, and stores refuse a head without it.
        """
        engine = self._engine
        try:
            run = await engine.load(key)
        except RunNotFoundError:
            return False
        if run.ended:
            return False
        repaired = await self._repair(key, run)
        if run.waiting is not None and run.waiting.event_name:
            engine.wakeups.wait_registered(run)
        if run.children:
            await self._resend_ends(key, run)
        return repaired

    async def _repair(self, key: RunKey, run: RunState) -> bool:
        engine, due = self._engine, obligations(run)
        stored = await engine.read(engine.store.read_obligations, key)
        if stored is None:
            return False
        problem = rows_differ(due, stored)
        if not problem or (await self._newest(key)).seq != run.seq:
            return False
        rows = obligation_rows(run, due, engine.lease_now(), engine.limits.lease_us)
        rows = _keep_lease(rows, stored)
        wait: WaitRow | None = wait_row(engine.codec, run.waiting)
        if not await engine.write(engine.store.install, key, run.seq, rows, wait):
            return False
        engine.counters["repairs"] += 1
        log.error("rows repaired: %s", problem, extra={"run_id": key.run_id, "namespace": key.namespace})
        self._signal(key, run, due)
        return True

    async def _newest(self, key: RunKey) -> RunState:
        """The run as it stands; on a shared store another process may just have changed it and its rows."""
        return await (self._engine.refresh(key, NEWEST) if self._engine.shared else self._engine.load(key))

    def _signal(self, key: RunKey, run: RunState, due: Obligations) -> None:
        wakeups = self._engine.wakeups
        if due.task is not None and not due.task.leased and not due.task.held:
            wakeups.task_ready(run, due.task)
        if due.turn is False:
            self._engine.run_turns(key)
        if due.timers:
            wakeups.timer_armed(min(due.timers.values()))

    async def _resend_ends(self, key: RunKey, run: RunState) -> None:
        """Tells a parent again of children that it believes to be open and that have ended."""
        engine = self._engine
        query = RunQuery(key.namespace, statuses=tuple(int(s) for s in TERMINAL), parent_run_id=key.run_id)
        after: tuple[int, str] | None = None
        while True:
            page = await engine.read(engine.store.list_runs, query, after, PAGE)
            ended = [summary.identity.run_id for summary in page if summary.identity.run_id in run.children]
            mail = [Mail(key.run_id, MailKind.CHILD_ENDED, child) for child in ended]
            if mail:
                engine.wakeups.mail_sent(key.namespace, mail)
            if len(page) < PAGE:
                return
            after = page[-1].identity.created_at, page[-1].identity.run_id


def _keep_lease(rows: ObligationRows, stored: ObligationRows) -> ObligationRows:
    """A lease that stands is not renewed by a repair of something else."""
    task, known = rows.task, stored.task
    if task is None or known is None or not (task.leased and known.leased):
        return rows
    if (task.step_id, task.attempt) != (known.step_id, known.attempt):
        return rows
    return ObligationRows(known, rows.turn, rows.timers, rows.slot)
