"""`perdure backup` and `perdure restore`: copies of a store, and stores made of copies. They talk to no server."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perdure_server.cli.invocation import offline
from perdure_server.cli.output import Output
from perdure_server.cli.refusals import FAILED, USAGE, Refusal

if TYPE_CHECKING:
    from perdure_server.storage.sql.sqlite_copy import CopyFacts, Progress

StoreUrl = Annotated[
    str, typer.Option(envvar="PERDURE_STORE", help="sqlite:///FILE (sqlite:////FILE for an absolute path).")
]
AsJson = Annotated[bool, typer.Option("--json", envvar="PERDURE_JSON", help="JSON instead of text.")]


@offline
def backup(
    to: Annotated[Path, typer.Option("--to", help="The new file; it must not exist.")],
    store: StoreUrl = "sqlite:///perdure.db",
    as_json: AsJson = False,
) -> None:
    """Copy a store into a file, also while a server runs on it, and verify the copy.

    It holds everything that was acknowledged before the copying began.
    """
    from perdure_server.app import back_up

    _told(Output(as_json=as_json), "copied", lambda progress: back_up(store, to, progress))


@offline
def restore(
    copy: Annotated[Path | None, typer.Option("--from", help="A file made by `perdure backup`.")] = None,
    store: StoreUrl = "sqlite:///perdure.db",
    replace: Annotated[
        bool, typer.Option("--replace", help="Rename a store that is there to FILE.replaced, instead of refusing.")
    ] = False,
    epoch_only: Annotated[
        bool, typer.Option("--epoch-only", help="The data is in place already: only give it another epoch.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a copy in place as a store, for a server that is started afterwards.

    The data gets another epoch: cursors and task tokens of the time before are refused, because what came after the
    copy is gone, and its positions and attempts are given again. Copies of other stores are put in place by other
    means (docs/backup.md); --epoch-only then takes file:FOLDER and postgresql://... too.
    """
    from perdure_server.app import put_back, renew_epoch, shown_store

    output = Output(as_json=as_json)
    if copy is None and epoch_only:
        with _refusals(output):
            form = {"store": shown_store(store), "epoch": renew_epoch(store)}
        output.facts(list(form.items()), form)
    elif copy is not None and not epoch_only:
        _told(output, "restored", lambda progress: put_back(store, copy, progress, replace=replace))
    else:
        output.refuse(Refusal("give either --from FILE or --epoch-only", exit_code=USAGE))
        raise typer.Exit(USAGE)


@contextmanager
def _refusals(output: Output) -> Generator[None]:
    """Tells why a store refuses."""
    from perdure_server.config import ConfigError
    from perdure_server.storage.port import StoreError

    try:
        yield
    except (ConfigError, StoreError) as error:
        why = Refusal(str(error), exit_code=USAGE if isinstance(error, ConfigError) else FAILED)
        output.refuse(why)
        raise typer.Exit(why.exit_code) from error


def _told(output: Output, done: str, work: Callable[[Progress], CopyFacts]) -> None:
    """Does it, with its progress on a terminal, and tells what came of it."""

    def progress(left: int, total: int) -> None:
        if output.is_terminal:
            output.note(f"{(total - left) * 100 // max(total, 1)}%")

    with _refusals(output):
        facts = work(progress)
    form: dict[str, Any] = {
        "file": str(facts.path),
        "bytes": facts.bytes,
        "schema": facts.schema,
        "epoch": facts.epoch,
        "runs": facts.runs,
        "records": facts.records,
        "position": facts.position,
    }
    output.facts([(done if name == "file" else name, str(value)) for name, value in form.items()], form)
