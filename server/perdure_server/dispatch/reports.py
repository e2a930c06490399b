"""Reports and begins: given to their runs, and answered by what became of them (P5).

A report that its run does not take is looked up in the ledger: it may have been committed before, and its
answer lost. Nothing of that depends on the memory of this process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from perdure_server.dispatch.messages import (
    Acked,
    AckStatus,
    Begin,
    EffectReport,
    NodeReport,
    Refusal,
    Release,
    Report,
    TaskToken,
)
from perdure_server.dispatch.registry import Registry
from perdure_server.dispatch.timeline import Timeline
from perdure_server.dispatch.truth import was_reported
from perdure_server.dispatch.workers import Held
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import DamagedError, EngineError, RunNotFoundError
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.decision import Ack, Reason, Rejection
from perdure_server.kernel.inputs import EffectBegun, EffectSettled, Input, NodePlanned, StepReleased
from perdure_server.kernel.model import RunState, StepFailure

log = logging.getLogger(__name__)

Answer: TypeAlias = Callable[[Acked | EngineError], None]
"""Gets the ack, or the error that kept the report from being decided: it is to be sent again."""

MESSAGE_CHARS: Final = 400
"""Most of an ack's message; acks share a bounded message of the stream."""

LOOK_UPS_AT_ONCE: Final = 8


class Reports:
    """Takes what workers report, for streams and unary calls alike.

    Args:
        engine: decides.
        registry: knows who holds what.
        timeline: tokens of another one are stale.
    """

    def __init__(self, engine: Engine, registry: Registry, timeline: Timeline) -> None:
        self._engine = engine
        self._registry = registry
        self._timeline = timeline
        self._look_ups: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(LOOK_UPS_AT_ONCE)

    def begin(self, namespace: str, begin: Begin, answer: Answer) -> None:
        """Asks the run whether the effect may be executed; `answer` is called once, on the event loop."""
        token = begin.token
        if isinstance(token, bytes) or token.namespace != namespace:
            answer(_not_ours(token))
            return
        if not self._timeline.owns(token):
            answer(_of_lost_time(token))
            return
        event = EffectBegun(token.step_id, token.attempt)
        self._engine.give(token.key, event, partial(self._begun, token, answer))

    def report(self, namespace: str, worker_id: str, report: Report, answer: Answer) -> None:
        """Gives the report to its run; `answer` is called once, on the event loop."""
        token, outcome = report.token, report.outcome
        if isinstance(token, bytes) or token.namespace != namespace:
            answer(_not_ours(token))
            return
        if not self._timeline.owns(token):
            answer(_of_lost_time(token))
            return
        if isinstance(outcome, Refusal):  # nothing that a run could be given
            answer(Acked(token, AckStatus.REFUSED, outcome.reason, outcome.message[:MESSAGE_CHARS]))
            return
        held = self._registry.held(token, worker_id)
        if held is not None:
            held.reporting = True
        self._engine.give(token.key, partial(_input, token, report), partial(self._settled, token, held, answer))

    async def settle(self) -> None:
        """For tests: returns when every look-up has been answered."""
        while self._look_ups:
            await asyncio.wait(self._look_ups)

    async def stop(self) -> None:
        """Ends look-ups under way; their reports stay without answer. Idempotent."""
        for task in list(self._look_ups):
            task.cancel()
        if self._look_ups:
            await asyncio.wait(self._look_ups)

    def _begun(self, token: TaskToken, answer: Answer, result: Outcome | Exception) -> None:
        if isinstance(result, Outcome):
            again = result.ack is Ack.DUPLICATE
            answer(Acked(token, AckStatus.DUPLICATE if again else AckStatus.ACCEPTED))
        else:
            answer(_answer_to(token, result))

    def _settled(
        self,
        token: TaskToken,
        held: Held | None,
        answer: Answer,
        result: Outcome | Exception,
    ) -> None:
        if isinstance(result, Outcome):
            if result.ack is Ack.STALE:
                message = "the run was ended or cancelled meanwhile; the report is kept in its ledger"
                answer(Acked(token, AckStatus.STALE, Reason.RUN_ENDED.value, message))
                return
            answer(Acked(token, AckStatus.ACCEPTED))
            return
        if held is not None:
            held.reporting = False
        if not isinstance(result, Rejection) or result.reason not in (Reason.STALE_ATTEMPT, Reason.RUN_ENDED):
            answer(_answer_to(token, result))
        else:
            task = asyncio.get_running_loop().create_task(self._look_up(token, result, answer))
            self._look_ups.add(task)
            task.add_done_callback(self._look_ups.discard)

    async def _look_up(self, token: TaskToken, rejection: Rejection, answer: Answer) -> None:
        """Finds out what became of a token that its run does not take."""
        try:
            async with self._room:
                acked = await self._truth(token, rejection)
        except (EngineError, Rejection) as error:
            answer(_answer_to(token, error))
        else:
            answer(acked)

    async def _truth(self, token: TaskToken, rejection: Rejection) -> Acked:
        engine = self._engine
        run = await engine.load(token.key)
        if await was_reported(engine, token):
            return Acked(token, AckStatus.DUPLICATE)
        reason = Reason.RUN_ENDED if run.ended else Reason.STALE_ATTEMPT
        return Acked(token, AckStatus.STALE, reason.value, rejection.message)


def _input(token: TaskToken, report: Report, run: RunState) -> Input:
    """The input that a report is, for the run as it stands when its turn comes.

    The report of an attempt that an end or cancel overtook goes with its bytes: the run keeps them.
    """
    step_id, attempt, outcome = token.step_id, token.attempt, report.outcome
    late = run.abandoned == (step_id, attempt)
    data = report.encode() if late else b""
    if isinstance(outcome, EffectReport):
        return EffectSettled(step_id, attempt, outcome.outcome, data)
    if isinstance(outcome, NodeReport):
        return NodePlanned(step_id, attempt, outcome.plan, outcome.effect_outcome, data)
    if isinstance(outcome, Release):
        return StepReleased(step_id, attempt, outcome.delay_us)
    if isinstance(outcome, StepFailure):
        if run.step is not None and run.step.effect is None:
            return NodePlanned(step_id, attempt, outcome, report=data)
        return EffectSettled(step_id, attempt, outcome, data)
    raise ValueError(f"a refused report reached run {run.run_id}")


def _answer_to(token: TaskToken, error: Exception) -> Acked | EngineError:
    """The ack of a report or begin that its run did not take; an EngineError leaves it undecided."""
    if isinstance(error, Rejection):
        stale = error.reason in (Reason.STALE_ATTEMPT, Reason.RUN_ENDED)
        status = AckStatus.STALE if stale else AckStatus.REFUSED
        return Acked(token, status, error.reason.value, error.message[:MESSAGE_CHARS])
    if isinstance(error, DamagedError):
        return Acked(token, AckStatus.REFUSED, error.reason, error.message[:MESSAGE_CHARS])
    if isinstance(error, RunNotFoundError):
        return Acked(token, AckStatus.STALE, error.reason, error.message)
    if isinstance(error, EngineError):
        return error
    log.error("a report could not be decided", exc_info=error, extra={"run_id": token.run_id})
    return Acked(token, AckStatus.REFUSED, EngineError.reason, "the report met a defect of the server")


def _of_lost_time(token: TaskToken) -> Acked:
    """Another worker may have been given the same attempt since then."""
    message = "the task was given out before the store was restored, or by another store; drop it"
    return Acked(token, AckStatus.STALE, Reason.STALE_ATTEMPT.value, message)


def _not_ours(token: TaskToken | bytes) -> Acked:
    return Acked(token, AckStatus.REFUSED, "INVALID_TASK_TOKEN", "not a task token of this server and namespace")
