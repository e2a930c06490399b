"""MigrateRun: a run that has not ended goes on in another version of its workflow.

What the run holds decides, not the edges of its present version: from the move on, plans are checked against the
target, and the target's edges lead on. So every node that the run is already bound for must be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.draft import Draft, node_entry
from perdure_server.kernel.inputs import Migrate
from perdure_server.kernel.records import Migrated
from perdure_server.kernel.renaming import nodes_held


@dataclass(frozen=True, slots=True)
class MigrationFault:
    """One reason why a run cannot move: `node_id` of the present version, which the run or the map names at `place`."""

    node_id: str
    place: str
    problem: str


class MigrationRefusedError(Rejection):
    """A move that is refused, with all that stands in its way."""

    def __init__(self, faults: tuple[MigrationFault, ...]) -> None:
        first = next((fault.problem for fault in faults), "")
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        super().__init__(Reason.MIGRATION_REFUSED, f"the run cannot move: {first}{more}")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Move:
    """What a migration would do.

    Args:
        entry: where the run would stand.
        requeued: a worker has the node: its attempt would no longer count.
        faults: why it is refused; empty: it is not.
        left_behind: nodes that the run could have come to by its present version and that the target lacks.
    """

    entry: m.NodeEntry | None
    requeued: bool
    faults: tuple[MigrationFault, ...]
    left_behind: tuple[str, ...]


def migrate(draft: Draft, event: Migrate) -> None:
    """Moves the run; to the version it has, without a map, it changes nothing.

    A node that a worker has is handed out again, as its plan would be one of the other version. An effect that
    a worker has goes on: it does not depend on the version.

    Raises: MigrationRefusedError; Rejection INVALID_FIELD for a map within one version.
    """
    run, target = draft.run, event.target
    if target.version == run.workflow_version:
        if event.node_map:
            raise Rejection(
                Reason.INVALID_FIELD, "the run is of this version already: nothing is renamed", field="node_map"
            )
        return
    move = plan_move(run, draft.env.spec, target, event.node_map)
    if move.faults or move.entry is None:
        raise MigrationRefusedError(move.faults)
    draft.add(
        Migrated(
            from_version=run.workflow_version,
            to_version=target.version,
            entry=move.entry,
            node_map=tuple(sorted(event.node_map.items())),
            requeued=move.requeued,
            migrated_by=event.migrated_by,
        )
    )


def plan_move(run: m.RunState, spec: m.WorkflowSpec, target: m.WorkflowSpec, names: Mapping[str, str]) -> Move:
    """Looks at a move without making it.

    Args:
        run: has not ended.
        spec: its present version.
        target: the version it is to have.
        names: from node ids of `spec` to those of `target`; others keep theirs.
    """
    step = run.step
    if step is None:
        raise ValueError(f"run {run.run_id} has no open step at seq {run.seq}")
    faults = (
        *_map_faults(spec, target, names),
        *_held_faults(run, step, target, names),
        *_fanout_faults(run, step, spec.nodes.get(step.node_id), target.nodes.get(_named(step.node_id, names))),
    )
    node = target.nodes.get(_named(step.node_id, names))
    entry = node_entry(node, _visit_there(run, step, node.node_id)) if node is not None else None
    behind = (node_id for node_id in _reachable(spec, step) if names.get(node_id, node_id) not in target.nodes)
    return Move(entry, hands_out_again(run), faults, tuple(behind))


def hands_out_again(run: m.RunState) -> bool:
    """Whether a move takes the open step from its worker: a node's plan would be one of the version it leaves."""
    return run.activity is m.Activity.LEASED and run.step is not None and run.step.effect is None


def _map_faults(spec: m.WorkflowSpec, target: m.WorkflowSpec, names: Mapping[str, str]) -> Iterable[MigrationFault]:
    for old, new in sorted(names.items()):
        if old not in spec.nodes:
            yield MigrationFault(old, "node_map", f"node_map renames {old!r}, which the run's version does not have")
        if new not in target.nodes:
            problem = f"node_map leads {old!r} to {new!r}, which the target does not have"
            yield MigrationFault(old, "node_map", problem)


def _held_faults(
    run: m.RunState, step: m.Step, target: m.WorkflowSpec, names: Mapping[str, str]
) -> Iterable[MigrationFault]:
    for place, node_id in nodes_held(step, run.waiting).items():
        if node_id not in names and node_id not in target.nodes:
            problem = f"{place} is {node_id!r}, which the target does not have: name its new one in node_map"
            yield MigrationFault(node_id, place, problem)


def _named(node_id: str, names: Mapping[str, str]) -> str:
    return names.get(node_id, node_id)


def _fanout_faults(
    run: m.RunState, step: m.Step, before: m.NodeSpec | None, node: m.NodeSpec | None
) -> Iterable[MigrationFault]:
    """A join that has branches or items left to start makes their vars by the target's node: it must say how."""
    request = step.effect.request if step.effect is not None else None
    started = run.join.started if run.join is not None else 0
    if not isinstance(request, m.Fanout) or before is None or node is None or started >= request.total:
        return
    if node.kind is not before.kind:
        what = "branches" if request.names else "items"
        name = before.kind.name
        problem = f"{step.node_id!r} has {what} left to start, and {node.node_id!r} of the target is no {name} node"
        yield MigrationFault(step.node_id, "effect.type", problem)
        return
    known = {branch.name for branch in node.branches}
    for name in request.names[started:]:
        if before.branches and name not in known:
            problem = f"branch {name!r} is left to start, and {node.node_id!r} of the target does not have it"
            yield MigrationFault(step.node_id, f"effect.branches[{name}]", problem)


def _visit_there(run: m.RunState, step: m.Step, node_id: str) -> int:
    """The visit stays, unless another node had that name and used the number: its keys must not come again."""
    if node_id == step.node_id or run.visits.get(node_id, 0) < step.visit:
        return step.visit
    return run.visits[node_id] + 1


def _reachable(spec: m.WorkflowSpec, step: m.Step) -> list[str]:
    """Nodes that the spec's own edges lead to from the open step, in the order they are met."""
    ways = [step.effect.next_node, step.effect.on_error_node] if step.effect is not None else [step.node_id]
    found: dict[str, None] = {}
    for node_id in ways:  # grows as it goes
        node = spec.nodes.get(node_id)
        if node is not None and node_id not in found:
            found[node_id] = None
            ways += [node.next, node.on_error_node]
    return list(found)
