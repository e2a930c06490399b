"""`perdure workflow register | validate | list | show | set-default`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.output import Column
from perdure_server.cli.refusals import FAILED, Refusal
from perdure_server.cli.run_reads import Limit, limited, page_size
from perdure_server.cli.wording import clip, compact, when

if TYPE_CHECKING:
    from perdure.workflow_calls import WorkflowSummary

File = Annotated[Path, typer.Argument(metavar="FILE", help="JSON file; - for standard input.", allow_dash=True)]
WorkflowId = Annotated[str, typer.Argument(metavar="WORKFLOW_ID", show_default=False)]
Version = Annotated[str, typer.Option(help="Default: the default version.")]


MOST_DRAWN = 300
"""Nodes of a picture."""


@connected
async def register(
    session: Session,
    file: File,
    set_default: Annotated[bool, typer.Option("--default", help="New runs take this version.")] = False,
    request_id: Annotated[str, typer.Option(help="Makes a repeat of this command safe.")] = "",
) -> None:
    """Store a version of a workflow. A version that is known changes nothing."""
    from perdure_server.cli.spec_file import read_spec

    spec = read_spec(file)
    async with session.connect() as client:
        done = await client.register_workflow(spec, set_default=set_default, request_id=request_id or None)
    state = ("registered" if done.created else "known already") + (", default" if done.is_default else "")
    session.output.done(done, f"{done.workflow_id} @ {done.version}: {state}")


@connected
async def validate(session: Session, file: File) -> int:
    """Check a workflow and compute its version; store nothing. Exit code 1 if it has problems."""
    from perdure_server.cli.spec_file import read_spec

    spec = read_spec(file)
    async with session.connect() as client:
        found = await client.validate_workflow(spec)
    output = session.output
    if output.as_json:
        output.json(found)
    else:
        for problem in found.problems:
            output.line(f"{problem.field}: {problem.description}")
        for warning in found.warnings:
            output.line(f"warning: {warning.field}: {warning.description}")
        if found.valid:
            output.line(f"{spec.workflow_id} @ {found.version}: valid")
    return 0 if found.valid else FAILED


@connected
async def list_workflows(
    session: Session,
    workflow_id: Annotated[str, typer.Argument(metavar="[WORKFLOW_ID]", help="Only this one.")] = "",
    defaults_only: Annotated[bool, typer.Option("--defaults", help="Only default versions.")] = False,
    limit: Limit = 100,
) -> None:
    """List registered versions, newest first."""
    output = session.output
    columns: list[Column[WorkflowSummary]] = [
        Column("WORKFLOW", lambda each: each.workflow_id),
        Column("VERSION", lambda each: each.version[:12] if output.is_terminal else each.version),
        Column("DEFAULT", lambda each: "default" if each.is_default else ""),
        Column("NODES", lambda each: str(each.node_count)),
        Column("ENTRY", lambda each: each.entry_node),
        Column("REGISTERED", lambda each: when(each.registered_at, relative=output.is_terminal)),
    ]
    async with session.connect() as client:
        pages = client.list_workflows(workflow_id, defaults_only=defaults_only, page_size=page_size(limit))
        await output.rows(limited(pages, limit), columns, none="no workflows: `perdure workflow register FILE`")


@connected
async def show(session: Session, workflow_id: WorkflowId, version: Version = "") -> None:
    """Show a version of a workflow, node by node."""
    from perdure_server.cli.spec_file import spec_form

    async with session.connect() as client:
        found = await client.get_workflow(workflow_id, version)
    spec = spec_form(found.spec)
    output = session.output
    if output.as_json:
        output.json({"spec": spec, "is_default": found.is_default, "registered_at": found.registered_at})
        return
    facts = [
        ("workflow", spec["workflow_id"]),
        ("version", spec["version"] + (" (default)" if found.is_default else "")),
        ("entry", spec["entry_node"]),
        ("on cancel", spec.get("on_cancel_node", "")),
        ("registered", when(found.registered_at, relative=output.is_terminal)),
    ]
    output.facts(facts, spec)
    columns: list[Column[tuple[str, dict[str, object]]]] = [
        Column("NODE", lambda item: item[0]),
        Column("KIND", lambda item: str(item[1].get("kind", "worker"))),
        Column("NEXT", lambda item: str(item[1].get("next", ""))),
        Column("ON ERROR", lambda item: str(item[1].get("on_error_node", ""))),
        Column("TEMPLATE", lambda item: clip(compact(item[1].get("template")), 120), may_fold=True),
    ]
    await output.rows(sorted(spec["nodes"].items()), columns, none="no nodes")


@connected
async def graph(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="FILE|WORKFLOW_ID", help="A file if there is one; - for input.")],
    version: Version = "",
    as_svg: Annotated[bool, typer.Option("--svg", help="An SVG file instead of Mermaid text.")] = False,
) -> None:
    """Draw a workflow: Mermaid text, or with --svg a picture."""
    from perdure_server.cli.graph_mermaid import mermaid
    from perdure_server.cli.graph_model import graph_of
    from perdure_server.cli.graph_svg import svg
    from perdure_server.cli.spec_file import is_spec_file, read_spec

    if is_spec_file(source):
        spec = read_spec(Path(source))
    else:
        async with session.connect() as client:
            spec = (await client.get_workflow(source, version)).spec
    drawn = graph_of(spec)
    if as_svg and len(drawn.nodes) > MOST_DRAWN:
        advice = "leave --svg out: Mermaid text has no such bound"
        raise Refusal(f"a picture holds at most {MOST_DRAWN} nodes, and there are {len(drawn.nodes)}", advice)
    text = svg(drawn) if as_svg else mermaid(drawn)
    if session.output.as_json:
        session.output.json({"workflow_id": spec.workflow_id, "format": "svg" if as_svg else "mermaid", "text": text})
    else:
        typer.echo(text, nl=False)


@connected
async def set_default(session: Session, workflow_id: WorkflowId, version: Annotated[str, typer.Argument()]) -> None:
    """Make a version the one that new runs take. Runs that exist keep theirs."""
    async with session.connect() as client:
        before = await client.set_default_version(workflow_id, version)
    done = {"workflow_id": workflow_id, "version": version, "previous_version": before}
    was = f" (was {before[:12]})" if before else ""
    session.output.done(done, f"{workflow_id} @ {version} is the default now{was}")
