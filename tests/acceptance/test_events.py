"""Scenarios E: events."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from perdure import EventScope, InvalidArgument, Json, JsonObject, RunHandle, Workflow
from perdure.v1 import run_service_pb2 as pb
from tests.acceptance.differences import SCENARIOS, differs
from tests.acceptance.lives import Lives
from tests.acceptance.scene import Scene, listening
from tests.api.served import refusal

VECTORS = SCENARIOS.parent / "vectors.json"


def emitting(workflow_id: str = "emitting", **payload: Json) -> Workflow:
    """Emits one event, then completes with what the effect gave."""
    workflow = Workflow(workflow_id)
    workflow.effect_node("emit", "emit_event", {"name": "go", **payload}, result_key="emitted", next="done")
    workflow.complete_node("done", {"emitted": "${vars.emitted}"})
    return workflow


def heard(state: Any) -> JsonObject:
    """The envelope with which a listener completed."""
    assert (state.status, set(state.output)) == ("completed", {"heard"})
    return state.output["heard"]


def vectors(path: Path = VECTORS) -> list[dict[str, str]]:
    """What the original's event keys are made of; empty where the reference is not at hand."""
    return json.loads(path.read_text(encoding="utf-8"))["event_keys"] if path.is_file() else []


@differs("event-keys")
@pytest.mark.parametrize("number", range(9))
async def test_scenario_41_names_and_scopes_are_those_of_the_original(scene: Scene, number: int) -> None:
    found = vectors()
    if not found:
        pytest.skip("the reference vectors lie beside the repository and are not in this checkout")
    assert len(found) == 9
    vector = found[number]
    if "error" in vector:
        await _refused_key(scene, vector)
        return
    payload: JsonObject = {"name": vector["name"], "scope": vector["scope"]}
    if "session_id" in vector:
        payload["session_id"] = vector["session_id"]
    workflow_id = vector.get("workflow_id", "w")
    workflow = Workflow(workflow_id)
    workflow.effect_node("listen", "wait_event", payload)
    await scene.register(workflow)
    run_id = vector.get("run_id", "run")
    run = await scene.start(workflow_id, run_id=run_id, session_id="own-session")
    wait = await scene.waiting(run)
    scope = str(wait.event_scope)
    key = f"evt:{scope}:{wait.event_scope_id or 'global'}:{wait.event_name}"
    assert key == vector["key"]


async def _refused_key(scene: Scene, vector: dict[str, str]) -> None:
    """Where the original has no key, the template is refused; without a scope's id, the call."""
    if "session_id" not in vector and vector["scope"] == "session":
        request = pb.EmitEventRequest(namespace=scene.namespace, name=vector["name"])
        answer = await refusal(scene.runs.EmitEvent(request))
        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert answer.fields == ("scope_id",)
        return
    workflow = Workflow("w")
    workflow.effect_node("emit", "emit_event", {"name": vector["name"], "scope": vector["scope"]})
    with pytest.raises(InvalidArgument) as refused:
        await scene.register(workflow)
    assert refused.value.reason == "INVALID_SPEC"


@differs("emit-result", "wait-effects-waiting-row")
async def test_scenario_42_an_event_reaches_the_listener_of_its_session(scene: Scene) -> None:
    await scene.register(listening(), emitting(payload={"k": 1}))
    listener = await scene.start("listening", session_id="S")
    other = await scene.start("listening", session_id="T")
    for run in (listener, other):
        await scene.waiting(run)
    emitter = await scene.start("emitting", session_id="S")
    emitted = await scene.ended(emitter)
    envelope = heard(await scene.ended(listener))
    assert emitted.output == {"emitted": {"event_id": envelope["event_id"], "name": "go", "scope": "session"}}
    assert datetime.fromisoformat(envelope.pop("emitted_at")).tzinfo is not None
    assert envelope == {
        "event_id": envelope["event_id"],
        "name": "go",
        "scope": "session",
        "session_id": "S",
        "payload": {"k": 1},
        "emitter": {"run_id": emitter.run_id, "workflow_id": "emitting", "node_id": "emit"},
    }
    assert await scene.rows(listener) == ["waiting waiting event", "event_consumed completed go", "completed"]
    assert await scene.rows(emitter) == ["step_completed completed emit_event", "completed"]
    assert (await other.state()).status == "waiting"


@differs("emit-result")
async def test_scenario_43_an_event_that_nobody_hears_is_emitted_all_the_same(scene: Scene) -> None:
    await scene.register(emitting())
    run = await scene.start("emitting", session_id="S")
    assert (await scene.ended(run)).status == "completed"
    emitted = await scene.client.emit_event("go", {"k": 1}, scope_id="S")
    assert (emitted.duplicate, emitted.delivered_run_ids) == (False, ())
    log = await scene.client.list_events(scope_id="S").all()
    assert [(event.name, event.payload) for event in log] == [("go", {}), ("go", {"k": 1})]


@pytest.mark.parametrize(
    ("payload", "delivered"),
    [(5, {"value": 5}), ("x", {"value": "x"}), ([1], {"value": [1]}), (False, {"value": False}), (None, {}), ({}, {})],
)
async def test_scenario_45_a_payload_that_is_no_object_is_wrapped(
    scene: Scene, payload: Json, delivered: JsonObject
) -> None:
    await scene.register(listening(), emitting(payload=payload))
    for emit in (scene.start("emitting", session_id="S"), scene.client.emit_event("go", payload, scope_id="T")):
        session = "S" if emit.__name__ == "start" else "T"
        run = await scene.start("listening", session_id=session)
        await scene.waiting(run)
        await emit
        assert heard(await scene.ended(run))["payload"] == delivered


@pytest.mark.promise("P6")
@differs("events-kept")
async def test_scenario_46_a_listener_that_comes_late_gets_the_event_exactly_once(scene: Scene) -> None:
    workflow = Workflow("late")
    workflow.effect_node("first", "ask_user", {"prompt": "shall I listen?"}, next="listen")
    workflow.effect_node("listen", "wait_event", {"name": "go"}, result_key="heard", next="again")
    workflow.effect_node("again", "wait_event", {"name": "go"}, result_key="again", next="done")
    workflow.complete_node("done", {"heard": "${vars.heard.payload}", "again": "${vars.again.payload}"})
    await scene.register(workflow)
    run = await scene.start("late", session_id="S")
    wait = await scene.waiting(run)
    emitted = await scene.client.emit_event("go", {"n": 1}, scope_id="S")
    assert emitted.delivered_run_ids == ()
    await run.resume("y", wait_id=wait.wait_id)
    consumed = await scene.record(run, "event_consumed")
    assert consumed.record.event_consumed.event_id == emitted.event_id
    second = await scene.waiting(run, min_seq=consumed.seq + 1)
    assert second.node_id == "again"
    await scene.client.emit_event("go", {"n": 2}, scope_id="S")
    assert (await scene.ended(run)).output == {"heard": {"n": 1}, "again": {"n": 2}}
    assert (await scene.rows(run)).count("event_consumed completed go") == 2


@differs("events-kept")
async def test_scenario_46_a_run_does_not_hear_what_was_emitted_before_it_started(scene: Scene) -> None:
    await scene.register(listening(), listening("now", since_now=True))
    await scene.client.emit_event("go", {"n": 1}, scope_id="S")
    runs = [await scene.start(workflow, session_id="S") for workflow in ("listening", "now")]
    for run in runs:
        await scene.waiting(run)
    await scene.client.emit_event("go", {"n": 2}, scope_id="S")
    for run in runs:
        assert heard(await scene.ended(run))["payload"] == {"n": 2}


@differs("events-kept")
async def test_scenario_46_since_now_gives_the_live_only_listening_of_the_original(scene: Scene) -> None:
    workflow = Workflow("live")
    workflow.effect_node("first", "ask_user", {"prompt": "shall I listen?"}, next="listen")
    workflow.effect_node("listen", "wait_event", {"name": "go", "since_now": True}, result_key="heard", next="done")
    workflow.complete_node("done", {"heard": "${vars.heard}"})
    await scene.register(workflow)
    run = await scene.start("live", session_id="S")
    wait = await scene.waiting(run)
    await scene.client.emit_event("go", {"n": 1}, scope_id="S")
    reply = await run.resume("y", wait_id=wait.wait_id)
    await scene.waiting(run, min_seq=reply.seq)
    await scene.client.emit_event("go", {"n": 2}, scope_id="S")
    assert heard(await scene.ended(run))["payload"] == {"n": 2}


@pytest.mark.promise("P6")
async def test_scenario_46_an_event_outlives_the_server(lives: Lives) -> None:
    scene = await lives.begin()
    await scene.register(listening())
    held = await scene.start("listening", session_id="S", drive="manual")
    emitted = await scene.client.emit_event("go", {"n": 1}, scope_id="S")
    await lives.kill()
    after = await lives.begin()
    run = after.client.run(held.run_id)
    await run.tick(5)
    assert heard(await after.ended(run))["event_id"] == emitted.event_id


@pytest.mark.promise("P6")
@differs("pause-flag", "events-kept")
async def test_scenario_47_a_paused_listener_gets_the_event_after_the_pause(scene: Scene) -> None:
    await scene.register(listening())
    run = await scene.start("listening", session_id="S")
    await scene.waiting(run)
    await run.pause("lunch")
    await scene.client.emit_event("go", {"n": 1}, scope_id="S")
    await scene.record(run, "event_consumed")
    state = await run.state()
    assert (state.paused, state.status, state.current_node) == (True, "running", "done")
    assert state.output is None
    await run.unpause()
    assert heard(await scene.ended(run))["payload"] == {"n": 1}
    assert await scene.rows(run) == [
        "waiting waiting event",
        "paused",
        "event_consumed completed go",
        "unpaused",
        "completed",
    ]


@pytest.mark.parametrize("kind", ["emit_event", "wait_event"])
@pytest.mark.parametrize(
    ("payload", "word"), [({"name": "go", "scope": "galaxy"}, "scope"), ({}, "name"), ({"name": " "}, "name")]
)
async def test_scenario_49_an_unknown_scope_or_a_missing_name_is_refused(
    scene: Scene, kind: str, payload: JsonObject, word: str
) -> None:
    fixed, rendered = Workflow("fixed"), Workflow("rendered")
    fixed.effect_node("node", kind, payload)
    with pytest.raises(InvalidArgument) as refused:
        await scene.register(fixed)
    assert (refused.value.reason, word in str(refused.value)) == ("INVALID_SPEC", True)
    rendered.effect_node("node", kind, {key: f"${{vars.{key}}}" for key in ("name", "scope")})
    await scene.register(rendered)
    run = await scene.start("rendered", payload)
    state = await scene.ended(run)
    assert state.error is not None
    assert (state.status, state.error.type, word in state.error.message) == ("failed", "BAD_PLAN", True)


@differs("emit-result")
async def test_scenario_50_a_client_reaches_wildcards_once_and_is_seen_in_the_log(scene: Scene) -> None:
    await scene.register(listening(name="*"), listening("exact"))
    runs = [await scene.start(workflow, session_id="S") for workflow in ("listening", "exact")]
    for run in runs:
        await scene.waiting(run)
    emitted = await scene.client.emit_event("go", {"k": 1}, scope_id="S", event_id="e-1", emitted_by="ann")
    again = await scene.client.emit_event("go", {"k": 2}, scope_id="S", event_id="e-1", emitted_by="bob")
    assert (emitted.event_id, emitted.duplicate) == ("e-1", False)
    assert (again.event_id, again.duplicate) == ("e-1", True)
    for run in runs:
        envelope = heard(await scene.ended(run))
        assert (envelope["event_id"], envelope["payload"]) == ("e-1", {"k": 1})
        assert (await scene.rows(run)).count("event_consumed completed go") == 1
    assert set(emitted.delivered_run_ids) <= {run.run_id for run in runs}
    (event,) = await scene.client.list_events(scope_id="S").all()
    assert (event.event_id, event.name, event.payload, event.emitted_by) == ("e-1", "go", {"k": 1}, "ann")
    assert (event.scope, event.scope_id, event.emitter_run_id) == ("session", "S", "")
    assert event.position == emitted.position


@differs("event-keys")
async def test_scenario_50_every_scope_is_reached_from_outside(scene: Scene) -> None:
    scopes = ("session", "workflow", "run", "global")
    await scene.register(*(listening(f"in-{scope}", scope=scope) for scope in scopes))
    runs: dict[str, RunHandle] = {
        scope: await scene.start(f"in-{scope}", session_id="S", run_id=f"run-{scope}") for scope in scopes
    }
    for run in runs.values():
        await scene.waiting(run)
    ids = {"session": "S", "workflow": "in-workflow", "run": "run-run", "global": ""}
    for scope, scope_id in ids.items():
        await scene.client.emit_event("go", {"to": scope}, scope=EventScope(scope), scope_id=scope_id)
        envelope = heard(await scene.ended(runs.pop(scope)))
        assert (envelope["payload"], envelope["scope"]) == ({"to": scope}, scope)
        states = await asyncio.gather(*(run.state() for run in runs.values()))
        assert {state.status for state in states} <= {"waiting"}


@differs("event-keys")
async def test_ids_and_names_with_colons_do_not_collide(scene: Scene) -> None:
    await scene.register(listening("one", name="b:c"), listening("two", name="c"))
    one = await scene.start("one", session_id="a")
    two = await scene.start("two", session_id="a:b")
    for run in (one, two):
        await scene.waiting(run)
    await scene.client.emit_event("c", {"n": 2}, scope_id="a:b")
    assert heard(await scene.ended(two))["payload"] == {"n": 2}
    assert (await one.state()).status == "waiting"
