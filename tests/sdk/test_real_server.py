"""The SDK against the real server, in one process: what each side believes of the other is true."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    AlreadyExists,
    Client,
    CompletedEffect,
    EffectContext,
    FailedPrecondition,
    InvalidArgument,
    JsonObject,
    LedgerScope,
    NodeContext,
    NotExecuted,
    NotFound,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    RunFilter,
    Worker,
    Workflow,
    effect,
    plan,
    testing,
)
from perdure.testing import Environment
from perdure_server.app import open_server
from perdure_server.config import Config
from tests.sdk.fake_server import WITHIN_S
from tests.sdk.gate import Gate, soon


@pytest.fixture
async def env() -> AsyncIterator[Environment]:
    """A server whose calendar the test turns."""
    async with testing.server() as environment:
        yield environment


@pytest.fixture
def worker(env: Environment) -> Worker:
    """A worker that serves nothing yet."""
    return Worker(env.client)


def asking() -> Workflow:
    """Asks a person, then ends with the answer."""
    workflow = Workflow("asking")

    @workflow.node("ask")
    async def ask(ctx: NodeContext) -> effect.Effect:
        ctx.vars["asked"] = ctx.visit
        return effect.ask_user(
            "Ship?", choices=["yes", "no"], allow_free_text=False, assignee="ann", result_key="answer", next="end"
        )

    workflow.complete_node("end", {"answer": "${vars.answer}"})
    return workflow


# The calendar.


async def test_time_goes_by_timer_by_timer(env: Environment, worker: Worker) -> None:
    daily = Workflow("daily")

    @daily.node("morning")
    async def morning(ctx: NodeContext) -> effect.Effect | plan.Plan:
        ctx.vars.setdefault("days", []).append(env.now.day)
        return plan.complete(ctx.vars) if ctx.visit == 4 else effect.sleep(timedelta(days=1), next="morning")

    worker.serve(daily)
    async with worker:
        run = await env.client.start(daily)
        await env.advance(days=1, hours=12)
        assert (await run.state()).vars == {"days": [1, 2]}
        await env.advance(days=30)
        assert await run.result(timeout=WITHIN_S) == {"days": [1, 2, 3, 4]}
    assert env.now == testing.DEFAULT_START + timedelta(days=31, hours=12)


async def test_a_jump_takes_every_timer_at_once(env: Environment, worker: Worker) -> None:
    later = Workflow("later")

    @later.node("wait")
    async def wait(ctx: NodeContext) -> effect.Effect:
        return effect.sleep(timedelta(days=1), next="end")

    later.complete_node("end", {"ended": True})
    worker.serve(later)
    async with worker:
        run = await env.client.start(later)
        assert (await run.wait(timeout=WITHIN_S)).status == "waiting"
        await env.advance(days=365, settle=False)
        assert await run.result(timeout=WITHIN_S) == {"ended": True}
    with pytest.raises(ValueError, match="does not go back"):
        await env.advance(days=-1)


async def test_settling_gives_up_on_a_busy_handler() -> None:
    async with testing.server(patience=0.05) as env:
        worker = Worker(env.client)
        gate = Gate(worker)
        busy = Workflow("busy")
        busy.effect_node("work", "echo", next="end")
        busy.complete_node("end")
        worker.serve(busy)
        async with worker:
            run = await env.client.start(busy)
            await soon(gate.started)
            assert await env.settle() is False
            gate.open.set()
            await run.result(timeout=WITHIN_S)
            assert await env.settle() is True


async def test_retries_wait_for_their_time(env: Environment, worker: Worker) -> None:
    flaky = Workflow("flaky")
    policy = RetryPolicy(max_attempts=3, initial_interval=timedelta(hours=1), max_interval=timedelta(hours=9))
    flaky.effect_node("call", "call", result_key="r", next="end", retry=policy)
    flaky.complete_node("end", {"attempt": "${vars.r}"})
    worker.serve(flaky)
    keys: set[str] = set()

    @worker.effect("call")
    async def call(ctx: EffectContext, payload: JsonObject) -> int:
        keys.add(ctx.idempotency_key)
        if ctx.attempt < 3:
            raise ConnectionError("not now")
        return ctx.attempt

    async with worker:
        run = await env.client.start(flaky)
        await env.advance(minutes=59)
        state = await run.state()
        assert state.activity == "backoff"
        assert state.step is not None
        assert state.step.last_failure is not None
        assert (state.step.last_failure.type, state.step.attempt) == ("ConnectionError", 1)
        await env.advance(hours=3)
        assert await run.result(timeout=WITHIN_S) == {"attempt": 3}
    assert len(keys) == 1


async def test_a_deadline_passes(env: Environment, worker: Worker) -> None:
    worker.serve(asking())
    async with worker:
        run = await env.client.start("asking", deadline=env.now + timedelta(days=2))
        await env.advance(days=3)
        with pytest.raises(RunFailed) as caught:
            await run.result(timeout=WITHIN_S)
    assert caught.value.error is not None
    assert caught.value.error.type == "RUN_DEADLINE"


# Steps.


@pytest.mark.promise("P5")
async def test_the_key_of_an_effect_is_the_same_with_its_plan_and_by_itself(env: Environment) -> None:
    keys: list[str] = []
    for inlines in (True, False):
        worker = Worker(env.client, inlines_effects=inlines)
        twice = Workflow("twice")

        @twice.node("call", next="end")
        async def plan_call(ctx: NodeContext) -> effect.Effect:
            return effect.custom("call", result_key="key")

        @worker.effect("call")
        async def call(ctx: EffectContext, payload: JsonObject) -> str:
            return ctx.idempotency_key

        twice.complete_node("end", {"key": "${vars.key}"})
        worker.serve(twice)
        async with worker:
            run = await env.client.start("twice", run_id=f"run-{inlines}")
            key = (await run.result(timeout=WITHIN_S))["key"]
            step = [entry async for entry in run.ledger() if entry.record.idempotency_key]
            assert {entry.record.idempotency_key for entry in step} == {key}
            keys.append(key)
    assert len(set(keys)) == 2


@pytest.mark.promise("P5")
async def test_an_irreversible_effect_that_did_not_happen_is_tried_again(env: Environment, worker: Worker) -> None:
    order = Workflow("order")
    policy = RetryPolicy(max_attempts=2, initial_interval=60)
    order.effect_node("charge", "charge", result_key="r", next="end", risk="irreversible", retry=policy)
    order.complete_node("end", {"r": "${vars.r}"})
    worker.serve(order)

    @worker.effect("charge")
    async def charge(ctx: EffectContext, payload: JsonObject) -> str:
        if ctx.attempt == 1:
            raise NotExecuted("no connection")
        return "charged"

    async with worker:
        run = await env.client.start(order)
        await env.advance(minutes=1)
        assert await run.result(timeout=WITHIN_S) == {"r": "charged"}
        kinds = [str(entry.kind) async for entry in run.ledger()]
    assert kinds.count("step_begun") == 2


@pytest.mark.promise("P7")
async def test_an_irreversible_effect_in_doubt_is_parked_and_resolved(env: Environment, worker: Worker) -> None:
    order = Workflow("order")
    order.effect_node("charge", "charge", result_key="r", next="end", risk="irreversible")
    order.complete_node("end", {"r": "${vars.r}"})
    worker.serve(order)
    gate = Gate(worker, "charge")
    working = asyncio.create_task(worker.run())
    await worker.ready()
    run = await env.client.start(order)
    await soon(gate.started)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    # The worker said nothing of what it had begun; another one with its name does not hold it.
    async with Worker(env.client, worker_id=worker.worker_id):
        state = await run.wait(timeout=WITHIN_S)
    assert state.activity == "parked"
    assert state.step is not None
    assert state.step.park_reason == "IN_DOUBT"
    await run.resolve(state.step.step_id, CompletedEffect("it was charged"), resolved_by="ann")
    assert await run.result(timeout=WITHIN_S) == {"r": "it was charged"}


@pytest.mark.promise("P5")
async def test_a_cancelled_worker_gives_its_task_to_the_next(env: Environment, worker: Worker) -> None:
    order = Workflow("order")
    order.effect_node("call", "echo", result_key="r", next="end")
    order.complete_node("end", {"r": "${vars.r}"})
    worker.serve(order)
    gate = Gate(worker)
    working = asyncio.create_task(worker.run())
    await worker.ready()
    run = await env.client.start(order)
    await soon(gate.started)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    successor = Worker(env.client)

    @successor.effect("echo")
    async def echo(ctx: EffectContext, payload: JsonObject) -> int:
        return ctx.attempt

    async with successor:
        assert await run.result(timeout=WITHIN_S) == {"r": 2}


async def test_a_cancelled_run_stops_its_handler(env: Environment, worker: Worker) -> None:
    order = Workflow("order")
    order.effect_node("call", "echo")
    worker.serve(order)
    gate = Gate(worker)
    async with worker:
        run = await env.client.start(order)
        await soon(gate.started)
        await run.cancel("changed my mind", cancelled_by="ann")
        await soon(gate.stopped)
        with pytest.raises(RunCancelled, match="changed my mind"):
            await run.result(timeout=WITHIN_S)


@pytest.mark.promise("P3")
async def test_what_handlers_do_to_vars_is_what_the_run_has(env: Environment, worker: Worker) -> None:
    given: JsonObject = {"a": {"b": [1, 2], "c": None}, "big": 2**64 - 1, "gone": 1, "é/~": [1.0, True]}
    changes = Workflow("changes")

    @changes.node("change", next="look")
    async def change(ctx: NodeContext) -> None:
        ctx.vars["a"]["b"].append({"x": [3]})
        ctx.vars["a"]["c"] = {"d": 1.5}
        ctx.vars["é/~"][0] = 1
        ctx.vars["big"] = -(2**63)
        del ctx.vars["gone"]

    @changes.node("look", inputs=["/a/c", "/missing"])
    async def look(ctx: NodeContext) -> plan.Plan:
        seen = dict(ctx.vars)
        ctx.vars["a"]["c"]["e"] = 2
        return plan.complete({"seen": seen})

    worker.serve(changes)
    async with worker:
        run = await env.client.start(changes, given)
        await run.result(timeout=WITHIN_S)
        state = await run.state()
    assert state.vars == {
        "a": {"b": [1, 2, {"x": [3]}], "c": {"d": 1.5, "e": 2}},
        "big": -(2**63),
        "é/~": [1, True],
    }


async def test_a_result_the_server_refuses_fails_the_step(env: Environment, worker: Worker) -> None:
    order = Workflow("order")
    order.effect_node("call", "call")
    worker.serve(order)

    @worker.effect("call")
    async def call(ctx: EffectContext, payload: JsonObject) -> Any:
        return 2**64  # no JSON integer of the contract

    async with worker:
        run = await env.client.start(order)
        with pytest.raises(RunFailed) as caught:
            await run.result(timeout=WITHIN_S)
    assert caught.value.error is not None
    assert caught.value.error.type == "INVALID_JSON"


async def test_children_events_and_messages(env: Environment, worker: Worker) -> None:
    child, parent = Workflow("child"), Workflow("parent")

    @child.node("hear")
    async def hear(ctx: NodeContext) -> effect.Effect:
        return effect.wait_event("go", result_key="event", next="end")

    child.complete_node("end", {"heard": "${vars.event.payload}"})

    @parent.node("spawn", next="tell")
    async def spawn(ctx: NodeContext) -> effect.Effect:
        return effect.start_subworkflow("child", {"n": 1}, result_key="child")

    @parent.node("tell")
    async def tell(ctx: NodeContext) -> effect.Effect:
        return effect.answer_user("done", next="end")

    parent.complete_node("end", {"child": "${vars.child.output}"})
    worker.serve(child)
    worker.serve(parent)
    async with worker:
        run = await env.client.start(parent, session_id="s-1")
        await env.settle()
        emitted = await env.client.emit_event("go", {"n": 7}, scope_id="s-1")
        assert await run.result(timeout=WITHIN_S) == {"child": {"heard": {"n": 7}}}
        repeat = await env.client.emit_event("go", {"n": 7}, scope_id="s-1", event_id=emitted.event_id)
    assert repeat.duplicate
    events = await env.client.list_events(scope_id="s-1").all()
    assert [(event.name, event.payload) for event in events] == [("go", {"n": 7})]


# Calls.


async def test_moves_of_a_run(env: Environment, worker: Worker) -> None:
    client = env.client
    worker.serve(asking())
    async with worker:
        run = await client.start("asking", {}, run_id="r-1", labels={"team": "blue"}, actor_id="bob")
        state = await run.wait(timeout=WITHIN_S)
        assert state.waiting is not None
        (inbox,) = await client.list_waits(assignee="ann").all()
        assert (inbox.run_id, inbox.wait.prompt, inbox.wait.choices) == ("r-1", "Ship?", ("yes", "no"))
        await run.pause("lunch", paused_by="ann")
        assert (await run.state(view="basic")).paused
        with pytest.raises(InvalidArgument) as refused:
            await run.resume("maybe", any_wait=True)
        with pytest.raises(InvalidArgument) as unnamed:
            await run.resume("yes")
        reply = await run.resume("yes", wait_id=state.waiting.wait_id)
        await run.unpause()
        assert await run.result(timeout=WITHIN_S) == {"answer": "yes"}
        with pytest.raises(FailedPrecondition) as ended:
            await run.resume("yes", wait_id=state.waiting.wait_id)
    assert refused.value.reason in {"ANSWER_NOT_ALLOWED", "INVALID_FIELD"}
    assert unnamed.value.reason == "WAIT_ID_REQUIRED"
    assert ended.value.reason in {"RUN_ENDED", "WAIT_ENDED"}
    assert reply.seq > state.seq
    assert (await client.count_runs(RunFilter(labels={"team": "blue"}, statuses=["completed"]))).count == 1
    with pytest.raises(AlreadyExists):
        await client.start("asking", run_id="r-1")
    again = await client.start_run("asking", run_id="r-1", on_existing="return")
    assert not again.created


async def test_a_manual_run_goes_step_by_step(env: Environment, worker: Worker) -> None:
    steps = Workflow("steps")
    for number in range(3):

        @steps.node(f"n{number}", next=f"n{number + 1}")
        async def step(ctx: NodeContext) -> None:
            ctx.vars["last"] = ctx.node_id

    steps.complete_node("n3", {"last": "${vars.last}"})
    worker.serve(steps)
    async with worker:
        run = await env.client.start(steps, drive="manual")
        reply = await run.tick(2)
        assert (reply.activity, reply.step_budget) == ("idle", 0)
        assert (await run.state()).vars == {"last": "n1"}
        assert (await run.tick(5)).status == "completed"
        with pytest.raises(FailedPrecondition):
            await run.tick(1)


async def test_workflows_and_administration(env: Environment) -> None:
    client = env.client
    first = await client.register_workflow(asking())
    assert (first.created, first.is_default) == (True, True)
    assert not (await client.register_workflow(asking())).created
    changed = asking()
    changed.complete_node("more")
    second = await client.register_workflow(changed)
    assert not second.is_default
    assert await client.set_default_version("asking", second.version) == first.version
    assert (await client.get_workflow("asking")).spec.version == second.version
    assert {each.version for each in await client.list_workflows("asking").all()} == {first.version, second.version}
    broken = Workflow("broken", entry="nowhere")
    broken.complete_node("end")
    validation = await client.validate_workflow(broken)
    assert not validation.valid
    assert validation.problems
    with pytest.raises(InvalidArgument) as refused:
        await client.register_workflow(broken)
    assert refused.value.reason == "INVALID_SPEC"
    assert refused.value.fields
    with pytest.raises(NotFound) as missing:
        await client.get_run("nobody")
    assert missing.value.reason == "RUN_NOT_FOUND"
    assert (await client.get_server_info()).store_kind == "memory"
    await client.create_namespace("other")
    async with Client.connect(env.address, namespace="other") as other:
        assert await other.list_runs().all() == []
        with pytest.raises(NotFound):
            await other.start("asking")


@pytest.mark.promise("P8")
@pytest.mark.promise("P9")
async def test_the_ledger_is_the_same_however_it_is_read(env: Environment, worker: Worker) -> None:
    worker.serve(asking())
    async with worker, env.client.subscribe(LedgerScope.all(), start="now") as everything:
        runs = [await env.client.start("asking") for _ in range(20)]
        for run in runs:
            state = await run.wait(timeout=WITHIN_S)
            assert state.waiting is not None
            await run.resume("no", wait_id=state.waiting.wait_id)
            await run.result(timeout=WITHIN_S)
        total = 0
        for run in runs:
            async with run.follow(view="record_bytes") as following:
                followed = [entry async for entry in following]
            paged = await env.client.list_records(run.run_id, view="record_bytes", page_size=3).all()
            assert [entry.record_bytes for entry in followed] == [entry.record_bytes for entry in paged]
            assert (await env.client.verify_run(run.run_id)).intact
            total += len(followed)
        positions = [(await anext(everything)).position for _ in range(total)]
    assert positions == sorted(set(positions))
    audit = await env.client.audit_all_runs()
    assert (audit.findings, audit.records_checked) == ([], total)


async def test_a_watch_sees_the_run_to_its_end(env: Environment, worker: Worker) -> None:
    worker.serve(asking())
    async with worker:
        run = await env.client.start("asking")
        statuses: list[str] = []
        async with run.watch() as watch:
            async for state in watch:
                statuses.append(state.status)
                if state.waiting is not None:
                    await run.resume("yes", wait_id=state.waiting.wait_id)
    assert statuses[-1] == "completed"
    assert "waiting" in statuses


# A server that goes away and comes back.


@pytest.mark.promise("P2")
@pytest.mark.promise("P6")
async def test_worker_and_client_survive_a_restart(tmp_path: Path, free_port: int) -> None:
    config = Config(store=f"sqlite:///{tmp_path}/perdure.db", listen=f"127.0.0.1:{free_port}", drain_seconds=0.5)
    async with Client.connect(f"127.0.0.1:{free_port}", connect_timeout=None) as client:
        worker = Worker(client)
        worker.serve(asking())
        working = asyncio.create_task(worker.run())
        async with open_server(config):
            await worker.ready()
            run = await client.start("asking")
            state = await run.wait(timeout=WITHIN_S)
            seen: list[int] = []
            following = run.follow()
            await following.__aenter__()
            seen.extend([(await anext(following)).seq for _ in range(state.seq)])
        async with open_server(config):
            assert state.waiting is not None
            await run.resume("yes", wait_id=state.waiting.wait_id)
            assert await run.result(timeout=WITHIN_S) == {"answer": "yes"}
            seen.extend([entry.seq async for entry in following])
            await following.__aexit__(None, None, None)
            await worker.stop()
            await working
    assert seen == list(range(1, len(seen) + 1))


@pytest.fixture
async def free_port() -> int:
    """A port that nobody listens on."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
