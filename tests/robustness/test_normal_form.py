"""The normal form of an export leaves out what a death may change, and nothing else."""

import hashlib
import json

from perdure.v1 import model_pb2
from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.ledger_maker import SALT, LedgerMaker
from tests.robustness.checker.normal_form import normal_form
from tests.robustness.example_ledgers import DONE, EFFECT, NODE, STARTED, acting, ended, of


def test_the_normal_form_leaves_out_what_may_differ_and_nothing_else() -> None:
    """Other salts, times, positions and hand-outs change nothing; another payload does."""
    plain = normal_form(of(ended(acting())), ["acting"])
    again = LedgerMaker("acting", [50])
    again.add(STARTED, entry=NODE, workflow_id="w", vars=b"{}")
    again.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=1)
    again.add(pb.RECORD_KIND_REQUEUED, step_id=1, attempt=1)
    again.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=2)
    again.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, attempt=2, status=DONE, effect=EFFECT)
    again.add(pb.RECORD_KIND_STEP_STARTED, step_id=5, attempt=1)
    again.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=5, attempt=1, status=DONE, effect_type="act", result=b'"good"')
    assert normal_form(of(ended(again)), ["acting"]) == plain
    assert normal_form(of(ended(acting(result=b'"bad"'))), ["acting"]) != plain
    assert normal_form(of(acting()), ["acting"]) != plain


def test_generated_ids_are_named_by_first_appearance() -> None:
    def with_child(run_id: str) -> list[str]:
        maker = LedgerMaker("parent")
        maker.add(STARTED, entry=NODE, workflow_id="w")
        maker.add(pb.RECORD_KIND_CHILD_ENDED, child_run_id=run_id, result=f'"{run_id}"'.encode())
        return normal_form(of(maker), ["parent"])

    first, second = "0189aaaa-0000-7000-8000-000000000001", "0189bbbb-0000-7000-8000-000000000002"
    assert with_child(first) == with_child(second)
    assert "id-1" in with_child(first)[1]
    assert with_child(first) != with_child("chosen")


def test_children_follow_in_the_order_in_which_ledgers_name_them() -> None:
    """Once each, however often they are named; whoever nobody names comes last."""
    parent = LedgerMaker("parent")
    parent.add(STARTED, entry=NODE, workflow_id="w")
    for child in ("second", "first", "second"):
        link = pb.ChildLink(run_id=child)
        parent.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, status=DONE, next=NODE, child=link)
    children = [LedgerMaker(name) for name in ("first", "orphan", "second")]
    for child in children:
        child.add(STARTED, entry=NODE, workflow_id="w", parent_run_id="parent")
    lines = normal_form(of(*children, parent), ["parent"])
    assert [json.loads(line)[0] for line in lines[4:]] == ["second", "first", "orphan"]


def test_payloads_of_effects_are_compared_as_what_they_are() -> None:
    """Of the server's own effects a message, of a worker's the text."""

    def line(payload: bytes, *, server_side: bool) -> str:
        opened = pb.OpenEffect(type="act", server_side=server_side, payload=pb.PayloadRef(index=0, size=len(payload)))
        opened.payload.commitment = hashlib.sha256(SALT + payload).digest()
        maker = LedgerMaker("acting")
        maker.add(STARTED, entry=NODE, workflow_id="w")
        entry = maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, status=DONE, effect=opened)
        entry.payloads.add(index=0, inline=pb.InlinePayload(salt=SALT, data=payload))
        return normal_form(of(maker), ["acting"])[1]

    assert '"payload": {"emit_event": {"name": "go"}}' in line(
        model_pb2.Effect(emit_event=model_pb2.EmitEvent(name="go")).SerializeToString(), server_side=True
    )
    assert '"payload": "{}"' in line(b"{}", server_side=False)
