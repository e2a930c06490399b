"""The RUN_ID argument, and its completion in the shell from the runs that the server knows."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import typer

_COMPLETION_S: Final = 1.0
_MOST: Final = 50


def complete_run_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Newest run ids that begin with what was typed; none when no server answers at once."""
    import asyncio

    return asyncio.run(_run_ids(context.params, incomplete))


async def _run_ids(options: dict[str, Any], incomplete: str) -> list[tuple[str, str]]:
    from perdure import Client
    from perdure.errors import PerdureError

    try:
        client = await Client.connect(
            options["address"],
            namespace=options["namespace"],
            token=options["token"] or None,
            timeout=_COMPLETION_S,
            connect_timeout=_COMPLETION_S,
        )
        async with client:
            page = await client.list_runs(page_size=1_000).page()
    except (PerdureError, ValueError):
        return []
    runs = [run for run in page.items if run.run_id.startswith(incomplete)]
    return [(run.run_id, f"{run.workflow_id} {run.status}") for run in runs[:_MOST]]


RunId: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN_ID", help="The run.", autocompletion=complete_run_ids, show_default=False)
]
