"""`perdure serve`: one server process."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perdure_server.cli.arguments import pairs
from perdure_server.cli.invocation import offline
from perdure_server.cli.output import Output
from perdure_server.cli.refusals import FAILED, USAGE, Refusal

if TYPE_CHECKING:
    from perdure_server.config import Config


@dataclass(frozen=True, slots=True)
class Served:
    """The options of `perdure serve`."""

    store: Annotated[
        str,
        typer.Option(
            envvar="PERDURE_STORE", help="sqlite:///FILE (sqlite:////FILE for an absolute path), file:FOLDER or memory:"
        ),
    ] = "sqlite:///perdure.db"
    listen: Annotated[str, typer.Option(envvar="PERDURE_LISTEN", help="HOST:PORT; port 0 takes a free one.")] = (
        "127.0.0.1:7171"
    )
    tls_cert: Annotated[Path | None, typer.Option(help="Server certificate, PEM.")] = None
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None
    client_ca: Annotated[Path | None, typer.Option(help="Callers need a certificate signed by it, PEM.")] = None
    token_file: Annotated[Path | None, typer.Option(help="Bearer tokens and their namespaces.")] = None
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Let anybody in on an address that is not loopback."),
    ] = False
    metrics_listen: Annotated[
        str,
        typer.Option(
            envvar="PERDURE_METRICS_LISTEN",
            help="HOST:PORT of /metrics, /healthz and /readyz over HTTP; none by default.",
            show_default=False,
        ),
    ] = ""
    metrics_open: Annotated[
        bool, typer.Option("--metrics-open", help="Let anybody read them on an address that is not loopback.")
    ] = False
    reflection: Annotated[bool, typer.Option("--reflection/--no-reflection", help="For grpcurl and the like.")] = True
    log_format: Annotated[
        Literal["text", "json"], typer.Option(envvar="PERDURE_LOG_FORMAT", help="Of the log on standard error.")
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(envvar="PERDURE_LOG_LEVEL", help="How much is logged."),
    ] = "info"
    lease_seconds: Annotated[float, typer.Option(help="A task's lease without renewal.")] = 30.0
    drain_seconds: Annotated[float, typer.Option(help="How long a stop waits for calls and streams.")] = 10.0
    limit: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, a limit of docs/limits.md; repeatable.")] = None

    def config(self) -> Config:
        """The server's configuration.

        Raises:
            Refusal: the options do not go together.
        """
        from perdure_server.config import Config, ConfigError
        from perdure_server.kernel.limits import DEFAULT_LIMITS

        # What --lease-seconds sets would be overridden by it.
        names = {each.name for each in fields(DEFAULT_LIMITS)} - {"lease_us", "heartbeat_us"}
        limits: dict[str, int] = {}
        for name, number in pairs(self.limit or (), "--limit").items():
            if name not in names or not number.isdigit() or int(number) < 1:
                advice = f"the limits are {', '.join(sorted(names))}; a lease is set with --lease-seconds"
                raise Refusal(f"--limit takes NAME=NUMBER, at least 1, not {name}={number}", advice, exit_code=USAGE)
            limits[name] = int(number)
        config = Config(
            store=self.store,
            listen=self.listen,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            client_ca=self.client_ca,
            token_file=self.token_file,
            insecure=self.insecure,
            metrics_listen=self.metrics_listen,
            metrics_open=self.metrics_open,
            reflection=self.reflection,
            log_format=self.log_format,
            log_level=self.log_level.upper(),
            lease_seconds=self.lease_seconds,
            drain_seconds=self.drain_seconds,
            limits=replace(DEFAULT_LIMITS, **limits),
        )
        try:
            config.check()
        except ConfigError as error:
            raise Refusal(str(error), exit_code=USAGE) from error
        return config


@offline
def serve(served: Served) -> None:
    """Run a server until SIGTERM or Ctrl-C; then it drains: streams are told, calls under way end.

    It listens on loopback unless it can ask callers who they are. The store is created where there is none.
    """
    output = Output(as_json=False)
    try:
        config = served.config()
        run_server(config)
    except Refusal as why:
        output.refuse(why)
        raise typer.Exit(why.exit_code) from why


def run_server(config: Config) -> None:
    """Serves until a signal.

    Raises:
        Refusal: it cannot start.
    """
    from perdure_server.app import StartError, run
    from perdure_server.config import ConfigError

    try:
        run(config)
    except ConfigError as error:
        raise Refusal(str(error), exit_code=USAGE) from error
    except StartError as error:
        advice = "name another with --store or --listen; one process serves a store at a time"
        raise Refusal(str(error), advice, exit_code=FAILED) from error
