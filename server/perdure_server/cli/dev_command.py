"""`perdure dev`: a server, a sample worker and the live ledger in one terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perdure_server.cli.invocation import DEFAULT_ADDRESS, offline
from perdure_server.cli.output import Output
from perdure_server.cli.refusals import INTERRUPTED, USAGE, Refusal, refusal

if TYPE_CHECKING:
    from perdure import Client

_AMOUNTS = (40, 120, 7)


@offline
def dev(
    store: Annotated[
        str, typer.Option(help="sqlite:///FILE, file:FOLDER or memory:; runs are there again at the next start.")
    ] = "sqlite:///perdure-dev.sqlite",
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:7171",
    orders: Annotated[int, typer.Option(help="Sample orders to start.", min=0)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The ledger as JSON lines.")] = False,
) -> None:
    """Try it: a server, a worker with a sample order workflow, and everything that happens, in one terminal.

    In another terminal: `perdure inbox`, then `perdure run resume RUN_ID approve`.
    """
    import asyncio

    from perdure.errors import PerdureError

    output = Output(as_json=as_json)
    try:
        asyncio.run(live(output, store, listen, orders))
    except KeyboardInterrupt as stopped:
        raise typer.Exit(INTERRUPTED) from stopped
    except PerdureError as error:
        why = refusal(error)
        output.refuse(why)
        raise typer.Exit(why.exit_code) from error
    except Refusal as why:
        output.refuse(why)
        raise typer.Exit(why.exit_code) from why


async def live(output: Output, store: str, listen: str, orders: int) -> None:
    """Serves, works and shows until it is interrupted.

    Raises:
        Refusal: the server cannot start.
    """
    from perdure import Client
    from perdure_server.api.server import BindError
    from perdure_server.app import open_server
    from perdure_server.cli.sample_workflow import sample_worker
    from perdure_server.config import Config, ConfigError
    from perdure_server.storage.port import StoreError
    from perdure_server.telemetry import set_up_logging

    config = Config(store=store, listen=listen, log_level="WARNING")
    set_up_logging(config.log_format, config.log_level)
    try:
        config.check()
        async with open_server(config) as app, Client.connect(app.address) as client, sample_worker(client) as worker:
            await worker.ready()
            await show_live(output, client, app.address, store, orders)
    except ConfigError as error:
        raise Refusal(str(error), exit_code=USAGE) from error
    except (StoreError, BindError, OSError) as error:
        raise Refusal(str(error), "--store and --listen name others") from error


async def show_live(output: Output, client: Client, address: str, store: str, orders: int) -> None:
    """Starts the sample orders and prints every record that is committed, for ever."""
    from perdure.ledger import LedgerScope
    from perdure_server.cli.ledger_commands import print_entry
    from perdure_server.cli.sample_workflow import order

    output.note(f"serving on {address}, runs kept in {store}; the ledger follows. Ctrl-C ends it.")
    there = "" if address == DEFAULT_ADDRESS else f" --address {address}"
    output.note(f"In another terminal:  perdure inbox{there}   then   perdure run resume RUN_ID approve{there}\n")
    async with client.subscribe(LedgerScope.all(), start="now") as subscription:
        for number in range(orders):
            await client.start(order, {"amount": _AMOUNTS[number % len(_AMOUNTS)], "items": number + 1})
        async for entry in subscription:
            print_entry(output, entry)
