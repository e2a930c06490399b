"""The vars that branches and items start with, made when they start: those of thousands are never held at once."""

from __future__ import annotations

from typing import Final

from perdure_server.kernel.inputs import BranchesDue
from perdure_server.kernel.joins import fanout_of, room
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.model import Failure, Fanout, NodeSpec, RunState
from perdure_server.kernel.values import Json, Leaf
from perdure_server.programs.cel import ITEM_SCOPE, ExpressionError
from perdure_server.programs.declarative import EXPRESSION_FAILED, TemplateError, object_leaf, scope_of

EMPTY: Final = Leaf(b"{}")


def branches_due(run: RunState, node: NodeSpec, limits: Limits) -> BranchesDue | None:
    """The next branches or items of a run that may start, with their vars; None if there are none.

    At most `branch_batch` of them, and vars of about one record's payloads.

    Args:
        run: a run whose step is a join.
        node: the node of that step.
    """
    count = min(room(run), limits.branch_batch)
    if run.join is None or run.step is None or count == 0:
        return None
    first, request = run.join.started + 1, fanout_of(run)
    given: list[Leaf] = []
    size = 0
    for place in range(first, first + count):
        try:
            given.append(_vars_of(run, node, request, place))
        except (ExpressionError, TemplateError) as error:
            return BranchesDue(run.step.step_id, first, failure=Failure(EXPRESSION_FAILED, str(error)))
        size += given[-1].size
        if size >= limits.record_payload_bytes:
            break
    return BranchesDue(run.step.step_id, first, tuple(given))


def _vars_of(run: RunState, node: NodeSpec, request: Fanout, place: int) -> Leaf:
    if request.names:
        index = place - 1
        at = _branch_at(node, index, request.names[index])
        template = node.branches[at].vars if at is not None else None
        return EMPTY if template is None else object_leaf(template, f"branches[{at}].vars_json", scope_of(run))
    items = request.items.value if request.items is not None else []
    item: Json = items[place - 1] if isinstance(items, list) else None
    template = node.foreach.vars if node.foreach is not None else None
    if template is None:
        return Leaf.of({"item": item, "index": place - 1})
    scope = {**scope_of(run), "item": item, "index": place - 1}
    try:
        return object_leaf(template, "foreach.vars_json", scope, ITEM_SCOPE)
    except ExpressionError as error:
        raise ExpressionError(f"item {place - 1}: {error}") from None


def _branch_at(node: NodeSpec, index: int, name: str) -> int | None:
    """Where the branch stands among those of its node: after a move to another version perhaps elsewhere."""
    if index < len(node.branches) and node.branches[index].name == name:
        return index
    return next((at for at, branch in enumerate(node.branches) if branch.name == name), None)
