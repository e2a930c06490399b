"""How a command reaches a server: the options that every such command has, and how its failures end.

A command that talks to a server is an async function whose first parameter is a `Session`; `connected` turns
it into the plain function that the command line library wants, with the options below added to its own. A
parameter that is a dataclass stands for an option per field.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from perdure_server.cli.output import Output
from perdure_server.cli.patience import Patience
from perdure_server.cli.refusals import FAILED, USAGE, Refusal, refusal

if TYPE_CHECKING:
    from perdure import Client
    from perdure.connection import TlsConfig

DEFAULT_ADDRESS: Final = "127.0.0.1:7171"
CONNECT_S: Final = 3.0
"""A server that does not answer within this is called unreachable."""

Handler = Callable[..., Coroutine[Any, Any, int | None]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the shared options said."""

    address: str
    namespace: str
    token: str
    tls: bool
    ca: Path | None
    cert: Path | None
    key: Path | None
    server_name: str
    timeout: float
    as_json: bool
    colour: bool | None

    def tls_config(self) -> TlsConfig | None:
        """TLS as asked for; None for plain text.

        Raises:
            Refusal: half of a pair, or a file that is not there.
        """
        if not (self.tls or self.ca or self.cert or self.key):
            return None
        from perdure.connection import TlsConfig

        if (self.cert is None) != (self.key is None):
            raise Refusal("--cert and --key go together", "give both, or none", exit_code=USAGE)
        for path in (self.ca, self.cert, self.key):
            if path is not None and not path.is_file():
                raise Refusal(f"file {str(path)!r} does not exist", exit_code=USAGE)
        return TlsConfig(ca=self.ca, cert=self.cert, key=self.key, server_name=self.server_name)


def _shared_parameters() -> list[inspect.Parameter]:
    def option(name: str, kind: Any, default: object, *declarations: str, **facts: Any) -> inspect.Parameter:
        made = typer.Option(*declarations, **facts)
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, made]
        )

    return [
        option("address", str, DEFAULT_ADDRESS, "--address", envvar="PERDURE_ADDRESS", help="HOST:PORT of the server."),
        option("namespace", str, "default", "--namespace", "-n", envvar="PERDURE_NAMESPACE", help="Namespace."),
        option("token", str, "", "--token", envvar="PERDURE_TOKEN", help="Bearer token.", show_default=False),
        option("tls", bool, False, "--tls", envvar="PERDURE_TLS", help="TLS with the system's certificates."),
        option("ca", Path | None, None, "--ca", envvar="PERDURE_CA", help="PEM file to trust; implies --tls."),
        option("cert", Path | None, None, "--cert", envvar="PERDURE_CERT", help="Client certificate, PEM file."),
        option("key", Path | None, None, "--key", envvar="PERDURE_KEY", help="Its private key, PEM file."),
        option("server_name", str, "", "--server-name", help="Name in the server's certificate.", show_default=False),
        option("timeout", float, 30.0, "--timeout", help="Seconds that a call may take, repeats included.", min=0.1),
        option("as_json", bool, False, "--json", envvar="PERDURE_JSON", help="JSON, one object per line."),
        option("colour", bool | None, None, "--color/--no-color", help="Colour; default: on a terminal."),
    ]


_SHARED: Final = tuple(_shared_parameters())
_SHARED_NAMES: Final = frozenset(parameter.name for parameter in _SHARED)


class Session:
    """One command's server and output."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.output = Output(as_json=settings.as_json, colour=settings.colour)

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Client]:
        """A client of the server.

        Raises:
            PerdureError: it cannot be reached (Unavailable).
            Refusal: the options do not go together.
        """
        from perdure import CallRetryPolicy, Client

        settings = self.settings
        patience = Patience(self.output, settings.address, settings.timeout)
        connect_s = min(CONNECT_S, settings.timeout)
        try:
            with patience.connecting(connect_s):
                client = await Client.connect(
                    settings.address,
                    namespace=settings.namespace,
                    token=settings.token or None,
                    tls=settings.tls_config(),
                    retry=CallRetryPolicy(before_repeat=patience.failed),
                    timeout=settings.timeout,
                    connect_timeout=connect_s,
                )
        except ValueError as error:
            raise Refusal(str(error), exit_code=USAGE) from error
        async with client:
            yield client


def connected(handler: Handler) -> Callable[..., None]:
    """The command made of a handler `async (session, own parameters) -> exit code or None`."""
    signature, gather = spread(list(inspect.signature(handler, eval_str=True).parameters.values())[1:])

    def command(**values: Any) -> None:
        shared = {name: values.pop(name) for name in _SHARED_NAMES}
        session = Session(Settings(**shared))
        raise typer.Exit(run(handler(session, **gather(values)), session.output))

    return described(command, handler, [*signature, *_SHARED])


def offline(handler: Callable[..., None]) -> Callable[..., None]:
    """The command made of a plain function that talks to no server; its dataclass parameters are spread too."""
    signature, gather = spread(list(inspect.signature(handler, eval_str=True).parameters.values()))

    def command(**values: Any) -> None:
        handler(**gather(values))

    return described(command, handler, signature)


def described(
    command: Callable[..., None], handler: Callable[..., Any], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """The command under the handler's name and text, with these parameters."""
    command.__name__ = handler.__name__
    command.__doc__ = handler.__doc__
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    return command


def spread(
    parameters: list[inspect.Parameter],
) -> tuple[list[inspect.Parameter], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Parameters with every dataclass replaced by its fields, and the function that puts values back together."""
    flat: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Any], list[str]]] = {}
    for parameter in parameters:
        kind = parameter.annotation
        if not (isinstance(kind, type) and is_dataclass(kind)):
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        options = list(_options(kind))
        groups[parameter.name] = (kind, [option.name for option in options])
        flat.extend(options)

    def gather(values: dict[str, Any]) -> dict[str, Any]:
        whole = {name: kind(**{field: values.pop(field) for field in names}) for name, (kind, names) in groups.items()}
        return values | whole

    return flat, gather


def _options(group: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def run(work: Coroutine[Any, Any, int | None], output: Output) -> int:
    """Runs a command to its end and returns its exit code; failures are said on standard error."""
    import asyncio

    from perdure.errors import PerdureError
    from perdure.json_text import UnserialisableError

    try:
        return asyncio.run(work) or 0
    except Refusal as why:
        output.refuse(why)
        return why.exit_code
    except PerdureError as error:
        why = refusal(error)
        output.refuse(why)
        return why.exit_code
    except UnserialisableError as error:
        output.refuse(Refusal(str(error), exit_code=USAGE))
        return USAGE
    except TimeoutError as error:
        output.refuse(Refusal(str(error) or "time is up", "allow more with --timeout"))
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has gone. Nothing more can be said there, nor flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
