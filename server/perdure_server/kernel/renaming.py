"""What a run holds of a workflow's nodes, under the names that another version gives them (MigrateRun)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perdure_server.kernel.model import (
    AskUser,
    EffectRequest,
    Fanout,
    NodeEntry,
    OpenEffect,
    Step,
    Wait,
    WaitEvent,
    WaitTerms,
)


def renamed_step(step: Step, names: Mapping[str, str], entry: NodeEntry) -> Step:
    """The open step at `entry`. An open effect keeps what its plan resolved: key, queue, retry, timeouts."""
    if step.effect is not None:
        effect = renamed_effect(step.effect, names)
        return replace(step, node_id=entry.node_id, visit=entry.visit, effect=effect)
    return replace(
        step,
        node_id=entry.node_id,
        visit=entry.visit,
        server_side=entry.server_side,
        queue=entry.queue,
        priority=entry.priority,
        timeouts=entry.timeouts,
    )


def renamed_effect(effect: OpenEffect, names: Mapping[str, str]) -> OpenEffect:
    """An open effect with its ways on renamed."""
    return replace(
        effect,
        next_node=names.get(effect.next_node, effect.next_node),
        on_error_node=names.get(effect.on_error_node, effect.on_error_node),
        request=_renamed_request(effect.request, names),
    )


def renamed_wait(wait: Wait, names: Mapping[str, str]) -> Wait:
    """A registered wait with its nodes renamed; its id and key stay."""
    return replace(
        wait,
        node_id=names.get(wait.node_id, wait.node_id),
        resume_to_node=names.get(wait.resume_to_node, wait.resume_to_node),
        on_deadline_node=names.get(wait.on_deadline_node, wait.on_deadline_node),
    )


def renamed_visits(visits: Mapping[str, int], names: Mapping[str, str], entry: NodeEntry) -> dict[str, int]:
    """Counts under old and new names, so that no visit of a node, and so no key of its effects, comes again."""
    after = dict(visits)
    for old, new in names.items():
        if old in visits:
            after[new] = max(after.get(new, 0), visits[old])
    after[entry.node_id] = max(after.get(entry.node_id, 0), entry.visit)
    return after


def nodes_held(step: Step, wait: Wait | None) -> dict[str, str]:
    """Nodes that a run is already bound for, by where it names them: its place, its effect's and wait's ways on."""
    held = {"current_node": step.node_id}
    if step.effect is not None:
        held["effect.next_node"] = step.effect.next_node
        held["effect.on_error_node"] = step.effect.on_error_node
        if isinstance(step.effect.request, Fanout):
            branches = enumerate(dict.fromkeys(step.effect.request.entry_nodes))
            held |= {f"effect.branches[{index}]": node for index, node in branches}
        terms = _terms(step.effect.request)
        if terms is not None and wait is None:
            held["effect.resume_to_node"] = terms.resume_to_node
            held["effect.on_deadline_node"] = terms.on_deadline_node
    if wait is not None:
        held["waiting.resume_to_node"] = wait.resume_to_node
        held["waiting.on_deadline_node"] = wait.on_deadline_node
    return {where: node for where, node in held.items() if node}


def _terms(request: EffectRequest) -> WaitTerms | None:
    return request.terms if isinstance(request, WaitEvent | AskUser) else None


def _renamed_request(request: EffectRequest, names: Mapping[str, str]) -> EffectRequest:
    if isinstance(request, Fanout):
        return replace(request, entry_nodes=tuple(names.get(node, node) for node in request.entry_nodes))
    if not isinstance(request, WaitEvent | AskUser):
        return request
    terms = request.terms
    renamed = replace(
        terms,
        resume_to_node=names.get(terms.resume_to_node, terms.resume_to_node),
        on_deadline_node=names.get(terms.on_deadline_node, terms.on_deadline_node),
    )
    return replace(request, terms=renamed)
