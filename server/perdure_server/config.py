"""How a server is set up. The CLI fills it from flags; tests fill it by hand."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US, Limits

DEFAULT_PORT = 7171


class ConfigError(ValueError):
    """A setting that the server will not start with; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one server process.

    Args:
        store: "memory:", "file:FOLDER", "sqlite:///FILE" or "postgresql://...".
        listen: HOST:PORT; port 0 takes a free one. Loopback unless there is a token file, a client CA
            or `insecure`.
        tls_cert, tls_key: PEM files; both or none.
        client_ca: PEM file; clients must then show a certificate it signed.
        token_file: bearer tokens and the namespaces that each is bound to.
        insecure: serve another address than loopback without authentication.
        metrics_listen: HOST:PORT for Prometheus and probes over HTTP; "" for none. Loopback unless `metrics_open`.
        metrics_open: serve metrics, which nobody has to authenticate for, on another address than loopback.
        reflection: serve grpc.reflection.
        log_format, log_level: of the process's log on standard error.
        lease_seconds: how long a task's lease lasts without renewal.
        drain_seconds: how long a stopping server waits for streams and calls to end.
        limits: limits in force; lease_seconds overrides theirs.
    """

    store: str = "sqlite:///perdure.db"
    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    token_file: Path | None = None
    insecure: bool = False
    metrics_listen: str = ""
    metrics_open: bool = False
    reflection: bool = True
    log_format: Literal["text", "json"] = "text"
    log_level: str = "INFO"
    lease_seconds: float = 30.0
    drain_seconds: float = 10.0
    limits: Limits = field(default=DEFAULT_LIMITS)

    def effective_limits(self) -> Limits:
        """The limits with the lease of this configuration: heartbeats at a third, pings at half of it."""
        lease_us = round(self.lease_seconds * SECOND_US)
        ping_us = min(self.limits.ping_us, max(lease_us // 2, SECOND_US // 2))
        return replace(self.limits, lease_us=lease_us, heartbeat_us=lease_us // 3, ping_us=ping_us)

    def check(self) -> None:
        """Raises: ConfigError for settings that do not go together or would open the server to anybody."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key go together: give both, or none")
        if self.client_ca is not None and self.tls_cert is None:
            raise ConfigError("--client-ca needs --tls-cert and --tls-key")
        for path in (self.tls_cert, self.tls_key, self.client_ca, self.token_file):
            if path is not None and not path.is_file():
                raise ConfigError(f"file {str(path)!r} does not exist")
        self._check_certificates()
        host, _ = self.address()
        open_to_all = self.token_file is None and self.client_ca is None
        if open_to_all and not self.insecure and not _is_loopback(host):
            raise ConfigError(
                f"{host} is not a loopback address, and nobody would be asked who they are: give --token-file or"
                " --client-ca, or say --insecure if that is meant"
            )
        self._check_metrics()
        if not 0.1 <= self.lease_seconds <= 86_400:
            raise ConfigError("--lease-seconds must be from 0.1 to 86400")
        if self.limits.json_depth > DEFAULT_LIMITS.json_depth:
            raise ConfigError(f"--limit json_depth must be at most {DEFAULT_LIMITS.json_depth}: vars take no more")

    def _check_certificates(self) -> None:
        """gRPC would only say that it cannot listen."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            if self.tls_cert is not None:
                # An empty password: OpenSSL would ask for that of an encrypted key on the terminal.
                context.load_cert_chain(self.tls_cert, self.tls_key, password="")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--tls-cert {str(self.tls_cert)!r} and --tls-key {str(self.tls_key)!r} must be a certificate and its"
                f" unencrypted private key, both in PEM: {_ssl_reason(error)}"
            ) from error
        try:
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--client-ca {str(self.client_ca)!r} must hold certificates in PEM: {_ssl_reason(error)}"
            ) from error

    def address(self) -> tuple[str, int]:
        """Host and port of `listen`. Raises: ConfigError."""
        return _host_and_port("--listen", self.listen)

    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of `metrics_listen`; None for none. Raises: ConfigError."""
        return _host_and_port("--metrics-listen", self.metrics_listen) if self.metrics_listen else None

    def _check_metrics(self) -> None:
        address = self.metrics_address()
        if address is not None and not self.metrics_open and not _is_loopback(address[0]):
            raise ConfigError(
                f"--metrics-listen: {address[0]} is not a loopback address, and whoever reaches it reads the metrics:"
                " keep strangers away from the port, and say --metrics-open"
            )


def _host_and_port(option: str, text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{option} takes HOST:PORT, not {text!r}")
    return host.strip("[]"), int(port)


def _ssl_reason(error: Exception) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else "") or str(error)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
