"""`perdure run tree`: a run, the runs it started, and what each of them does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.json_form import json_form
from perdure_server.cli.output import colour_of
from perdure_server.cli.run_facts import failure_text
from perdure_server.cli.run_ids import RunId
from perdure_server.cli.wording import doing, waits_for

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from perdure.model import RunState


@dataclass(slots=True)
class Branch:
    """A run and what it started, oldest first."""

    run: RunState
    children: list[Branch] = field(default_factory=list["Branch"])


@connected
async def tree(
    session: Session,
    run_id: RunId,
    whole: Annotated[
        bool, typer.Option("--whole", help="From the tree's root, wherever the run stands in it.")
    ] = False,
) -> None:
    """Draw a run and all runs below it, each with its status and what it does."""
    from perdure.runs import RunFilter

    output = session.output
    async with session.connect() as client:
        top = await client.get_run(run_id, view="basic")
        runs = [run async for run in client.list_runs(RunFilter(root_run_id=top.root_run_id), page_size=1_000)]
    if whole:
        top = next((run for run in runs if run.run_id == top.root_run_id), top)
    branch = grow(top, runs)
    if output.as_json:
        output.json(branch_form(branch))
    elif output.is_terminal:
        output.show(drawn(branch))
    else:
        for depth, run in lines(branch):
            output.line(f"{'  ' * depth}{run.run_id}\t{named(run)}\t{run.status}\t{doing(run)}\t{remark(run)}")


def grow(top: RunState, runs: list[RunState]) -> Branch:
    """The branch under `top`; `runs` are those of its tree, in any order, `top` among them or not."""
    children: defaultdict[str, list[RunState]] = defaultdict(list)
    for run in sorted(runs, key=lambda each: (each.created_at is None, each.created_at, each.run_id)):
        if run.parent_run_id:
            children[run.parent_run_id].append(run)

    def branch(run: RunState) -> Branch:
        return Branch(run, [branch(child) for child in children[run.run_id]])

    return branch(top)


def lines(branch: Branch, depth: int = 0) -> Iterator[tuple[int, RunState]]:
    """Every run with its depth below the top, in the order of the drawing."""
    yield depth, branch.run
    for child in branch.children:
        yield from lines(child, depth + 1)


def branch_form(branch: Branch) -> dict[str, object]:
    """A run's JSON with its `children` replaced by what it started, whether it ended or not."""
    return {**json_form(branch.run), "children": [branch_form(child) for child in branch.children]}


def named(run: RunState) -> str:
    """The workflow; of a branch or item also its path in the run that joins it."""
    return f"{run.workflow_id} {run.branch}" if run.branch else run.workflow_id


def remark(run: RunState) -> str:
    """What is worth knowing beside status and activity: the question, or the error."""
    if run.waiting is not None:
        return waits_for(run.waiting)
    return failure_text(run.error)


def drawn(branch: Branch) -> Tree:
    """The branch as a tree for a terminal."""
    from rich.tree import Tree

    top = Tree(label(branch.run), guide_style="dim")
    _plant(top, branch.children)
    return top


def _plant(parent: Tree, branches: list[Branch]) -> None:
    for branch in branches:
        _plant(parent.add(label(branch.run)), branch.children)


def label(run: RunState) -> Text:
    """One run of the drawing."""
    from rich.text import Text

    activity = doing(run)
    node = "" if run.is_ended or not run.current_node else f" at {run.current_node}"
    text = Text.assemble((named(run), "bold"), " ", (str(run.status), colour_of(str(run.status))))
    if activity and activity != run.status:
        text.append(f" ({activity}{node})")
    text.append(f"  {run.run_id}", "dim")
    note = remark(run)
    return text.append(f"\n{note}") if note else text
