"""The checker knows runs that were opened again: what is right in their ledgers, and what is not."""

from dataclasses import replace
from typing import Any

from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.ledger_maker import LedgerMaker
from tests.robustness.checker.testimony import Executed, Testimony
from tests.robustness.example_ledgers import (
    DONE,
    EFFECT,
    FAILED,
    NODE,
    STARTED,
    acting,
    ended,
    family,
    found,
    of,
    retried,
)


def planned_anew(attempt: int = 1) -> LedgerMaker:
    """A run that failed at its node's plan, then, from the node, at its effect; at last it completed."""
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=1)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, attempt=1, status=FAILED)
    maker.add(pb.RECORD_KIND_FAILED)
    maker.add(pb.RECORD_KIND_REOPENED, entry=NODE)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=5, attempt=2)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=5, attempt=2, status=DONE, effect=EFFECT)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=7, attempt=1)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=7, attempt=1, status=FAILED)
    maker.add(pb.RECORD_KIND_FAILED)
    maker.add(pb.RECORD_KIND_REOPENED, entry=NODE)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=11, attempt=1)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=11, attempt=1, status=DONE, effect=EFFECT)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=13, attempt=1 + attempt)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=13, attempt=1 + attempt, status=DONE, effect_type="act")
    return ended(maker)


def test_a_run_that_was_retried_is_right() -> None:
    assert found(of(ended(retried()))) == set()
    assert found(of(planned_anew())) == set()
    assert found(of(planned_anew(attempt=0))) == {"ATTEMPT_GAP"}
    assert found(of(ended(retried())), Testimony(is_final=True)) == set(), "its failure is undone"
    assert found(of(retried()), Testimony(is_final=True)) == {"RUN_STRANDED"}


def test_what_a_retried_run_began_is_counted_by_the_effects_key() -> None:
    def begun(*records: tuple[int, dict[str, Any]]) -> set[str]:
        maker = acting()
        del maker.entries[4:]
        maker.add(pb.RECORD_KIND_STEP_BEGUN, step_id=3, attempt=1)
        maker.add(pb.RECORD_KIND_FAILED)
        maker.add(pb.RECORD_KIND_REOPENED, in_doubt=True)
        for kind, fields in records:
            maker.add(kind, step_id=7, **fields)
        maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=7, attempt=2)
        maker.add(pb.RECORD_KIND_STEP_BEGUN, step_id=7, attempt=2)
        return found(of(ended(maker)), Testimony(executed=[Executed("")] * 2))

    rerun = {"resolution": pb.Unparked.RESOLUTION_RERUN}
    assert begun((pb.RECORD_KIND_UNPARKED, rerun)) == set()
    assert begun() == {"BEGUN_AGAIN"}


def test_children_of_a_run_that_was_retried_are_its_own_no_more() -> None:
    """Nobody tells it of their ends; of a child that was retried it may have heard before."""
    export = family(0)
    parent = LedgerMaker("parent", [10])
    parent.entries = list(export.entries["parent"])
    parent.add(pb.RECORD_KIND_FAILED)
    parent.add(pb.RECORD_KIND_REOPENED)
    assert found(replace(export, entries={**export.entries, "parent": parent.entries})) == set()
    link = pb.ChildLink(run_id="child", awaited=True)
    parent.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=4, status=DONE, next=NODE, child=link)
    assert found(replace(export, entries={**export.entries, "parent": parent.entries})) == {"CHILD_END_LOST"}
    told = family(1)
    child = LedgerMaker("child", [20])
    child.entries = list(family(1, child_ends=False).entries["child"])
    child.add(pb.RECORD_KIND_FAILED)
    child.add(pb.RECORD_KIND_REOPENED)
    assert found(replace(told, entries={**told.entries, "child": child.entries})) == set()
