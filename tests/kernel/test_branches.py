"""Branches and items: child runs that are started some at a time, joined, and cancelled when they lose."""

from __future__ import annotations

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Mail, MailKind, Reason
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import BranchesStarted, ChildEnded, RunStarted
from perdure_server.kernel.values import Json, Leaf
from tests.kernel.scene import Scene, leaf, workflow

SPEC = workflow("a", "b", "left", "right", m.NodeSpec("oops"), on_cancel_node="")


def branches(needed: int, *names: str, at_once: int = 0) -> m.Fanout:
    """Branches that all start at "left"."""
    return m.Fanout(len(names), needed, at_once or len(names), ("left",) * len(names), names)


def items(needed: int, count: int, at_once: int = 100) -> m.Fanout:
    """Items that start at "left"."""
    return m.Fanout(count, needed, at_once, ("left",), items=leaf(list(range(count))))


def joining(
    request: m.Fanout, *, on_error_node: str = "", next_node: str = "b", limits: Limits = DEFAULT_LIMITS
) -> Scene:
    """A run that joins: the effect is opened and its turn taken."""
    scene = Scene(SPEC, limits=limits).start()
    kind = "parallel" if request.names else "foreach"
    scene.plan(effect=m.Effect(kind, request, "out", on_error_node=on_error_node), next_node=next_node)
    scene.give(i.TurnTaken(scene.step.step_id))
    return scene


def due(scene: Scene, count: int, vars_: Json = None) -> i.BranchesDue:
    """The start of so many more."""
    assert scene.run.join is not None
    return i.BranchesDue(scene.step.step_id, scene.run.join.started + 1, (leaf(vars_ or {}),) * count)


def begun(scene: Scene, count: int) -> Scene:
    """Starts so many."""
    scene.give(due(scene, count))
    return scene


def end(scene: Scene, number: int, output: Json = None, status: m.RunStatus = m.RunStatus.COMPLETED) -> None:
    """The child "child-<number>" ends."""
    failed = status is not m.RunStatus.COMPLETED
    failure = m.Failure("BROKEN", "no") if failed else None
    scene.give(i.ChildEndSeen(f"child-{number}", status, None if failed else leaf(output), failure))


FAILED, CANCELLED = m.RunStatus.FAILED, m.RunStatus.CANCELLED


def cancelled(scene: Scene) -> set[str]:
    """Who was told to stop."""
    return {mail.to_run_id for mail in scene.mail if mail.kind is MailKind.CANCEL}


def test_a_join_waits_for_its_branches_and_lists_how_many() -> None:
    scene = joining(branches(2, "x", "y"))
    wait = scene.wait
    assert (wait.reason, wait.needed, wait.joined, wait.wait_key) == (m.WaitReason.JOIN, 2, 0, "parallel:run-1:a")
    assert obligations(scene.run).turn is False, "the start of its branches"
    begun(scene, 2)
    assert obligations(scene.run).turn is None
    assert set(obligations(scene.run).children) == {"child-1", "child-2"}
    end(scene, 2, {"n": 2})
    assert scene.wait.joined == 1


def test_branches_are_child_runs_of_the_same_version_with_their_own_vars() -> None:
    scene = joining(branches(2, "x", "y"))
    scene.give(due(scene, 1, {"who": "x"}))
    [new] = scene.new_runs
    started = new.records[0].body
    assert isinstance(started, RunStarted)
    run = new.run
    assert (started.workflow_id, started.workflow_version) == (SPEC.workflow_id, SPEC.version)
    assert (run.parent_run_id, run.root_run_id, run.depth, run.branch) == ("run-1", "run-1", 1, "a/x")
    assert (run.current_node, run.vars, run.session_id, run.drive) == ("left", {"who": "x"}, "session-1", m.Drive.AUTO)


def test_results_stand_in_the_order_of_the_branches_whoever_came_first() -> None:
    scene = begun(joining(branches(3, "x", "y", "z")), 3)
    for number in (3, 1, 2):
        end(scene, number, {"n": number})
    assert scene.where == "QUEUED b"
    found = scene.run.vars["out"]
    assert isinstance(found, dict)
    assert list(found.items()) == [("x", {"n": 1}), ("y", {"n": 2}), ("z", {"n": 3})]
    assert scene.run.join is None
    assert scene.kinds()[-4:] == ["child_ended", "child_ended", "child_ended", "joined"]


def test_items_are_started_as_there_is_room() -> None:
    scene = joining(items(5, 5, at_once=2))
    begun(scene, 5)
    assert (scene.run.join and scene.run.join.started, len(scene.new_runs)) == (2, 2)
    end(scene, 1, "first")
    assert obligations(scene.run).turn is False, "the next one may start"
    begun(scene, 1)
    for number in (2, 3):
        end(scene, number, number)
        begun(scene, 1)
    end(scene, 4, 4)
    end(scene, 5, 5)
    assert scene.run.vars["out"] == ["first", 2, 3, 4, 5]
    assert scene.where == "QUEUED b"


def test_any_ends_with_the_first_and_cancels_the_others() -> None:
    scene = begun(joining(branches(1, "x", "y", "z")), 3)
    end(scene, 2, {"won": True})
    assert scene.run.vars["out"] == {"y": {"won": True}}
    assert cancelled(scene) == {"child-1", "child-3"}
    assert set(scene.run.children) == {"child-1", "child-3"}, "until they have ended"
    end(scene, 1, status=CANCELLED)
    last = scene.ledger[-1].body
    assert isinstance(last, ChildEnded)
    assert (last.place, scene.where) == (0, "QUEUED b")
    assert scene.reason(i.ChildEndSeen("child-1", CANCELLED)) is Reason.NOT_DUE


def test_items_that_did_not_complete_are_null() -> None:
    scene = begun(joining(items(2, 4)), 4)
    end(scene, 3, "c")
    end(scene, 1, status=FAILED)
    end(scene, 2, "b")
    assert scene.run.vars["out"] == [None, "b", "c", None]
    assert cancelled(scene) == {"child-4"}


@pytest.mark.parametrize(
    ("status", "kind", "word"), [(FAILED, "CHILD_FAILED", "failed"), (CANCELLED, "CHILD_CANCELLED", "was cancelled")]
)
def test_the_first_failure_of_all_is_the_effects(status: m.RunStatus, kind: str, word: str) -> None:
    scene = begun(joining(branches(2, "x", "y")), 2)
    end(scene, 2, status=status)
    assert (scene.where, scene.error.type) == ("FAILED", kind)
    assert f"Branch 'y' {word}: no" in scene.error.message
    assert scene.error.details is not None
    assert scene.error.details.value == {
        "sub_run_id": "child-2",
        "branch": "y",
        "error": {"type": "BROKEN", "message": "no", "retryable": False, "details": None},
    }
    assert cancelled(scene) == {"child-1"}


def test_a_failure_goes_to_the_on_error_node() -> None:
    scene = begun(joining(items(3, 3, at_once=1), on_error_node="oops"), 1)
    end(scene, 1, status=FAILED)
    assert scene.where == "QUEUED oops"
    error = scene.run.vars["out"]
    assert isinstance(error, dict)
    assert str(error["message"]).startswith("Item '0' failed")
    assert (scene.run.join, obligations(scene.run).turn) == (None, None), "no further item starts"


def test_n_of_fails_when_it_can_no_longer_be_met() -> None:
    scene = begun(joining(branches(2, "x", "y", "z")), 3)
    end(scene, 1, status=FAILED)
    assert scene.where == "WAITING a"
    end(scene, 2, status=FAILED)
    assert (scene.where, scene.error.type) == ("FAILED", "CHILD_FAILED")


def test_a_join_of_nothing_has_its_result_at_once() -> None:
    scene = joining(items(0, 0))
    assert (scene.where, scene.run.vars["out"]) == ("QUEUED b", [])
    failing = joining(items(1, 0))
    assert (failing.where, failing.error.type) == ("FAILED", "JOIN_NOT_REACHABLE")


def test_without_a_next_node_the_run_ends_with_the_result() -> None:
    scene = begun(joining(branches(1, "x"), next_node=""), 1)
    end(scene, 1, {"n": 1})
    assert scene.run.output == leaf({"success": True, "result": {"x": {"n": 1}}})


@pytest.mark.promise("P6")
def test_ends_that_come_during_a_pause_count_and_nothing_starts() -> None:
    scene = begun(joining(items(3, 3, at_once=1)), 1)
    scene.give(i.Pause())
    end(scene, 1, 1)
    assert obligations(scene.run).turn is True, "held"
    assert scene.reason(due(scene, 1)) is Reason.NOT_DUE
    scene.give(i.Unpause())
    assert obligations(scene.run).turn is False
    begun(scene, 1)
    assert scene.where == "WAITING a"


def test_a_cancel_goes_to_every_branch_and_a_branch_does_not_clean_up() -> None:
    scene = begun(joining(branches(2, "x", "y")), 2)
    scene.give(i.Cancel("enough"))
    assert cancelled(scene) == {"child-1", "child-2"}
    spec = workflow("a", "cleanup", on_cancel_node="cleanup")
    branch = Scene(spec).start(branch="fan/x", parent_run_id="run-0")
    branch.give(i.Cancel("enough"))
    assert branch.where == "CANCELLED", "undoing things is the parent's business"
    assert Mail("run-0", MailKind.CHILD_ENDED, "run-1") in branch.mail
    own = Scene(spec).start()
    own.give(i.Cancel("enough"))
    assert own.where == "QUEUED cleanup"


def test_a_join_is_not_resumed() -> None:
    scene = begun(joining(branches(1, "x")), 1)
    refused = scene.refused(i.Resume(scene.wait.wait_id, False, leaf(1)))
    assert (refused.reason, "1 of the run's branches" in refused.message) == (Reason.WAIT_NOT_RESUMABLE, True)


def test_a_start_that_was_made_for_another_state_is_not_taken() -> None:
    scene = joining(items(4, 4, at_once=2))
    again = due(scene, 2)
    scene.give(again)
    assert scene.reason(again) is Reason.NOT_DUE
    assert scene.reason(due(scene, 1)) is Reason.NOT_DUE, "there is no room"
    end(scene, 1, 1)
    assert scene.reason(again) is Reason.NOT_DUE, "these have been started"


def test_vars_that_cannot_be_made_fail_the_step_and_cancel_the_others() -> None:
    scene = begun(joining(items(3, 3), on_error_node="oops"), 1)
    failure = m.Failure("EXPRESSION_FAILED", "item 1: x: key not found in map: a")
    scene.give(i.BranchesDue(scene.step.step_id, 2, failure=failure))
    assert scene.where == "QUEUED oops"
    assert cancelled(scene) == {"child-1"}


@pytest.mark.promise("P10")
def test_depth_children_and_sizes_are_limited() -> None:
    deep = Scene(SPEC, limits=Limits(tree_depth=3)).start(depth=3)
    deep.plan(effect=m.Effect("parallel", branches(1, "x"), "out"), next_node="b")
    deep.give(i.TurnTaken(deep.step.step_id))
    assert (deep.where, deep.error.type) == ("FAILED", "LIMIT_REACHED")

    crowded = joining(items(3, 3), limits=Limits(open_children=2))
    begun(crowded, 3)
    assert len(crowded.new_runs) == 2
    crowded.give(due(crowded, 1))
    assert (crowded.where, crowded.error.type) == ("FAILED", "LIMIT_REACHED")

    large = joining(branches(1, "x"), limits=Limits(payload_bytes=20))
    large.give(due(large, 1, "x" * 30))
    assert (large.where, large.error.type) == ("FAILED", "PAYLOAD_TOO_LARGE")

    outputs = begun(joining(branches(2, "x", "y"), limits=Limits(payload_bytes=20)), 2)
    end(outputs, 1, "x" * 12)
    end(outputs, 2, "x" * 12)
    assert (outputs.where, outputs.error.type) == ("FAILED", "PAYLOAD_TOO_LARGE")


def test_a_null_output_counts() -> None:
    scene = begun(joining(branches(2, "x", "y")), 2)
    end(scene, 1)
    end(scene, 2, 0)
    assert scene.run.vars["out"] == {"x": None, "y": 0}


def test_the_records_name_places_and_runs() -> None:
    scene = begun(joining(items(3, 3)), 2)
    started = scene.last(BranchesStarted).body
    assert started == BranchesStarted(scene.wait.wait_id, 1, ("child-1", "child-2"))
    end(scene, 2, "b")
    ended = scene.last(ChildEnded).body
    assert ended == ChildEnded("child-2", m.RunStatus.COMPLETED, result=Leaf(b'"b"'), place=2)


def test_losers_of_an_earlier_join_do_not_count_for_the_next() -> None:
    scene = begun(joining(branches(1, "x", "y"), next_node="a"), 2)
    end(scene, 1, 1)
    scene.plan(effect=m.Effect("parallel", branches(2, "x", "y"), "out"), next_node="b")
    scene.give(i.TurnTaken(scene.step.step_id))
    begun(scene, 2)
    end(scene, 2, "late")
    assert (scene.where, scene.wait.joined) == ("WAITING a", 0)
    end(scene, 3, "c")
    end(scene, 4, "d")
    assert scene.run.vars["out"] == {"x": "c", "y": "d"}
