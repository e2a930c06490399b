"""Runs handlers and turns what they return or raise into reports."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

from perdure import plan as plans
from perdure.context import BeginRefusedError, EffectContext, NodeContext
from perdure.effect import Effect
from perdure.effect_key import effect_key
from perdure.failures import ReleaseTask, plain_failure, step_failure
from perdure.instants import seconds
from perdure.json_text import Json, JsonObject, UnserialisableError, decode, encode
from perdure.outcome import Waiting
from perdure.plan import Plan
from perdure.v1 import model_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.common_pb2 import EFFECT_RISK_IRREVERSIBLE
from perdure.values import EffectRisk
from perdure.vars_diff import vars_ops
from perdure.worker.desk import HeldTask, failure_report, release_report
from perdure.workflow import NodeHandler

_log = logging.getLogger("perdure.worker")

EffectHandler: TypeAlias = Callable[[EffectContext, JsonObject], Awaitable[Json | Waiting] | Json | Waiting]

ANY_EFFECT = "*"
"""The type under which a handler serves every effect that no other handler serves."""

_UNSERVED_DELAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """A handler, and whether calling it gives a coroutine. `begins_itself`: see `Worker.effect`."""

    function: Callable[..., Any]
    is_async: bool
    begins_itself: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any], *, begins_itself: bool = False) -> Served:
        """Looks at a function, a partial, or an object with a `__call__`."""
        called = function if inspect.isroutine(function) else type(function).__call__
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
        return cls(function, is_async, begins_itself)


class Executor:
    """Executes tasks of the nodes and effects it serves.

    Args:
        nodes: handlers by (workflow id, node id).
        effects: what serves each effect type.
        queues: the queues this worker serves.
        inlines_effects: execute an effect in the report of the node that planned it, where that is safe.
        threads: where plain functions run.
    """

    def __init__(
        self,
        nodes: Mapping[tuple[str, str], NodeHandler],
        effects: Mapping[str, Served],
        *,
        queues: frozenset[str],
        inlines_effects: bool,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._nodes = {key: Served.of(handler) for key, handler in nodes.items()}
        self._effects = dict(effects)
        self._queues = queues
        self._inlines_effects = inlines_effects
        self._threads = threads

    async def execute(self, held: HeldTask) -> pb.TaskReport | None:
        """The report of a task; None if the server does not want one any more."""
        work = held.task.WhichOneof("work")
        try:
            if work == "effect":
                return await self._execute_effect(held)
            if work == "node":
                return await self._execute_node(held)
        except ReleaseTask as release:
            return release_report(held.task, seconds(release.delay))
        _log.error("a task of an unknown kind came: %s; it is given back", work)
        return release_report(held.task, _UNSERVED_DELAY_S)

    async def _execute_node(self, held: HeldTask) -> pb.TaskReport:
        task = held.task
        served = self._nodes.get((task.run.workflow_id, task.node_id))
        if served is None:
            return self._unserved(held, f"node {task.node_id} of {task.run.workflow_id}")
        context = NodeContext(task, task.idempotency_key, held)
        try:
            plan = plans.of(await self._call(served, context))
            changed = context.touched_vars
            ops = [] if changed is None else vars_ops(task.node.vars_json, changed)
            report = pb.TaskReport(task_token=task.task_token, node=pb.NodeReport(plan=plan.to_wire(ops)))
        except ReleaseTask:
            raise
        except Exception as error:  # the boundary between handlers and the worker
            return failure_report(task, self._failure(held, error))
        if plan.effect is not None and self._may_inline(task, plan.effect):
            await self._inline(held, plan, plan.effect, report)
        return report

    async def _execute_effect(self, held: HeldTask) -> pb.TaskReport | None:
        task = held.task
        effect = task.effect
        served = self._effects.get(effect.type) or self._effects.get(ANY_EFFECT)
        if served is None:
            return self._unserved(held, f"effect {effect.type}")
        context = EffectContext(task, task.idempotency_key, held, effect.type, EffectRisk.from_wire(effect.risk))
        irreversible = effect.risk == EFFECT_RISK_IRREVERSIBLE
        if irreversible and not served.begins_itself:
            try:
                await held.begin()
            except BeginRefusedError as refused:
                return None if held.is_lost else failure_report(task, _refused(refused))
        outcome = await self._outcome(held, served, context, effect.payload_json)
        if held.is_lost:
            return None
        if irreversible and not held.begun and not outcome.HasField("failed"):
            text = "the handler declares begins_itself and returned without `await ctx.begin()`"
            return failure_report(task, plain_failure("NOT_BEGUN", text, retryable=False))
        return pb.TaskReport(task_token=task.task_token, effect=outcome)

    async def _inline(self, held: HeldTask, plan: Plan, effect: Effect, report: pb.TaskReport) -> None:
        task = held.task
        key = effect.message.idempotency_key or effect_key(
            task.run.namespace or "default", task.run.run_id, task.node_id, task.visit
        )
        context = EffectContext(task, key, held, effect.type, EffectRisk.from_wire(effect.message.risk))
        served = self._effects.get(effect.type) or self._effects[ANY_EFFECT]
        try:
            outcome = await self._outcome(held, served, context, effect.payload_json)
        except ReleaseTask:
            return  # the plan stands; the effect becomes a task of its own
        report.node.effect_outcome.CopyFrom(outcome)

    def _may_inline(self, task: pb.Task, effect: Effect) -> bool:
        """Whether an effect may run within its node's attempt: served here, repeatable, and under no clock."""
        message = effect.message
        return (
            self._inlines_effects
            and bool(effect.type)
            and (effect.type in self._effects or ANY_EFFECT in self._effects)
            and message.risk != EFFECT_RISK_IRREVERSIBLE
            and (not message.queue or message.queue in self._queues)
            and not task.HasField("timeouts")
            and not message.HasField("timeouts")
        )

    async def _outcome(
        self, held: HeldTask, served: Served, context: EffectContext, payload_json: str
    ) -> model_pb2.EffectOutcome:
        try:
            result = await self._call(served, context, decode(payload_json) or {})
            if isinstance(result, Waiting):
                return model_pb2.EffectOutcome(waiting=result.to_wire())
            return model_pb2.EffectOutcome(result_json=encode(result))
        except ReleaseTask:
            raise
        except BeginRefusedError as refused:
            return model_pb2.EffectOutcome(failed=_refused(refused))
        except Exception as error:  # the boundary between handlers and the worker
            return model_pb2.EffectOutcome(failed=self._failure(held, error))

    async def _call(self, served: Served, *arguments: Any) -> Any:
        try:
            if served.is_async:
                return await served.function(*arguments)
            call = functools.partial(contextvars.copy_context().run, served.function, *arguments)
            result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
            return await result if inspect.isawaitable(result) else result
        except SystemExit as left:
            # A tool that thinks it is a program: the worker, and what else it holds, goes on.
            raise HandlerExitedError(f"the handler called sys.exit({left.code!r})") from left
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody stops this handler: something that it awaited was cancelled, which is a failure like any.
            raise HandlerCancelledError("the handler was cancelled from within") from cancelled

    def _failure(self, held: HeldTask, error: Exception) -> model_pb2.StepFailure:
        task = held.task
        _log.warning("run %s node %s attempt %d failed", task.run.run_id, task.node_id, task.attempt, exc_info=error)
        if isinstance(error, UnserialisableError):
            return plain_failure("UNSERIALISABLE_RESULT", f"the handler's result is {error}", retryable=False)
        return step_failure(error)

    def _unserved(self, held: HeldTask, what: str) -> pb.TaskReport:
        _log.error("a task for %s came, which this worker does not serve; it is given back", what)
        return release_report(held.task, _UNSERVED_DELAY_S)


def _refused(error: BeginRefusedError) -> model_pb2.StepFailure:
    return plain_failure(error.reason, str(error), retryable=False, not_executed=True)


class HandlerExitedError(Exception):
    """A handler wanted to end the process."""


class HandlerCancelledError(Exception):
    """A handler ended with CancelledError although nobody stopped it."""
