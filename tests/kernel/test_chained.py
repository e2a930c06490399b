"""`decide_next`: more inputs in the same decision are as if each had come right after the one before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure_server.kernel import model as m
from perdure_server.kernel.decide import decide, decide_next
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import Input, NodePlanned, Pause, StepLeased, TurnTaken
from tests.kernel.ledgers import fold
from tests.kernel.scene import Scene, leaf, workflow

SPEC = workflow("a", m.NodeSpec("b", m.NodeKind.COMPLETE, template=leaf({})), "c")
ANSWER = m.Effect("answer_user", m.AnswerUser("hello"), "out")
EMIT = m.Effect("emit_event", m.EmitEvent("go", payload=leaf({"n": 1})), "out")

CHAINS: dict[str, Sequence[Input]] = {
    "a plan and the turn of a node": [
        NodePlanned(1, 1, m.StepPlan(next_node="b")),
        NodePlanned(3, 0, m.StepPlan(complete_output=leaf({"ok": True}))),
    ],
    "a plan and a hand-out": [NodePlanned(1, 1, m.StepPlan(next_node="c")), StepLeased(3, "worker-2")],
    "a plan, the turn of an effect, and a hand-out": [
        NodePlanned(1, 1, m.StepPlan(effect=ANSWER, next_node="c")),
        TurnTaken(3),
        StepLeased(4, "worker-2"),
    ],
    "a plan and an event": [NodePlanned(1, 1, m.StepPlan(effect=EMIT, next_node="c")), TurnTaken(3)],
}


@pytest.mark.promise("P1")
@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_is_what_its_inputs_are_one_after_the_other(chain: str) -> None:
    scene = Scene(SPEC).start()
    scene.lease()
    before = list(scene.ledger)
    first, *others = CHAINS[chain]
    together = decide(scene.run, first, scene.env())
    for event in others:
        decide_next(together, event, scene.env())
    for event in CHAINS[chain]:
        scene.give(event)
    assert [*before, *together.records] == scene.ledger
    assert together.run == scene.run == fold(scene.ledger)
    assert together.events == scene.events
    assert fold(before).seq == 2, "what stood before has not changed"


def test_what_cannot_come_after_is_refused() -> None:
    scene = Scene(SPEC).start()
    scene.lease()
    together = decide(scene.run, NodePlanned(1, 1, m.StepPlan(next_node="c")), scene.env())
    with pytest.raises(Rejection) as refused:
        decide_next(together, TurnTaken(3), scene.env())
    assert refused.value.reason is Reason.NOT_DUE
    paused = decide(scene.run, Pause(), scene.env())
    decide_next(paused, NodePlanned(1, 1, m.StepPlan(next_node="c")), scene.env())
    with pytest.raises(Rejection) as refused:
        decide_next(paused, StepLeased(3, "worker-2"), scene.env())
    assert refused.value.reason is Reason.NOT_DUE
