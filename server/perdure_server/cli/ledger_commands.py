"""`perdure ledger show | tail | verify`: what happened, and what happens now."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from perdure_server.cli.invocation import Session, connected
from perdure_server.cli.output import Column, Output, colour_of
from perdure_server.cli.refusals import FAILED, USAGE, Refusal
from perdure_server.cli.run_ids import RunId
from perdure_server.cli.wording import clip

if TYPE_CHECKING:
    from perdure.ledger import LedgerEntry, LedgerFilter, LedgerScope
    from perdure.subscription import SubscribeOptions

_PREVIEW: Final = 90
"""Characters of a payload that a terminal shows; --json and pipes get all of it."""

Kind = Annotated[list[str] | None, typer.Option("--kind", "-k", help="Only records of this kind; repeatable.")]
Node = Annotated[list[str] | None, typer.Option("--node", help="Only records about this node; repeatable.")]


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose records; one at most, by default everybody's."""

    run_id: Annotated[str, typer.Option("--run", help="Of this run.")] = ""
    tree: Annotated[str, typer.Option(help="Of this root run and all runs below it.")] = ""
    session_id: Annotated[str, typer.Option("--session", help="Of all runs of this session.")] = ""
    workflow: Annotated[str, typer.Option("--workflow", "-w", help="Of all runs of this workflow.")] = ""

    def scope(self) -> LedgerScope:
        """The scope that was named.

        Raises:
            Refusal: several were.
        """
        from perdure.ledger import LedgerScope

        named = [
            make(value)
            for make, value in (
                (LedgerScope.run, self.run_id),
                (LedgerScope.tree, self.tree),
                (LedgerScope.session, self.session_id),
                (LedgerScope.workflow, self.workflow),
            )
            if value
        ]
        if len(named) > 1:
            raise Refusal("--run, --tree, --session and --workflow exclude each other", exit_code=USAGE)
        return named[0] if named else LedgerScope.all()


def chosen(kind: list[str] | None, node: list[str] | None) -> LedgerFilter | None:
    """The filter that was named; None for none.

    Raises:
        Refusal: there is no such kind.
    """
    from perdure.ledger import LedgerFilter
    from perdure.values import RecordKind

    known = [str(each) for each in RecordKind if each != "unspecified"]
    unknown = [word for word in kind or () if word not in known]
    if unknown:
        raise Refusal(f"there is no kind {unknown[0]!r}", f"the kinds are {', '.join(known)}", exit_code=USAGE)
    return LedgerFilter(kinds=kind or (), node_ids=node or ()) if kind or node else None


@connected
async def show(session: Session, run_id: RunId, kind: Kind = None, node: Node = None) -> None:
    """Show a run's whole ledger: every record, what it tells and who caused it."""
    output = session.output
    wanted = chosen(kind, node)
    async with session.connect() as client:
        pages = client.list_records(run_id, filter=wanted, page_size=1_000)
        await show_entries(output, [entry async for entry in pages])
        if wanted is None and not output.as_json:
            found = await client.verify_run(run_id)
            state = "intact" if found.intact else f"BROKEN at record {found.first_bad_seq}: {found.problem}"
            output.note(f"{found.seq} records, hash chain {state}, head {found.head_hash.hex()}")


async def show_entries(output: Output, entries: list[LedgerEntry]) -> None:
    """A table of entries, or what --json and a pipe get instead."""
    from perdure_server.cli.ledger_form import entry_form
    from perdure_server.cli.ledger_lines import telling

    forms = [entry_form(entry) for entry in entries]
    columns: list[Column[dict[str, Any]]] = [
        Column("SEQ", lambda form: str(form["seq"])),
        Column("TIME", lambda form: clock_time(form["at"]) if output.is_terminal else form["at"]),
        Column("KIND", lambda form: form["kind"] or "?", is_status=True),
        Column("NODE", lambda form: form["node_id"]),
        Column("TRY", lambda form: str(form["attempt"] or "")),
        Column("WORKER", lambda form: short_worker(form["worker_id"]) if output.is_terminal else form["worker_id"]),
        Column("WHAT", lambda form: telling(form, _PREVIEW if output.is_terminal else 0), may_fold=True),
    ]
    await output.rows(forms, columns, none="no records: is that the run's id, and the namespace it is in?")


def clock_time(at: str) -> str:
    """Hours to milliseconds of an RFC 3339 instant."""
    return at[11:23]


def short_worker(worker_id: str) -> str:
    """The end of a worker's id, which tells workers of one host apart."""
    return worker_id if len(worker_id) <= 16 else "…" + worker_id[-15:]


@connected
async def tail(
    session: Session,
    whose: Whose,
    start: Annotated[
        Literal["now", "beginning"], typer.Option("--from", help="Begin with what comes, or with the first record.")
    ] = "now",
    after: Annotated[str, typer.Option("--after-cursor", help="Go on after this cursor.")] = "",
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on as records come, or end.")] = True,
    kind: Kind = None,
    node: Node = None,
) -> None:
    """Follow the ledger live: every committed record once, in order, across reconnects. Ctrl-C ends it.

    With --run it ends with the run. On leaving, the cursor to go on from is told on standard error.
    """
    options = starting(start, after)
    options["stop_when_caught_up"] = not follow
    options["stop_when_terminal"] = bool(whose.run_id)
    wanted = chosen(kind, node)
    if wanted is not None:
        options["filter"] = wanted
    async with session.connect() as client, client.subscribe(whose.scope(), **options) as subscription:
        try:
            async for batch in subscription.batches():
                for entry in batch.entries:
                    print_entry(session.output, entry)
        finally:
            if subscription.cursor and not isinstance(sys.exception(), BrokenPipeError):
                session.output.note(f"go on with --after-cursor {subscription.cursor}")


def starting(start: Literal["now", "beginning"], after: str) -> SubscribeOptions:
    """Where a subscription starts: after a cursor if there is one."""
    return {"after_cursor": after} if after else {"start": start}


def print_entry(output: Output, entry: LedgerEntry) -> None:
    """One entry on one line, with the run it belongs to."""
    from perdure_server.cli.ledger_form import entry_form
    from perdure_server.cli.ledger_lines import telling

    form = entry_form(entry)
    if output.as_json:
        output.json(form)
        return
    if not output.is_terminal:
        cells = [form["run_id"], str(form["seq"]), form["at"], form["kind"] or "?", form["node_id"]]
        cells += [str(form["attempt"] or ""), form["worker_id"], telling(form)]
        output.line("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in cells))
        return
    from rich.text import Text

    kind = form["kind"] or "?"
    attempt = f"#{form['attempt']}" if form["attempt"] else ""
    line = Text.assemble(
        (f"{clock_time(form['at'])} ", "dim"),
        (f"{run_label(form['run_id']):<10} {form['seq']:>3} ", "dim"),
        (f"{kind:<16} ", colour_of(kind)),
        f"{clip(form['node_id'], 14):<14} {attempt:<3} ",
        telling(form, _PREVIEW).replace("\n", " "),
    )
    output.show(line, is_line=True)


def run_label(run_id: str) -> str:
    """A short form of a run id: the whole of a short one, the random end of a UUID."""
    return run_id if len(run_id) <= 10 else "…" + run_id[-9:]


@connected
async def verify(session: Session, run_id: RunId) -> int:
    """Recompute a run's hash chain and payload commitments. Exit code 1 if something does not fit."""
    async with session.connect() as client:
        found = await client.verify_run(run_id)
    facts = [
        ("run", run_id),
        ("intact", "yes" if found.intact else "no"),
        ("records", str(found.seq)),
        ("head hash", found.head_hash.hex()),
        ("first bad record", str(found.first_bad_seq or "")),
        ("problem", found.problem),
    ]
    session.output.facts(facts, found)
    return 0 if found.intact else FAILED
