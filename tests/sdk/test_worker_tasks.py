"""What a worker reports of the tasks it is given."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    Client,
    EffectContext,
    JsonObject,
    NodeContext,
    NonRetryable,
    NotExecuted,
    ReleaseTask,
    StepError,
    Timeouts,
    Waiting,
    Worker,
    Workflow,
    effect,
    effect_key,
    plan,
)
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.common_pb2 import EFFECT_RISK_IRREVERSIBLE, WAIT_REASON_JOB
from perdure.v1.ledger_service_pb2 import Goodbye
from tests.sdk.fake_server import FakeServer
from tests.sdk.tasks import effect_task, handed, node_task, timeouts

Run = Callable[[Worker], "asyncio.Task[None]"]


async def one_report(fake: FakeServer, task: pb.Task) -> pb.TaskReport:
    """Hands out one task and returns its report."""
    stream = await fake.worker()
    stream.send(handed(task))
    (report,) = await stream.reports(1)
    return report


async def test_an_effect_handler_gets_its_payload_and_context(fake: FakeServer, worker: Worker, run: Run) -> None:
    seen: list[tuple[Any, ...]] = []

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        seen.append((ctx.run_id, ctx.attempt, ctx.idempotency_key, ctx.type, ctx.risk, payload))
        seen.append((ctx.namespace, ctx.root_run_id, ctx.session_id, ctx.actor_id, ctx.parent_run_id))
        return {"big": 2**63, "text": "é\u2028"}

    run(worker)
    report = await one_report(fake, effect_task("t", payload_json='{"n":9007199254740993}', attempt=3))
    assert seen == [
        ("run-t", 3, "KEY", "echo", "idempotent", {"n": 9007199254740993}),
        ("default", "root", "s", "a", ""),
    ]
    assert report.task_token == b"t"
    assert report.effect.result_json == '{"big":9223372036854775808,"text":"é\u2028"}'


async def test_a_plain_function_runs_in_a_thread_with_the_context_variables(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    flavour = contextvars.ContextVar("flavour", default="none")
    threads: list[int] = []

    @worker.effect("echo")
    def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        threads.append(threading.get_ident())
        return flavour.get()

    flavour.set("vanilla")
    run(worker)
    report = await one_report(fake, effect_task("t"))
    assert report.effect.result_json == '"vanilla"'
    assert threads != [threading.get_ident()]


async def test_star_serves_every_type_without_a_handler_of_its_own(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("*")
    async def anything(ctx: EffectContext, payload: JsonObject) -> Any:
        return ctx.type

    run(worker)
    report = await one_report(fake, effect_task("t", type="never.heard.of"))
    assert report.effect.result_json == '"never.heard.of"'


async def test_what_nobody_serves_is_given_back(fake: FakeServer, worker: Worker, run: Run) -> None:
    run(worker)
    report = await one_report(fake, effect_task("t", type="unknown"))
    assert report.release.delay.seconds == 5


class _Typed(Exception):
    type = "CARD_DECLINED"


@pytest.mark.parametrize(
    ("error", "type", "message", "retryable"),
    [
        (ValueError("no"), "ValueError", "no", True),
        (ValueError(), "ValueError", "ValueError", True),
        (_Typed("no"), "CARD_DECLINED", "no", True),
        (NonRetryable("no", type="BAD"), "BAD", "no", False),
        (NonRetryable("no"), "NonRetryable", "no", False),
        (StepError("é" * 70_000), "StepError", "é" * 32_766 + "...", True),
        (RuntimeError("lone \ud800"), "RuntimeError", "lone ?", True),
    ],
    ids=["builtin", "without-text", "typed", "final", "final-untyped", "long", "surrogate"],
)
async def test_an_exception_is_a_failure(
    fake: FakeServer, worker: Worker, run: Run, error: Exception, type: str, message: str, retryable: bool
) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        raise error

    run(worker)
    failed = (await one_report(fake, effect_task("t"))).effect.failed
    assert (failed.failure.type, failed.failure.message) == (type, message)
    assert failed.failure.retryable is retryable
    assert failed.not_executed is False
    assert not failed.HasField("retry_after")


async def test_a_step_error_says_when_and_why(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        raise StepError("busy", type="BUSY", details={"until": [1, 2]}, retry_after=1.5)

    run(worker)
    failed = (await one_report(fake, effect_task("t"))).effect.failed
    assert failed.failure.details_json == '{"until":[1,2]}'
    assert (failed.retry_after.seconds, failed.retry_after.nanos) == (1, 500_000_000)


async def test_details_that_are_no_json_do_not_hide_the_failure(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        raise StepError("busy", type="BUSY", details={1, 2})

    run(worker)
    failure = (await one_report(fake, effect_task("t"))).effect.failed.failure
    assert failure.type == "BUSY"
    assert "unserialisable_details" in failure.details_json


@pytest.mark.parametrize(
    "result", [object(), float("nan"), {"a": {1}}, "\ud800"], ids=["object", "nan", "set", "surrogate"]
)
async def test_a_result_that_is_no_json_is_a_final_failure(
    fake: FakeServer, worker: Worker, run: Run, result: Any
) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        return result

    run(worker)
    failure = (await one_report(fake, effect_task("t"))).effect.failed.failure
    assert failure.type == "UNSERIALISABLE_RESULT"
    assert "not a JSON value" in failure.message
    assert failure.retryable is False


async def test_a_result_nested_too_deeply_is_a_final_failure(fake: FakeServer, worker: Worker, run: Run) -> None:
    nested: list[Any] = []
    for _ in range(5_000):
        nested = [nested]

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        return nested

    run(worker)
    failure = (await one_report(fake, effect_task("t"))).effect.failed.failure
    assert failure.type == "UNSERIALISABLE_RESULT"


async def test_a_handler_cancelled_from_within_failed(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        raise asyncio.CancelledError

    run(worker)
    failure = (await one_report(fake, effect_task("t"))).effect.failed.failure
    assert failure.type == "HandlerCancelledError"


async def test_an_effect_may_wait_for_an_outside_job(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        return Waiting("job", wait_key="build-7", terms={"timeout": 60, "resume_to_node": "after"})

    run(worker)
    waiting = (await one_report(fake, effect_task("t"))).effect.waiting
    assert (waiting.reason, waiting.wait_key) == (WAIT_REASON_JOB, "build-7")
    assert waiting.terms.timeout.seconds == 60
    assert waiting.terms.resume_to_node == "after"


async def test_a_handler_may_give_its_task_back(fake: FakeServer, worker: Worker, run: Run) -> None:
    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        raise ReleaseTask(delay=7)

    run(worker)
    assert (await one_report(fake, effect_task("t"))).release.delay.seconds == 7


# Nodes.


async def test_a_node_reports_its_plan_and_what_it_did_to_vars(fake: FakeServer, worker: Worker, run: Run) -> None:
    order = Workflow("order")

    @order.node("reserve", next="approve")
    async def reserve(ctx: NodeContext) -> plan.Plan:
        ctx.vars["items"].append({"sku": 3})
        ctx.vars["total"] = 12.5
        del ctx.vars["draft"]
        return plan.next("elsewhere")

    worker.serve(order)
    run(worker)
    report = await one_report(fake, node_task("t", "reserve", '{"items":[{"sku":1}],"draft":true}'))
    ops = [(op.path, op.WhichOneof("op"), op.set_json or op.append_json) for op in report.node.plan.vars_ops]
    assert ops == [("/draft", "remove", ""), ("/items", "append_json", '{"sku":3}'), ("/total", "set_json", "12.5")]
    assert report.node.plan.next_node == "elsewhere"
    assert not report.node.HasField("effect_outcome")


async def test_a_node_that_leaves_vars_alone_sends_no_change(fake: FakeServer, worker: Worker, run: Run) -> None:
    order = Workflow("order")

    @order.node("reserve")
    def reserve(ctx: NodeContext) -> plan.Plan:
        return plan.complete({"seen": ctx.vars["n"]})

    worker.serve(order)
    run(worker)
    report = await one_report(fake, node_task("t", "reserve", '{ "n" : 1.50 }'))
    assert list(report.node.plan.vars_ops) == []
    assert report.node.plan.complete_output_json == '{"seen":1.5}'


async def test_a_node_that_returns_a_value_failed_and_is_told_what_to_return(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    order = Workflow("order")

    @order.node("reserve")
    async def reserve(ctx: NodeContext) -> Any:
        return {"ok": True}

    worker.serve(order)
    run(worker)
    failure = (await one_report(fake, node_task("t", "reserve"))).failed.failure
    assert failure.type == "TypeError"
    assert "not dict" in failure.message


async def test_a_node_that_spoils_its_vars_failed(fake: FakeServer, worker: Worker, run: Run) -> None:
    order = Workflow("order")

    @order.node("reserve", next="x")
    async def reserve(ctx: NodeContext) -> None:
        ctx.vars["when"] = object()

    worker.serve(order)
    run(worker)
    failure = (await one_report(fake, node_task("t", "reserve"))).failed.failure
    assert failure.type == "UNSERIALISABLE_RESULT"


def _planning(
    worker: Worker, planned: effect.Effect, calls: list[tuple[str, str]], error: Exception | None = None
) -> None:
    """The worker plans an effect and serves it too."""
    order = Workflow("order")

    @order.node("reserve")
    async def reserve(ctx: NodeContext) -> effect.Effect:
        return planned

    @worker.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> Any:
        calls.append((ctx.idempotency_key, ctx.node_id))
        if error is not None:
            raise error
        return payload

    worker.serve(order)


async def test_an_effect_served_here_is_executed_with_its_plan(fake: FakeServer, worker: Worker, run: Run) -> None:
    calls: list[tuple[str, str]] = []
    _planning(worker, effect.custom("echo", {"n": 1}, result_key="r", next="b"), calls)
    run(worker)
    report = await one_report(fake, node_task("t", "reserve", visit=4))
    assert report.node.effect_outcome.result_json == '{"n":1}'
    assert report.node.plan.effect.custom.payload_json == '{"n":1}'
    assert report.node.plan.next_node == "b"
    assert calls == [(effect_key("default", "run-t", "reserve", 4), "reserve")]


async def test_the_effects_own_key_wins(fake: FakeServer, worker: Worker, run: Run) -> None:
    calls: list[tuple[str, str]] = []
    _planning(worker, effect.custom("echo", idempotency_key="mine"), calls)
    run(worker)
    await one_report(fake, node_task("t", "reserve"))
    assert calls == [("mine", "reserve")]


async def test_a_failure_of_it_is_reported_with_the_plan(fake: FakeServer, worker: Worker, run: Run) -> None:
    _planning(worker, effect.custom("echo"), [], ValueError("no"))
    run(worker)
    report = await one_report(fake, node_task("t", "reserve"))
    assert report.node.effect_outcome.failed.failure.type == "ValueError"
    assert report.node.plan.effect.custom.type == "echo"


async def test_giving_it_back_leaves_the_plan(fake: FakeServer, worker: Worker, run: Run) -> None:
    _planning(worker, effect.custom("echo"), [], ReleaseTask())
    run(worker)
    report = await one_report(fake, node_task("t", "reserve"))
    assert report.node.plan.effect.custom.type == "echo"
    assert not report.node.HasField("effect_outcome")


@pytest.mark.parametrize(
    "planned",
    [
        effect.custom("echo", risk="irreversible"),
        effect.custom("other"),
        effect.custom("echo", queue="elsewhere"),
        effect.custom("echo", timeouts=Timeouts(start_to_close=5)),
        effect.ask_user("really?"),
    ],
    ids=["irreversible", "not-served", "other-queue", "under-a-clock", "the-servers-own"],
)
async def test_these_effects_are_left_to_the_server(
    fake: FakeServer, worker: Worker, run: Run, planned: effect.Effect
) -> None:
    calls: list[tuple[str, str]] = []
    _planning(worker, planned, calls)
    run(worker)
    report = await one_report(fake, node_task("t", "reserve"))
    assert not report.node.HasField("effect_outcome")
    assert calls == []


async def test_nothing_is_executed_with_a_plan_under_a_nodes_clock_or_when_switched_off(
    fake: FakeServer, client: Client, run: Run
) -> None:
    calls: list[tuple[str, str]] = []
    patient, cautious = Worker(client), Worker(client, inlines_effects=False)
    for worker in (patient, cautious):
        _planning(worker, effect.custom("echo"), calls)
    run(patient)
    report = await one_report(fake, node_task("t", "reserve", timeouts=timeouts(start_to_close=60)))
    assert not report.node.HasField("effect_outcome")
    run(cautious)
    report = await one_report(fake, node_task("t", "reserve"))
    assert not report.node.HasField("effect_outcome")
    assert calls == []


# Irreversible effects.


def _charging(worker: Worker, calls: list[str], error: Exception | None = None) -> None:
    @worker.effect("charge")
    async def charge(ctx: EffectContext, payload: JsonObject) -> Any:
        calls.append(ctx.run_id)
        if error is not None:
            raise error
        return "charged"


CHARGE = effect_task("t", type="charge", risk=EFFECT_RISK_IRREVERSIBLE)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("status", [pb.ACK_STATUS_ACCEPTED, pb.ACK_STATUS_DUPLICATE])
async def test_an_irreversible_effect_acts_only_after_its_begin_is_noted(
    fake: FakeServer, worker: Worker, run: Run, status: pb.AckStatus.ValueType
) -> None:
    calls: list[str] = []
    _charging(worker, calls)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    assert [begin.task_token for begin in await stream.part("begins")] == [b"t"]
    assert calls == []
    stream.begin_ack(b"t", status)
    (report,) = await stream.reports(1)
    assert calls == ["run-t"]
    assert report.effect.result_json == '"charged"'


@pytest.mark.promise("P5")
async def test_a_stale_begin_executes_and_reports_nothing(fake: FakeServer, worker: Worker, run: Run) -> None:
    calls: list[str] = []
    _charging(worker, calls)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    await stream.part("begins")
    stream.begin_ack(b"t", pb.ACK_STATUS_STALE)
    # The slot is free again, and the only thing that is heard of it is its credit.
    assert (await stream.part("credit")).limit == 5
    assert calls == []


async def test_a_refused_begin_is_a_failure_that_executed_nothing(fake: FakeServer, worker: Worker, run: Run) -> None:
    calls: list[str] = []
    _charging(worker, calls)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    await stream.part("begins")
    stream.begin_ack(b"t", pb.ACK_STATUS_REFUSED)
    (report,) = await stream.reports(1)
    assert report.effect.failed.not_executed is True
    assert report.effect.failed.failure.type == "BEGIN_REFUSED"
    assert calls == []


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_handler_that_exits_fails_its_step_and_not_the_worker(
    fake: FakeServer, worker: Worker, run: Run, is_async: bool
) -> None:
    if is_async:

        @worker.effect("leave")
        async def leave(_ctx: EffectContext, _payload: JsonObject) -> None:
            raise SystemExit(3)

    else:

        @worker.effect("leave")
        def leave_in_a_thread(_ctx: EffectContext, _payload: JsonObject) -> None:
            raise SystemExit(3)

    run(worker)
    stream = await fake.worker()
    for token in ("t", "u"):
        stream.send(handed(effect_task(token, type="leave")))
        (report,) = await stream.reports(1)
        failure = report.effect.failed.failure
        assert (failure.type, failure.message) == ("HandlerExitedError", "the handler called sys.exit(3)")


def _charging_by_hand(worker: Worker, before: Exception | None = None, *, begins: bool = True) -> list[str]:
    """Serves `charge` with a handler that begins itself; returns what it did."""
    done: list[str] = []

    @worker.effect("charge", begins_itself=True)
    async def charge(ctx: EffectContext, payload: JsonObject) -> str:
        done.append("looked up")
        if before is not None:
            raise before
        if begins:
            await ctx.begin()
            await ctx.begin()  # asks only once
        done.append("charged")
        return "charged"

    return done


@pytest.mark.promise("P5")
async def test_a_handler_that_begins_itself_acts_only_after_its_begin_is_noted(
    fake: FakeServer, worker: Worker, run: Run
) -> None:
    done = _charging_by_hand(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    assert [begin.task_token for begin in await stream.part("begins")] == [b"t"]
    assert done == ["looked up"]
    stream.begin_ack(b"t", pb.ACK_STATUS_ACCEPTED)
    (report,) = await stream.reports(1)
    assert done == ["looked up", "charged"]
    assert report.effect.result_json == '"charged"'


async def test_what_fails_before_the_begin_is_an_ordinary_failure(fake: FakeServer, worker: Worker, run: Run) -> None:
    done = _charging_by_hand(worker, StepError("closed", type="BANK_CLOSED"))
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    (report,) = await stream.reports(1)
    assert (report.effect.failed.failure.type, report.effect.failed.failure.retryable) == ("BANK_CLOSED", True)
    assert done == ["looked up"]


@pytest.mark.promise("P5")
async def test_a_stale_begin_stops_a_handler_that_begins_itself(fake: FakeServer, worker: Worker, run: Run) -> None:
    done = _charging_by_hand(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    await stream.part("begins")
    stream.begin_ack(b"t", pb.ACK_STATUS_STALE)
    assert (await stream.part("credit")).limit == 5
    assert done == ["looked up"]


async def test_a_refused_begin_fails_a_handler_that_begins_itself(fake: FakeServer, worker: Worker, run: Run) -> None:
    done = _charging_by_hand(worker)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    await stream.part("begins")
    stream.begin_ack(b"t", pb.ACK_STATUS_REFUSED)
    (report,) = await stream.reports(1)
    assert (report.effect.failed.failure.type, report.effect.failed.not_executed) == ("BEGIN_REFUSED", True)
    assert done == ["looked up"]


async def test_a_handler_that_never_begins_is_told_so(fake: FakeServer, worker: Worker, run: Run) -> None:
    _charging_by_hand(worker, begins=False)
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    (report,) = await stream.reports(1)
    assert report.effect.failed.failure.type == "NOT_BEGUN"
    assert "ctx.begin()" in report.effect.failed.failure.message


def test_only_async_handlers_begin_themselves(worker: Worker) -> None:
    def charge(_ctx: EffectContext, _payload: JsonObject) -> str:
        return "charged"

    with pytest.raises(ValueError, match="must be async"):
        worker.effect("charge", begins_itself=True)(charge)


async def test_not_executed_is_told(fake: FakeServer, worker: Worker, run: Run) -> None:
    _charging(worker, [], NotExecuted("no connection"))
    run(worker)
    stream = await fake.worker()
    stream.send(handed(CHARGE))
    await stream.part("begins")
    stream.begin_ack(b"t", pb.ACK_STATUS_ACCEPTED)
    (report,) = await stream.reports(1)
    assert report.effect.failed.not_executed is True
    assert report.effect.failed.failure.retryable is True


@pytest.mark.promise("P5")
async def test_a_begin_is_asked_again_on_the_next_stream(fake: FakeServer, worker: Worker, run: Run) -> None:
    calls: list[str] = []
    _charging(worker, calls)
    run(worker)
    first = await fake.worker()
    first.send(handed(CHARGE))
    await first.part("begins")
    first.goodbye(Goodbye.REASON_UNSPECIFIED)
    second = await fake.worker()
    assert list(second.hello.held_task_tokens) == [b"t"]
    assert [begin.task_token for begin in await second.part("begins")] == [b"t"]
    assert calls == []
    second.begin_ack(b"t", pb.ACK_STATUS_DUPLICATE)
    await second.reports(1)
    assert calls == ["run-t"]
