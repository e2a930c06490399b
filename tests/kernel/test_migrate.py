"""MigrateRun: a run goes on in another version of its workflow, in every activity."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.keys import idempotency_key
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.migration import MigrationFault, MigrationRefusedError, plan_move
from perdure_server.kernel.nodes import BranchSpec
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import Migrated
from tests.kernel.scene import RETRY, Scene, custom, failure, leaf, workflow

OLD = workflow("a", m.NodeSpec("b", next="c"), "c", m.NodeSpec("oops"))
TIMEOUTS = m.Timeouts(start_to_close_us=7 * SECOND_US)


def version(number: int, *nodes: str | m.NodeSpec) -> m.WorkflowSpec:
    """Another version of the workflow."""
    return replace(workflow(*nodes), version=str(number) * 64)


NEW = version(1, m.NodeSpec("a2", queue="q2", priority=3, timeouts=TIMEOUTS), "b", "d", "oops")
NAMES = {"a": "a2", "c": "d"}


def moved(scene: Scene, target: m.WorkflowSpec = NEW, names: dict[str, str] | None = None) -> Migrated:
    """Migrates the scene's run; the record."""
    scene.give(i.Migrate(target, NAMES if names is None else names, "ann"))
    scene.spec = target
    body = scene.ledger[-1].body
    assert isinstance(body, Migrated)
    return body


def test_a_due_node_is_the_one_of_the_target() -> None:
    scene = Scene(OLD).start()
    body = moved(scene)
    assert (body.from_version, body.to_version, body.migrated_by) == ("0" * 64, "1" * 64, "ann")
    assert dict(body.node_map) == NAMES
    assert scene.run.workflow_version == "1" * 64
    assert (scene.where, scene.step.queue, scene.step.priority, scene.step.visit) == ("QUEUED a2", "q2", 3, 1)
    assert scene.run.entry_node == "a", "where it started is history"
    scene.lease()
    assert scene.due_at(TimerKind.START_TO_CLOSE) == scene.now + 7 * SECOND_US
    scene.report(m.StepPlan(next_node="d"))
    assert scene.where == "QUEUED d"


@pytest.mark.promise("P5")
def test_a_leased_node_is_handed_out_again_and_its_old_report_is_stale() -> None:
    scene = Scene(OLD).start()
    scene.lease()
    old = i.NodePlanned(scene.step.step_id, 1, m.StepPlan(next_node="b"))
    assert moved(scene).requeued
    assert scene.where == "QUEUED a2"
    assert scene.reason(old) is Reason.STALE_ATTEMPT
    scene.lease()
    assert (scene.step.attempt, scene.step.failures, scene.step.lapses) == (2, 0, 0)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("begun", [False, True])
def test_a_leased_effect_goes_on_with_its_key_and_leads_to_the_new_name(begun: bool) -> None:
    risk = m.Risk.IRREVERSIBLE if begun else m.Risk.IDEMPOTENT
    scene = Scene(OLD).start().open(custom("out", risk=risk, on_error_node="oops"), next_node="c")
    if begun:
        scene.begin()
    before = scene.step
    assert not moved(scene).requeued
    assert (scene.where, scene.step.begun) == ("LEASED a2", begun)
    assert (scene.step.step_id, scene.step.attempt) == (before.step_id, before.attempt)
    assert scene.step.effect is not None
    assert scene.step.effect.idempotency_key == idempotency_key("default", "run-1", "a", 1)
    scene.done("ok")
    assert (scene.where, scene.run.vars) == ("QUEUED d", {"out": "ok"})


def test_a_failure_goes_to_the_renamed_on_error_node() -> None:
    scene = Scene(OLD).start().open(custom("out", on_error_node="c"))
    moved(scene)
    scene.settle(failure())
    assert scene.where == "QUEUED d"


@pytest.mark.promise("P6")
def test_a_wait_keeps_its_id_and_leads_to_the_new_names() -> None:
    terms = m.WaitTerms("?", timeout_us=SECOND_US, on_deadline_node="c", resume_to_node="a")
    scene = Scene(OLD).start().perform(m.AskUser(terms))
    before = scene.wait
    moved(scene)
    assert scene.wait == replace(before, node_id="a2", on_deadline_node="d", resume_to_node="a2")
    scene.answer("yes")
    assert (scene.where, scene.step.visit) == ("QUEUED a2", 2)


def test_a_wait_that_is_not_yet_registered_is_renamed_too() -> None:
    scene = Scene(OLD).start()
    scene.plan(effect=m.Effect("ask_user", m.AskUser(m.WaitTerms("?", resume_to_node="c"))), next_node="b")
    moved(scene)
    scene.give(i.TurnTaken(scene.step.step_id))
    assert scene.wait.resume_to_node == "d"


@pytest.mark.parametrize("state", ["backoff", "parked", "idle", "paused", "start"])
def test_every_other_activity_stays_as_it_is(state: str) -> None:
    scene = Scene(replace(OLD, nodes={**OLD.nodes, "a": m.NodeSpec("a", retry=RETRY)}))
    drive = m.Drive.MANUAL if state == "idle" else m.Drive.AUTO
    scene.start(drive=drive, start_at=scene.now + 9 if state == "start" else 0)
    if state == "backoff":
        scene.lease()
        scene.report(failure())
    elif state == "parked":
        for _ in range(5):
            scene.lease()
            scene.lapse()
    elif state == "paused":
        scene.give(i.Pause())
    activity, timers = scene.run.activity, obligations(scene.run).timers
    moved(scene)
    assert (scene.run.activity, scene.run.current_node) == (activity, "a2")
    assert obligations(scene.run).timers == timers
    assert scene.run.paused is (state == "paused")


def test_a_workers_node_may_become_the_servers() -> None:
    scene = Scene(OLD).start()
    scene.lease()
    end = m.NodeSpec("end", m.NodeKind.COMPLETE, template=leaf({}))
    moved(scene, version(1, end), {"a": "end"})
    assert (scene.step.server_side, obligations(scene.run).turn, obligations(scene.run).task) == (True, False, None)


def test_all_faults_are_named_and_nothing_has_changed() -> None:
    terms = m.WaitTerms("?", timeout_us=SECOND_US, on_deadline_node="oops", resume_to_node="b")
    scene = Scene(OLD).start().perform(m.AskUser(terms), next_node="c")
    target = version(1, "z")
    with pytest.raises(MigrationRefusedError) as refused:
        decide(scene.run, i.Migrate(target, {"a": "y", "nobody": "z"}), scene.env())
    assert refused.value.reason is Reason.MIGRATION_REFUSED
    assert "4 more" in refused.value.message
    assert [(fault.node_id, fault.place) for fault in refused.value.faults] == [
        ("a", "node_map"),
        ("nobody", "node_map"),
        ("c", "effect.next_node"),
        ("b", "waiting.resume_to_node"),
        ("oops", "waiting.on_deadline_node"),
    ]
    assert all(fault.problem for fault in refused.value.faults)


def test_a_look_tells_what_a_move_would_do() -> None:
    scene = Scene(OLD).start()
    scene.lease()
    look = plan_move(scene.run, OLD, version(1, "a"), {})
    assert (look.faults, look.requeued, look.left_behind) == ((), True, ())
    scene.report(m.StepPlan(next_node="b"))
    look = plan_move(scene.run, OLD, version(1, "b"), {})
    assert (look.faults, look.requeued, look.left_behind) == ((), False, ("c",)), "b leads on to c in this version"
    look = plan_move(scene.run, OLD, version(1, "c"), {})
    assert look.entry is None
    assert look.faults == (
        MigrationFault(
            "b", "current_node", "current_node is 'b', which the target does not have: name its new one in node_map"
        ),
    )


def test_to_its_own_version_a_run_moves_without_a_record_and_without_a_map() -> None:
    scene = Scene(OLD).start()
    assert scene.give(i.Migrate(OLD)).records == []
    refused = scene.refused(i.Migrate(OLD, {"a": "b"}))
    assert (refused.reason, refused.field) == (Reason.INVALID_FIELD, "node_map")


@pytest.mark.promise("P5")
def test_no_visit_of_a_node_comes_again_under_the_name_of_another() -> None:
    scene = Scene(OLD).start()
    scene.plan(next_node="b")
    scene.plan(next_node="a")
    assert scene.run.visits == {"a": 2, "b": 1}
    moved(scene, version(1, "b", "c"), {"a": "b"})
    assert (scene.step.node_id, scene.step.visit) == ("b", 2)
    assert scene.run.visits == {"a": 2, "b": 2}
    scene.plan(next_node="c")
    moved(scene, version(2, "b"), {"c": "b"})
    assert scene.step.visit == 3, "b has been visited twice under its own name"
    scene.plan(next_node="b")
    assert scene.step.visit == 4


def test_an_ended_run_does_not_move() -> None:
    scene = Scene(OLD).start()
    scene.give(i.Cancel())
    assert scene.reason(i.Migrate(NEW, NAMES)) is Reason.RUN_ENDED
    scene = Scene(OLD).start()
    scene.lease()
    scene.report(failure())
    refused = scene.refused(i.Migrate(NEW, NAMES))
    assert refused.reason is Reason.RUN_ENDED
    assert "retry it" in refused.message


def test_a_failed_run_is_retried_paused_then_moved_then_goes_on() -> None:
    scene = Scene(OLD).start().open(custom("out"), next_node="c")
    scene.settle(failure())
    scene.give(i.Retry(paused=True))
    moved(scene)
    scene.give(i.Unpause())
    scene.lease()
    assert scene.step.attempt == 2
    scene.done("ok")
    assert scene.where == "QUEUED d"
    scene.give(i.Cancel())


@pytest.mark.parametrize("names", [{"b": "b2", "c": "c2"}, {"c": "c2"}])
def test_branches_that_are_yet_to_start_do_so_under_their_new_names(names: dict[str, str]) -> None:
    """Of three, one is under way: it keeps its version."""
    target = version(1, "a", *(names.get(node, node) for node in ("b", "c")))
    scene = Scene(OLD).start()
    request = m.Fanout(3, 3, 1, ("oops", "b", "b"), ("x", "y", "z"))
    scene.perform(request, next_node="c")
    scene.give(i.BranchesDue(scene.step.step_id, 1, (leaf({}),)))
    look = plan_move(scene.run, OLD, target, names)
    assert [fault.place for fault in look.faults] == ["effect.branches[0]"], "each way on is looked at, once"
    target = replace(target, nodes={**target.nodes, "oops": m.NodeSpec("oops")})
    moved(scene, target, names)
    assert scene.step.effect is not None
    assert scene.step.effect.next_node == "c2"
    new = names.get("b", "b")
    assert scene.step.effect.request == replace(request, entry_nodes=("oops", new, new))
    scene.give(i.ChildEndSeen("child-1", m.RunStatus.COMPLETED, leaf(1), None))
    scene.give(i.BranchesDue(scene.step.step_id, 2, (leaf({}),)))
    assert [(new.run.current_node, new.run.workflow_version) for new in scene.new_runs] == [
        ("oops", OLD.version),
        (new, target.version),
    ]


@pytest.mark.promise("P5")
def test_where_two_nodes_get_one_name_the_larger_count_goes_on() -> None:
    scene = Scene(OLD).start()
    for node in ("b", "b", "b", "a", "c"):
        scene.plan(next_node=node)
    assert scene.run.visits == {"a": 2, "b": 3, "c": 1}
    moved(scene, version(1, "b", "c"), {"a": "b"})
    assert scene.run.visits["b"] == 3
    scene.plan(next_node="b")
    assert scene.step.visit == 4


@pytest.mark.promise("P5")
def test_a_node_that_the_run_has_left_is_counted_on_under_its_new_name() -> None:
    scene = Scene(OLD).start()
    for node in ("b", "a", "a", "c"):
        scene.plan(next_node=node)
    assert scene.run.visits == {"a": 3, "b": 1, "c": 1}
    moved(scene, version(1, "b", "c"), {"a": "b"})
    scene.plan(next_node="b")
    assert scene.step.visit == 4


def fanning(number: int, *names: str, kind: m.NodeKind = m.NodeKind.PARALLEL) -> m.WorkflowSpec:
    """A version whose node "a" runs these branches."""
    branches = tuple(BranchSpec(name, "b") for name in names)
    return version(number, m.NodeSpec("a", kind, next="c", branches=branches), "b", "c")


@pytest.mark.parametrize(
    ("target", "places"),
    [
        (fanning(1, "z", "y", "x"), []),
        (fanning(1, "y", "z"), []),
        (fanning(1, "x", "y"), ["effect.branches[z]"]),
        (fanning(1, kind=m.NodeKind.CHOICE), ["effect.type"]),
    ],
)
def test_branches_left_to_start_must_be_in_the_target(target: m.WorkflowSpec, places: list[str]) -> None:
    scene = Scene(fanning(0, "x", "y", "z")).start()
    request = m.Fanout(3, 3, 3, ("b",) * 3, ("x", "y", "z"))
    plan = m.StepPlan(effect=m.Effect("parallel", request, "out"), next_node="c")
    scene.give(i.NodePlanned(scene.step.step_id, 0, plan))
    scene.give(i.TurnTaken(scene.step.step_id))
    scene.give(i.BranchesDue(scene.step.step_id, 1, (leaf({}),)))
    move = plan_move(scene.run, scene.spec, target, {})
    assert [fault.place for fault in move.faults] == places
    scene.give(i.BranchesDue(scene.step.step_id, 2, (leaf({}),) * 2))
    assert plan_move(scene.run, scene.spec, target, {}).faults == (), "all have started: the node is not needed"
